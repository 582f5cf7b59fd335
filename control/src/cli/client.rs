//! What the subcommands that need a running daemon share: one question to its socket, one answer.
//! It knows no question, and tries nothing twice.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use super::{Exit, Terminal};

/// Longer than a reload of a million services and a list of a million sessions take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon at a socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no daemon answers at {}: {}{}", socket.display(), plain(error), advice(error))]
    Unreachable { socket: PathBuf, error: io::Error },
    #[error("the daemon at {} does not answer within {} s; see its log", .0.display(), PATIENCE.as_secs())]
    Late(PathBuf),
    #[error("the connection to the daemon broke: {0}; see its log")]
    Broken(#[from] hyper::Error),
    #[error("the daemon says: {0}")]
    Refused(String),
    #[error("the daemon's answer makes no sense: {0}; are plimsoll and plimsolld of one version?")]
    Nonsense(#[from] serde_json::Error),
    #[error(transparent)]
    Local(#[from] io::Error),
}

fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the socket is its owner's and group's only: run this as root or as a member of that group"
        }
        _ => {
            "; start it with `plimsolld --config FILE` or `systemctl start plimsolld`, or give the path that \
             control.socket has in its configuration with --socket"
        }
    }
}

impl NoAnswer {
    /// Tells the user, and says how the program ends.
    pub(super) fn tell(&self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        writeln!(terminal.err, "plimsoll: {self}")?;
        Ok(match self {
            Self::Unreachable { .. } | Self::Late(_) | Self::Broken(_) => Exit::Unreachable,
            Self::Refused(_) | Self::Nonsense(_) | Self::Local(_) => Exit::Failed,
        })
    }
}

impl Client {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// The answer to a question.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        let (status, body) = self.send(Method::GET, path)?;
        if status != StatusCode::OK {
            return Err(refused(status, &body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// What came of an order. The daemon says in words, not by its status, what it thinks of it.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        let (status, body) = self.send(Method::POST, path)?;
        match status {
            StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => {
                Ok(serde_json::from_slice(&body)?)
            }
            _ => Err(refused(status, &body)),
        }
    }

    fn send(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), NoAnswer> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.exchange(method, path))
                .await
                .unwrap_or_else(|_| Err(NoAnswer::Late(self.socket.clone())))
        })
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), NoAnswer> {
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|error| NoAnswer::Unreachable {
                socket: self.socket.clone(),
                error,
            })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "plimsolld")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok((status, body))
    }
}

fn refused(status: StatusCode, body: &[u8]) -> NoAnswer {
    let words = String::from_utf8_lossy(body);
    NoAnswer::Refused(format!("{status} {}", words.trim()).trim().to_owned())
}

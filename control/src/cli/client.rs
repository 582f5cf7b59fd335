//! What the subcommands that need a running daemon share: one request to its socket, one response.
//! It knows no URL path, and tries nothing twice.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{Exit, Format, Terminal};
use crate::config::leaf::print_duration;

/// How long the daemon may leave a request without a sign, unless the user says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for an order: a reload reads a file of a million services first.
const PATIENCE_WITH_ORDERS: Duration = Duration::from_secs(60);
/// How long until another try, when too many others wait for the daemon as well.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The daemon at a socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
    timeout: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no daemon answers at {}: {}{}", socket.display(), plain(error), advice(error))]
    Unreachable { socket: PathBuf, error: io::Error },
    #[error(
        "the daemon at {} gives no sign for {}: it is stopped, stuck or very busy; see `systemctl status plimsolld` and \
         its log, or wait longer with `plimsoll --timeout 60s ...`",
        socket.display(),
        print_duration(*patience)
    )]
    Late { socket: PathBuf, patience: Duration },
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
        // What the exit code says is true also if nobody reads why.
        let _ = writeln!(terminal.err, "plimsoll: {self}");
        Ok(match self {
            Self::Unreachable { .. } | Self::Late { .. } | Self::Broken(_) => Exit::Unreachable,
            Self::Refused(_) | Self::Nonsense(_) | Self::Local(_) => Exit::Failed,
        })
    }
}

impl Client {
    /// `timeout` is how long the daemon may give no sign, if that was said.
    pub(super) fn new(socket: &Path, timeout: Option<Duration>) -> Self {
        Self {
            socket: socket.to_owned(),
            timeout,
        }
    }

    /// What the daemon tells.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        let (status, body) = self.send(Method::GET, path, Bytes::new(), PATIENCE)?;
        if status != StatusCode::OK {
            return Err(refused(status, &body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Writes what the daemon tells: as JSON, or as `text` makes it.
    pub(super) fn show<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        output: Option<Format>,
        terminal: &mut Terminal<'_>,
        text: impl Fn(&T) -> String,
    ) -> io::Result<Exit> {
        let told: T = match self.get(path) {
            Ok(told) => told,
            Err(error) => return error.tell(terminal),
        };
        match output.unwrap_or_default() {
            Format::Json => terminal.json(&told)?,
            Format::Text => write!(terminal.out, "{}", text(&told))?,
        }
        Ok(Exit::Ok)
    }

    /// What came of an order. The daemon says in words, not by its status, what it thinks of it.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        self.post_body(path, Bytes::new())
    }

    /// What came of an order that is a JSON body.
    pub(super) fn order<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<T, NoAnswer> {
        self.post_body(path, serde_json::to_vec(order)?.into())
    }

    /// What becomes of a text that is sent.
    pub(super) fn send_text<T: DeserializeOwned>(
        &self,
        path: &str,
        text: String,
    ) -> Result<T, NoAnswer> {
        self.post_body(path, text.into())
    }

    fn post_body<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, NoAnswer> {
        let (status, body) = self.send(Method::POST, path, body, PATIENCE_WITH_ORDERS)?;
        match status {
            StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => {
                Ok(serde_json::from_slice(&body)?)
            }
            _ => Err(refused(status, &body)),
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let patience = self.timeout.unwrap_or(patience);
        runtime.block_on(self.exchange(method, path, body, patience))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let stream = self.in_time(patience, self.connect()).await??;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "plimsolld")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let response = self
            .in_time(patience, sender.send_request(request))
            .await??;
        let status = response.status();
        let (mut frames, mut body) = (response.into_body(), Vec::new());
        while let Some(frame) = self.in_time(patience, frames.frame()).await? {
            if let Ok(data) = frame?.into_data() {
                body.extend_from_slice(&data);
            }
        }
        connection.abort();
        Ok((status, body.into()))
    }

    /// What comes of it, if anything does before the daemon counts as stopped.
    async fn in_time<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, NoAnswer> {
        let done = tokio::time::timeout(patience, work).await;
        done.map_err(|_| NoAnswer::Late {
            socket: self.socket.clone(),
            patience,
        })
    }

    async fn connect(&self) -> Result<UnixStream, NoAnswer> {
        loop {
            match UnixStream::connect(&self.socket).await {
                // As many wait already as the daemon lets wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(error) => {
                    return Err(NoAnswer::Unreachable {
                        socket: self.socket.clone(),
                        error,
                    });
                }
                Ok(stream) => return Ok(stream),
            }
        }
    }
}

/// A value as it stands in a request's query.
pub(super) fn escape(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

fn refused(status: StatusCode, body: &[u8]) -> NoAnswer {
    let words = String::from_utf8_lossy(body);
    let words = words.trim();
    // What the daemon itself refuses, it says in words.
    let tells = status.is_client_error() && !words.is_empty();
    NoAnswer::Refused(if tells {
        words.to_owned()
    } else {
        format!("{status} {words}").trim().to_owned()
    })
}

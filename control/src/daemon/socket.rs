//! The control socket and the HTTP address: taken before anything else, given back at the end.
//! Nobody is served here.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Component, Path, PathBuf};

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// Another daemon has it.
    #[error(
        "plimsolld is already running: it answers at {}; stop it, or give this one another control.socket",
        .0.display()
    )]
    AlreadyRunning(PathBuf),
    /// Something that is no socket is in its place.
    #[error("control.socket: {} is there and is no socket; remove it or choose another path", .0.display())]
    NoSocket(PathBuf),
    /// Its folder is not there, and not one that is made anew at each boot.
    #[error(
        "control.socket: the folder {folder} does not exist, and only folders below /run are made by plimsolld; \
         make it (`install -d -m 0750 {folder}`), or choose a path below /run/plimsoll",
        folder = .0.display()
    )]
    NoFolder(PathBuf),
    /// The system refuses.
    #[error("control.socket: {} cannot be made: {error}{}", path.display(), advice(error))]
    Unix {
        /// As configured.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The system refuses.
    #[error(
        "control.http: {address} cannot be listened on: {error}{}",
        advice(error)
    )]
    Http {
        /// As configured.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (run as root, or choose a place that this user may write to)"
        }
        io::ErrorKind::AddrInUse => " (is another plimsolld running? see `ss -ltnp`)",
        io::ErrorKind::AddrNotAvailable => {
            " (no interface has this address; 127.0.0.1 always is there)"
        }
        _ => "",
    }
}

/// Who may use the control socket: its owner and its group.
const MODE: u32 = 0o660;

/// Both, bound.
#[derive(Debug)]
pub(super) struct Sockets {
    control: UnixListener,
    http: Option<TcpListener>,
    file: SocketFile,
}

/// The control socket's file, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Sockets {
    /// Takes both, or the socket alone without an address for HTTP. Who connects now waits until somebody serves.
    pub(super) fn bind(path: &Path, address: Option<SocketAddr>) -> Result<Self, SocketError> {
        let control = bind_unix(path)?;
        let file = SocketFile(path.to_owned());
        let http = address.map(bind_tcp).transpose()?;
        Ok(Self {
            control,
            http,
            file,
        })
    }

    /// The control socket, the HTTP address if it is used, and what removes the file.
    pub(super) fn into_parts(self) -> (UnixListener, Option<TcpListener>, SocketFile) {
        (self.control, self.http, self.file)
    }
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let failed = |error| SocketError::Http { address, error };
    let http = TcpListener::bind(address).map_err(failed)?;
    http.set_nonblocking(true).map_err(failed)?;
    Ok(http)
}

/// Whether a missing folder is made: those below /run are gone after each boot. Elsewhere it is rather a
/// slip of the pen, and nobody would know why root has made it.
fn may_make(folder: &Path) -> bool {
    let plain = folder
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    plain && (folder.starts_with("/run") || folder.starts_with("/var/run"))
}

fn bind_unix(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |error| SocketError::Unix {
        path: path.to_owned(),
        error,
    };
    if let Some(directory) = path.parent()
        && !directory.exists()
    {
        if !may_make(directory) {
            return Err(SocketError::NoFolder(directory.to_owned()));
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(directory).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            // Left behind by a daemon that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(SocketError::AlreadyRunning(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Nobody else may connect before the mode is set; no other thread runs yet that makes files.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777 & !MODE));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Option<SocketAddr> {
        Some("127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn a_socket_is_its_groups_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let sockets = Sockets::bind(&path, any()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert!(matches!(
            Sockets::bind(&path, any()),
            Err(SocketError::AlreadyRunning(_))
        ));
        drop(sockets);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stale");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Sockets::bind(&path, any()).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Sockets::bind(&path, any()),
            Err(SocketError::NoSocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_folder_is_made_below_run_only() {
        for (folder, made) in [
            ("/run/plimsoll", true),
            ("/var/run/a/b", true),
            ("/run/../etc/plimsoll", false),
            ("/runs", false),
            ("/srv/plimsoll", false),
            ("/", false),
        ] {
            assert_eq!(may_make(Path::new(folder)), made, "{folder}");
        }
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("plimsol");
        let error = Sockets::bind(&folder.join("control.sock"), None).unwrap_err();
        let words = format!("install -d -m 0750 {}", folder.display());
        assert!(error.to_string().contains(&words), "{error}");
        assert!(!folder.exists());
    }

    #[test]
    fn without_an_address_nothing_serves_http() {
        let directory = tempfile::tempdir().unwrap();
        let sockets = Sockets::bind(&directory.path().join("control.sock"), None).unwrap();
        assert!(sockets.into_parts().1.is_none());
    }

    #[test]
    fn an_address_that_is_taken_is_said_and_leaves_no_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Sockets::bind(&path, taken.local_addr().ok()).unwrap_err();
        assert!(error.to_string().contains("control.http"), "{error}");
        assert!(!path.exists());
    }
}

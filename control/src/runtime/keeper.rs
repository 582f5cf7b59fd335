//! The folder of what outlives the daemon: read at the start, written by a thread of its own, so that nobody waits for a
//! disk under a lock.
//! What is in its files is `saved.rs`'s.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;
use tracing::warn;

use super::changes::RuntimeChanges;
use crate::capabilities;
use crate::output_file::OutputFile;

/// What runtime changes are kept in.
const CHANGES: &str = "runtime.json";
/// Held as long as a daemon uses the folder.
const LOCK: &str = "lock";
/// More than any folder of ours has, so that garbage does not use up memory.
const MAX_BYTES: u64 = 256 << 20;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// By another daemon.
    #[error(
        "control.state: another plimsolld uses {}; give each its own folder, or one of them `none`",
        .0.display()
    )]
    InUse(PathBuf),
    /// The system refuses.
    #[error("control.state: {} cannot be used: {error}", path.display())]
    System {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The folder; without one nothing is kept.
#[derive(Debug, Default)]
pub struct Keeper {
    writer: Option<mpsc::Sender<Job>>,
}

/// What will say whether a change survives a restart, or why not.
pub type Kept = oneshot::Receiver<Result<(), String>>;

/// What is to be written, and who wants to know whether it was.
type Job = (String, oneshot::Sender<Result<(), String>>);

impl Keeper {
    /// Takes the folder, and reads what was kept there. A file that is not ours is put aside with a warning: a daemon
    /// that does not start would be worse. A folder that is not there is made when there is something to keep.
    ///
    /// # Errors
    /// When another daemon uses the folder, or it cannot be used.
    pub fn open(folder: Option<&Path>) -> Result<(Self, RuntimeChanges), StateError> {
        let Some(folder) = folder else {
            return Ok((Self::default(), RuntimeChanges::default()));
        };
        let lock = folder.is_dir().then(|| take(folder)).transpose()?;
        let changes = read(&folder.join(CHANGES))?;
        let (writer, jobs) = mpsc::channel();
        let place = folder.to_owned();
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || {
                capabilities::keep_reading();
                write_all(&place, lock, &jobs);
            })
            .map_err(|error| StateError::System {
                path: folder.to_owned(),
                error,
            })?;
        let writer = Some(writer);
        Ok((Self { writer }, changes))
    }

    /// Writes what is changed, after what was to be written before. The result says whether it is safe, or why not.
    pub fn save(&self, changes: &RuntimeChanges) -> Kept {
        let (tell, told) = oneshot::channel();
        let Some(writer) = &self.writer else {
            let _ = tell.send(Err("control.state is `none`".to_owned()));
            return told;
        };
        // A thread that is gone drops the sender, which says so.
        let _ = writer.send((changes.write(), tell));
        told
    }
}

/// The lock of the folder; held until it is dropped.
fn take(folder: &Path) -> Result<File, StateError> {
    let path = folder.join(LOCK);
    let failed = |error| StateError::System {
        path: path.clone(),
        error,
    };
    let mut options = File::options();
    let lock = options.write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse(folder.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

fn read(path: &Path) -> Result<RuntimeChanges, StateError> {
    let failed = |error| StateError::System {
        path: path.to_owned(),
        error,
    };
    let length = match fs::metadata(path) {
        // A folder that cannot be one is told of when there is something to keep.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(RuntimeChanges::default());
        }
        found => found.map_err(failed)?.len(),
    };
    let text = if length > MAX_BYTES {
        Err("it is larger than any that plimsolld writes".to_owned())
    } else {
        let bytes = fs::read(path).map_err(failed)?;
        String::from_utf8(bytes).map_err(|error| error.to_string())
    };
    match text.and_then(|text| RuntimeChanges::read(&text)) {
        Ok(changes) => Ok(changes),
        Err(why) => {
            let aside = path.with_extension("json.bad");
            let moved = fs::rename(path, &aside);
            warn!(
                file = %path.display(),
                aside = %aside.display(),
                moved = moved.is_ok(),
                "runtime changes cannot be read, and are not in force: {why}"
            );
            Ok(RuntimeChanges::default())
        }
    }
}

fn write_all(folder: &Path, mut lock: Option<File>, jobs: &mpsc::Receiver<Job>) {
    while let Ok((text, tell)) = jobs.recv() {
        let written = write(folder, &mut lock, &text);
        if let Err(error) = &written {
            warn!("runtime changes are in force and will not survive a restart: {error}");
        }
        // Whoever asked may have gone.
        let _ = tell.send(written.map_err(|error| error.to_string()));
    }
}

fn write(folder: &Path, lock: &mut Option<File>, text: &str) -> Result<(), StateError> {
    if lock.is_none() {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o750).create(folder);
        made.map_err(|error| StateError::System {
            path: folder.to_owned(),
            error,
        })?;
        *lock = Some(take(folder)?);
    }
    let path = folder.join(CHANGES);
    let written = || {
        let mut file = OutputFile::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.finish()?;
        fs::set_permissions(&path, Permissions::from_mode(0o640))?;
        // The file's new name is in the folder.
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| StateError::System {
        path: path.clone(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::spec::target::{Identity, Mark};

    use super::super::order::{Administration, RealChange};
    use super::*;

    fn some(count: u8) -> RuntimeChanges {
        let mut changes = RuntimeChanges::default();
        let service = Identity::Mark(Mark {
            number: 1,
            is_v6: false,
        });
        for last in 0..count {
            let change = RealChange {
                administration: Administration::Drained,
                ..RealChange::default()
            };
            changes.set(service, ([10, 0, 0, last].into(), 80), change);
        }
        changes
    }

    fn save(keeper: &Keeper, changes: &RuntimeChanges) -> Result<(), String> {
        keeper.save(changes).blocking_recv().unwrap()
    }

    /// What the folder gives back once the thread of the keeper before has ended.
    fn reopened(folder: &Path) -> RuntimeChanges {
        loop {
            match Keeper::open(Some(folder)) {
                Ok((_, changes)) => return changes,
                Err(StateError::InUse(_)) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn what_was_saved_last_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a/state");
        let (keeper, changes) = Keeper::open(Some(&folder)).unwrap();
        assert!(changes.is_empty() && !folder.exists(), "made when needed");
        for count in [1, 5, 3] {
            save(&keeper, &some(count)).unwrap();
        }
        drop(keeper);
        assert_eq!(reopened(&folder), some(3));
        let mode = fs::metadata(folder.join(CHANGES)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);
    }

    #[test]
    fn a_folder_has_one_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let (first, _) = Keeper::open(Some(directory.path())).unwrap();
        assert!(matches!(
            Keeper::open(Some(directory.path())),
            Err(StateError::InUse(_))
        ));
        drop(first);
        assert_eq!(reopened(directory.path()), some(0));
    }

    #[test]
    fn a_file_that_is_not_ours_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(CHANGES);
        for bad in [&b"{"[..], b"\xff\xfe", b""] {
            fs::write(&path, bad).unwrap();
            assert_eq!(reopened(directory.path()), some(0));
            assert!(!path.exists());
            assert_eq!(fs::read(path.with_extension("json.bad")).unwrap(), bad);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_said() {
        let (none, _) = Keeper::open(None).unwrap();
        assert_eq!(
            save(&none, &some(1)),
            Err("control.state is `none`".to_owned())
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let (keeper, _) = Keeper::open(Some(&file.join("state"))).unwrap();
        let said = save(&keeper, &some(1)).unwrap_err();
        assert!(said.contains("control.state"), "{said}");
    }
}

//! Files that a command writes: put together beside their place and moved there when they are whole.
//! None takes the place of a file that the same run reads or writes, whatever that is called.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What tells a regular file from all others, whatever it is called: through symbolic links, and by hard links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A file that is there, by its device and number.
    There(u64, u64),
    /// One that is not: by its folder's device and number, and its name there.
    New(u64, u64, PathBuf),
}

impl Identity {
    /// That of the file at `path`; `None` for a device, a pipe or anything else that is not used up by being written.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.metadata() {
            Ok(found) => found
                .is_file()
                .then(|| Self::There(found.dev(), found.ino())),
            Err(_) => {
                let path = destination(path);
                let folder = folder_of(&path).metadata().ok()?;
                Some(Self::New(
                    folder.dev(),
                    folder.ino(),
                    path.file_name()?.into(),
                ))
            }
        }
    }
}

/// The file that writing to `path` makes or changes: where symbolic links lead, also if nothing is there.
fn destination(path: &Path) -> PathBuf {
    /// As many as the kernel follows.
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = folder_of(&path).join(target);
    }
    path
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file that is being written. Dropped before it is finished, it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    writer: BufWriter<File>,
    /// Where it is until it is whole, and where it goes then; devices and pipes are written at once.
    moved: Option<(NamedTempFile, PathBuf)>,
}

impl OutputFile {
    /// Begins the file at `path`. What is there stays until the new one is whole.
    ///
    /// # Errors
    /// When it cannot be written, or not in its folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        // The system decides whether links are followed: not others' in a folder like /tmp, where that is protected.
        let there = match path.metadata() {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self {
                writer: BufWriter::new(file),
                moved: None,
            });
        }
        let path = destination(path);
        let mode = there.map(|there| there.permissions().mode() & 0o7777);
        let temporary = tempfile::Builder::new()
            .prefix(".plimsoll-")
            .permissions(fs::Permissions::from_mode(mode.unwrap_or(0o666)))
            .tempfile_in(folder_of(&path))?;
        if let Some(mode) = mode {
            // Whatever the umask leaves of it, which is for new files.
            let mode = fs::Permissions::from_mode(mode);
            temporary.as_file().set_permissions(mode)?;
        }
        Ok(Self {
            writer: BufWriter::new(temporary.reopen()?),
            moved: Some((temporary, path)),
        })
    }

    /// Writes what is still buffered, and puts the file into its place.
    ///
    /// # Errors
    /// When something could not be written. What was in the place is still there then.
    pub fn finish(self) -> io::Result<()> {
        let file = self
            .writer
            .into_inner()
            .map_err(|error| error.into_error())?;
        if let Some((temporary, path)) = self.moved {
            // A full disk may be noticed no sooner.
            file.sync_all()?;
            temporary.persist(path).map_err(|error| error.error)?;
        }
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_known_by_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::write(at("other"), "x").unwrap();
        fs::hard_link(at("file"), at("hard")).unwrap();
        symlink("file", at("soft")).unwrap();
        symlink("new", at("dangling")).unwrap();
        fs::create_dir(at("sub")).unwrap();
        symlink("..", at("sub/up")).unwrap();
        let of = |name: &str| Identity::of(&at(name)).unwrap();
        for name in ["hard", "soft", "sub/../file", "sub/up/soft"] {
            assert_eq!(of(name), of("file"), "{name}");
        }
        for name in ["dangling", "sub/../new", "sub/up/new"] {
            assert_eq!(of(name), of("new"), "{name}");
        }
        assert_ne!(of("other"), of("file"));
        assert_ne!(of("sub/new"), of("new"));
        assert_eq!(Identity::of(Path::new("/dev/null")), None);
        assert_eq!(Identity::of(&at("nowhere/file")), None);
    }

    #[test]
    fn a_file_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        let mut output = OutputFile::create(&link).unwrap();
        output.write_all(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut output = OutputFile::create(&link).unwrap();
        output.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(link.is_symlink());
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_everybody_may_write_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        // More than the usual umask leaves.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        OutputFile::create(&path).unwrap().finish().unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o666);
    }

    #[test]
    fn a_link_that_the_system_does_not_follow_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("round");
        symlink("round", &path).unwrap();
        assert!(OutputFile::create(&path).is_err());
        assert!(path.is_symlink());
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut output = OutputFile::create(Path::new("/dev/full")).unwrap();
        output.write_all(b"little, so that it is buffered").unwrap();
        assert_eq!(
            output.finish().unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}

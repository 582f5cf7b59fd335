//! [`Interrupts`]: waiting until one of a worker's receive queues says that frames have come.
//! When to wait, and for how long, is the caller's to decide.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::queue::RxQueue;

/// Waits for this file too, from now on until it is closed. It may be closed at any time, and the number be
/// another file's: then that one ends a wait too early, which does no harm.
fn watch(epoll: &OwnedFd, file: RawFd) -> io::Result<()> {
    // Each new frame is an edge, whether or not somebody has read what told of the last.
    #[expect(
        clippy::cast_sign_loss,
        reason = "flags in the width that the kernel has"
    )]
    let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
    let mut event = libc::epoll_event { events, u64: 0 };
    // SAFETY: numbers, and a structure that outlives the call; a number that is no file is refused.
    let status =
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, file, &raw mut event) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The interrupts of several receive queues, to be waited for together.
#[derive(Debug)]
pub struct Interrupts {
    epoll: OwnedFd,
}

impl Interrupts {
    /// Those of `queues`, none of which is there twice; `None` if one of them has none, since its frames would
    /// have to wait.
    ///
    /// # Errors
    /// When the system refuses to wait for them.
    pub fn of<'a>(queues: impl IntoIterator<Item = &'a RxQueue>) -> io::Result<Option<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for queue in queues {
            let Some(interrupt) = queue.interrupt() else {
                return Ok(None);
            };
            watch(&epoll, interrupt)?;
        }
        Ok(Some(Self { epoll }))
    }

    /// Takes in what has become of the files of `queues` since: a driver may have replaced them, also by others of the
    /// same number. To be called after arming and before waiting.
    ///
    /// # Errors
    /// When the system refuses to wait for one of them; the others are waited for.
    pub fn renew<'a>(&self, queues: impl IntoIterator<Item = &'a RxQueue>) -> io::Result<()> {
        let mut outcome = Ok(());
        for file in queues.into_iter().filter_map(RxQueue::interrupt) {
            match watch(&self.epoll, file) {
                Err(error) if error.raw_os_error() != Some(libc::EEXIST) => outcome = Err(error),
                // Mostly it is still the same: the system knows files, not numbers.
                _ => {}
            }
        }
        outcome
    }

    /// Waits until one of the queues tells of frames, no longer than `limit`; says whether one did. It may
    /// have told of frames that have been received since.
    ///
    /// # Errors
    /// When the system refuses, at once: a caller that would try again should pause first.
    pub fn wait(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(limit).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        // Which one does not matter: a worker polls all of its queues.
        let mut events = [MaybeUninit::uninit(); 16];
        match epoll::wait(&self.epoll, &mut events, Some(&limit)) {
            Ok((told, _)) => Ok(!told.is_empty()),
            // Whatever a signal was for, the caller looks around.
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::io::{dup2, write};

    /// Whether a frame's interrupt comes by the file.
    fn tells(interrupts: &Interrupts, file: &OwnedFd) -> bool {
        write(file, &1_u64.to_ne_bytes()).unwrap();
        interrupts.wait(Duration::from_millis(20)).unwrap()
    }

    #[test]
    fn a_file_that_was_replaced_under_its_number_is_waited_for_again() {
        let new = || eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let interrupts = Interrupts {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
        };
        let mut file = new();
        watch(&interrupts.epoll, file.as_raw_fd()).unwrap();
        assert!(tells(&interrupts, &file));
        let again = watch(&interrupts.epoll, file.as_raw_fd()).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::EEXIST));

        dup2(new(), &mut file).unwrap();
        assert!(!tells(&interrupts, &file), "the number alone was enough");
        watch(&interrupts.epoll, file.as_raw_fd()).unwrap();
        // An edge that came before counts too.
        assert!(interrupts.wait(Duration::from_millis(20)).unwrap());
        assert!(tells(&interrupts, &file));
        assert!(watch(&interrupts.epoll, -1).is_err());
    }
}

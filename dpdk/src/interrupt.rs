//! [`Interrupts`]: waiting until one of a worker's receive queues says that frames have come.
//! When to wait, and for how long, is the caller's to decide.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::queue::RxQueue;

/// How one receive queue tells that frames have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupt {
    file: RawFd,
    switch: Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// It tells while it is switched on.
    OnAndOff,
    /// It tells always, and DPDK has no switch for it.
    None,
}

impl Interrupt {
    /// That of a queue of a started port, if its driver has one. The device must be held as long as this is
    /// used, and nobody else may poll the queue meanwhile.
    pub(crate) fn of(port: u16, queue: u16, driver: &str) -> Option<Self> {
        let switch = if driver.starts_with("net_tap") {
            // The TAP's own file, which the kernel makes readable.
            Switch::None
        } else {
            // SAFETY: the port is started and the queue set up, as the caller says. Drivers without receive
            // interrupts refuse here; asked for the file, DPDK would log an error.
            if unsafe { dpdk_sys::rte_eth_dev_rx_intr_enable(port, queue) } != 0 {
                return None;
            }
            // SAFETY: as above.
            unsafe { dpdk_sys::rte_eth_dev_rx_intr_disable(port, queue) };
            Switch::OnAndOff
        };
        // SAFETY: as above.
        let file = unsafe { dpdk_sys::rte_eth_dev_rx_intr_ctl_q_get_fd(port, queue) };
        (file >= 0).then_some(Self { file, switch })
    }

    pub(crate) fn file(self) -> RawFd {
        self.file
    }

    /// Switches it on or off; `port` and `queue` are those that it was made of.
    pub(crate) fn switch(self, port: u16, queue: u16, on: bool) {
        if self.switch == Switch::None {
            return;
        }
        // What a driver may say against it (a vhost has no peer, a device is gone) means that nothing comes, and
        // whoever waits has a limit.
        // SAFETY: the queue is set up and its only user calls this, as `Self::of` demands.
        let _ = unsafe {
            if on {
                dpdk_sys::rte_eth_dev_rx_intr_enable(port, queue)
            } else {
                dpdk_sys::rte_eth_dev_rx_intr_disable(port, queue)
            }
        };
    }
}

/// The interrupts of several receive queues, to be waited for together.
#[derive(Debug)]
pub struct Interrupts {
    epoll: OwnedFd,
}

impl Interrupts {
    /// Those of `queues`; `None` if one of them has none, since its frames would have to wait.
    ///
    /// # Errors
    /// When the system refuses to wait for them.
    pub fn of<'a>(queues: impl IntoIterator<Item = &'a RxQueue>) -> io::Result<Option<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for queue in queues {
            let Some(interrupt) = queue.interrupt() else {
                return Ok(None);
            };
            // Each new frame is an edge, whether or not somebody has read what told of the last.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, interrupt, epoll::EventData::new_u64(0), flags)?;
        }
        Ok(Some(Self { epoll }))
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

//! [`RxQueue`] and [`TxQueue`]: the driver seam of the data plane on DPDK.
//! They move buffers and count nothing but what DPDK cannot count.

use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use dpdk_sys::rte_mbuf;
use plimsoll_dataplane::io::{self, BURST, PacketBuf as _};

use crate::device::frame_bytes;
use crate::interrupt::Interrupt;
use crate::last_burst::{self, BurstSource};
use crate::lease::Device;
use crate::mbuf::Mbuf;

/// What the users of one queue of the device take turns by; nothing, where there is one user only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharing {
    pub(crate) rx: Option<Arc<Mutex<()>>>,
    pub(crate) tx: Option<Arc<Mutex<()>>>,
}

impl Sharing {
    /// For a queue of a device that has `queues` of them for so many users, who get them in turn.
    pub(crate) fn of(queue: u16, queues: u16, users: u16) -> Self {
        if u32::from(queue) + u32::from(queues) < u32::from(users) {
            Self {
                rx: Some(Arc::default()),
                tx: Some(Arc::default()),
            }
        } else {
            Self::default()
        }
    }
}

/// One receive queue of one port. Whoever holds it is its only poller, or polls only while it has the lock that
/// all who hold one for the same queue share.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
    shared: Option<Arc<Mutex<()>>>,
    interrupt: Option<Interrupt>,
}

/// One transmit queue of one port. Whoever holds it is its only user, or uses it only while it has the lock that
/// all who hold one for the same queue share.
#[derive(Debug)]
pub struct TxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
    shared: Option<Arc<Mutex<()>>>,
    /// Bytes of the longest frame that it sends.
    longest: usize,
}

impl RxQueue {
    /// The queue is set up and started, and no other `RxQueue` is made for it, or all of them with the same lock:
    /// `Port::open` upholds both.
    pub(crate) fn new(
        device: Arc<Device>,
        queue: u16,
        shared: Option<Arc<Mutex<()>>>,
        interrupt: Option<Interrupt>,
    ) -> Self {
        Self {
            port: device.id(),
            device,
            queue,
            shared,
            interrupt,
        }
    }

    /// The number of the file that becomes readable when frames come after [`Self::arm`]; to be waited for
    /// edge-triggered, as [`crate::Interrupts`] does, since nobody reads it. The driver may replace the file at any
    /// time, so the number is not to be kept. `None` if the driver has no receive interrupts, or
    /// [`crate::PortConfig::interrupts`] did not ask for them.
    #[must_use]
    pub fn interrupt(&self) -> Option<RawFd> {
        self.interrupt?.file(self.port, self.queue)
    }

    /// Has the device tell when frames come from now on. Those that are there already are not told of: one
    /// more [`receive`](io::RxQueue::receive) has to come between this and waiting.
    pub fn arm(&mut self) {
        if let Some(interrupt) = self.interrupt {
            let _turn = self.shared.as_deref().map(turn);
            interrupt.switch(self.port, self.queue, true);
        }
    }

    /// The opposite of [`Self::arm`]: spares the other side the work of telling.
    pub fn disarm(&mut self) {
        if let Some(interrupt) = self.interrupt {
            let _turn = self.shared.as_deref().map(turn);
            interrupt.switch(self.port, self.queue, false);
        }
    }

    /// The port's number in DPDK.
    #[must_use]
    pub fn port_id(&self) -> u16 {
        self.device.id()
    }
}

impl TxQueue {
    /// As [`RxQueue::new`].
    pub(crate) fn new(
        device: Arc<Device>,
        queue: u16,
        shared: Option<Arc<Mutex<()>>>,
        mtu: u16,
    ) -> Self {
        Self {
            port: device.id(),
            device,
            queue,
            shared,
            longest: frame_bytes(mtu),
        }
    }

    /// The port's number in DPDK.
    #[must_use]
    pub fn port_id(&self) -> u16 {
        self.device.id()
    }
}

/// Waits for the other users of a queue, each of which has it for one burst.
fn turn(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl io::RxQueue for RxQueue {
    type Buf = Mbuf;

    #[inline]
    fn receive(&mut self, burst: &mut Vec<Mbuf>, max: usize) -> usize {
        let count = u16::try_from(max.min(BURST)).unwrap_or(0);
        let _turn = match self.shared.as_deref().map(Mutex::try_lock) {
            None => None,
            Some(Ok(turn)) => Some(turn),
            Some(Err(TryLockError::Poisoned(turn))) => Some(turn.into_inner()),
            // Another worker takes what is there.
            Some(Err(TryLockError::WouldBlock)) => return 0,
        };
        let (port, queue) = (self.port, self.queue);
        let before = burst.len();
        last_burst::receive(
            BurstSource::Queue { port, queue },
            // SAFETY: the queue is set up and started (`Port::open`) and stays so while `self.device` is
            // held; no other thread polls it, as this is the only `RxQueue` for it and `&mut self`, or the
            // others wait for the lock. There is room for `BURST` pointers, and `count` is no more.
            |frames| unsafe { dpdk_sys::plim_rx_burst(port, queue, frames, count) },
            |frames| {
                for raw in frames.iter().filter_map(|raw| NonNull::new(*raw)) {
                    // SAFETY: DPDK passes ownership of each buffer it returns.
                    match unsafe { Mbuf::from_raw(raw) } {
                        Some(mbuf) => burst.push(mbuf),
                        None => {
                            self.device.rx_too_long.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            },
        );
        burst.len() - before
    }
}

impl io::TxQueue for TxQueue {
    type Buf = Mbuf;

    #[inline]
    fn transmit(&mut self, frames: &mut Vec<Mbuf>) -> usize {
        let count = frames.len();
        let offered = u16::try_from(count).unwrap_or(u16::MAX);
        if offered == 0 {
            return 0;
        }
        let _turn = self.shared.as_deref().map(turn);
        let first = frames.as_mut_ptr();
        // SAFETY: as in `receive` for the queue. An `Mbuf` is a transparent non-null pointer to a
        // buffer that it owns, so the vector is an array of `offered` or more such pointers. DPDK
        // takes the buffers of the prefix whose length it returns, and leaves the others alone.
        let sent = usize::from(unsafe {
            dpdk_sys::plim_tx_burst(
                self.port,
                self.queue,
                first.cast::<*mut rte_mbuf>(),
                offered,
            )
        })
        .min(count);
        let rest = count - sent;
        // SAFETY: the first `sent` elements now belong to DPDK, so they are overwritten or cut off
        // without being dropped; the `rest` behind them are moved to the front, once, and
        // `rest <= count` elements are then initialised.
        unsafe {
            ptr::copy(first.add(sent), first, rest);
            frames.set_len(rest);
        }
        // Some drivers (net_tap) stop at a frame that is too long for them, and would each time: nothing behind it
        // would ever leave.
        if frames
            .first()
            .is_some_and(|frame| frame.bytes().len() > self.longest)
        {
            drop(frames.remove(0));
            self.device.tx_too_long.fetch_add(1, Ordering::Relaxed);
            return sent + 1;
        }
        sent
    }
}

//! [`RxQueue`] and [`TxQueue`]: the driver seam of the data plane on DPDK.
//! They move buffers and count nothing but what DPDK cannot count.

use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dpdk_sys::rte_mbuf;
use plimsoll_dataplane::io::{self, BURST};

use crate::interrupt::Interrupt;
use crate::mbuf::Mbuf;
use crate::port::Device;

/// One receive queue of one port. It exists once, and whoever holds it is its only poller.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
    interrupt: Option<Interrupt>,
    too_long: Arc<AtomicU64>,
}

/// One transmit queue of one port. It exists once, and whoever holds it is its only user.
#[derive(Debug)]
pub struct TxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
}

impl RxQueue {
    /// The queue is set up and started, and no other `RxQueue` is made for it:
    /// `Port::open` upholds both. `too_long` counts frames in several pieces that do not fit one.
    pub(crate) fn new(
        device: Arc<Device>,
        queue: u16,
        interrupt: Option<Interrupt>,
        too_long: Arc<AtomicU64>,
    ) -> Self {
        Self {
            port: device.id(),
            device,
            queue,
            interrupt,
            too_long,
        }
    }

    /// What becomes readable when frames come after [`Self::arm`]; to be waited for edge-triggered, as
    /// [`crate::Interrupts`] does, since nobody reads it. `None` if the driver has no receive interrupts, or
    /// [`crate::PortConfig::interrupts`] did not ask for them.
    #[must_use]
    pub fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the driver keeps the file open until the device is stopped, which it is not while
        // `self.device` is held.
        self.interrupt
            .map(|interrupt| unsafe { BorrowedFd::borrow_raw(interrupt.file()) })
    }

    /// Has the device tell when frames come from now on. Those that are there already are not told of: one
    /// more [`receive`](io::RxQueue::receive) has to come between this and waiting.
    pub fn arm(&mut self) {
        if let Some(interrupt) = self.interrupt {
            interrupt.switch(self.port, self.queue, true);
        }
    }

    /// The opposite of [`Self::arm`]: spares the other side the work of telling.
    pub fn disarm(&mut self) {
        if let Some(interrupt) = self.interrupt {
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
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> Self {
        Self {
            port: device.id(),
            device,
            queue,
        }
    }

    /// The port's number in DPDK.
    #[must_use]
    pub fn port_id(&self) -> u16 {
        self.device.id()
    }
}

impl io::RxQueue for RxQueue {
    type Buf = Mbuf;

    #[inline]
    fn receive(&mut self, burst: &mut Vec<Mbuf>, max: usize) -> usize {
        let mut frames: [*mut rte_mbuf; BURST] = [ptr::null_mut(); BURST];
        let count = u16::try_from(max.min(BURST)).unwrap_or(0);
        // SAFETY: the queue is set up and started (`Port::open`) and stays so while `self.device` is
        // held; no other thread polls it, as this is the only `RxQueue` for it and `&mut self`.
        // The array has room for `count` pointers.
        let count =
            unsafe { dpdk_sys::plim_rx_burst(self.port, self.queue, frames.as_mut_ptr(), count) };
        let before = burst.len();
        for raw in frames
            .iter()
            .take(usize::from(count))
            .filter_map(|raw| NonNull::new(*raw))
        {
            // SAFETY: DPDK passes ownership of each buffer it returns.
            match unsafe { Mbuf::from_raw(raw) } {
                Some(mbuf) => burst.push(mbuf),
                None => {
                    self.too_long.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
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
        sent
    }
}

//! [`Interrupt`]: how one receive queue tells that frames have come.
//! It waits for nothing: that is `waiting.rs`.

use std::os::fd::RawFd;

/// How one receive queue tells that frames have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupt {
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
        let interrupt = Self { switch };
        interrupt.file(port, queue).map(|_| interrupt)
    }

    /// The number of the file that becomes readable, as of now: the driver may close it and open another at any time,
    /// as a vhost does when its peer connects anew. `port` and `queue` are those that it was made of.
    pub(crate) fn file(self, port: u16, queue: u16) -> Option<RawFd> {
        // SAFETY: the queue is set up, and its only user calls this, as `Self::of` demands.
        let file = unsafe { dpdk_sys::rte_eth_dev_rx_intr_ctl_q_get_fd(port, queue) };
        (file >= 0).then_some(file)
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

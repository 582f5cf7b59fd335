//! Ports in memory and the other ends of their wires: what the simulator and tests poll in place of a NIC.
//! No pcap format and no clock belong here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::queue::SegQueue;

use super::heap::HeapBuf;
use super::{QueuePair, RxQueue, TxQueue};

/// The receive queue of a port in memory.
#[derive(Debug)]
pub struct MemoryRx {
    frames: Arc<SegQueue<HeapBuf>>,
}

impl RxQueue for MemoryRx {
    type Buf = HeapBuf;

    fn receive(&mut self, burst: &mut Vec<HeapBuf>, max: usize) -> usize {
        let before = burst.len();
        burst.extend(std::iter::from_fn(|| self.frames.pop()).take(max));
        burst.len() - before
    }
}

/// The transmit queue of a port in memory.
#[derive(Debug)]
pub struct MemoryTx {
    frames: Arc<SegQueue<HeapBuf>>,
    link: Arc<Link>,
}

impl TxQueue for MemoryTx {
    type Buf = HeapBuf;

    fn transmit(&mut self, frames: &mut Vec<HeapBuf>) -> usize {
        let limit = self.link.tx_limit.load(Ordering::Relaxed);
        let count = limit.saturating_sub(self.frames.len()).min(frames.len());
        for frame in frames.drain(..count) {
            self.frames.push(frame);
        }
        count
    }
}

/// What both ends of a wire know of it.
#[derive(Debug)]
struct Link {
    is_down: AtomicBool,
    /// Frames that the receive queue holds at most.
    rx_limit: AtomicUsize,
    /// Frames that the transmit queue holds at most.
    tx_limit: AtomicUsize,
    /// Frames that found the receive queue full.
    missed: AtomicU64,
    /// Frames sent to the port while the link was down.
    lost: AtomicU64,
}

/// The other end of a port in memory: what the network sees. Clones are the same end.
#[derive(Debug, Clone)]
pub struct MemoryWire {
    to_port: Arc<SegQueue<HeapBuf>>,
    from_port: Arc<SegQueue<HeapBuf>>,
    link: Arc<Link>,
}

impl MemoryWire {
    /// Sends a copy of `frame` to the port.
    pub fn send(&self, frame: &[u8]) {
        self.send_buf(HeapBuf::from_frame(frame));
    }

    /// Sends `frame` to the port. It is lost, and counted, while the link is down or the port's
    /// receive queue is full.
    pub fn send_buf(&self, frame: HeapBuf) {
        if self.is_down() {
            self.link.lost.fetch_add(1, Ordering::Relaxed);
        } else if self.to_port.len() >= self.link.rx_limit.load(Ordering::Relaxed) {
            self.link.missed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.to_port.push(frame);
        }
    }

    /// The oldest frame that the port sent and nobody has taken; none while the link is down.
    #[must_use]
    pub fn receive(&self) -> Option<HeapBuf> {
        if self.is_down() {
            return None;
        }
        self.from_port.pop()
    }

    /// All frames that the port sent and nobody has taken; none while the link is down.
    #[must_use]
    pub fn drain(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive())
            .map(|frame| frame.to_vec())
            .collect()
    }

    /// Frames sent to the port that it has not received yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.to_port.len()
    }

    /// Frames in the port's transmit queue that nobody has taken.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.from_port.len()
    }

    /// Frames lost since the port's receive queue was full.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.link.missed.load(Ordering::Relaxed)
    }

    /// Frames sent to the port that were lost since the link was down.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.link.lost.load(Ordering::Relaxed)
    }

    /// From now on the port's receive queue is full when it holds `frames` that it has not received.
    pub fn set_rx_limit(&self, frames: usize) {
        self.link.rx_limit.store(frames, Ordering::Relaxed);
    }

    /// From now on the port's transmit queue is full when it holds `frames` that nobody has taken.
    pub fn set_tx_limit(&self, frames: usize) {
        self.link.tx_limit.store(frames, Ordering::Relaxed);
    }

    /// Takes the link down, or brings it back. While it is down nothing arrives at the port, and
    /// what the port sends stays in its transmit queue.
    pub fn set_down(&self, is_down: bool) {
        self.link.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Whether the link is down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.link.is_down.load(Ordering::Relaxed)
    }
}

/// A port in memory and the other end of its wire. Its link is up, and its queues take everything, until
/// the wire's setters say otherwise.
#[must_use]
pub fn memory_port() -> (QueuePair<MemoryRx, MemoryTx>, MemoryWire) {
    let wire = MemoryWire {
        to_port: Arc::default(),
        from_port: Arc::default(),
        link: Arc::new(Link {
            is_down: AtomicBool::new(false),
            rx_limit: AtomicUsize::new(usize::MAX),
            tx_limit: AtomicUsize::new(usize::MAX),
            missed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }),
    };
    let queues = QueuePair {
        rx: MemoryRx {
            frames: Arc::clone(&wire.to_port),
        },
        tx: MemoryTx {
            frames: Arc::clone(&wire.from_port),
            link: Arc::clone(&wire.link),
        },
    };
    (queues, wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::PacketBuf as _;

    #[test]
    fn a_full_queue_leaves_the_unsent_tail_in_order() {
        let (mut port, wire) = memory_port();
        wire.set_tx_limit(2);
        let mut frames: Vec<_> = (0..3_u8).map(|n| HeapBuf::from_frame(&[n])).collect();
        assert_eq!(port.tx.transmit(&mut frames), 2);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].bytes(), [2]);
        assert_eq!(port.tx.transmit(&mut frames), 0);
        assert_eq!(wire.drain(), [[0], [1]]);
        assert_eq!(port.tx.transmit(&mut frames), 1);
        assert!(frames.is_empty());
    }

    #[test]
    fn a_burst_takes_no_more_than_asked_for() {
        let (mut port, wire) = memory_port();
        for n in 0..5 {
            wire.send(&[n]);
        }
        let mut burst = Vec::new();
        assert_eq!(port.rx.receive(&mut burst, 3), 3);
        assert_eq!(wire.pending(), 2);
        assert_eq!(port.rx.receive(&mut burst, 3), 2);
        assert_eq!(port.rx.receive(&mut burst, 3), 0);
        assert_eq!(burst.len(), 5);
    }

    #[test]
    fn a_full_receive_queue_loses_what_comes_and_counts_it() {
        let (mut port, wire) = memory_port();
        wire.set_rx_limit(2);
        for n in 0..5 {
            wire.send(&[n]);
        }
        assert_eq!((wire.pending(), wire.missed()), (2, 3));
        let mut burst = Vec::new();
        port.rx.receive(&mut burst, 1);
        wire.send(&[5]);
        port.rx.receive(&mut burst, 9);
        let bytes: Vec<_> = burst.iter().map(|frame| frame.bytes()[0]).collect();
        assert_eq!((bytes, wire.missed()), (vec![0, 1, 5], 3));
    }

    #[test]
    fn a_link_that_is_down_lets_nothing_in_and_keeps_what_is_queued() {
        let (mut port, wire) = memory_port();
        wire.set_tx_limit(1);
        wire.set_down(true);
        wire.send(&[1]);
        assert_eq!((wire.pending(), wire.lost()), (0, 1));
        let mut frames = vec![HeapBuf::from_frame(&[2]), HeapBuf::from_frame(&[3])];
        assert_eq!(port.tx.transmit(&mut frames), 1);
        assert_eq!(port.tx.transmit(&mut frames), 0);
        assert_eq!((wire.drain(), wire.queued()), (vec![], 1));
        wire.set_down(false);
        assert_eq!(wire.drain(), [[2]]);
        assert_eq!(port.tx.transmit(&mut frames), 1);
    }
}

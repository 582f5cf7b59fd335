//! [`HeapBuf`]: a packet buffer on the heap, and a pool of them that can run dry.
//! No queue belongs here, and nothing that knows what a frame means.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{HEADROOM_BYTES, NoRoom, PacketBuf, Pool};

/// Bytes in a [`HeapBuf`] unless another number is asked for: DPDK's usual data room.
pub const CAPACITY_BYTES: usize = HEADROOM_BYTES + 2048;

/// A packet buffer on the heap, with as strict limits as a real one.
#[derive(Debug)]
pub struct HeapBuf {
    /// Headroom and frame; what lies in front of `start` is headroom.
    storage: Vec<u8>,
    start: usize,
    capacity: usize,
    lease: Option<Lease>,
}

impl HeapBuf {
    /// A buffer with a copy of `frame`, the usual headroom in front of it and the usual capacity,
    /// or as much more as the frame needs.
    #[must_use]
    pub fn from_frame(frame: &[u8]) -> Self {
        let capacity = CAPACITY_BYTES.max(HEADROOM_BYTES + frame.len());
        let mut buf = Self::with_capacity(capacity);
        buf.storage.extend_from_slice(frame);
        buf
    }

    /// An empty buffer that takes `capacity` bytes, headroom included.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(HEADROOM_BYTES);
        let mut storage = Vec::with_capacity(capacity);
        storage.resize(HEADROOM_BYTES, 0);
        Self {
            storage,
            start: HEADROOM_BYTES,
            capacity,
            lease: None,
        }
    }

    /// Bytes in front of the frame.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.start
    }

    /// A copy of the frame.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }
}

/// A copy of the frame alone: it is nobody's loan.
impl Clone for HeapBuf {
    fn clone(&self) -> Self {
        Self {
            storage: self.storage.clone(),
            start: self.start,
            capacity: self.capacity,
            lease: None,
        }
    }
}

impl PacketBuf for HeapBuf {
    fn bytes(&self) -> &[u8] {
        self.storage.get(self.start..).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage.get_mut(self.start..).unwrap_or_default()
    }

    fn prepend(&mut self, count: usize) -> Result<(), NoRoom> {
        self.start = self.start.checked_sub(count).ok_or(NoRoom)?;
        Ok(())
    }

    fn trim_front(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.storage.len());
    }

    fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        let end = self.start.checked_add(len).ok_or(NoRoom)?;
        if end > self.capacity {
            return Err(NoRoom);
        }
        // A pattern that nobody mistakes for cleared memory: a real buffer holds old packets.
        self.storage.resize(end, 0xa5);
        Ok(())
    }
}

/// Gives a buffer back to its pool when it is dropped.
#[derive(Debug)]
struct Lease(Arc<AtomicUsize>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A pool that can run dry. Clones share their buffers.
#[derive(Debug, Clone)]
pub struct MemoryPool {
    free: Arc<AtomicUsize>,
    capacity: usize,
}

impl MemoryPool {
    /// A pool of `count` buffers of the usual capacity.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self::with_capacity(count, CAPACITY_BYTES)
    }

    /// A pool of `count` buffers of `capacity` bytes each, headroom included.
    #[must_use]
    pub fn with_capacity(count: usize, capacity: usize) -> Self {
        Self {
            free: Arc::new(AtomicUsize::new(count)),
            capacity,
        }
    }

    /// Buffers that nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

impl Pool for MemoryPool {
    type Buf = HeapBuf;

    fn allocate(&mut self) -> Option<HeapBuf> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(1)
            })
            .ok()?;
        let mut buf = HeapBuf::with_capacity(self.capacity);
        buf.lease = Some(Lease(Arc::clone(&self.free)));
        Some(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_bytes_when_it_grows_and_shrinks() {
        let mut buf = HeapBuf::from_frame(&[1, 2, 3]);
        assert_eq!(buf.prepend(HEADROOM_BYTES + 1), Err(NoRoom));
        buf.prepend(2).unwrap();
        assert_eq!(buf.bytes().len(), 5);
        buf.trim_front(2);
        assert_eq!(buf.bytes(), [1, 2, 3]);
        buf.set_len(5).unwrap();
        assert_eq!(buf.bytes()[..3], [1, 2, 3]);
        assert_eq!(buf.set_len(CAPACITY_BYTES), Err(NoRoom));
        assert_eq!(buf.bytes().len(), 5);
        buf.set_len(1).unwrap();
        buf.trim_front(7);
        assert!(buf.bytes().is_empty());
    }

    #[test]
    fn a_pool_runs_dry_and_gets_its_buffers_back() {
        let mut pool = MemoryPool::new(2);
        let first = pool.allocate().unwrap();
        let second = pool.allocate().unwrap();
        assert_eq!(first.headroom(), HEADROOM_BYTES);
        assert!(first.bytes().is_empty());
        assert!(pool.allocate().is_none());
        drop(first);
        assert_eq!(pool.free(), 1);
        let copy = second.clone();
        drop((second, copy));
        assert_eq!(pool.free(), 2);
    }
}

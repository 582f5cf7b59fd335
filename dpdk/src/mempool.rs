//! [`Mempool`]: where packet buffers come from and go back to.
//! It does not decide how many a daemon needs; it is made once at the start and never freed.

use std::ffi::CString;
use std::io;
use std::ptr::{self, NonNull};

use dpdk_sys::rte_mempool;
use plimsoll_dataplane::io::{BURST, HEADROOM_BYTES, Pool};

use crate::eal::Eal;
use crate::mbuf::Mbuf;
use crate::messages;

// A received frame has DPDK's own headroom in front of it, which is fixed when DPDK is built.
const _: () = assert!(
    dpdk_sys::PLIM_HEADROOM as usize >= HEADROOM_BYTES,
    "this DPDK was built with a smaller RTE_PKTMBUF_HEADROOM than the data plane relies on"
);

/// Most buffers that a thread keeps for itself, so that it need not go to the shared ring each time.
const CACHE: u32 = 256;

/// A pool of packet buffers cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The name cannot be used.
    #[error("packet pool `{name}`: a name has 1 to 25 bytes, none of them NUL")]
    Name {
        /// As given.
        name: String,
    },
    /// The buffers are too small or too large.
    #[error(
        "packet pool `{name}`: {data_room} bytes of data room per buffer; at least the headroom \
         ({headroom}) and at most 65535 are needed"
    )]
    DataRoom {
        /// The pool.
        name: String,
        /// As given.
        data_room: usize,
        /// Of this DPDK.
        headroom: usize,
    },
    /// DPDK refused.
    #[error("packet pool `{name}`: {count} buffers of {data_room} bytes ({mib} MiB): {reason}")]
    Create {
        /// The pool.
        name: String,
        /// Buffers asked for.
        count: u32,
        /// Bytes in each.
        data_room: usize,
        /// What they need, roughly.
        mib: u64,
        /// Why not, and what to do.
        reason: String,
    },
}

/// Packet buffers, all of one size. It lives as long as the process, whoever drops this.
#[derive(Debug)]
pub struct Mempool {
    raw: NonNull<rte_mempool>,
    count: u32,
    data_room: usize,
}

// SAFETY: the pool is created without the single-producer and single-consumer flags, so any thread
// may take buffers out and put buffers back, and its counters may be read at any time.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool of `count` buffers, each with `data_room` bytes including the headroom
    /// (see [`crate::device::data_room`]).
    ///
    /// Drivers hold as many buffers as they have receive descriptors, and each registered thread
    /// keeps up to 384 in its cache: `count` must be larger than the sum of these.
    ///
    /// # Errors
    /// [`PoolError`], mostly because the memory given to DPDK is too small.
    pub fn new(_eal: &Eal, name: &str, count: u32, data_room: usize) -> Result<Self, PoolError> {
        let c_name = CString::new(name)
            .ok()
            .filter(|c_name| (1..=25).contains(&c_name.as_bytes().len()))
            .ok_or_else(|| PoolError::Name {
                name: name.to_owned(),
            })?;
        let headroom = dpdk_sys::PLIM_HEADROOM as usize;
        let room = u16::try_from(data_room)
            .ok()
            .filter(|room| usize::from(*room) > headroom)
            .ok_or_else(|| PoolError::DataRoom {
                name: name.to_owned(),
                data_room,
                headroom,
            })?;
        let cache = CACHE.min(count / 8);
        // SAFETY: DPDK is initialised (`_eal`); the name is a C string, which DPDK copies.
        let raw = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, cache, 0, room, -1)
        };
        let raw = NonNull::new(raw).ok_or_else(|| {
            // SAFETY: reads a variable of the calling thread.
            let errno = unsafe { dpdk_sys::plim_errno() };
            let advice = match errno {
                libc::ENOMEM => " (raise dataplane.memory.size)",
                libc::EEXIST => " (the name is taken)",
                _ => "",
            };
            PoolError::Create {
                name: name.to_owned(),
                count,
                data_room,
                mib: (u64::from(count) * (u64::from(room) + 192)) >> 20,
                reason: format!(
                    "{}{advice}{}",
                    io::Error::from_raw_os_error(errno),
                    messages::quoted()
                ),
            }
        })?;
        Ok(Self {
            raw,
            count,
            data_room,
        })
    }

    /// What a worker allocates from.
    #[must_use]
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { raw: self.raw }
    }

    /// Buffers in all.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes per buffer, headroom included.
    #[must_use]
    pub fn data_room(&self) -> usize {
        self.data_room
    }

    /// Buffers that nobody holds now; those in threads' caches count as free. Slow and inexact
    /// while workers run: for metrics.
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is alive, as pools are never freed.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// Buffers held by drivers, workers and queues now; as exact as [`Self::available`].
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.count.saturating_sub(self.available())
    }

    pub(crate) fn raw(&self) -> NonNull<rte_mempool> {
        self.raw
    }
}

/// One worker's access to a [`Mempool`].
#[derive(Debug)]
pub struct PoolHandle {
    raw: NonNull<rte_mempool>,
}

// SAFETY: as for `Mempool`.
unsafe impl Send for PoolHandle {}

impl Pool for PoolHandle {
    type Buf = Mbuf;

    #[inline]
    fn allocate(&mut self) -> Option<Mbuf> {
        // SAFETY: the pool is alive, as pools are never freed.
        let raw = NonNull::new(unsafe { dpdk_sys::plim_mbuf_alloc(self.raw.as_ptr()) })?;
        // SAFETY: DPDK gave us this buffer, alone, reset to one empty segment.
        unsafe { Mbuf::from_raw(raw) }
    }

    #[inline]
    fn allocate_burst(&mut self, frames: &mut Vec<Mbuf>, count: usize) -> usize {
        let mut raw = [ptr::null_mut(); BURST];
        let before = frames.len();
        while frames.len() - before < count {
            let step = (count + before - frames.len()).min(BURST);
            let asked = u32::try_from(step).unwrap_or(0);
            // SAFETY: the pool is alive, as pools are never freed; the array has room for `asked`
            // pointers.
            let status = unsafe {
                dpdk_sys::plim_mbuf_alloc_bulk(self.raw.as_ptr(), raw.as_mut_ptr(), asked)
            };
            // DPDK gives all or none.
            if status != 0 {
                break;
            }
            for raw in raw.iter().take(step).filter_map(|raw| NonNull::new(*raw)) {
                // SAFETY: as in `allocate`.
                frames.extend(unsafe { Mbuf::from_raw(raw) });
            }
        }
        frames.len() - before
    }
}

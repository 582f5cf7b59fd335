//! [`Mbuf`]: one packet buffer of DPDK with one owner.
//! It knows nothing of packets, and not where a buffer's fields are: that is `fields.rs`.

use std::fmt;
use std::ptr::NonNull;

use dpdk_sys::rte_mbuf;
use plimsoll_dataplane::io::{NoRoom, PacketBuf};

use crate::fields::{BUF_ADDR, BUF_LEN, DATA_LEN, DATA_OFF, Field, NB_SEGS, PKT_LEN};
use crate::last_burst;

/// One packet buffer: a frame in one piece, which goes back to its pool when it is dropped.
///
/// It is a pointer and nothing more, so that a `Vec<Mbuf>` is what DPDK takes to send.
///
/// Invariant, upheld by the two places that make one ([`crate::RxQueue`] and
/// [`crate::PoolHandle`]): the pointer is to a live buffer of one segment, with reference count 1,
/// that nobody else holds, and `data_off + data_len <= buf_len`. Pools live as long as the process.
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

// SAFETY: an `Mbuf` is the only owner of its buffer, and DPDK's pools take a buffer back from any
// thread (they are created for many producers and many consumers, see `Mempool::new`).
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership of a buffer; one of several segments is copied into one.
    ///
    /// `None` (and the buffer is freed) where the frame is too long for one piece.
    ///
    /// # Safety
    /// The caller owns `raw`, a live chain of buffers with reference count 1.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Option<Self> {
        let mbuf = Self(raw);
        if mbuf.field(NB_SEGS) == 1 {
            return Some(mbuf);
        }
        // SAFETY: the caller owns the chain, and says that it is alive.
        let status = unsafe { dpdk_sys::plim_mbuf_linearize(raw.as_ptr()) };
        (status == 0).then_some(mbuf)
    }

    #[inline]
    fn field<T: Copy>(&self, field: Field<T>) -> T {
        // SAFETY: the buffer is alive (invariant of `Mbuf`).
        unsafe { field.of(self.0).read() }
    }

    #[inline]
    fn set_field<T: Copy>(&mut self, field: Field<T>, value: T) {
        // SAFETY: as in `field`; `&mut self` is the only access to the buffer.
        unsafe { field.of(self.0).write(value) }
    }

    /// Bytes free in front of the frame.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.field(DATA_OFF))
    }

    /// Bytes free behind the frame.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        usize::from(self.field(BUF_LEN)).saturating_sub(self.headroom() + self.length())
    }

    #[inline]
    fn length(&self) -> usize {
        usize::from(self.field(DATA_LEN))
    }

    #[inline]
    fn start(&self) -> *mut u8 {
        let buffer = self.field(BUF_ADDR);
        // SAFETY: `data_off <= buf_len` (invariant of `Mbuf`), so the result is in the buffer.
        unsafe { buffer.add(self.headroom()) }
    }

    #[inline]
    fn set_extent(&mut self, data_off: u16, data_len: u16) {
        self.set_field(DATA_OFF, data_off);
        self.set_field(DATA_LEN, data_len);
        self.set_field(PKT_LEN, u32::from(data_len));
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own the buffer (invariant of `Mbuf`), its pool is never freed, and the pointer
        // is not used after this.
        unsafe { dpdk_sys::plim_mbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("headroom", &self.headroom())
            .field("length", &self.length())
            .field("tailroom", &self.tailroom())
            .finish()
    }
}

impl PacketBuf for Mbuf {
    fn remember(burst: &[Self]) {
        last_burst::hand_over(burst.iter().map(|mbuf| mbuf.0));
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the frame's bytes are in the buffer (invariant of `Mbuf`), which was mapped with
        // content (so no byte is uninitialised) and is borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.start(), self.length()) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` is the only access to the buffer.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.length()) }
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> Result<(), NoRoom> {
        let data_off = self.headroom().checked_sub(count).ok_or(NoRoom)?;
        let data_len = self.length().checked_add(count).ok_or(NoRoom)?;
        self.set_extent(
            u16::try_from(data_off).map_err(|_| NoRoom)?,
            u16::try_from(data_len).map_err(|_| NoRoom)?,
        );
        Ok(())
    }

    #[inline]
    fn trim_front(&mut self, count: usize) {
        let count = u16::try_from(count)
            .unwrap_or(u16::MAX)
            .min(self.field(DATA_LEN));
        let data_off = self.field(DATA_OFF) + count;
        let data_len = self.field(DATA_LEN) - count;
        self.set_extent(data_off, data_len);
    }

    #[inline]
    fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        if len > self.length() + self.tailroom() {
            return Err(NoRoom);
        }
        let data_off = self.field(DATA_OFF);
        self.set_extent(data_off, u16::try_from(len).map_err(|_| NoRoom)?);
        Ok(())
    }
}

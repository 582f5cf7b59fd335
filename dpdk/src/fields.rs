//! Where the fields of DPDK's packet buffers are, and [`Peek`]: a look at a buffer of somebody else's.
//! It owns no buffer, and writes to none.

use std::marker::PhantomData;
use std::ptr::NonNull;

use dpdk_sys::rte_mbuf;

/// The offset of a field in the headers of the installed DPDK; shim.c checks at build time that its width is `T`'s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<T>(u32, PhantomData<T>);

pub(crate) const BUF_ADDR: Field<*mut u8> = Field(dpdk_sys::PLIM_MBUF_BUF_ADDR, PhantomData);
pub(crate) const DATA_OFF: Field<u16> = Field(dpdk_sys::PLIM_MBUF_DATA_OFF, PhantomData);
pub(crate) const NB_SEGS: Field<u16> = Field(dpdk_sys::PLIM_MBUF_NB_SEGS, PhantomData);
pub(crate) const PKT_LEN: Field<u32> = Field(dpdk_sys::PLIM_MBUF_PKT_LEN, PhantomData);
pub(crate) const DATA_LEN: Field<u16> = Field(dpdk_sys::PLIM_MBUF_DATA_LEN, PhantomData);
pub(crate) const BUF_LEN: Field<u16> = Field(dpdk_sys::PLIM_MBUF_BUF_LEN, PhantomData);

impl<T> Field<T> {
    /// Its place in a buffer, to be read and written as long as the buffer is alive.
    #[inline]
    pub(crate) const fn of(self, raw: NonNull<rte_mbuf>) -> *mut T {
        raw.as_ptr().wrapping_byte_add(self.0 as usize).cast()
    }
}

/// A look at a buffer that may be somebody else's by now, and be changing: nothing that it says is relied on.
pub(crate) struct Peek {
    start: *const u8,
    len: usize,
}

impl Peek {
    /// # Safety
    /// `raw` is a buffer of a pool, all of which live as long as the process.
    pub(crate) unsafe fn at(raw: NonNull<rte_mbuf>) -> Self {
        // SAFETY: the buffer is there, as the caller says; volatile, as another thread may write it.
        let field = |field: Field<u16>| unsafe { field.of(raw).read_volatile() };
        // SAFETY: as above. DPDK sets the address when it makes the pool, and nobody changes it.
        let buffer = unsafe { BUF_ADDR.of(raw).read_volatile() };
        let room = usize::from(field(BUF_LEN));
        let offset = usize::from(field(DATA_OFF)).min(room);
        Self {
            // In the buffer, whatever the fields say just now.
            start: buffer.wrapping_add(offset),
            len: usize::from(field(DATA_LEN)).min(room - offset),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies bytes from `offset` on; returns how many there were.
    pub(crate) fn copy(&self, offset: usize, into: &mut [u8]) -> usize {
        let mut count = 0;
        for (at, byte) in (offset..self.len).zip(into) {
            // SAFETY: `start + at` is in the buffer (`Self::at`), whose memory lives as long as the process.
            *byte = unsafe { self.start.wrapping_add(at).read_volatile() };
            count += 1;
        }
        count
    }
}

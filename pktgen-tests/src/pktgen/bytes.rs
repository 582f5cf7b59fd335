//! Arrays of bytes read from and written to a place in a frame, however short the frame is.
//!
//! Must not know what stands there, nor in which byte order.

/// The bytes at `at`; zeros where the frame has ended.
#[inline]
pub(super) fn chunk<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let bytes = frame.get(at..).and_then(<[u8]>::first_chunk);
    bytes.copied().unwrap_or([0; N])
}

/// Writes at `at`; nothing where there is no room.
#[inline]
pub(super) fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = bytes;
    }
}

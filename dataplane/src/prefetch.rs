//! The hint that a line of memory will be read soon: the crate's one use of unsafe code.
//! Nothing else may be unsafe here, and nothing may depend on the hint having an effect.

#![expect(unsafe_code, reason = "_mm_prefetch takes a raw pointer")]

/// Bytes of a cache line on x86_64.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks the CPU to bring `slice[index]` into its caches: all lines of it, if it begins with a line. Does nothing if there
/// is no such element.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    let Some(element) = slice.get(index) else {
        return;
    };
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(element).cast::<i8>();
        for line in 0..size_of::<T>().div_ceil(LINE) {
            // SAFETY: the address is within `element`, and a prefetch neither reads nor writes what a program can
            // observe. SSE belongs to every x86_64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line * LINE)) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = element;
}

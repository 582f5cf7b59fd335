//! The hint that a line of memory will be read soon: the crate's one use of unsafe code.
//! Nothing else may be unsafe here, and nothing may depend on the hint having an effect.

#![expect(unsafe_code, reason = "_mm_prefetch takes a raw pointer")]

/// Asks the CPU to bring `slice[index]` into its caches. Does nothing if there is no such element.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    let Some(element) = slice.get(index) else {
        return;
    };
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: `element` is a reference, so the address is valid, and a prefetch neither reads
        // nor writes what a program can observe. SSE belongs to every x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = element;
}

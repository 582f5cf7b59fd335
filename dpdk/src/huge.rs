//! Large allocations in huge pages: a lookup in a table of many ordinary pages waits for the page tables
//! first. Which binary uses it, and for what, is the binary's.
//!
//! Transparent huge pages are asked for (`madvise`, which also works where the system gives none unasked),
//! so nothing has to be reserved. Whoever wants them from the start writes all of the memory once, as
//! the data plane's tables do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};

use allocator_api2::alloc::{AllocError, Allocator, Global};

/// Bytes of a huge page on x86_64 and, with ordinary pages of 4 KiB, on aarch64.
const HUGE_PAGE: usize = 2 << 20;

/// Allocations of this size and more have pages of their own.
const LARGE: usize = 2 * HUGE_PAGE;

/// An allocator for `#[global_allocator]`: the system's, but with huge pages, straight from the kernel, for what is
/// large. What the system's allocator gives again after somebody freed it is in ordinary pages already.
#[derive(Debug, Clone, Copy, Default)]
pub struct HugePages;

const fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= HUGE_PAGE
}

/// Bytes of the pages for `size`; `None` if no address space is that large.
fn paged(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(HUGE_PAGE)
}

/// New pages for `size` bytes, all 0, which begin at a huge page; null if there are none.
fn map(size: usize) -> *mut u8 {
    let Some((size, whole)) =
        paged(size).and_then(|size| Some((size, size.checked_add(HUGE_PAGE)?)))
    else {
        return ptr::null_mut();
    };
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), whole, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    let before = start.addr().next_multiple_of(HUGE_PAGE) - start.addr();
    let first = start.wrapping_byte_add(before);
    // SAFETY: both ends, one of which may be empty, are parts of the mapping that was just made, and nobody has them.
    // A refusal to give huge pages harms nothing.
    unsafe {
        if before > 0 {
            libc::munmap(start, before);
        }
        if before < HUGE_PAGE {
            libc::munmap(first.wrapping_byte_add(size), HUGE_PAGE - before);
        }
        libc::madvise(first, size, libc::MADV_HUGEPAGE);
    }
    first.cast()
}

// SAFETY: what is not large comes from `System` and goes back to it with its layout. What is large is a mapping of its own,
// aligned to a huge page and so to the layout's alignment, of at least its size; which of both it is follows from the
// layout alone, so freeing finds the same.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's layout has a size other than 0.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if is_large(layout) {
            let size = paged(layout.size()).unwrap_or(layout.size());
            // SAFETY: the caller has it from `map` with this size, and uses it no more.
            unsafe { libc::munmap(start.cast(), size) };
            return;
        }
        // SAFETY: the caller has it from `System` with this layout.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout) {
            // SAFETY: as in `alloc`.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let start = map(layout.size());
        if !start.is_null() {
            // Zero already, but not there yet: the first packet that needs a page would wait for it.
            // SAFETY: so many bytes are there to be written.
            unsafe { start.write_bytes(0, layout.size()) };
        }
        start
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size`, rounded up to the alignment, is a valid size.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !is_large(layout) && !is_large(wanted) {
            // SAFETY: the caller has it from `System` with this layout, and its promises are System's.
            return unsafe { System.realloc(start, layout, size) };
        }
        // SAFETY: both pieces have the lesser of both sizes, and are two.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(start, layout.size().min(size));
                self.dealloc(start, layout);
            }
            moved
        }
    }
}

// SAFETY: what `alloc` gives is valid until it is given to `dealloc`, whichever copy of this does either, since it has no state.
unsafe impl Allocator for HugePages {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Global.allocate(layout);
        }
        // SAFETY: the size is not 0.
        let start = unsafe { self.alloc(layout) };
        let start = NonNull::new(start).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller has it from `allocate` with this layout, and that from `alloc`.
            unsafe { self.dealloc(start.as_ptr(), layout) }
        }
    }
}

/// How much of the memory that huge pages were asked for is in such pages. The kernel gives ordinary ones where it finds
/// no free memory in pieces of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Bytes that have been written at least once, in whole huge pages: what a mapping has beyond can be in none.
    pub resident: u64,
    /// Of these, bytes in huge pages.
    pub huge: u64,
}

impl Coverage {
    /// That of this process now. Reading it takes the kernel some milliseconds for each gigabyte.
    ///
    /// # Errors
    ///
    /// When `/proc/self/smaps` cannot be read.
    pub fn here() -> std::io::Result<Self> {
        Ok(Self::of(&std::fs::read_to_string("/proc/self/smaps")?))
    }

    /// What has been added since `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            resident: self.resident.saturating_sub(before.resident),
            huge: self.huge.saturating_sub(before.huge),
        }
    }

    /// How many of 100 bytes are in huge pages; `None` if huge pages were asked for nothing.
    #[must_use]
    pub const fn percent(&self) -> Option<u64> {
        (self.huge * 100).checked_div(self.resident)
    }

    /// Of what proc(5) says about mappings: those with the flag `hg` were advised to have huge pages.
    fn of(smaps: &str) -> Self {
        let mut all = Self::default();
        let mut mapping = Self::default();
        for line in smaps.lines() {
            let mut words = line.split_ascii_whitespace();
            let (field, value) = (words.next(), words.next().unwrap_or_default());
            let bytes = || value.parse::<u64>().unwrap_or(0) << 10;
            match field {
                Some("Rss:") => mapping.resident = bytes(),
                Some("AnonHugePages:") => mapping.huge = bytes(),
                // The last line of each mapping.
                Some("VmFlags:") => {
                    if line.split_ascii_whitespace().any(|flag| flag == "hg") {
                        all.resident += mapping.resident / HUGE_PAGE as u64 * HUGE_PAGE as u64;
                        all.huge += mapping.huge;
                    }
                    mapping = Self::default();
                }
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::flow::V4;
    use plimsoll_dataplane::memory::Memory;
    use plimsoll_dataplane::session::SessionTable;

    use super::*;

    #[test]
    fn only_mappings_that_were_advised_count() {
        let mapping = |rss, huge, flags| {
            format!(
                "7f00-7f40 rw-p 0 00:00 0\nSize: 9999 kB\nRss: {rss} kB\nAnonHugePages: {huge} kB\nVmFlags: {flags}\n"
            )
        };
        let smaps = [
            mapping(7000, 4096, "rd wr mr hg"),
            mapping(500, 0, "rd wr"),
            mapping(2048, 2048, "hg rd"),
        ];
        let coverage = Coverage::of(&smaps.concat());
        let expected = Coverage {
            resident: 8192 << 10,
            huge: 6144 << 10,
        };
        assert_eq!((coverage, coverage.percent()), (expected, Some(75)));
        assert_eq!(Coverage::of("nonsense\nRss:\n").percent(), None);
    }

    #[test]
    fn what_is_written_is_resident() {
        // SAFETY: freed with the layout that it was allocated with.
        unsafe {
            let start = HugePages.alloc_zeroed(layout(4 * LARGE));
            let now = Coverage::here().unwrap();
            assert!(now.resident >= 4 * LARGE as u64);
            assert!(now.huge <= now.resident);
            HugePages.dealloc(start, layout(4 * LARGE));
        }
    }

    #[test]
    fn a_table_that_is_given_huge_pages_lies_in_them() {
        const SESSIONS: u32 = 1 << 21;
        let before = Coverage::here().unwrap();
        let table = SessionTable::<V4>::new(SESSIONS, [1, 2, 3, 4], Memory::new(&HugePages));
        let taken = Coverage::here().unwrap().since(&before).resident;
        assert_eq!(table.capacity(), SESSIONS as usize);
        // Other tests free some, but not as much as the free slots of this table.
        assert!(taken >= u64::from(SESSIONS) * 64, "{taken}");
    }

    #[test]
    fn nothing_can_be_allocated_and_freed() {
        let none = HugePages.allocate(layout(0)).unwrap();
        assert_eq!(none.len(), 0);
        // SAFETY: freed with the layout that it was allocated with.
        unsafe { HugePages.deallocate(none.cast(), layout(0)) };
        assert!(HugePages.allocate(layout(isize::MAX as usize - 7)).is_err());
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn what_is_large_begins_at_a_huge_page_and_what_is_small_is_the_systems() {
        assert!(!is_large(layout(LARGE - 1)) && is_large(layout(LARGE)));
        let wider = Layout::from_size_align(LARGE, 2 * HUGE_PAGE).unwrap();
        for layout in [layout(LARGE + 5), wider] {
            // SAFETY: within the size, and freed with the layout that it was allocated with.
            unsafe {
                let start = HugePages.alloc(layout);
                assert!(
                    !start.is_null() && start.addr().is_multiple_of(layout.align().max(HUGE_PAGE))
                );
                start.add(layout.size() - 1).write(1);
                HugePages.dealloc(start, layout);
            }
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let size = isize::MAX as usize - 7;
        // SAFETY: nothing is allocated.
        unsafe {
            assert!(HugePages.alloc(layout(size)).is_null());
            assert!(HugePages.alloc_zeroed(layout(size)).is_null());
        }
    }

    #[test]
    fn content_survives_growth_from_small_to_large_and_back() {
        // SAFETY: within the sizes that were allocated, and with the layouts of the calls before.
        unsafe {
            let mut start = HugePages.alloc_zeroed(layout(64));
            start.write_bytes(7, 64);
            for (old, new) in [
                (64, 4096),
                (4096, LARGE),
                (LARGE, 2 * LARGE),
                (2 * LARGE, 64),
            ] {
                start = HugePages.realloc(start, layout(old), new);
                assert!(
                    (0..64).all(|at| start.add(at).read() == 7),
                    "{old} to {new}"
                );
            }
            HugePages.dealloc(start, layout(64));
        }
    }

    #[test]
    fn zeroed_memory_is_zero_however_large() {
        for size in [100, LARGE, LARGE + 100] {
            // SAFETY: within the size, and freed with the same layout.
            unsafe {
                let start = HugePages.alloc_zeroed(layout(size));
                assert_eq!((start.read(), start.add(size - 1).read()), (0, 0));
                HugePages.dealloc(start, layout(size));
            }
        }
    }
}

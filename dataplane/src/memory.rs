//! Where tables lie that are too large, or are to live too long, to be left to the heap: whoever starts a worker says.
//! What is in them is theirs.

use std::fmt;

use allocator_api2::alloc::{Allocator, Global};
use allocator_api2::vec::Vec;

/// Where a worker's tables take their memory from, once, when they are made.
#[derive(Clone, Copy)]
pub struct Memory(&'static (dyn Allocator + Send + Sync));

/// The slots of a table.
pub(crate) type Slots<T> = Vec<T, &'static (dyn Allocator + Send + Sync)>;

impl Memory {
    /// The program's heap.
    pub const HEAP: Self = Self(&Global);

    /// Memory that `allocator` gives.
    #[must_use]
    pub const fn new(allocator: &'static (dyn Allocator + Send + Sync)) -> Self {
        Self(allocator)
    }

    /// So many slots, all written: a page fault, or the kernel's zeroing of a huge page, would stall a worker for longer
    /// than a burst lasts.
    pub(crate) fn filled<T: Copy>(self, slots: usize, with: T) -> Slots<T> {
        let mut all = self.reserved(slots);
        all.resize(slots, with);
        all
    }

    /// Room for so many slots. What is not written takes no memory yet.
    pub(crate) fn reserved<T>(self, slots: usize) -> Slots<T> {
        Vec::with_capacity_in(slots, self.0)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

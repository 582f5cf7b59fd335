//! The control thread of Plimsoll and everything outside the packet path.

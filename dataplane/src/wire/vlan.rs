//! IEEE 802.1Q: the four bytes behind a VLAN EtherType.
//! Which VLANs a port has is not decided here.

use std::borrow::{Borrow, BorrowMut};

use super::field::Field;
use super::view;

/// Length of a tag behind its own EtherType: control information and the next EtherType.
pub const TAG_BYTES: usize = 4;

const CONTROL: Field<0, 2> = Field;
const ETHER_TYPE: Field<2, 2> = Field;

view! {
    /// A tag: what follows the EtherType 0x8100 or 0x88a8.
    Tag, TAG_BYTES
}

impl<B: Borrow<[u8; TAG_BYTES]>> Tag<B> {
    /// The VLAN; 0 in a priority tag, which belongs to no VLAN.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u16 {
        CONTROL.get(self.bytes()) & 0x0fff
    }

    /// The priority, 0 to 7.
    #[inline]
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.bytes()[0] >> 5
    }

    /// What follows the tag.
    #[inline]
    #[must_use]
    pub fn ether_type(&self) -> u16 {
        ETHER_TYPE.get(self.bytes())
    }
}

impl<B: BorrowMut<[u8; TAG_BYTES]>> Tag<B> {
    /// Writes a tag of priority 0.
    #[inline]
    pub fn write(&mut self, id: u16, ether_type: u16) {
        CONTROL.set(self.bytes_mut(), id & 0x0fff);
        ETHER_TYPE.set(self.bytes_mut(), ether_type);
    }
}

//! Protocols on the wire: field offsets, checked views, checksums. The only home of network order.
//! No decision about a packet and no table belong here.
//!
//! A view is a reference to an array of a header's fixed length: its length is checked once, when
//! it is made, and its fields' offsets are checked by the compiler.

pub mod address;
pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod family;
mod field;
pub mod gre;
pub mod gue;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod mac;
pub mod ndp;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use mac::{InvalidMac, Mac};

/// Declares a view of a header of `$len` bytes over `&[u8; $len]` or `&mut [u8; $len]`.
macro_rules! view {
    ($(#[$meta:meta])* $name:ident, $len:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<B>(B);

        impl<'a> $name<&'a [u8; $len]> {
            /// The header at the start of `bytes`; `None` if fewer bytes are there.
            #[inline]
            #[must_use]
            pub fn new(bytes: &'a [u8]) -> Option<Self> {
                bytes.first_chunk().map(Self)
            }

            /// The header at `offset` of `bytes`; `None` if fewer bytes are there.
            #[inline]
            #[must_use]
            pub fn at(bytes: &'a [u8], offset: impl Into<usize>) -> Option<Self> {
                Self::new(bytes.get(offset.into()..)?)
            }
        }

        impl<'a> $name<&'a mut [u8; $len]> {
            /// The header at the start of `bytes`, to be written; `None` if fewer bytes are there.
            #[inline]
            #[must_use]
            pub fn new_mut(bytes: &'a mut [u8]) -> Option<Self> {
                bytes.first_chunk_mut().map(Self)
            }

            /// The header at `offset`, to be written; `None` if fewer bytes are there.
            #[inline]
            #[must_use]
            pub fn at_mut(bytes: &'a mut [u8], offset: impl Into<usize>) -> Option<Self> {
                Self::new_mut(bytes.get_mut(offset.into()..)?)
            }
        }

        impl<B: std::borrow::Borrow<[u8; $len]>> $name<B> {
            #[inline]
            fn bytes(&self) -> &[u8; $len] {
                self.0.borrow()
            }
        }

        impl<B: std::borrow::BorrowMut<[u8; $len]>> $name<B> {
            #[inline]
            fn bytes_mut(&mut self) -> &mut [u8; $len] {
                self.0.borrow_mut()
            }
        }
    };
}
pub(crate) use view;

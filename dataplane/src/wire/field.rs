//! A field of a header: where it is and how long, checked against the header by the compiler.
//! No protocol's knowledge belongs here.

use crate::wire::Mac;
use crate::wire::address::{V4, V6};

/// The `LEN` bytes from offset `AT` on.
#[derive(Clone, Copy)]
pub(crate) struct Field<const AT: usize, const LEN: usize>;

impl<const AT: usize, const LEN: usize> Field<AT, LEN> {
    #[inline]
    pub(crate) fn array<const N: usize>(self, header: &[u8; N]) -> [u8; LEN] {
        const { assert!(AT + LEN <= N, "the field lies outside of the header") };
        // The assertion above makes `None` impossible, and the optimiser drops it.
        match header.get(AT..).and_then(<[u8]>::first_chunk) {
            Some(array) => *array,
            None => [0; LEN],
        }
    }

    #[inline]
    pub(crate) fn set_array<const N: usize>(self, header: &mut [u8; N], value: [u8; LEN]) {
        const { assert!(AT + LEN <= N, "the field lies outside of the header") };
        if let Some(array) = header.get_mut(AT..).and_then(<[u8]>::first_chunk_mut) {
            *array = value;
        }
    }
}

macro_rules! field_as {
    ($len:literal, $value:ty, |$array:ident| $from:expr, |$number:ident| $to:expr) => {
        impl<const AT: usize> Field<AT, $len> {
            #[inline]
            pub(crate) fn get<const N: usize>(self, header: &[u8; N]) -> $value {
                let $array = self.array(header);
                $from
            }

            #[inline]
            pub(crate) fn set<const N: usize>(self, header: &mut [u8; N], $number: $value) {
                self.set_array(header, $to);
            }
        }
    };
}

field_as!(1, u8, |array| u8::from_be_bytes(array), |value| value
    .to_be_bytes());
field_as!(2, u16, |array| u16::from_be_bytes(array), |value| value
    .to_be_bytes());
field_as!(4, u32, |array| u32::from_be_bytes(array), |value| value
    .to_be_bytes());
field_as!(6, Mac, |array| Mac(array), |mac| mac.0);
field_as!(16, V6, |array| v6_from(array), |address| v6_bytes(address));

impl<const AT: usize> Field<AT, 4> {
    #[inline]
    pub(crate) fn get_v4<const N: usize>(self, header: &[u8; N]) -> V4 {
        V4(self.get(header))
    }

    #[inline]
    pub(crate) fn set_v4<const N: usize>(self, header: &mut [u8; N], address: V4) {
        self.set(header, address.0);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
#[inline]
const fn v6_from(array: [u8; 16]) -> V6 {
    let bits = u128::from_be_bytes(array);
    V6([(bits >> 64) as u64, bits as u64])
}

#[inline]
const fn v6_bytes(address: V6) -> [u8; 16] {
    let V6([high, low]) = address;
    ((high as u128) << 64 | low as u128).to_be_bytes()
}

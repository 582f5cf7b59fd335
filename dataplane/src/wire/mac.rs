//! MAC addresses, and what they look like as text.
//! Whose a MAC address is is not decided here.

use std::fmt;
use std::str::FromStr;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it names a group (multicast or broadcast) rather than one station.
    #[inline]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is the address of everyone.
    #[inline]
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        matches!(self, Self::BROADCAST)
    }

    /// Whether it can be a station's address: neither a group's nor zero.
    #[inline]
    #[must_use]
    pub const fn is_station(self) -> bool {
        !self.is_group() && !matches!(self, Self::ZERO)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: expected six bytes in hexadecimal, as in 02:00:00:00:00:0b")]
pub struct InvalidMac;

impl FromStr for Mac {
    type Err = InvalidMac;

    /// Six groups of one or two hexadecimal digits, separated by `:` or all by `-`.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut groups = text.split(separator);
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let group = groups.next().ok_or(InvalidMac)?;
            // `from_str_radix` would take a sign as well.
            let is_hex = group.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !is_hex || group.len() > 2 {
                return Err(InvalidMac);
            }
            *byte = u8::from_str_radix(group, 16).map_err(|_| InvalidMac)?;
        }
        match groups.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(InvalidMac),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_what_it_prints() {
        let mac = Mac([0x02, 0, 0, 0, 0xab, 0x0b]);
        assert_eq!(mac.to_string(), "02:00:00:00:ab:0b");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert_eq!("2:0:0:0:AB:b".parse(), Ok(mac));
        assert_eq!("02-00-00-00-AB-0B".parse(), Ok(mac));
    }

    #[test]
    fn what_is_no_mac_is_refused() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:0b:00",
            "02:00:00:00:00:",
            "02:00:00:00:00:100",
            "02:00:00:00:00:+b",
            "02:00:00:00:00:0g",
            "02:00:00-00:00:0b",
            "0200.0000.000b",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(InvalidMac), "{text}");
        }
    }

    #[test]
    fn groups_are_told_from_stations() {
        assert!(Mac::BROADCAST.is_group() && Mac::BROADCAST.is_broadcast());
        assert!(Mac([1, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!Mac::ZERO.is_group() && !Mac::ZERO.is_station());
        assert!(Mac([2, 0, 0, 0, 0, 1]).is_station());
    }
}

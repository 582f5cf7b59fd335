//! The TTL of a datagram that an ICMP error quotes: as received, or already decremented.
//! Only copies are changed.

use std::borrow::Cow;

use crate::flow::{V4, V6};
use crate::snapshot::Snapshot;
use crate::wire::family::Family;
use crate::wire::{ipv4, ipv6};

/// The client's packet as an ICMP error quotes it: as received (RFC 1812 section 4.3.2.3), or with the TTL decremented,
/// as in LVS, which decrements it before it finds that the packet cannot be forwarded.
pub(crate) fn as_quoted<'d>(snapshot: &Snapshot, datagram: &'d [u8]) -> Cow<'d, [u8]> {
    if !snapshot.answers_as_lvs {
        return Cow::Borrowed(datagram);
    }
    let mut older = datagram.to_vec();
    if is_v6(datagram) {
        V6::decrement_ttl(&mut older);
    } else {
        V4::decrement_ttl(&mut older);
    }
    Cow::Owned(older)
}

/// The same for a packet whose TTL was decremented here before it was encapsulated.
pub(crate) fn as_received<'d>(snapshot: &Snapshot, datagram: &'d [u8]) -> Cow<'d, [u8]> {
    if snapshot.answers_as_lvs {
        return Cow::Borrowed(datagram);
    }
    let mut younger = datagram.to_vec();
    if is_v6(datagram) {
        if let Some(mut header) = ipv6::Header::new_mut(&mut younger) {
            let hops = header.hop_limit().saturating_add(1);
            header.set_hop_limit(hops);
        }
    } else if let Some(mut header) = ipv4::Header::new_mut(&mut younger) {
        let ttl = header.ttl().saturating_add(1);
        let length = usize::from(header.header_bytes());
        header.set_ttl(ttl);
        if let Some(checksum) = younger.get(..length).map(ipv4::header_checksum)
            && let Some(mut header) = ipv4::Header::new_mut(&mut younger)
        {
            header.set_checksum(checksum);
        }
    }
    Cow::Owned(younger)
}

fn is_v6(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first >> 4 == 6)
}

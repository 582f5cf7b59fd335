//! The hop count of a datagram that an error quotes: as its sender's packet came, or as it was to be sent on.
//! Changes a copy, never a packet on its way.

use std::borrow::Cow;

use crate::flow::{V4, V6};
use crate::snapshot::Snapshot;
use crate::wire::family::Family;
use crate::wire::{ipv4, ipv6};

/// The client's packet as an error about it quotes it: as it came (RFC 1812 section 4.3.2.3), or as LVS
/// does, which has taken a hop off before it finds that the packet cannot go on.
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

/// The same of a packet from which a hop was taken here before it went into a tunnel.
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

//! A template as it grows, part by part.
//!
//! Must not know what the parts are for.

use std::net::IpAddr;
use std::ops::Range;

use plimsoll_dataplane::wire::checksum::Sum;
use plimsoll_dataplane::wire::{ipv4, ipv6};

use crate::pktgen::bytes::put;
use crate::pktgen::fault::Fault;

/// Where an IP header's parts are.
pub(super) struct Ip {
    pub(super) source: Range<usize>,
    pub(super) destination: Range<usize>,
    /// The place of the header's checksum, and the sum of all else.
    pub(super) sum: Option<(usize, Sum)>,
}

/// A template as it grows.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    pub(super) mask: Vec<u8>,
    pub(super) parts: Vec<(Range<usize>, Fault)>,
}

impl Writer {
    pub(super) fn part(&mut self, bytes: &[u8], fault: Fault) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.mask.resize(self.bytes.len(), 0xff);
        self.blame(start..self.bytes.len(), fault);
    }

    /// What stands there names a difference more exactly than what was said before.
    pub(super) fn blame(&mut self, range: Range<usize>, fault: Fault) {
        self.parts.push((range, fault));
    }

    /// These bytes vary.
    pub(super) fn varies(&mut self, range: Range<usize>) {
        if let Some(mask) = self.mask.get_mut(range.clone()) {
            mask.fill(0);
        }
        if let Some(bytes) = self.bytes.get_mut(range) {
            bytes.fill(0);
        }
    }

    /// The set bits of the four bytes there vary.
    pub(super) fn varies_bits(&mut self, at: usize, bits: u32) {
        put(&mut self.mask, at, (!bits).to_be_bytes());
    }

    /// The set bits of the two bytes there vary.
    pub(super) fn varies_bits16(&mut self, at: usize, bits: u16) {
        put(&mut self.mask, at, (!bits).to_be_bytes());
    }

    /// An IP header. `outer` is whom to blame for all of it; else each field is by itself.
    pub(super) fn ip(
        &mut self,
        (source, destination): (IpAddr, IpAddr),
        protocol: u8,
        ttl: u8,
        payload_bytes: usize,
        outer: Option<Fault>,
    ) -> Ip {
        let at = self.bytes.len();
        let header = outer.unwrap_or(Fault::Header);
        let (ttl_at, addresses, width, sum) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut bytes = [0; ipv4::HEADER_BYTES];
                let fields = ipv4::Fields {
                    source: source.into(),
                    destination: destination.into(),
                    protocol,
                    ttl,
                    tos: 0,
                    id: 0,
                    dont_fragment: true,
                    total_length: u16::try_from(ipv4::HEADER_BYTES + payload_bytes).unwrap_or(0),
                };
                ipv4::write_header(&mut bytes, &fields);
                put(&mut bytes, 10, [0; 2]);
                self.part(&bytes, header);
                self.varies(at + 10..at + 12);
                (at + 8, at + 12, 4, Some((at + 10, Sum::of(&bytes))))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut bytes = [0; ipv6::HEADER_BYTES];
                let fields = ipv6::Fields {
                    source: source.into(),
                    destination: destination.into(),
                    next_header: protocol,
                    hop_limit: ttl,
                    traffic_class: 0,
                    flow_label: 0,
                    payload_length: u16::try_from(payload_bytes).unwrap_or(0),
                };
                ipv6::write_header(&mut bytes, &fields);
                self.part(&bytes, header);
                (at + 7, at + 8, 16, None)
            }
            // A scenario's addresses are all of one family.
            _ => (at, at, 0, None),
        };
        if outer.is_none() {
            self.blame(ttl_at..ttl_at + 1, Fault::Ttl);
        }
        Ip {
            source: addresses..addresses + width,
            destination: addresses + width..addresses + 2 * width,
            sum,
        }
    }
}

//! Neighbour solicitations and advertisements: RFC 4861, over Ethernet (RFC 2464).
//! Who is asked when, and which answers are believed, is decided elsewhere.

use super::field::Field;
use super::{ethernet, icmpv6, ipv6};
use crate::wire::Mac;
use crate::wire::address::V6;

#[cfg(test)]
mod tests;

/// Length of a message without options.
pub const MESSAGE_BYTES: usize = 24;
/// Length of the option with an Ethernet address.
pub const OPTION_BYTES: usize = 8;
/// Longest frame that [`write()`] makes.
pub const MAX_FRAME_BYTES: usize =
    ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + MESSAGE_BYTES + OPTION_BYTES;

/// Proves that the packet was not forwarded by a router.
const HOP_LIMIT: u8 = 255;
const UNSPECIFIED: V6 = V6([0; 2]);

const SOURCE_ADDRESS_OPTION: u8 = 1;
const TARGET_ADDRESS_OPTION: u8 = 2;

const TYPE: Field<0, 1> = Field;
const CODE: Field<1, 1> = Field;
const CHECKSUM: Field<2, 2> = Field;
const FLAGS: Field<4, 4> = Field;
const TARGET: Field<8, 16> = Field;

const FLAG_ROUTER: u32 = 1 << 31;
const FLAG_SOLICITED: u32 = 1 << 30;
const FLAG_OVERRIDE: u32 = 1 << 29;

/// Who sends a message to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's MAC address.
    pub source_mac: Mac,
    /// The receiver's or its group's MAC address.
    pub destination_mac: Mac,
    /// The sender.
    pub source: V6,
    /// The receiver.
    pub destination: V6,
}

/// A message of neighbour discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Asks for the target's MAC address, or whether it still answers.
    Solicitation {
        /// Who is asked.
        target: V6,
        /// The asker's MAC address; absent while it looks for duplicates of its own address.
        source_mac: Option<Mac>,
    },
    /// Tells the target's MAC address.
    Advertisement {
        /// Whose MAC address.
        target: V6,
        /// The MAC address; may be absent in the answer to a unicast solicitation.
        target_mac: Option<Mac>,
        /// Whether the sender is a router.
        router: bool,
        /// Whether it answers a solicitation.
        solicited: bool,
        /// Whether it replaces what the receiver knew.
        overrides: bool,
    },
}

/// Asks everyone who has `target`.
#[must_use]
pub const fn solicitation(mac: Mac, source: V6, target: V6) -> (Envelope, Message) {
    let group = ipv6::solicited_node(target);
    (
        Envelope {
            source_mac: mac,
            destination_mac: ipv6::multicast_mac(group),
            source,
            destination: group,
        },
        Message::Solicitation {
            target,
            source_mac: Some(mac),
        },
    )
}

/// Asks `target`, last seen at `target_mac`, whether it is still there (RFC 4861 section 7.3.3).
#[must_use]
pub const fn probe(mac: Mac, source: V6, target: V6, target_mac: Mac) -> (Envelope, Message) {
    (
        Envelope {
            source_mac: mac,
            destination_mac: target_mac,
            source,
            destination: target,
        },
        Message::Solicitation {
            target,
            source_mac: Some(mac),
        },
    )
}

/// Answers a solicitation for `target` that `asker` sent from `asker_mac`: it is at `mac`.
/// An asker that has no address yet is answered through all nodes (RFC 4861 section 7.2.4).
#[must_use]
pub fn reply(mac: Mac, target: V6, asker: V6, asker_mac: Mac) -> (Envelope, Message) {
    let has_address = asker != UNSPECIFIED;
    let (destination, destination_mac) = if has_address {
        (asker, asker_mac)
    } else {
        (ipv6::ALL_NODES, ipv6::multicast_mac(ipv6::ALL_NODES))
    };
    (
        Envelope {
            source_mac: mac,
            destination_mac,
            source: target,
            destination,
        },
        Message::Advertisement {
            target,
            target_mac: Some(mac),
            router: false,
            solicited: has_address,
            overrides: true,
        },
    )
}

/// Tells everyone that `address` is now at `mac` (RFC 4861 section 7.2.6).
#[must_use]
pub fn announcement(mac: Mac, address: V6) -> (Envelope, Message) {
    reply(mac, address, UNSPECIFIED, Mac::ZERO)
}

/// Reads the ICMPv6 message `l4` of a packet with these addresses and hop limit. `None` if it is
/// neither a solicitation nor an advertisement, or fails a check of RFC 4861 section 7.1.
#[must_use]
pub fn parse(source: V6, destination: V6, hop_limit: u8, l4: &[u8]) -> Option<Message> {
    let (message, options) = l4.split_first_chunk::<MESSAGE_BYTES>()?;
    let target = TARGET.get(message);
    let sane = hop_limit == HOP_LIMIT
        && CODE.get(message) == 0
        && !ipv6::is_multicast(target)
        && icmpv6::checksum_is_valid(source, destination, l4);
    if !sane {
        return None;
    }
    match TYPE.get(message) {
        icmpv6::NEIGHBOUR_SOLICITATION => {
            let source_mac = find_address(options, SOURCE_ADDRESS_OPTION).ok()?;
            // Section 7.1.1: whoever has no address asks a solicited-node group, and has no
            // MAC address to be answered at either.
            let duplicate_check = source == UNSPECIFIED;
            let well_addressed =
                source_mac.is_none() && destination == ipv6::solicited_node(destination);
            (!duplicate_check || well_addressed)
                .then_some(Message::Solicitation { target, source_mac })
        }
        icmpv6::NEIGHBOUR_ADVERTISEMENT => {
            let flags = FLAGS.get(message);
            let solicited = flags & FLAG_SOLICITED != 0;
            let target_mac = find_address(options, TARGET_ADDRESS_OPTION).ok()?;
            // Section 7.1.2: an answer goes to one node.
            (!solicited || !ipv6::is_multicast(destination)).then_some(Message::Advertisement {
                target,
                target_mac,
                router: flags & FLAG_ROUTER != 0,
                solicited,
                overrides: flags & FLAG_OVERRIDE != 0,
            })
        }
        _ => None,
    }
}

/// The options' syntax is wrong.
struct InvalidOption;

/// The MAC address in the first option of type `wanted`. All options are checked, since one of
/// length 0 invalidates the message wherever it stands.
fn find_address(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, InvalidOption> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let bytes = usize::from(units) * OPTION_BYTES;
        if bytes == 0 {
            return Err(InvalidOption);
        }
        let (option, rest) = options.split_at_checked(bytes).ok_or(InvalidOption)?;
        if kind == wanted && found.is_none() {
            let [_, _, mac @ ..] =
                *<&[u8; OPTION_BYTES]>::try_from(option).map_err(|_| InvalidOption)?;
            let mac = Mac(mac);
            if !mac.is_station() {
                return Err(InvalidOption);
            }
            found = Some(mac);
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(InvalidOption)
    }
}

/// Writes a whole frame; its length, or `None` if `out` is shorter.
#[must_use]
pub fn write(out: &mut [u8], (envelope, message): &(Envelope, Message)) -> Option<usize> {
    let (kind, flags, target, option, mac) = match *message {
        Message::Solicitation { target, source_mac } => (
            icmpv6::NEIGHBOUR_SOLICITATION,
            0,
            target,
            SOURCE_ADDRESS_OPTION,
            source_mac,
        ),
        Message::Advertisement {
            target,
            target_mac,
            router,
            solicited,
            overrides,
        } => {
            let flag = |set, bit| if set { bit } else { 0 };
            let flags = flag(router, FLAG_ROUTER)
                | flag(solicited, FLAG_SOLICITED)
                | flag(overrides, FLAG_OVERRIDE);
            (
                icmpv6::NEIGHBOUR_ADVERTISEMENT,
                flags,
                target,
                TARGET_ADDRESS_OPTION,
                target_mac,
            )
        }
    };
    let l4_bytes = MESSAGE_BYTES + if mac.is_some() { OPTION_BYTES } else { 0 };
    let length = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + l4_bytes;
    let (header, rest) = out.get_mut(..length)?.split_first_chunk_mut()?;
    ethernet::write_header(
        header,
        envelope.destination_mac,
        envelope.source_mac,
        ethernet::IPV6,
    );
    let (header, l4) = rest.split_first_chunk_mut()?;
    ipv6::write_header(
        header,
        &ipv6::Fields {
            source: envelope.source,
            destination: envelope.destination,
            next_header: ipv6::ICMP,
            hop_limit: HOP_LIMIT,
            traffic_class: 0,
            flow_label: 0,
            payload_length: u16::try_from(l4_bytes).ok()?,
        },
    );
    let (body, options) = l4.split_first_chunk_mut::<MESSAGE_BYTES>()?;
    TYPE.set(body, kind);
    CODE.set(body, 0);
    CHECKSUM.set(body, 0);
    FLAGS.set(body, flags);
    TARGET.set(body, target);
    if let (Some(place), Some(Mac([a, b, c, d, e, f]))) = (options.first_chunk_mut(), mac) {
        *place = [option, 1, a, b, c, d, e, f];
    }
    icmpv6::fill_checksum(envelope.source, envelope.destination, l4);
    Some(length)
}

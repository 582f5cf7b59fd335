//! Sets of packets in a rule's terms: addresses and ports of one family and protocol, as ranges of numbers.
//! Knows no rule, mark or chain.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::target;

/// Packets of one family and protocol; no rule mixes two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Space {
    pub(super) v6: bool,
    pub(super) protocol: Protocol,
}

impl Space {
    /// All that is balanced.
    pub(super) const ALL: [Self; 6] = [
        Self::new(false, Protocol::Tcp),
        Self::new(false, Protocol::Udp),
        Self::new(false, Protocol::Sctp),
        Self::new(true, Protocol::Tcp),
        Self::new(true, Protocol::Udp),
        Self::new(true, Protocol::Sctp),
    ];

    const fn new(v6: bool, protocol: Protocol) -> Self {
        Self { v6, protocol }
    }

    pub(super) fn all(self) -> Packets {
        let addresses = Range {
            first: 0,
            last: if self.v6 {
                u128::MAX
            } else {
                u128::from(u32::MAX)
            },
        };
        let ports = Range {
            first: 0,
            last: u128::from(u16::MAX),
        };
        Packets {
            to: addresses,
            from: addresses,
            port: ports,
            from_port: ports,
        }
    }
}

/// Numbers from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Range {
    fn and(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// An address or a network, if it is of this family.
    pub(super) fn of_net(net: &IpNet, v6: bool) -> Option<Self> {
        match net {
            IpNet::V4(net) if !v6 => Some(Self {
                first: net.network().to_bits().into(),
                last: net.broadcast().to_bits().into(),
            }),
            IpNet::V6(net) if v6 => Some(Self {
                first: net.network().to_bits(),
                last: net.broadcast().to_bits(),
            }),
            _ => None,
        }
    }

    /// As few prefixes as make it up.
    pub(super) fn prefixes(self, v6: bool) -> Vec<IpNet> {
        let width = if v6 { 128_u32 } else { 32 };
        let mut prefixes = Vec::new();
        let mut next = Some(self.first);
        while let Some(first) = next.filter(|first| *first <= self.last) {
            let aligned = first.trailing_zeros().min(width);
            let left = self.last - first;
            // A prefix of n bits has 2^n addresses, all of which have to be in the range.
            let mut bits = aligned;
            while bits > 0 && size_less_one(bits) > left {
                bits -= 1;
            }
            let length = u8::try_from(width - bits).unwrap_or(0);
            prefixes.extend(net(first, length, v6));
            next = first
                .checked_add(size_less_one(bits))
                .and_then(|last| last.checked_add(1));
        }
        prefixes
    }
}

const fn size_less_one(bits: u32) -> u128 {
    match 1_u128.checked_shl(bits) {
        Some(size) => size - 1,
        None => u128::MAX,
    }
}

fn net(first: u128, length: u8, v6: bool) -> Option<IpNet> {
    if v6 {
        let net = Ipv6Net::new(Ipv6Addr::from_bits(first), length).ok()?;
        return Some(net.into());
    }
    let address = Ipv4Addr::from_bits(u32::try_from(first).ok()?);
    Some(Ipv4Net::new(address, length).ok()?.into())
}

/// Sorted, and no two of them touch.
pub(super) fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// What a rule can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    To,
    From,
    Port,
    FromPort,
}

/// All packets whose every field is in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packets {
    pub(super) to: Range,
    pub(super) from: Range,
    pub(super) port: Range,
    pub(super) from_port: Range,
}

impl Packets {
    const fn field(&self, field: Field) -> Range {
        match field {
            Field::To => self.to,
            Field::From => self.from,
            Field::Port => self.port,
            Field::FromPort => self.from_port,
        }
    }

    const fn with(mut self, field: Field, range: Range) -> Self {
        match field {
            Field::To => self.to = range,
            Field::From => self.from = range,
            Field::Port => self.port = range,
            Field::FromPort => self.from_port = range,
        }
        self
    }

    /// Those whose field is in one of the ranges (sorted, apart), and the others.
    pub(super) fn split(self, field: Field, ranges: &[Range]) -> (Vec<Self>, Vec<Self>) {
        let whole = self.field(field);
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        let mut next = Some(whole.first);
        let begin = ranges.partition_point(|range| range.last < whole.first);
        for range in ranges.get(begin..).unwrap_or_default() {
            let Some(common) = whole.and(*range) else {
                break;
            };
            if let Some(first) = next.filter(|first| *first < common.first) {
                let last = common.first - 1;
                outside.push(self.with(field, Range { first, last }));
            }
            inside.push(self.with(field, common));
            next = common.last.checked_add(1);
        }
        if let Some(first) = next.filter(|first| *first <= whole.last) {
            let last = whole.last;
            outside.push(self.with(field, Range { first, last }));
        }
        (inside, outside)
    }
}

/// A rule of the configuration in one space: what each field has to be in.
#[derive(Debug)]
pub(super) struct Matcher(Vec<(Field, Vec<Range>)>);

impl Matcher {
    /// Nothing if the rule is for other packets altogether.
    pub(super) fn of(rule: &target::Rule, space: Space) -> Option<Self> {
        if rule
            .protocol
            .is_some_and(|protocol| protocol != space.protocol)
        {
            return None;
        }
        let mut fields = Vec::new();
        for (field, net) in [(Field::To, rule.to), (Field::From, rule.from)] {
            if let Some(net) = net {
                fields.push((field, vec![Range::of_net(&net, space.v6)?]));
            }
        }
        for (field, ports) in [
            (Field::Port, &rule.ports),
            (Field::FromPort, &rule.from_ports),
        ] {
            if !ports.is_empty() {
                let ranges = ports.iter().map(|ports| Range {
                    first: (*ports.start()).into(),
                    last: (*ports.end()).into(),
                });
                fields.push((field, merged(ranges.collect())));
            }
        }
        Some(Self(fields))
    }

    /// Those that match, and those that do not.
    pub(super) fn split(&self, packets: Packets) -> (Vec<Packets>, Vec<Packets>) {
        let (mut inside, mut outside) = (vec![packets], Vec::new());
        for (field, ranges) in &self.0 {
            let mut still = Vec::new();
            for packets in inside {
                let (yes, no) = packets.split(*field, ranges);
                still.extend(yes);
                outside.extend(no);
            }
            inside = still;
        }
        (inside, outside)
    }

    /// Whether some packet matches both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let one = |field, ranges: &[Range]| {
            let others = other.0.iter().filter(|(other, _)| *other == field);
            let mut others = others.map(|(_, other)| other);
            others.all(|other| {
                ranges
                    .iter()
                    .any(|a| other.iter().any(|b| a.and(*b).is_some()))
            })
        };
        self.0.iter().all(|(field, ranges)| one(*field, ranges))
    }
}

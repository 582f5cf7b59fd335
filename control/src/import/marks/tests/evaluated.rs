//! Random firewalls and random packets: what a firewall says of a packet, told by an evaluator that looks at one packet
//! after the other, is what the configuration's first rule that matches says; and the same of what is exported.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::*;
use super::item;
use crate::{config, import};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::target;
use std::ops::RangeInclusive;

#[derive(Debug, Clone, Copy)]
struct Packet {
    protocol: Protocol,
    from: u32,
    to: u32,
    from_port: u16,
    port: u16,
}

#[derive(Debug, Clone)]
enum Asks {
    To(u32, u32),
    From(u32, u32),
    Protocol(Protocol),
    /// Only behind a protocol, as in iptables.
    Port(u16, u16),
    FromPort(u16, u16),
    Mark(u32, u32),
}

#[derive(Debug, Clone)]
enum Does {
    Set(u32),
    SetBits(u32, u32),
    Accept,
    Return,
    Drop,
    /// The chain of this number, which is later.
    Jump(usize),
    Goto(usize),
    Save,
    Restore,
}

#[derive(Debug, Clone)]
struct Line {
    asks: Vec<(Asks, bool)>,
    does: Does,
}

/// Chains 0 and 1 are the hooks', the others are called.
type Chains = Vec<Vec<Line>>;

const CHAINS: usize = 4;
const NAMES: [&str; CHAINS] = ["PREROUTING", "INPUT", "A", "B"];

fn prefix() -> impl Strategy<Value = (u32, u32)> {
    (0..4_u32, 29..=32_u32).prop_map(|(host, length)| (0x0a00_0900 + host * 2, length))
}

fn ports() -> impl Strategy<Value = (u16, u16)> {
    (78..84_u16, 0..3_u16).prop_map(|(first, more)| (first, first + more))
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

fn line(chain: usize) -> impl Strategy<Value = Line> {
    let ask = prop_oneof![
        3 => prefix().prop_map(|(net, length)| Asks::To(net, length)),
        2 => prefix().prop_map(|(net, length)| Asks::From(net, length)),
        1 => (0..4_u32, 1..4_u32).prop_map(|(value, mask)| Asks::Mark(value & mask, mask)),
    ];
    let behind = prop_oneof![
        2 => ports().prop_map(|(first, last)| Asks::Port(first, last)),
        1 => ports().prop_map(|(first, last)| Asks::FromPort(first, last)),
    ];
    let asks = proptest::collection::vec((ask, proptest::bool::weighted(0.2)), 0..3);
    let ported = proptest::option::of((
        protocol(),
        proptest::option::of((behind, proptest::bool::weighted(0.2))),
    ));
    let mut does = vec![
        (6, (0..4_u32).prop_map(Does::Set).boxed()),
        (
            2,
            (0..4_u32, 0..4_u32)
                .prop_map(|(value, mask)| Does::SetBits(value, mask))
                .boxed(),
        ),
        (1, Just(Does::Accept).boxed()),
        (1, Just(Does::Return).boxed()),
        (1, Just(Does::Drop).boxed()),
        (1, Just(Does::Save).boxed()),
        (1, Just(Does::Restore).boxed()),
    ];
    for called in chain.max(1) + 1..CHAINS {
        does.push((2, Just(Does::Jump(called)).boxed()));
        does.push((1, Just(Does::Goto(called)).boxed()));
    }
    let does = proptest::strategy::Union::new_weighted(does);
    (asks, ported, does).prop_map(|(mut asks, ported, does)| {
        // One of each, as iptables takes them.
        let mut seen = Vec::new();
        asks.retain(|(ask, _)| {
            let kind = std::mem::discriminant(ask);
            let new = !seen.contains(&kind);
            seen.push(kind);
            new
        });
        if let Some((protocol, behind)) = ported {
            asks.push((Asks::Protocol(protocol), false));
            asks.extend(behind);
        }
        Line { asks, does }
    })
}

fn chains() -> impl Strategy<Value = Chains> {
    let chain = |n| proptest::collection::vec(line(n), 0..6);
    (chain(0), chain(1), chain(2), chain(3)).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

fn packet() -> impl Strategy<Value = Packet> {
    let host = || 0x0a00_08ff_u32..0x0a00_0911;
    let port = || 76..88_u16;
    (protocol(), host(), host(), port(), port()).prop_map(
        |(protocol, from, to, from_port, port)| Packet {
            protocol,
            from,
            to,
            from_port,
            port,
        },
    )
}

const fn is_in(address: u32, (net, length): (u32, u32)) -> bool {
    (address ^ net) >> (32 - length) == 0
}

/// What one packet's way through the chains is.
struct Way<'c> {
    chains: &'c Chains,
    packet: Packet,
    mark: u32,
    connection: u32,
}

#[derive(PartialEq)]
enum End {
    Returns,
    Accepted,
    Dropped,
}

impl Way<'_> {
    fn chain(&mut self, number: usize) -> End {
        for line in &self.chains[number] {
            if !line.asks.iter().all(|(ask, not)| self.is(ask) != *not) {
                continue;
            }
            match line.does {
                Does::Set(mark) => self.mark = mark,
                Does::SetBits(value, mask) => self.mark = (self.mark & !mask) ^ value,
                Does::Accept => return End::Accepted,
                Does::Return => return End::Returns,
                Does::Drop => return End::Dropped,
                Does::Jump(called) => match self.chain(called) {
                    End::Returns => {}
                    end => return end,
                },
                Does::Goto(called) => return self.chain(called),
                Does::Save => self.connection = self.mark,
                Does::Restore => self.mark = self.connection,
            }
        }
        End::Returns
    }

    fn is(&self, ask: &Asks) -> bool {
        let packet = self.packet;
        match *ask {
            Asks::To(net, length) => is_in(packet.to, (net, length)),
            Asks::From(net, length) => is_in(packet.from, (net, length)),
            Asks::Protocol(protocol) => packet.protocol == protocol,
            Asks::Port(first, last) => (first..=last).contains(&packet.port),
            Asks::FromPort(first, last) => (first..=last).contains(&packet.from_port),
            Asks::Mark(value, mask) => self.mark & mask == value,
        }
    }
}

/// Whether a packet's mark may change in a chain. What other chains drop is told, and not carried over.
fn may_mark(chains: &Chains, number: usize) -> bool {
    chains[number].iter().any(|line| match line.does {
        Does::Set(_) | Does::SetBits(..) | Does::Save | Does::Restore => true,
        Does::Jump(called) | Does::Goto(called) => may_mark(chains, called),
        Does::Accept | Does::Return | Does::Drop => false,
    })
}

/// The mark that IPVS sees, none if it sees no packet.
fn mark(chains: &Chains, packet: Packet) -> u32 {
    let mut way = Way {
        chains,
        packet,
        mark: 0,
        connection: 0,
    };
    for base in [0, 1] {
        if may_mark(chains, base) && way.chain(base) == End::Dropped {
            return 0;
        }
    }
    way.mark
}

fn network((net, length): (u32, u32)) -> String {
    format!(
        "{}/{length}",
        Ipv4Addr::from_bits(net & (u32::MAX << (32 - length)))
    )
}

fn as_iptables(chains: &Chains) -> String {
    let mut text = "# Generated by iptables-save v1.8.9\n*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n".to_owned();
    for (name, lines) in NAMES.iter().zip(chains) {
        for line in lines {
            let _ = write!(text, "-A {name}");
            for (ask, not) in &line.asks {
                let not = if *not { " !" } else { "" };
                let _ = match *ask {
                    Asks::To(net, length) => write!(text, "{not} -d {}", network((net, length))),
                    Asks::From(net, length) => write!(text, "{not} -s {}", network((net, length))),
                    Asks::Protocol(protocol) => {
                        write!(text, "{not} -p {}", protocol.name())
                    }
                    Asks::Port(first, last) => write!(text, "{not} --dport {first}:{last}"),
                    Asks::FromPort(first, last) => write!(text, "{not} --sport {first}:{last}"),
                    Asks::Mark(value, mask) => {
                        write!(text, " -m mark{not} --mark {value:#x}/{mask:#x}")
                    }
                };
            }
            let _ = match line.does {
                Does::Set(mark) => write!(text, " -j MARK --set-xmark {mark:#x}/0xffffffff"),
                Does::SetBits(value, mask) => {
                    write!(text, " -j MARK --set-xmark {value:#x}/{mask:#x}")
                }
                Does::Accept => write!(text, " -j ACCEPT"),
                Does::Return => write!(text, " -j RETURN"),
                Does::Drop => write!(text, " -j DROP"),
                Does::Jump(called) => write!(text, " -j {}", NAMES[called]),
                Does::Goto(called) => write!(text, " -g {}", NAMES[called]),
                Does::Save => write!(text, " -j CONNMARK --save-mark"),
                Does::Restore => write!(text, " -j CONNMARK --restore-mark"),
            };
            text.push('\n');
        }
    }
    text + "COMMIT\n"
}

fn as_nft(chains: &Chains) -> String {
    let mut text = "table ip m {\n".to_owned();
    for (number, (name, lines)) in NAMES.iter().zip(chains).enumerate() {
        let _ = writeln!(text, "\tchain {name} {{");
        if let Some(hook) = ["prerouting", "input"].get(number) {
            let _ = writeln!(
                text,
                "\t\ttype filter hook {hook} priority mangle; policy accept;"
            );
        }
        for line in lines {
            let protocol = line.asks.iter().find_map(|(ask, _)| match ask {
                Asks::Protocol(protocol) => Some(protocol.name()),
                _ => None,
            });
            let protocol = protocol.unwrap_or("th");
            text.push_str("\t\t");
            for (ask, not) in &line.asks {
                let not = if *not { "!= " } else { "" };
                let _ = match *ask {
                    Asks::To(net, length) => {
                        write!(text, "ip daddr {not}{} ", network((net, length)))
                    }
                    Asks::From(net, length) => {
                        write!(text, "ip saddr {not}{} ", network((net, length)))
                    }
                    Asks::Protocol(protocol) => {
                        write!(text, "meta l4proto {} ", protocol.name())
                    }
                    Asks::Port(first, last) => {
                        write!(text, "{protocol} dport {not}{first}-{last} ")
                    }
                    Asks::FromPort(first, last) => {
                        write!(text, "{protocol} sport {not}{first}-{last} ")
                    }
                    Asks::Mark(value, mask) => {
                        let is = if not.is_empty() { "==" } else { "!=" };
                        write!(text, "meta mark & {mask:#010x} {is} {value:#010x} ")
                    }
                };
            }
            let _ = match line.does {
                Does::Set(mark) => writeln!(text, "meta mark set {mark:#010x}"),
                Does::SetBits(value, mask) => {
                    writeln!(
                        text,
                        "meta mark set meta mark & {:#010x} ^ {value:#010x}",
                        !mask
                    )
                }
                Does::Accept => writeln!(text, "counter packets 3 bytes 7 accept"),
                Does::Return => writeln!(text, "return"),
                Does::Drop => writeln!(text, "drop"),
                Does::Jump(called) => writeln!(text, "jump {}", NAMES[called]),
                Does::Goto(called) => writeln!(text, "goto {}", NAMES[called]),
                Does::Save => writeln!(text, "ct mark set meta mark"),
                Does::Restore => writeln!(text, "meta mark set ct mark"),
            };
        }
        text.push_str("\t}\n");
    }
    text + "}\n"
}

fn fits(rule: &target::Rule, packet: Packet) -> bool {
    let within = |net: Option<IpNet>, address: u32| {
        net.is_none_or(|net| net.contains(&std::net::IpAddr::from(Ipv4Addr::from_bits(address))))
    };
    let ports = |ports: &[RangeInclusive<u16>], port: u16| {
        ports.is_empty() || ports.iter().any(|one| one.contains(&port))
    };
    rule.protocol
        .is_none_or(|protocol| protocol == packet.protocol)
        && within(rule.from, packet.from)
        && within(rule.to, packet.to)
        && ports(&rule.ports, packet.port)
        && ports(&rule.from_ports, packet.from_port)
}

/// The mark of the first rule that matches, as in the configuration.
fn first_match<'r>(
    services: impl IntoIterator<Item = (u32, &'r [target::Rule])>,
    packet: Packet,
) -> u32 {
    let mut services = services.into_iter();
    let found = services.find(|(_, rules)| rules.iter().any(|rule| fits(rule, packet)));
    found.map_or(0, |(mark, _)| mark)
}

/// What the nft commands of an export do with a packet: rule after rule, `accept` ends, a mark does not.
fn exported_mark(commands: &str, packet: Packet) -> u32 {
    let mut mark = 0;
    for line in commands.lines().filter(|line| line.contains(" add rule ")) {
        let (_, rule) = line.split_once(" prerouting ").unwrap();
        let mut words = rule.split_whitespace();
        let mut matches = true;
        while let Some(word) = words.next() {
            let mut set = || -> Vec<String> {
                let first = words.next().unwrap();
                if first != "{" {
                    return vec![first.to_owned()];
                }
                let inside = words.by_ref().take_while(|word| *word != "}");
                inside
                    .map(|word| word.trim_end_matches(',').to_owned())
                    .collect()
            };
            match word {
                "ip" => {
                    let from = set() == ["saddr"];
                    let net: IpNet = set()[0].parse().unwrap();
                    let address = if from { packet.from } else { packet.to };
                    matches &= net.contains(&std::net::IpAddr::from(Ipv4Addr::from_bits(address)));
                }
                "meta" => match set()[0].as_str() {
                    "l4proto" => matches &= set().contains(&packet.protocol.name().to_owned()),
                    _ => {
                        assert_eq!(set(), ["set"]);
                        let value = set()[0].parse().unwrap();
                        mark = if matches { value } else { mark };
                    }
                },
                "accept" if matches => return mark,
                "accept" => {}
                protocol => {
                    matches &= protocol == "th" || protocol == packet.protocol.name();
                    let port = if set() == ["sport"] {
                        packet.from_port
                    } else {
                        packet.port
                    };
                    matches &= set().iter().any(|range| {
                        let (first, last) = range.split_once('-').unwrap_or((range, range));
                        (first.parse().unwrap()..=last.parse::<u16>().unwrap()).contains(&port)
                    });
                }
            }
        }
    }
    mark
}

fn any_rule() -> impl Strategy<Value = target::Rule> {
    let net = || {
        proptest::option::of(prefix()).prop_map(|net| net.map(|net| network(net).parse().unwrap()))
    };
    let ports = || {
        proptest::collection::vec(ports(), 0..3).prop_map(|ports| {
            ports
                .into_iter()
                .map(|(first, last)| first..=last)
                .collect::<Vec<_>>()
        })
    };
    (
        proptest::option::of(protocol()),
        net(),
        net(),
        ports(),
        ports(),
    )
        .prop_map(|(protocol, from, to, ports, from_ports)| target::Rule {
            protocol: protocol
                .or_else(|| (from.is_none() && to.is_none()).then_some(Protocol::Tcp)),
            from,
            to,
            ports,
            from_ports,
        })
}

proptest! {
    #[test]
    fn the_first_rule_that_matches_says_what_the_firewall_says(
        chains in chains(),
        packets in proptest::collection::vec(packet(), 60),
        services in proptest::sample::subsequence(vec![(1_u32, false), (2, false), (3, false)], 1..=3).prop_shuffle(),
    ) {
        for text in [as_iptables(&chains), as_nft(&chains)] {
            let (marks, told) = Marks::read("test", &text);
            let unexpected = told.items().iter().filter(|item| {
                item.severity == crate::config::Severity::Error && !item.message.contains("no rule here jumps to the chain")
            });
            prop_assert_eq!(unexpected.count(), 0, "{}\n{}", told.report(false), text);
            let ordered = marks.resolve(&services);
            prop_assert_eq!(ordered.len(), services.len());
            for packet in &packets {
                let wanted = mark(&chains, *packet);
                let wanted = if services.contains(&(wanted, false)) { wanted } else { 0 };
                let found = ordered.iter().map(|((mark, _), rules)| (*mark, rules.as_slice()));
                prop_assert_eq!(first_match(found, *packet), wanted, "{:?}\n{}\n{:?}", packet, text, ordered);
            }
        }
    }

    #[test]
    fn nft_does_with_an_export_what_the_configuration_does(
        services in proptest::collection::vec(proptest::collection::vec(any_rule(), 1..4), 1..5),
        packets in proptest::collection::vec(packet(), 60),
    ) {
        let mut text = "version: 1\ndataplane: { ports: [{ name: wan, device: net_null0, addresses: [10.0.9.250/24] }] }\nservices:\n".to_owned();
        for (rules, number) in services.iter().zip(1..) {
            // One that LVS cannot have does not leave its packets to others.
            let scheduler = if number == 2 { "swrr" } else { "rr" };
            let _ = writeln!(text, "  - name: s{number}\n    mark: {number}\n    scheduler: {scheduler}\n    match:");
            for rule in rules {
                let _ = writeln!(text, "      - {}", item(rule));
            }
        }
        let loaded = config::parse("test", text.as_str());
        prop_assert!(loaded.is_ok(), "{}\n{}", loaded.unwrap_err().report(false), text);
        let exported = import::export("test", &loaded.unwrap());
        for packet in &packets {
            let own = services.iter().zip(1..).map(|(rules, mark)| (mark, rules.as_slice()));
            let wanted = first_match(own, *packet);
            prop_assert_eq!(exported_mark(&exported.marks, *packet), wanted, "{:?}\n{}", packet, exported.marks);
        }
        // And an import of it is the same again.
        let commands: String = exported.marks.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
        let (marks, told) = Marks::read("test", &commands);
        prop_assert_eq!(told.errors(), 0, "{}\n{}", told.report(false), commands);
        let names: Vec<(u32, bool)> = (1..=services.len()).map(|n| (u32::try_from(n).unwrap(), false)).collect();
        let again = marks.resolve(&names);
        for packet in &packets {
            let own = services.iter().zip(1..).map(|(rules, mark)| (mark, rules.as_slice()));
            let found = again.iter().map(|((mark, _), rules)| (*mark, rules.as_slice()));
            prop_assert_eq!(first_match(found, *packet), first_match(own, *packet), "{:?}\n{}", packet, commands);
        }
    }
}

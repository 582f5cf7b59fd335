//! Several workers against one: whichever queue a conversation's frames come by, and whatever changes, they do
//! with them what one worker does. Only which real server a new session gets may differ, so all schedule by source.

use std::collections::BTreeMap;

use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::target::{Mark, Rule, Target, Vip};

use super::*;

/// Clients, of which the second's packets to port 80 have a mark.
const CLIENTS: [&str; 2] = [CLIENT, "11.0.0.7"];

/// A service that conversations may have: where it is asked, and how its real servers answer.
#[derive(Debug, Clone, Copy)]
struct Asked {
    protocol: Protocol,
    address: &'static str,
    port: u16,
    is_nat: bool,
}

const fn asked(protocol: Protocol, address: &'static str, port: u16, is_nat: bool) -> Asked {
    Asked {
        protocol,
        address,
        port,
        is_nat,
    }
}

const ASKED: [Asked; 10] = [
    asked(Protocol::Tcp, VIP, 80, false),
    asked(Protocol::Tcp, VIP, 81, true),
    asked(Protocol::Udp, VIP, 53, true),
    asked(Protocol::Udp, VIP, 54, false),
    asked(Protocol::Sctp, VIP, 81, true),
    asked(Protocol::Tcp, VIP, 82, false),
    // By a prefix, by port 0 and by both.
    asked(Protocol::Tcp, "192.0.2.210", 80, true),
    asked(Protocol::Tcp, "192.0.2.201", 7000, false),
    asked(Protocol::Tcp, "192.0.2.211", 7001, false),
    // To the socket of the second.
    asked(Protocol::Tcp, "192.0.2.202", 81, true),
];

/// The services, in one of four ways: persistent or not, with one by mark or not.
fn services(way: usize) -> Spec {
    use ForwardMethod::{Direct, Nat, Tunnel};
    let at = |protocol, address, port, real_port, forward| {
        let reals = REALS.map(|address| real(address, real_port, forward));
        service(protocol, address, port, reals.to_vec())
    };
    let network = |text: &str, port| {
        Target::Vip(Vip {
            protocol: Protocol::Tcp,
            addresses: text.parse().unwrap(),
            port,
        })
    };
    let mut prefix = at(Protocol::Tcp, VIP, 80, 8080, Nat);
    prefix.target = network("192.0.2.208/28", 80);
    let mut every_port = at(Protocol::Tcp, "192.0.2.201", 0, 0, Direct);
    every_port.target = network("192.0.2.201/32", 0);
    let mut all = at(Protocol::Tcp, "192.0.2.201", 0, 0, Tunnel);
    all.target = network("192.0.2.208/29", 0);
    let mut services = vec![
        at(Protocol::Tcp, VIP, 80, 80, Direct),
        at(Protocol::Tcp, VIP, 81, 8081, Nat),
        at(Protocol::Udp, VIP, 53, 8053, Nat),
        at(Protocol::Udp, VIP, 54, 54, Direct),
        at(Protocol::Sctp, VIP, 81, 8081, Nat),
        at(Protocol::Tcp, VIP, 82, 82, Tunnel),
        prefix,
        every_port,
        all,
        at(Protocol::Tcp, "192.0.2.202", 81, 8081, Nat),
    ];
    if way % 2 == 1 {
        for service in services.iter_mut().skip(1).step_by(2) {
            service.persistence = Some(Persistence {
                timeout_ms: 50_000,
                mask: 24,
            });
        }
    }
    if way >= 2 {
        let mut by_mark = at(Protocol::Tcp, VIP, 80, 8080, Nat);
        by_mark.target = Target::Match {
            mark: Mark {
                number: 7,
                is_v6: false,
            },
            rules: vec![Rule {
                from: Some("11.0.0.0/8".parse().unwrap()),
                ports: vec![80..=80],
                ..Rule::default()
            }]
            .into(),
        };
        services.push(by_mark);
    }
    for service in &mut services {
        service.scheduler = SchedulerKind::Sh(Default::default());
    }
    two_armed(services)
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// The client begins, or sends its first packet again.
    Begin,
    /// The client goes on.
    Ask,
    /// A large datagram of the client, in fragments.
    AskInFragments,
    /// The real server that the last packet went to answers.
    Answer,
    /// A router says that the last packet to the real server was too large, or that the client is not there.
    Complain,
    /// The configuration becomes this one of the four.
    Reload(usize),
}

fn some_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Begin),
        4 => Just(Event::Ask),
        2 => Just(Event::AskInFragments),
        4 => Just(Event::Answer),
        2 => Just(Event::Complain),
        1 => (0..4_usize).prop_map(Event::Reload),
    ]
}

/// How the ports of several workers spread flows over queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// As they were told.
    Steered,
    /// Of the two one does as it was told.
    OnePort,
    /// In a way that nobody knows.
    Unknown,
}

/// Both machines.
struct Both {
    one: Rig,
    several: Rig,
    workers: usize,
    spread: Spread,
    /// Whether some frames come by another queue than the others of their flow. What a change of the configuration
    /// parts from its owner is not looked for everywhere.
    strays: bool,
    seed: u64,
    rng: Rng,
}

impl Both {
    fn new(workers: usize, spread: Spread, strays: bool, seed: u64) -> Self {
        let several = if spread == Spread::Unknown {
            Rig::new(workers, &services(0))
        } else {
            Rig::steered(workers, &services(0))
        };
        let mut both = Self {
            one: Rig::new(1, &services(0)),
            several,
            workers,
            spread,
            strays,
            seed,
            rng: Rng::new(seed),
        };
        both.put(0);
        both
    }

    fn reload(&mut self, way: usize) {
        self.put(way);
        self.strays = false;
    }

    fn put(&mut self, way: usize) {
        let spec = services(way);
        self.one.reload(&spec);
        let mut spec = if self.spread == Spread::Unknown {
            spec
        } else {
            plimsoll_dataplane::testing::on_steered_ports(&spec)
        };
        if self.spread == Spread::OnePort {
            spec.devices[usize::from(WAN)].steered = false;
        }
        self.several.reload(&spec);
    }

    /// What both send for frames that come in a row; `flow` is what a NIC sees of it. The first of a flow does not stray.
    fn pass(&mut self, port: u16, flow: u64, frames: &[Vec<u8>], is_first: bool) -> [Vec<Sent>; 2] {
        for frame in frames {
            self.one.inject(0, port, frame);
            let is_steered = match self.spread {
                Spread::Steered => true,
                Spread::OnePort => port != WAN,
                Spread::Unknown => false,
            };
            if self.strays && !is_first && self.rng.below(4) == 0 {
                self.several
                    .inject(self.rng.below(self.workers), port, frame);
            } else if is_steered {
                self.several.inject_by_nic(port, frame);
            } else {
                let place = Rng::new(self.seed ^ flow << 1 ^ u64::from(port)).below(self.workers);
                self.several.inject(place, port, frame);
            }
        }
        [self.one.run(), self.several.run()]
    }
}

/// What was sent, but for the numbers of IPv4 datagrams, which those made here have from their worker.
fn outcome(sent: &[Sent]) -> Vec<Sent> {
    let mut all = sent.to_vec();
    for (_, frame) in &mut all {
        let checksum = 24..26;
        for at in (18..20).chain(checksum) {
            frame[at] = 0;
        }
    }
    all.sort_unstable();
    all
}

fn transport(
    builder: PacketBuilder,
    protocol: Protocol,
    ports: (u16, u16),
    flags: u8,
) -> PacketBuilder {
    match protocol {
        Protocol::Tcp => builder.tcp(ports.0, ports.1).flags(flags),
        Protocol::Udp => builder.udp(ports.0, ports.1),
        Protocol::Sctp if flags & SYN != 0 => builder.sctp(ports.0, ports.1, INIT),
        Protocol::Sctp => builder.sctp(ports.0, ports.1, 0),
    }
}

/// What the event's frames are, in a conversation whose last packet went to `real`, and where they arrive.
fn frames_of(
    event: Event,
    (client, port, asked): (&str, u16, Asked),
    real: Option<&str>,
) -> Option<(u16, Vec<Vec<u8>>)> {
    let Asked {
        protocol, address, ..
    } = asked;
    let ask = || from_wan(client, address);
    let to = (port, asked.port);
    let from_real = match protocol {
        _ if asked.port == 80 => 8080,
        Protocol::Udp => 8053,
        _ => 8081,
    };
    Some(match event {
        Event::Begin => (WAN, vec![transport(ask(), protocol, to, SYN).build()]),
        Event::Ask => (WAN, vec![transport(ask(), protocol, to, ACK).build()]),
        Event::AskInFragments => {
            let large = transport(ask().id(port.into()), protocol, to, ACK).payload(&[1; 1800]);
            (WAN, large.build_fragments(1000))
        }
        Event::Answer if asked.is_nat => {
            let answer = from_lan(real?, client);
            let answer = transport(answer, protocol, (from_real, port), SYN_ACK);
            (LAN, vec![answer.build()])
        }
        Event::Complain if asked.is_nat && port % 2 == 0 => {
            let seen = transport(packet(client, real?), protocol, (port, from_real), ACK);
            let error = from_lan(LAN_ROUTER, client);
            let error = error.icmp_error(3, 4, 1200, &seen.build_datagram());
            (LAN, vec![error.build()])
        }
        Event::Complain => {
            let seen = transport(packet(address, client), protocol, (to.1, to.0), ACK);
            let error = from_wan("203.0.113.9", address);
            let error = error.icmp_error(3, 1, 0, &seen.build_datagram());
            (WAN, vec![error.build()])
        }
        Event::Answer | Event::Reload(_) => return None,
    })
}

/// A router between here and the real servers.
const LAN_ROUTER: &str = "10.1.0.13";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn several_workers_do_with_a_conversation_what_one_does(
        workers in 2..=5_usize,
        spread in prop::sample::select(vec![Spread::Steered, Spread::OnePort, Spread::Unknown]),
        strays in any::<bool>(),
        seed in any::<u64>(),
        events in prop::collection::vec((0..ASKED.len(), 0..CLIENTS.len(), some_event()), 1..80),
    ) {
        let mut both = Both::new(workers, spread, strays, seed);
        let mut reals: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for (number, (asked, client, event)) in events.into_iter().enumerate() {
            if let Event::Reload(way) = event {
                both.reload(way);
                continue;
            }
            let key = (asked, client);
            // Client sockets are asked from for one service each.
            let port = 4000 + u16::try_from(asked * 2 + client).unwrap();
            let conversation = (CLIENTS[client], port, ASKED[asked]);
            let real = reals.get(&key).map(String::as_str);
            // A SYN that is sent again begins a session where it lands, if the first one's owner is whoever got it.
            if matches!(event, Event::Begin) && real.is_some() {
                continue;
            }
            let Some((at, frames)) = frames_of(event, conversation, real) else {
                continue;
            };
            // Of fragments and errors a NIC sees the addresses only.
            let flow = match event {
                Event::AskInFragments | Event::Complain => 0,
                _ => u64::from(port),
            };
            let [one, several] = both.pass(at, flow, &frames, real.is_none());
            prop_assert_eq!(
                outcome(&one), outcome(&several),
                "{} {:?} {:?} {:?}", number, event, ASKED[asked], CLIENTS[client]
            );
            if at == WAN
                && let Some((LAN, frame)) = one.first()
                && let Some(real) = REALS.iter().find(|real| frame[..6] == mac_of(real).0)
            {
                reals.insert(key, (*real).to_owned());
            }
        }
        finish(both.one);
        finish(both.several);
    }
}

//! The generator against the real data plane: what it sends is forwarded, what comes back is judged.
//!
//! Must not judge by the checker alone: it is shown damaged frames too, and has to find each damage.

use plimsoll_dataplane::testing::Rig;
use plimsoll_dataplane::wire::checksum::{Delta, Sum, update_u16};

use super::bytes::{chunk, put};
use super::*;

const SEED: u64 = 11;
const FLOWS: u32 = 300;

struct Bench {
    rig: Rig,
    writer: FrameWriter,
    checker: Checker,
    servers: Servers,
    affinity: Affinity,
    scenario: Scenario,
}

impl Bench {
    fn new(scenario: &Scenario, shape: Shape) -> Self {
        let mac = Scenario::BALANCER_MAC;
        let clients = Clients::new(SEED);
        let returns = Returns::Balanced;
        Self {
            rig: Rig::new(1, &scenario.spec(mac).unwrap()),
            writer: FrameWriter::new(scenario, shape, clients, mac).unwrap(),
            checker: Checker::new(scenario, shape, clients, mac, FLOWS, returns).unwrap(),
            servers: Servers::new(scenario, shape),
            affinity: Affinity::new(FLOWS),
            scenario: scenario.clone(),
        }
    }

    fn frame(&self, segment: Segment, flow: u32) -> Vec<u8> {
        let mut frame = vec![0xee; 2000];
        let length = self.writer.write(segment, flow, 1234, 99, &mut frame);
        frame.truncate(length.unwrap());
        assert_eq!(frame.len(), self.writer.frame_bytes(segment));
        frame
    }

    /// Sends a frame through the data plane, which has to give exactly one.
    #[track_caller]
    fn pass(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut sent = self.rig.pass(0, frame);
        assert_eq!(sent.len(), 1, "{:?}", self.rig.all_drops());
        sent.pop().unwrap().1
    }

    /// Sends a frame of a flow and judges what comes out; and the answer, if it goes through the balancer.
    #[track_caller]
    fn exchange(&mut self, segment: Segment, flow: u32) -> u16 {
        let frame = self.frame(segment, flow);
        let mut back = self.pass(&frame);
        let seen = self.checker.judge(&back).unwrap_or_else(|fault| {
            panic!(
                "{:?} {segment:?}: {fault}\n{frame:02x?}\n{back:02x?}",
                self.scenario
            )
        });
        let Good::Forwarded { real } = seen.good else {
            panic!("{seen:?}");
        };
        assert_eq!((seen.flow, seen.segment), (flow, segment));
        assert!(seen.stamp.is_none_or(|stamp| stamp == 1234));
        assert!(seen.number.is_none_or(|number| number == 99));
        self.affinity.check(flow, real).unwrap();
        if self.scenario.method == Method::Nat && self.servers.answer(&mut back, &seen) {
            let back = self.pass(&back);
            let reply = self.checker.judge(&back).unwrap_or_else(|fault| {
                panic!("{:?} {segment:?}: {fault}\n{back:02x?}", self.scenario)
            });
            assert_eq!((reply.good, reply.flow), (Good::Replied, flow));
            assert_eq!(reply.stamp, seen.stamp);
        }
        real
    }
}

/// Every method, family and protocol, with three real servers.
fn scenarios() -> impl Iterator<Item = Scenario> {
    let methods = [Method::Dr, Method::Nat, Method::Tunnel];
    let families = [Family::V4, Family::V6];
    let protocols = [Protocol::Tcp, Protocol::Udp];
    methods.into_iter().flat_map(move |method| {
        families.into_iter().flat_map(move |family| {
            protocols.into_iter().map(move |protocol| Scenario {
                method,
                family,
                protocol,
                reals: 3,
                ..Scenario::default()
            })
        })
    })
}

fn segments(scenario: &Scenario) -> &'static [Segment] {
    match scenario.protocol {
        Protocol::Udp => &[Segment::Datagram],
        Protocol::Tcp => &[
            Segment::Syn,
            Segment::Ack,
            Segment::Data,
            Segment::Fin,
            Segment::Last,
        ],
    }
}

/// Sizes from the shortest to the longest that fits everywhere, with odd ones.
fn shapes(scenario: &Scenario) -> impl Iterator<Item = Shape> {
    let least = Shape::least(scenario);
    let sizes = [least, least + 1, least + 7, least + 12, 300, 1474];
    sizes
        .into_iter()
        .flat_map(|frame_bytes| [true, false].map(|data| Shape { frame_bytes, data }))
}

#[test]
fn what_the_data_plane_forwards_is_found_good_in_every_scenario() {
    for scenario in scenarios() {
        for shape in shapes(&scenario) {
            let mut bench = Bench::new(&scenario, shape);
            let mut reached = [0; 3];
            for flow in 0..9 {
                for segment in segments(&scenario) {
                    let real = bench.exchange(*segment, flow);
                    reached[usize::from(real)] += 1;
                }
            }
            let each = 3 * segments(&scenario).len();
            assert_eq!(reached, [each; 3], "round robin: {scenario:?}");
        }
    }
}

#[test]
fn every_damaged_byte_is_a_fault_in_every_scenario() {
    let mut random = Random::new(3);
    for scenario in scenarios() {
        let shape = Shape {
            frame_bytes: 90,
            data: true,
        };
        let mut bench = Bench::new(&scenario, shape);
        for segment in segments(&scenario) {
            bench.exchange(*segment, 5);
            let frame = bench.frame(*segment, 5);
            let mut good = vec![bench.pass(&frame)];
            let seen = bench.checker.judge(&good[0]).unwrap();
            let mut answer = good[0].clone();
            if scenario.method == Method::Nat && bench.servers.answer(&mut answer, &seen) {
                good.push(bench.pass(&answer));
            }
            for good in &good {
                for at in 0..good.len() {
                    for _ in 0..4 {
                        let mut bad = good.clone();
                        let change = 1 + random.below(255);
                        bad[at] ^= u8::try_from(change).unwrap();
                        let Ok(seen) = bench.checker.judge(&bad) else {
                            continue;
                        };
                        // Another real server's MAC is a good frame that went astray.
                        let Good::Forwarded { real } = seen.good else {
                            panic!("{scenario:?} {segment:?} byte {at}");
                        };
                        assert_eq!(scenario.method, Method::Dr);
                        assert!((4..6).contains(&at));
                        assert_eq!(bench.affinity.check(5, real), Err(Fault::Affinity));
                    }
                }
            }
        }
    }
}

#[test]
fn frames_of_any_length_and_content_are_faults_and_nothing_worse() {
    let mut random = Random::new(4);
    for scenario in scenarios() {
        let shape = Shape {
            frame_bytes: 90,
            data: true,
        };
        let mut bench = Bench::new(&scenario, shape);
        let segment = segments(&scenario)[0];
        let frame = bench.frame(segment, 1);
        let good = bench.pass(&frame);
        for length in 0..good.len() {
            assert!(bench.checker.judge(&good[..length]).is_err());
        }
        let long = [&good[..], &[0]].concat();
        assert_eq!(bench.checker.judge(&long), Err(Fault::Length));
        for _ in 0..1000 {
            let length = random.below(200) as usize;
            let noise: Vec<u8> = (0..length)
                .map(|_| u8::try_from(random.below(256)).unwrap())
                .collect();
            assert!(bench.checker.judge(&noise).is_err());
        }
    }
}

fn dr(shape: usize) -> (Bench, Vec<u8>) {
    with(Method::Dr, Protocol::Udp, shape)
}

fn with(method: Method, protocol: Protocol, frame_bytes: usize) -> (Bench, Vec<u8>) {
    let scenario = Scenario {
        method,
        protocol,
        reals: 3,
        ..Scenario::default()
    };
    let shape = Shape {
        frame_bytes,
        data: true,
    };
    let mut bench = Bench::new(&scenario, shape);
    let frame = bench.frame(segments(&scenario)[0], 5);
    let good = bench.pass(&frame);
    assert!(bench.checker.judge(&good).is_ok());
    (bench, good)
}

/// Changes a 16-bit word and brings the IPv4 header's checksum in step.
fn change(frame: &mut [u8], at: usize, new: u16) {
    let old = u16::from_be_bytes(chunk(frame, at));
    put(frame, at, new.to_be_bytes());
    let check = u16::from_be_bytes(chunk(frame, 24));
    put(frame, 24, update_u16(check, old, new).to_be_bytes());
}

#[test]
fn each_fault_is_called_by_its_name() {
    let (bench, good) = dr(60);
    let judge = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        bench.checker.judge(&frame)
    };
    let fault = |change: &dyn Fn(&mut Vec<u8>)| judge(change).unwrap_err();
    assert_eq!(fault(&|f| f[0] = 6), Fault::DestinationMac);
    assert_eq!(fault(&|f| f[5] = 3), Fault::UnknownReal);
    assert_eq!(fault(&|f| f[6] = 6), Fault::SourceMac);
    assert_eq!(fault(&|f| f[13] = 6), Fault::NotIp);
    assert_eq!(fault(&|f| f.truncate(59)), Fault::Length);
    assert_eq!(fault(&|f| change(f, 16, 45)), Fault::Header);
    let ttl_and_protocol = u16::from_be_bytes(chunk(&good, 22));
    assert_eq!(
        fault(&|f| change(f, 22, ttl_and_protocol + 0x100)),
        Fault::Ttl
    );
    assert_eq!(fault(&|f| f[24] ^= 1), Fault::IpChecksum);
    assert_eq!(fault(&|f| f[26] ^= 1), Fault::ClientAddress);
    assert_eq!(fault(&|f| f[33] ^= 2), Fault::VirtualAddress);
    assert_eq!(fault(&|f| f[37] ^= 2), Fault::VirtualAddress);
    assert_eq!(fault(&|f| f[34] ^= 0x80), Fault::ClientAddress);
    assert_eq!(fault(&|f| f[40] ^= 1), Fault::TransportChecksum);
    assert_eq!(fault(&|f| put(f, 40, [0; 2])), Fault::TransportChecksum);
    assert_eq!(fault(&|f| f[42] ^= 1), Fault::TransportChecksum);
    assert_eq!(fault(&|f| f[59] ^= 1), Fault::Payload);
    // Right sums, but the payload of flow 6.
    assert_eq!(
        fault(&|f| {
            put(f, 46, 6_u32.to_be_bytes());
            let check = Delta::NONE
                .u32(5, 6)
                .apply_udp(u16::from_be_bytes(chunk(f, 40)));
            put(f, 40, check.to_be_bytes());
        }),
        Fault::PayloadFlow
    );
    // All is well with it, but nobody has sent it in this run.
    let mut stray = vec![0; 60];
    let _ = bench
        .writer
        .write(Segment::Datagram, FLOWS, 0, 0, &mut stray);
    stray[..6].copy_from_slice(&good[..6]);
    stray[6..12].copy_from_slice(&good[6..12]);
    change(&mut stray, 22, ttl_and_protocol);
    assert_eq!(bench.checker.judge(&stray), Err(Fault::UnknownFlow));

    let mut tally = Tally::default();
    tally.add(Fault::Ttl);
    tally.add(Fault::Ttl);
    assert_eq!((tally.count(Fault::Ttl), tally.total()), (2, 2));
    assert_eq!(serde_json::to_string(&tally).unwrap(), r#"{"ttl":2}"#);
}

#[test]
fn nat_and_tunnels_have_faults_of_their_own() {
    let (bench, good) = with(Method::Nat, Protocol::Udp, 60);
    let mut frame = good.clone();
    // The right address for another MAC.
    let seen = bench.checker.judge(&good).unwrap();
    frame[5] ^= 1;
    assert_eq!(bench.checker.judge(&frame), Err(Fault::RealAddress));
    let mut frame = good.clone();
    frame[37] ^= 1;
    assert_eq!(bench.checker.judge(&frame), Err(Fault::RealAddress));
    let mut answer = good.clone();
    assert!(bench.servers.answer(&mut answer, &seen));
    // Sent past the balancer, the answer bears the real server's address.
    answer[..6].copy_from_slice(&Scenario::ROUTER_MAC.0);
    answer[6..12].copy_from_slice(&Scenario::BALANCER_MAC.0);
    let ttl_and_protocol = u16::from_be_bytes(chunk(&good, 22));
    change(&mut answer, 22, ttl_and_protocol);
    assert_eq!(bench.checker.judge(&answer), Err(Fault::ReplySource));
    let seen = Seen {
        good: Good::Replied,
        ..seen
    };
    assert!(
        !bench
            .servers
            .answer(&mut bench.frame(Segment::Datagram, 1), &seen)
    );

    let (bench, good) = with(Method::Tunnel, Protocol::Udp, 60);
    for (at, fault) in [
        (14 + 19, Fault::OuterHeader),
        (14 + 8, Fault::OuterHeader),
        (14 + 10, Fault::OuterHeader),
        (34 + 8, Fault::Ttl),
        (34 + 16, Fault::VirtualAddress),
    ] {
        let mut frame = good.clone();
        frame[at] ^= 1;
        assert_eq!(bench.checker.judge(&frame), Err(fault), "{at}");
    }
}

#[test]
fn tcps_flags_and_numbers_are_those_of_the_flow() {
    let (bench, good) = with(Method::Dr, Protocol::Tcp, 60);
    for (at, fault) in [
        (14 + 20 + 13, Fault::TcpFlags),
        (14 + 20 + 4, Fault::TcpNumbers),
        (14 + 20 + 15, Fault::Header),
        (26, Fault::ClientAddress),
    ] {
        let mut frame = good.clone();
        frame[at] ^= 4;
        assert_eq!(bench.checker.judge(&frame), Err(fault), "{at}");
    }
}

#[test]
fn what_testpmd_sends_back_is_what_was_sent_with_its_macs_exchanged() {
    for scenario in scenarios() {
        for shape in shapes(&scenario).filter(|shape| Shape::check(shape, &scenario).is_ok()) {
            let clients = Clients::new(SEED);
            let mac = Scenario::BALANCER_MAC;
            let writer = FrameWriter::new(&scenario, shape, clients, mac).unwrap();
            let returns = Returns::MacSwapped;
            let checker = Checker::new(&scenario, shape, clients, mac, FLOWS, returns).unwrap();
            for segment in segments(&scenario) {
                let mut frame = vec![0; writer.frame_bytes(*segment)];
                writer.write(*segment, 3, 0, 0, &mut frame).unwrap();
                assert!(checker.judge(&frame).is_err(), "it has not been anywhere");
                let (to, from) = (Scenario::BALANCER_MAC.0, Scenario::ROUTER_MAC.0);
                frame[..6].copy_from_slice(&from);
                frame[6..12].copy_from_slice(&to);
                let seen = checker.judge(&frame).unwrap();
                assert_eq!((seen.good, seen.flow), (Good::Swapped, 3));
                assert_eq!(seen.segment, *segment);
            }
        }
    }
}

#[test]
fn frames_have_correct_sums_by_the_books() {
    for scenario in scenarios() {
        for shape in shapes(&scenario) {
            let bench = Bench::new(&scenario, shape);
            for (segment, flow) in segments(&scenario).iter().zip(100..) {
                let frame = bench.frame(*segment, flow);
                let (l4, pseudo) = match scenario.family {
                    Family::V4 => {
                        assert!(Sum::of(&frame[14..34]).is_valid());
                        (34, Sum::of(&frame[26..34]))
                    }
                    Family::V6 => (54, Sum::of(&frame[22..54])),
                };
                let total = match scenario.family {
                    Family::V4 => 14 + usize::from(u16::from_be_bytes(chunk(&frame, 16))),
                    Family::V6 => 54 + usize::from(u16::from_be_bytes(chunk(&frame, 18))),
                };
                let number = if scenario.protocol == Protocol::Tcp {
                    6
                } else {
                    17
                };
                let length = u16::try_from(total - l4).unwrap();
                let sum = pseudo.u16(number).u16(length).bytes(&frame[l4..total]);
                assert!(sum.is_valid(), "{scenario:?} {shape:?} {segment:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let shape = Shape {
        frame_bytes: 60,
        data: false,
    };
    let scenario = Scenario::default();
    assert!(shape.check(&scenario).is_ok());
    for (scenario, frame_bytes) in [
        (
            Scenario {
                reals: 0,
                ..scenario.clone()
            },
            60,
        ),
        (
            Scenario {
                reals: u16::MAX,
                ..scenario.clone()
            },
            60,
        ),
        (
            Scenario {
                workers: 0,
                ..scenario.clone()
            },
            60,
        ),
        (scenario.clone(), 59),
        (scenario.clone(), 1515),
        (
            Scenario {
                family: Family::V6,
                ..scenario.clone()
            },
            61,
        ),
        (
            Scenario {
                method: Method::Tunnel,
                ..scenario.clone()
            },
            1495,
        ),
    ] {
        let shape = Shape {
            frame_bytes,
            ..shape
        };
        assert!(
            shape.check(&scenario).is_err(),
            "{scenario:?} {frame_bytes}"
        );
    }
    let scenario = Scenario {
        scheduler: "fastest".to_owned(),
        ..scenario
    };
    let error = scenario.spec(Scenario::BALANCER_MAC).unwrap_err();
    assert!(error.to_string().contains("fastest"), "{error}");
}

#[test]
fn the_configuration_is_one_that_the_daemon_takes() {
    for scenario in scenarios() {
        let options = DaemonOptions {
            hugepages: Hugepages::Off,
            eal_args: vec!["--single-file-segments".to_owned()],
            socket: Some("/run/x.sock".into()),
            http: Some("127.0.0.1:1".parse().unwrap()),
            ..DaemonOptions::new("net_vhost0,iface=/tmp/x.sock")
        };
        let text = scenario.yaml(&options);
        let loaded = plimsoll_control::config::parse("x", text.as_str());
        assert!(
            loaded.is_ok_and(|loaded| loaded.warnings.errors() == 0),
            "{text}"
        );
    }
}

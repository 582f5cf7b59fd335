//! What holds for every packet, however mad: no panic, one verdict, no buffer lost, right checksums.
//! Which packet goes where is in `forwarding.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, where a panic is a verdict"
)]

#[path = "properties/fast_path.rs"]
mod fast_path;
#[path = "properties/faults.rs"]
mod faults;
#[path = "forwarding/net.rs"]
mod net;
#[path = "properties/workers.rs"]
mod workers;

use etherparse::{NetSlice, SlicedPacket, TcpHeader, TransportSlice, UdpHeader};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::io::memory::MemoryWire;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::spec::service::{Persistence, RealSpec, ServiceSpec};
use plimsoll_dataplane::testing::{FaultInjector, Faults, PacketBuilder, Rig, Rng, Sent};
use proptest::prelude::*;

use net::*;

/// Every method and both families at once: TCP 80 direct, 81 NAT, 82 tunnels of all kinds in either
/// family; UDP 53 NAT, 54 direct, 55 tunnels; SCTP 80 direct, 81 NAT. TCP 83 is persistent and UDP 57
/// one-packet, both NAT. The LAN is narrower than the WAN.
fn everything() -> Spec {
    use ForwardMethod::{Direct, Nat, Tunnel};
    let mut services = Vec::new();
    for (vip, reals) in [(VIP, REALS), (VIP6, REALS6)] {
        let by = |kind, address| RealSpec {
            tunnel: kind,
            ..real(address, 82, Tunnel)
        };
        let mixed = vec![
            real(REALS[0], 82, Tunnel),
            real(REALS6[0], 82, Tunnel),
            by(GRE, REALS6[1]),
            by(TunnelKind::Gre { checksum: true }, REALS[2]),
            by(GUE, REALS6[2]),
            by(GUE_CSUM, WAN_ADDRESS),
            by(GUE_CSUM, "10.1.0.14"),
            weighted(REALS[1], 82, Tunnel, 0),
        ];
        for (protocol, port, forward) in [
            (Protocol::Tcp, 80, Direct),
            (Protocol::Tcp, 81, Nat),
            (Protocol::Udp, 53, Nat),
            (Protocol::Udp, 54, Direct),
            (Protocol::Sctp, 80, Direct),
            (Protocol::Sctp, 81, Nat),
        ] {
            let port_there = if forward == Nat { port + 8000 } else { port };
            let reals = reals.map(|address| real(address, port_there, forward));
            services.push(service(protocol, vip, port, reals.to_vec()));
        }
        let nat = |port: u16| {
            reals
                .map(|address| real(address, port + 8000, Nat))
                .to_vec()
        };
        services.push(ServiceSpec {
            persistence: Some(Persistence {
                timeout_ms: 50_000,
                mask: 24,
            }),
            ..service(Protocol::Tcp, vip, 83, nat(83))
        });
        services.push(ServiceSpec {
            one_packet: true,
            ..service(Protocol::Udp, vip, 57, nat(57))
        });
        services.push(service(Protocol::Tcp, vip, 82, mixed.clone()));
        services.push(service(Protocol::Udp, vip, 55, mixed));
        services.push(service(Protocol::Udp, vip, 56, vec![]));
    }
    for (number, service) in services.iter_mut().enumerate() {
        service.mss_clamp = [None, Some(MssClamp::Auto), Some(MssClamp::Bytes(600))][number % 3];
        service.policy.path_mtu = number % 5 != 0;
    }
    let mut spec = with_kernel(services);
    spec.ports[1].mtu = 1400;
    spec.network.forwarding = true;
    spec.network
        .neighbours
        .push((ip("10.1.0.14"), mac_of("10.1.0.14")));
    // One real server's MAC has to be asked for.
    spec.network
        .neighbours
        .retain(|(address, _)| *address != ip(REALS[2]));
    spec
}

const GUE_CSUM: TunnelKind = TunnelKind::Gue {
    port: 6080,
    checksum: true,
};

/// A frame, and where it arrives.
#[derive(Debug, Clone)]
struct Arrival {
    worker: usize,
    port: u16,
    frame: Vec<u8>,
}

/// Who sends to whom, by which ports.
type Flow = ((&'static str, &'static str), (u16, u16));

/// Mostly requests to services and replies to them, so that sessions come about.
fn some_flow() -> impl Strategy<Value = Flow> {
    let pair =
        |of: [[&'static str; 2]; 2]| prop::sample::select(of.map(|[from, to]| (from, to)).to_vec());
    let requests = (
        pair([[CLIENT, VIP], [CLIENT6, VIP6]]),
        (4000..4003_u16, some_service()),
    );
    let replies = (
        pair([[REALS[0], CLIENT], [REALS6[0], CLIENT6]]),
        (
            prop::sample::select(vec![8081_u16, 8083, 8053, 8057]),
            4000..4003_u16,
        ),
    );
    let others = (pair_of_one_family(), (any::<u16>(), some_service()));
    prop_oneof![6 => requests, 3 => replies, 2 => others]
}

fn some_service() -> impl Strategy<Value = u16> {
    prop_oneof![80..84_u16, 53..58_u16]
}

fn pair_of_one_family() -> impl Strategy<Value = (&'static str, &'static str)> {
    let v4 = [
        CLIENT,
        VIP,
        WAN_ADDRESS,
        LAN_ADDRESS,
        REALS[0],
        REALS[2],
        "224.0.0.5",
        "0.0.0.0",
    ];
    let v6 = [
        CLIENT6,
        VIP6,
        WAN_ADDRESS6,
        REALS6[0],
        "ff02::1",
        "::",
        "fe80::1",
    ];
    let v4 = || prop::sample::select(v4.to_vec());
    let v6 = || prop::sample::select(v6.to_vec());
    prop_oneof![(v4(), v4()), (v6(), v6())]
}

fn some_length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..64_usize, 1 => 1300..1500_usize, 1 => 0..3000_usize]
}

/// A well-formed packet of any kind, perhaps in fragments.
fn sound_frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let kind = prop_oneof![4 => Just(0), 4 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(4), 3 => Just(5)];
    let dress = (
        prop_oneof![9 => Just(64_u8), 1 => 0..3_u8],
        any::<bool>(),
        any::<u8>(),
        prop_oneof![6 => Just(None), 1 => (600..1400_usize).prop_map(Some)],
        prop_oneof![9 => Just(None), 1 => Just(Some(0_u16)), 1 => Just(Some(7))],
    );
    let flags = prop_oneof![3 => Just(SYN), 3 => Just(ACK), 1 => Just(FIN_ACK), 1 => Just(RST), 1 => any::<u8>()];
    let upper = (kind, flags, any::<u8>(), some_length());
    (some_flow(), upper, dress, 0..8_u8).prop_map(
        |(flow, (kind, flags, byte, length), dress, checksum)| {
            let ((from, to), (source, destination)) = flow;
            let (ttl, df, tos, pieces, vlan) = dress;
            let to_mac = if REALS.contains(&from) || REALS6.contains(&from) {
                LAN_MAC
            } else {
                WAN_MAC
            };
            let mut builder = packet(from, to).mac(GATEWAY_MAC, to_mac).ttl(ttl).tos(tos);
            builder = builder.id(source.into());
            if df {
                builder = builder.df();
            }
            if let Some(id) = vlan {
                builder = builder.vlan(id);
            }
            let payload = vec![byte; length];
            builder = match kind {
                0 => builder
                    .tcp(source, destination)
                    .flags(flags)
                    .payload(&payload),
                1 => builder.udp(source, destination).payload(&payload),
                2 => {
                    let about = packet(to, from).udp(destination, source).payload(&payload);
                    let quoted = about.build_datagram();
                    let kinds = [1, 2, 3, 4, 5, 11, 12];
                    let kind = kinds[usize::from(byte) % kinds.len()];
                    builder.icmp_error(kind, byte & 7, 0, &quoted[..quoted.len().min(500)])
                }
                5 => {
                    // Mostly chunks that move an association on.
                    let chunk = if byte < 128 { byte % 15 } else { byte };
                    builder.sctp(source, destination, chunk).payload(&payload)
                }
                3 => builder.echo_request(source, destination).payload(&payload),
                _ => builder.protocol(byte).payload(&payload),
            };
            builder = match checksum {
                0 => builder.no_udp_checksum(),
                1 => builder.bad_checksum(),
                _ => builder,
            };
            match pieces {
                Some(bytes) => builder.build_fragments(bytes),
                None => vec![builder.build()],
            }
        },
    )
}

/// What a router on the way of a tunnel says about a packet in it, or about what might be one.
fn tunnel_complaints() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let v6 = [false, true];
    let inside = (prop::sample::select(v6.to_vec()), 4000..4003_u16);
    let outside = (prop::sample::select(v6.to_vec()), 0..4_u8, 0..4_u8);
    let what = (0..12_u8, 0..6_u8, prop_oneof![0..1500_u32, any::<u32>()]);
    (inside, outside, what, 0..300_usize).prop_map(|(inside, outside, what, bytes)| {
        let ((inner_v6, port), (outer_v6, last, between)) = (inside, outside);
        let (client, vip, number) = if inner_v6 {
            (CLIENT6, VIP6, 41)
        } else {
            (CLIENT, VIP, 4)
        };
        let inner = packet(client, vip).ttl(63).tcp(port, 82).payload(&[0; 200]);
        let inner = inner.build_datagram();
        let ours = if outer_v6 { LAN_ADDRESS6 } else { LAN_ADDRESS };
        let reals = if outer_v6 { REALS6 } else { REALS };
        let real = reals.get(usize::from(last)).copied().unwrap_or(ours);
        let outer = packet(ours, real);
        let ether_type = if inner_v6 { [0x86, 0xdd] } else { [8, 0] };
        let outer = match between {
            0 => outer.protocol(number).payload(&inner),
            1 => outer
                .protocol(47)
                .payload(&[&[0, 0], &ether_type[..], &inner].concat()),
            2 => outer
                .protocol(47)
                .payload(&[&[0x80, 0], &ether_type[..], &[0; 4], &inner].concat()),
            _ => outer
                .udp(50_000, 6080)
                .payload(&[&[0, number, 0, 0], &inner[..]].concat()),
        };
        let quoted = outer.build_datagram();
        let (kind, code, rest) = what;
        let quoted = &quoted[..bytes.min(quoted.len())];
        vec![
            from_lan(real, ours)
                .icmp_error(kind, code, rest, quoted)
                .build(),
        ]
    })
}

/// Frames as they might arrive: sound, damaged, or noise with our MAC in front.
fn arrivals(workers: usize) -> impl Strategy<Value = Vec<Arrival>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let damaged = (
        prop_oneof![4 => sound_frames(), 1 => tunnel_complaints()],
        damage,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut frames, damage, end, cut)| {
            for frame in &mut frames {
                for (at, value) in &damage {
                    let at = at.index(frame.len());
                    frame[at] = *value;
                }
                if cut {
                    frame.truncate(end.index(frame.len()));
                }
            }
            frames
        });
    let kinds = prop_oneof![
        Just([0x08, 0x00]),
        Just([0x08, 0x06]),
        Just([0x86, 0xdd]),
        any::<[u8; 2]>()
    ];
    let noise = (kinds, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, noise)| {
        let frame = [&WAN_MAC.0[..], &GATEWAY_MAC.0, &kind, &noise].concat();
        vec![frame]
    });
    let frames =
        prop_oneof![4 => sound_frames(), 2 => damaged, 1 => tunnel_complaints(), 1 => noise];
    let arrival = (0..workers, 0..4_u16, frames).prop_map(|(worker, port, frames)| {
        let arrive = |frame: Vec<u8>| {
            // The kernel's ports are rarely meant.
            let port = match frame.get(..6) {
                Some(mac) if mac == LAN_MAC.0 => LAN,
                _ if port == 3 => port,
                _ => WAN,
            };
            Arrival {
                worker,
                port,
                frame,
            }
        };
        frames.into_iter().map(arrive).collect::<Vec<_>>()
    });
    prop::collection::vec(arrival, 1..40).prop_map(|all| all.concat())
}

fn play(workers: usize, arrivals: &[Arrival]) -> (Vec<Sent>, Rig) {
    let mut rig = Rig::with_sessions(workers, 64, &everything());
    let mut sent = Vec::new();
    for (index, arrival) in arrivals.iter().enumerate() {
        rig.inject(arrival.worker, arrival.port, &arrival.frame);
        if index % 3 == 0 {
            sent.extend(rig.run());
        }
        if index % 16 == 15 {
            sent.extend(rig.wait_ms(700));
        }
    }
    sent.extend(rig.run());
    (sent, rig)
}

/// Whether an IPv4 frame's header checksum is right; true for anything else.
fn ip_checksum_is_right(frame: &[u8]) -> bool {
    if frame.get(12..14) != Some(&[8, 0]) {
        return true;
    }
    etherparse::Ipv4Header::from_slice(&frame[14..])
        .is_ok_and(|(header, _)| header.calc_header_checksum() == header.header_checksum)
}

/// Whether the checksum of the ICMP message in a frame without IP options is right.
fn icmp_checksum_is_right(frame: &[u8]) -> bool {
    let sum = etherparse::checksum::Sum16BitWords::new();
    let sum = if frame.get(12..14) == Some(&[8, 0]) {
        sum.add_slice(&frame[34..])
    } else {
        let length = u32::try_from(frame.len() - 54).unwrap();
        sum.add_slice(&frame[22..54])
            .add_4bytes(length.to_be_bytes())
            .add_2bytes([0, 58])
            .add_slice(&frame[54..])
    };
    sum.ones_complement() == 0
}

/// Whether a frame's TCP or UDP checksum is right; `None` if it has none.
fn transport_checksum_is_right(frame: &[u8]) -> Option<bool> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    match (sliced.net?, sliced.transport?) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let (header, payload): (TcpHeader, _) = (tcp.to_header(), tcp.payload());
            let ip = ip.header().to_header();
            Some(header.calc_checksum_ipv4(&ip, payload).ok()? == header.checksum)
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let (header, payload): (TcpHeader, _) = (tcp.to_header(), tcp.payload());
            let ip = ip.header().to_header();
            Some(header.calc_checksum_ipv6(&ip, payload).ok()? == header.checksum)
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let (header, payload): (UdpHeader, _) = (udp.to_header(), udp.payload());
            let ip = ip.header().to_header();
            Some(header.calc_checksum_ipv4(&ip, payload).ok()? == header.checksum)
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let (header, payload): (UdpHeader, _) = (udp.to_header(), udp.payload());
            let ip = ip.header().to_header();
            Some(header.calc_checksum_ipv6(&ip, payload).ok()? == header.checksum)
        }
        _ => None,
    }
}

/// Whether an SCTP packet's CRC is right, in a frame with no extension header.
fn crc_is_right(frame: &[u8]) -> bool {
    let upper = if frame[12..14] == [8, 0] { 34 } else { 54 };
    let mut packet = frame[upper..].to_vec();
    let crc = u32::from_le_bytes(packet[8..12].try_into().unwrap());
    packet[8..12].fill(0);
    crc == crc32c::crc32c(&packet)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_arrives_has_one_verdict_and_no_buffer_is_lost(
        (workers, arrivals) in (1..=3_usize).prop_flat_map(|workers| (Just(workers), arrivals(workers))),
    ) {
        // `Rig` itself holds the books against each other after every step.
        let (sent, rig) = play(workers, &arrivals);
        for (port, frame) in &sent {
            // What a kernel sends or gets is as it came.
            let from_kernel = arrivals.iter().any(|arrival| arrival.port > LAN && arrival.frame == *frame);
            if *port <= LAN && !from_kernel {
                prop_assert!(ip_checksum_is_right(frame), "{frame:02x?}");
                let most = if *port == WAN { 1514 } else { 1414 };
                prop_assert!(frame.len() <= most, "{} bytes", frame.len());
            }
        }
        finish(rig);
    }

    #[test]
    fn the_same_packets_give_the_same_frames(
        (workers, arrivals) in (1..=3_usize).prop_flat_map(|workers| (Just(workers), arrivals(workers))),
    ) {
        let (first, _) = play(workers, &arrivals);
        let (second, _) = play(workers, &arrivals);
        prop_assert!(first == second);
    }

    #[test]
    fn checksums_after_nat_are_those_of_a_new_packet(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        client in 1024..u16::MAX,
        protocol in prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        is_v6 in any::<bool>(),
        no_checksum in any::<bool>(),
        numbers in any::<(u32, u32)>(),
        host in 1..u16::MAX,
    ) {
        let mut rig = Rig::new(1, &everything());
        let [high, low] = host.to_be_bytes();
        let (from, vip, reals) = if is_v6 {
            (format!("2001:db8:c::{host:x}"), VIP6, REALS6)
        } else {
            (format!("198.51.{high}.{low}"), VIP, REALS)
        };
        let dress = |builder: PacketBuilder, flags, source, destination| {
            let builder = match protocol {
                Protocol::Tcp => builder.tcp(source, destination).flags(flags).numbers(numbers.0, numbers.1),
                Protocol::Udp => builder.udp(source, destination),
                Protocol::Sctp => builder.sctp(source, destination, INIT),
            };
            let builder = builder.payload(&payload);
            if no_checksum && !is_v6 { builder.no_udp_checksum() } else { builder }
        };
        let vport = if protocol == Protocol::Udp { 53 } else { 81 };
        let request = dress(from_wan(&from, vip), SYN, client, vport);
        let reply = dress(from_lan(reals[0], &from), SYN_ACK, vport + 8000, client);
        let mut sent = rig.pass(WAN, &request.build());
        sent.extend(rig.pass(LAN, &reply.build()));
        prop_assert_eq!(sent.len(), 2);
        for (_, frame) in &sent {
            prop_assert!(ip_checksum_is_right(frame));
            if protocol == Protocol::Sctp {
                prop_assert!(crc_is_right(frame), "{:02x?}", frame);
            } else {
                prop_assert_eq!(transport_checksum_is_right(frame), Some(true), "{:02x?}", frame);
            }
        }
    }
}

proptest! {
    #[test]
    fn errors_that_are_passed_on_have_the_checksum_of_a_new_message(
        is_v6 in any::<bool>(),
        from_client in any::<bool>(),
        what in (any::<u8>(), any::<u32>()),
        bytes in 8..600_usize,
        port in 1024..u16::MAX,
    ) {
        let mut rig = Rig::new(1, &everything());
        let (client, vip, reals) = if is_v6 {
            (CLIENT6, VIP6, REALS6)
        } else {
            (CLIENT, VIP, REALS)
        };
        rig.pass(WAN, &from_wan(client, vip).udp(port, 53).build());
        let (code, rest) = what;
        let kind = match (is_v6, code % 4) {
            (true, kind) => kind + 1,
            (false, kind) => [3, 4, 11, 12][usize::from(kind)],
        };
        let payload = vec![code; 600];
        let (port_there, seen, error) = if from_client {
            (LAN, packet(vip, client).udp(53, port), from_wan(client, vip))
        } else {
            (WAN, packet(client, reals[0]).udp(port, 8053), from_lan(reals[0], client))
        };
        let quoted = seen.payload(&payload).build_datagram();
        let header = if is_v6 { 40 } else { 20 };
        let error = error.icmp_error(kind, code, rest, &quoted[..header + bytes]);
        let sent = rig.pass(if from_client { WAN } else { LAN }, &error.build());
        prop_assert_eq!(sent.len(), 1);
        let (port, frame) = &sent[0];
        prop_assert_eq!(*port, port_there);
        prop_assert!(ip_checksum_is_right(frame));
        prop_assert!(icmp_checksum_is_right(frame), "{:02x?}", frame);
    }

    #[test]
    fn the_udp_checksum_of_a_tunnel_is_that_of_a_new_datagram(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        port in 1024..u16::MAX,
        inner_v6 in any::<bool>(),
        outer_v6 in any::<bool>(),
    ) {
        let reals = if outer_v6 { REALS6 } else { REALS };
        let mut rig = Rig::new(1, &tunnel_of(GUE_CSUM, reals, reals));
        let (client, vip) = if inner_v6 { (CLIENT6, VIP6) } else { (CLIENT, VIP) };
        let request = from_wan(client, vip).udp(port, 53).payload(&payload);
        let sent = rig.pass(WAN, &request.build());
        prop_assert_eq!(sent.len(), 1);
        prop_assert!(ip_checksum_is_right(&sent[0].1));
        prop_assert_eq!(transport_checksum_is_right(&sent[0].1), Some(true));
    }

    #[test]
    fn a_clamped_segment_has_the_checksum_of_a_new_one(
        options in prop::collection::vec(prop_oneof![Just(1_u8), Just(2), Just(4), any::<u8>()], 0..40),
        payload in prop::collection::vec(any::<u8>(), 0..60),
        is_v6 in any::<bool>(),
        vport in 80..82_u16,
    ) {
        let mut spec = everything();
        for service in &mut spec.services {
            service.mss_clamp = Some(MssClamp::Bytes(536));
        }
        let mut rig = Rig::new(1, &spec);
        let (client, vip) = if is_v6 { (CLIENT6, VIP6) } else { (CLIENT, VIP) };
        let syn = from_wan(client, vip).tcp(4000, vport).flags(SYN);
        let sent = rig.pass(WAN, &syn.tcp_options(&options).payload(&payload).build());
        prop_assert_eq!(sent.len(), 1);
        prop_assert_eq!(transport_checksum_is_right(&sent[0].1), Some(true));
    }
}

#[test]
fn a_bad_network_harms_no_buffer_and_no_book() {
    let faults = Faults {
        lose: 10,
        truncate: 5,
        flip: 10,
        duplicate: 10,
        reorder: 20,
    };
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut frames = Vec::new();
        for port in 4000..4200 {
            for flags in [SYN, ACK, FIN_ACK] {
                let vport = [80, 81, 82][rng.below(3)];
                frames.push(from_wan(CLIENT, VIP).tcp(port, vport).flags(flags).build());
            }
            let ask = from_wan(CLIENT6, VIP6).id(port.into()).udp(port, 53);
            frames.extend(ask.payload(&[1; 2500]).build_fragments(1000));
        }
        let mut rig = Rig::with_sessions(2, 128, &everything());
        for frame in FaultInjector::new(seed, faults).pass_all(frames) {
            rig.inject(rng.below(2), WAN, &frame);
            if rng.chance(30) {
                rig.run();
            }
        }
        rig.run();
        finish(rig);
    }
}

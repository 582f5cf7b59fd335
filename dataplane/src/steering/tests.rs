use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::flow::{V4, V6};
use crate::parse::parse;
use crate::testing::{PacketBuilder, Rng};

fn v4(text: &str) -> V4 {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> V6 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

/// Destination, its port, source, its port, hash without ports, hash with ports.
type Vector = (&'static str, u16, &'static str, u16, u32, u32);

fn verify<A: Address>(address: fn(&str) -> A, vectors: &[Vector]) {
    let toeplitz = Toeplitz::new(&DEFAULT_KEY);
    for &(to, to_port, from, from_port, addresses, all) in vectors {
        let hash = |ports: Option<(u16, u16)>| {
            toeplitz.source(address(from), ports.map(|ports| ports.0))
                ^ toeplitz.destination(address(to), ports.map(|ports| ports.1))
        };
        assert_eq!(hash(None), addresses, "{from}");
        assert_eq!(hash(Some((from_port, to_port))), all, "{from}");
    }
}

#[test]
fn ipv4_hashes_are_those_of_the_verification_suite() {
    verify(
        v4,
        &[
            (
                "161.142.100.80",
                1766,
                "66.9.149.187",
                2794,
                0x323e_8fc2,
                0x51cc_c178,
            ),
            (
                "65.69.140.83",
                4739,
                "199.92.111.2",
                14230,
                0xd718_262a,
                0xc626_b0ea,
            ),
            (
                "12.22.207.184",
                38024,
                "24.19.198.95",
                12898,
                0xd2d0_a5de,
                0x5c2b_394a,
            ),
            (
                "209.142.163.6",
                2217,
                "38.27.205.30",
                48228,
                0x8298_9176,
                0xafc7_327f,
            ),
            (
                "202.188.127.2",
                1303,
                "153.39.163.191",
                44251,
                0x5d18_09c5,
                0x10e8_28a2,
            ),
        ],
    );
}

#[test]
fn ipv6_hashes_are_those_of_the_verification_suite() {
    verify(
        v6,
        &[
            (
                "3ffe:2501:200:3::1",
                1766,
                "3ffe:2501:200:1fff::7",
                2794,
                0x2cc1_8cd5,
                0x4020_7d3d,
            ),
            (
                "ff02::1",
                4739,
                "3ffe:501:8::260:97ff:fe40:efab",
                14230,
                0x0f0c_461c,
                0xdde5_1bbf,
            ),
            (
                "fe80::200:f8ff:fe21:67cf",
                38024,
                "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
                44251,
                0x4b61_e985,
                0x02d1_feef,
            ),
        ],
    );
}

#[test]
fn flows_are_spread_evenly_over_any_number_of_workers() {
    for workers in [1, 2, 3, 7, 8, 16] {
        let steering = Steering::usual(workers);
        let mut rng = Rng::new(5);
        let mut counts = vec![0; workers];
        for _ in 0..20_000 {
            let client = V4(u32::try_from(rng.below(1 << 30)).unwrap());
            let port = u16::try_from(rng.below(1 << 16)).unwrap();
            let to = (v4("192.0.2.100"), 80);
            counts[steering.worker_of_flow(Protocol::Tcp, (client, port), to)] += 1;
        }
        let fair = 20_000 / workers;
        let even = counts
            .iter()
            .all(|count| fair * 4 / 5 < *count && *count < fair * 6 / 5);
        assert!(even, "{counts:?}");
    }
}

#[test]
fn a_frames_queue_is_that_of_its_flow_and_a_fragments_that_of_its_addresses() {
    let steering = Steering::usual(8);
    let (client, vip) = ("198.51.100.7", "192.0.2.100");
    let pair = steering.worker_of_pair(v4(client), v4(vip));
    for port in 4000..4100 {
        let packet = || PacketBuilder::v4(v4(client), v4(vip));
        let flow = |protocol| steering.worker_of_flow(protocol, (v4(client), port), (v4(vip), 53));
        let queue = |frame: &[u8]| steering.queue_of(&parse(frame));
        let ask = packet().udp(port, 53).payload(&[5; 2000]);
        assert_eq!(queue(&ask.build()), flow(Protocol::Udp));
        assert_eq!(queue(&packet().tcp(port, 53).build()), flow(Protocol::Tcp));
        for fragment in ask.build_fragments(1000) {
            assert_eq!(queue(&fragment), pair);
        }
        assert_eq!(queue(&packet().echo_request(port, 1).build()), pair);
        assert_eq!(flow(Protocol::Sctp), pair, "without its ports");
    }
    assert_eq!(steering.queue_of(&parse(&[0; 60])), 0);
}

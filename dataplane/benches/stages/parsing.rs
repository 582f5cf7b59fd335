//! Finding a frame's headers: the fast path of plain ones, and the parser for all.
//! What follows from the headers is not here.

use std::hint::black_box;

use gungraun::prelude::*;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::parse::{Parse, parse, plain_v4, plain_v6};
use plimsoll_dataplane::testing::PacketBuilder;

use crate::setup::{Ip, VIRTUAL_PORT, client_port, clients};

fn packets(ip: Ip, protocol: Protocol) -> impl Iterator<Item = PacketBuilder> {
    clients().map(move |number| {
        let packet = ip.client_packet(number, ip.virtual_address(0));
        match protocol {
            Protocol::Tcp => packet.tcp(client_port(number), VIRTUAL_PORT),
            Protocol::Udp => packet.udp(client_port(number), VIRTUAL_PORT),
            Protocol::Sctp => packet.sctp(client_port(number), VIRTUAL_PORT, 0),
        }
        .payload(&[7; 6])
    })
}

fn datagrams(ip: Ip, protocol: Protocol) -> Vec<Vec<u8>> {
    packets(ip, protocol)
        .map(|packet| packet.build_datagram())
        .collect()
}

fn frames(ip: Ip, protocol: Protocol) -> Vec<Vec<u8>> {
    let frames: Vec<_> = packets(ip, protocol).map(|packet| packet.build()).collect();
    assert!(
        frames
            .iter()
            .all(|frame| matches!(parse(frame), Parse::Ip(_)))
    );
    frames
}

#[library_benchmark(setup = datagrams)]
#[bench::tcp(Ip::V4, Protocol::Tcp)]
#[bench::udp(Ip::V4, Protocol::Udp)]
fn plain_ipv4(datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for datagram in &datagrams {
        black_box(plain_v4(black_box(datagram)));
    }
    datagrams
}

#[library_benchmark(setup = datagrams)]
#[bench::tcp(Ip::V6, Protocol::Tcp)]
#[bench::udp(Ip::V6, Protocol::Udp)]
fn plain_ipv6(datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for datagram in &datagrams {
        black_box(plain_v6(black_box(datagram)));
    }
    datagrams
}

#[library_benchmark(setup = frames)]
#[bench::tcp_v4(Ip::V4, Protocol::Tcp)]
#[bench::udp_v4(Ip::V4, Protocol::Udp)]
#[bench::sctp_v4(Ip::V4, Protocol::Sctp)]
#[bench::tcp_v6(Ip::V6, Protocol::Tcp)]
#[bench::udp_v6(Ip::V6, Protocol::Udp)]
fn any(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for frame in &frames {
        black_box(parse(black_box(frame)));
    }
    frames
}

library_benchmark_group!(name = headers, benchmarks = [plain_ipv4, plain_ipv6, any]);

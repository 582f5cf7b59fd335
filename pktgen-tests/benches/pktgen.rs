//! What the generator pays per frame: it has to be faster than what it measures.
//! Nothing is sent here.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run has failed"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll_pktgen_tests::pktgen::{
    Affinity, Checker, Clients, Family, Flows, FrameWriter, Method, Order, Protocol, Returns,
    Scenario, Segment, Shape,
};

const FLOWS: u32 = 1 << 20;
const BURST: usize = 32;

fn orders(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow");
    group.throughput(Throughput::Elements(1));
    for order in [Order::Sequential, Order::Uniform, Order::Zipf(1.0)] {
        let mut flows = Flows::new(FLOWS, 1, order);
        group.bench_function(order.to_string(), |b| b.iter(|| black_box(flows.advance())));
    }
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, method, family, protocol, frame_bytes) in [
        ("dr v4 udp 60", Method::Dr, Family::V4, Protocol::Udp, 60),
        ("dr v4 tcp 60", Method::Dr, Family::V4, Protocol::Tcp, 60),
        ("dr v6 udp 62", Method::Dr, Family::V6, Protocol::Udp, 62),
        (
            "dr v4 udp 1500",
            Method::Dr,
            Family::V4,
            Protocol::Udp,
            1500,
        ),
    ] {
        let scenario = Scenario {
            method,
            family,
            protocol,
            ..Scenario::default()
        };
        let shape = Shape {
            frame_bytes,
            data: false,
        };
        let clients = Clients::new(1);
        let mac = Scenario::BALANCER_MAC;
        let writer = FrameWriter::new(&scenario, shape, clients, mac).unwrap();
        let returns = Returns::MacSwapped;
        let checker = Checker::new(&scenario, shape, clients, mac, FLOWS, returns).unwrap();
        let segment = match protocol {
            Protocol::Tcp => Segment::Data,
            Protocol::Udp => Segment::Datagram,
        };
        let mut flows = Flows::new(FLOWS, 1, Order::Uniform);
        let mut buffers = vec![vec![0; frame_bytes]; BURST];
        group.bench_function(format!("write {name}"), |b| {
            b.iter(|| {
                for buffer in &mut buffers {
                    let flow = flows.advance();
                    black_box(writer.write(segment, flow, 1, 2, buffer));
                }
            });
        });
        for buffer in &mut buffers {
            buffer[..6].copy_from_slice(&Scenario::ROUTER_MAC.0);
            buffer[6..12].copy_from_slice(&mac.0);
        }
        let mut affinity = Affinity::new(FLOWS);
        group.bench_function(format!("judge {name}"), |b| {
            b.iter(|| {
                for buffer in &buffers {
                    let seen = checker.judge(black_box(buffer)).unwrap();
                    affinity.check(black_box(seen.flow), 0).unwrap();
                }
            });
        });
    }
}

criterion_group!(benches, orders, frames);
criterion_main!(benches);

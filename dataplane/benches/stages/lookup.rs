//! What the snapshot is asked: 32 packets' services, and the ways to 32 addresses.
//! Sessions are not: `table` has those.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gungraun::prelude::*;
use ipnet::{IpNet, Ipv4Net};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::io::BURST;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::network::RouteSpec;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;

use crate::setup::{self, Ip, VIRTUAL_PORT};

/// A configuration and 32 addresses that it knows.
pub(crate) struct Asked {
    snapshot: Arc<Snapshot>,
    addresses: Vec<IpAddr>,
}

/// 32 of `count` numbers, evenly spread.
fn spread(count: u16) -> impl Iterator<Item = u16> {
    let step = count.div_ceil(32).max(1);
    (0..count).step_by(step.into()).cycle().take(BURST)
}

fn services(count: u16) -> Box<Asked> {
    let service = |number| {
        let (tcp, rr, direct) = (Protocol::Tcp, SchedulerKind::Rr, ForwardMethod::Direct);
        setup::service(Ip::V4, number, tcp, rr, direct, 1)
    };
    let asked = Asked {
        snapshot: setup::snapshot(&setup::spec((0..count).map(service).collect()), 1),
        addresses: spread(count)
            .map(|number| Ip::V4.virtual_address(number))
            .collect(),
    };
    let at = |address: &IpAddr| {
        asked
            .snapshot
            .service_at(Protocol::Tcp, *address, VIRTUAL_PORT)
    };
    assert!(asked.addresses.iter().all(|address| at(address).is_some()));
    Box::new(asked)
}

/// Networks of 256 addresses with two gateways in turn, since neighbours with one are a single range.
fn routes(count: u16) -> Box<Asked> {
    let first = |number: u16| Ipv4Addr::from_bits(0xac10_0000 + (u32::from(number) << 8));
    let mut spec = setup::spec(Vec::new());
    spec.network.routes = (0..count)
        .map(|number| RouteSpec {
            to: IpNet::V4(Ipv4Net::new_assert(first(number), 24)),
            via: [203, 0, 113, if number % 2 == 0 { 1 } else { 3 }].into(),
            port: None,
        })
        .collect();
    let asked = Asked {
        snapshot: setup::snapshot(&spec, 1),
        addresses: spread(count).map(|number| first(number).into()).collect(),
    };
    let way = |address: &IpAddr| asked.snapshot.routes.egress(*address);
    assert!(asked.addresses.iter().all(|address| way(address).is_some()));
    Box::new(asked)
}

#[library_benchmark(setup = services)]
#[bench::among_1(1)]
#[bench::among_1000(1000)]
fn service(asked: Box<Asked>) -> Box<Asked> {
    for address in &asked.addresses {
        let found = asked
            .snapshot
            .service_at(Protocol::Tcp, *address, VIRTUAL_PORT);
        black_box(found);
    }
    asked
}

#[library_benchmark(setup = routes)]
#[bench::among_2(2)]
#[bench::among_1000(1000)]
fn route(asked: Box<Asked>) -> Box<Asked> {
    for address in &asked.addresses {
        black_box(asked.snapshot.routes.egress(*address));
    }
    asked
}

library_benchmark_group!(name = lookups, benchmarks = [service, route]);

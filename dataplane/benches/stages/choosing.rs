//! The choice of a real server among a hundred, 32 times.
//! That a session begins there is not counted: `round` has that.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use gungraun::prelude::*;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::io::BURST;
use plimsoll_dataplane::schedule::destinations::Destinations;
use plimsoll_dataplane::schedule::random::Random;
use plimsoll_dataplane::schedule::{Flow, Moving, Start, choose};
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::scheduler::{HashFlags, Maglev, SchedulerKind};
use plimsoll_dataplane::time::Time;

use crate::setup::{self, Ip, REALS, client_port, clients};

const NOW: Time = Time::from_ms(1000);

/// A service and what a worker keeps for its scheduler.
pub(crate) struct Choice {
    snapshot: Arc<Snapshot>,
    destinations: Destinations,
    random: Random,
    flows: Vec<Flow>,
    chosen: Vec<RealId>,
}

impl Choice {
    fn all(&mut self) {
        let Self {
            snapshot,
            destinations,
            random,
            flows,
            chosen,
        } = self;
        let start = Start {
            worker: 0,
            workers: 1,
        };
        for flow in flows {
            let Some(service) = snapshot.configured_services().next() else {
                continue;
            };
            let worker = snapshot.workers.first();
            let Some(cursor) = worker.and_then(|worker| worker.cursors.get(service.id.0)) else {
                continue;
            };
            let moving = Moving {
                cursor,
                destinations,
                random,
            };
            chosen.extend(choose(
                &service.scheduling,
                moving,
                start,
                *flow,
                &**snapshot,
                NOW,
            ));
        }
    }
}

fn service(scheduler: SchedulerKind) -> Box<Choice> {
    let service = setup::service(
        Ip::V4,
        0,
        Protocol::Tcp,
        scheduler,
        ForwardMethod::Direct,
        REALS,
    );
    let flow = |number: u16| Flow {
        client: IpAddr::from([198, 51, 100, number.to_be_bytes()[1]]),
        client_port: client_port(number),
        virtual_address: Ip::V4.virtual_address(0),
    };
    let mut choice = Choice {
        snapshot: setup::snapshot(&setup::spec(vec![service]), 1),
        destinations: Destinations::new(RandomState::with_seeds(1, 2, 3, 4)),
        random: Random::new(1),
        flows: clients().map(flow).collect(),
        chosen: Vec::with_capacity(2 * BURST),
    };
    // The first choice fits the cursor to the service.
    choice.all();
    choice.chosen.clear();
    Box::new(choice)
}

fn has_chosen(choice: Box<Choice>) {
    assert_eq!(choice.chosen.len(), BURST);
}

#[library_benchmark(setup = service, teardown = has_chosen)]
#[bench::rr(SchedulerKind::Rr)]
#[bench::wrr(SchedulerKind::Wrr)]
#[bench::swrr(SchedulerKind::Swrr)]
#[bench::p2c(SchedulerKind::P2c)]
#[bench::lc(SchedulerKind::Lc)]
#[bench::wlc(SchedulerKind::Wlc)]
#[bench::sh(SchedulerKind::Sh(HashFlags::default()))]
#[bench::mh(SchedulerKind::Mh(HashFlags::default(), Maglev::default()))]
fn choose_real(mut choice: Box<Choice>) -> Box<Choice> {
    choice.all();
    black_box(choice)
}

library_benchmark_group!(name = schedulers, benchmarks = choose_real);

//! What a choice costs, and what a session costs a scheduler in all: the choice, the session's
//! beginning and the end of another, in lists of 10 and of 1000 real servers. No packet is seen.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::schedule::destinations::Destinations;
use plimsoll_dataplane::schedule::random::Random;
use plimsoll_dataplane::schedule::{Flow, Moving, Start, choose};
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Target;
use plimsoll_dataplane::stats::RealCounters;
use plimsoll_dataplane::time::Time;

const VIP: [u8; 4] = [192, 0, 2, 1];
/// Sessions that live at a time.
const LIVE: usize = 20_000;
/// Sessions that begin in a millisecond.
const PER_MS: u64 = 500;

struct Bench {
    snapshot: Arc<Snapshot>,
    workers: usize,
    destinations: Destinations,
    random: Random,
    live: VecDeque<RealId>,
    begun: u64,
}

impl Bench {
    fn new(kind: SchedulerKind, reals: u32, workers: usize) -> Self {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let real = |number: u32| {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0001 + number);
            RealSpec {
                weight: 1 + number % 3,
                ..RealSpec::new(address.into(), 80, ForwardMethod::Direct)
            }
        };
        let service = ServiceSpec::new(
            "bench",
            Target::vip(Protocol::Tcp, VIP.into(), 80),
            kind,
            (0..reals).map(real).collect(),
        );
        let spec = Spec {
            services: vec![service],
            ..Spec::default()
        };
        let mut bench = Self {
            snapshot: Builder::new(workers, &hasher).build(&spec, true),
            workers,
            destinations: Destinations::new(hasher),
            random: Random::new(1),
            live: VecDeque::with_capacity(LIVE + 1),
            begun: 0,
        };
        for _ in 0..LIVE {
            bench.begin();
        }
        bench
    }

    fn choose(&mut self) -> Option<RealId> {
        let snapshot = &*self.snapshot;
        let service = snapshot.configured_services().next()?;
        let cursor = snapshot.workers.first()?.cursors.get(service.id.0)?;
        let moving = Moving {
            cursor,
            destinations: &mut self.destinations,
            random: &mut self.random,
        };
        let start = Start {
            worker: 0,
            workers: self.workers,
        };
        let flow = Flow {
            client: [198, 51, 100, 7].into(),
            client_port: 1000,
            virtual_address: VIP.into(),
        };
        let now = Time::from_ms(self.begun / PER_MS);
        choose(
            &service.scheduling,
            moving,
            start,
            black_box(flow),
            snapshot,
            now,
        )
    }

    fn counters(&self, real: RealId) -> Option<&RealCounters> {
        self.snapshot.workers.first()?.reals.get(real.0)
    }

    fn begin(&mut self) {
        self.begun += 1;
        if let Some(real) = self.choose()
            && let Some(counters) = self.counters(real)
        {
            counters.enter(true);
            self.snapshot.refresh_load(0, real);
            self.live.push_back(real);
        }
    }

    fn end(&mut self) {
        // Sessions are not all of one length.
        let which = usize::try_from(self.begun * 7919).unwrap_or(0) % (LIVE / 2);
        let ended = self.live.swap_remove_back(which);
        if let Some(real) = ended
            && let Some(counters) = self.counters(real)
        {
            counters.leave(true);
            self.snapshot.refresh_load(0, real);
        }
    }
}

fn sessions(criterion: &mut Criterion) {
    let kinds = [
        SchedulerKind::Rr,
        SchedulerKind::Wrr,
        SchedulerKind::Swrr,
        SchedulerKind::P2c,
        SchedulerKind::Lc,
        SchedulerKind::Wlc,
        SchedulerKind::Sed,
        SchedulerKind::Nq,
    ];
    for workers in [1, 4] {
        for kind in kinds {
            let mut group = criterion.benchmark_group(format!("{kind}, workers: {workers}"));
            for reals in [10, 1000] {
                let mut bench = Bench::new(kind, reals, workers);
                group.bench_function(BenchmarkId::new("choice", reals), |bencher| {
                    bencher.iter(|| bench.choose());
                });
                group.bench_function(BenchmarkId::new("session", reals), |bencher| {
                    bencher.iter(|| {
                        bench.end();
                        bench.begin();
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, sessions);
criterion_main!(benches);

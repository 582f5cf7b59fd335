//! All of a worker's round over a burst of 32 frames, from receiving to sending.
//! Each frame must leave again, so that no figure is that of a drop.

use std::hint::black_box;
use std::rc::Rc;

use gungraun::prelude::*;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::io::{BURST, PacketBuf, QueuePair};
use plimsoll_dataplane::parse::{Parse, parse};
use plimsoll_dataplane::pipeline::{Config, Inboxes, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::{Publisher, Reader};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::steering::Steering;
use plimsoll_dataplane::testing::{
    PacketBuilder, SlotBuf, SlotPool, SlotRx, SlotTx, SlotWire, on_steered_ports, slot_port,
};
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::tcp;
use plimsoll_dataplane::worker::{Resources, Worker, commands};

use crate::setup::{self, Ip, OWN_MAC, REALS, VIRTUAL_PORT, client_port, clients};

const NOW: Time = Time::from_ms(1000);
/// Frames that wait for room in one transmit queue at most.
const BACKLOG: usize = 1024;

/// A worker, and the other end of its port's wire.
pub(crate) struct Bench {
    worker: Worker<SlotRx, SlotTx, SlotPool>,
    wire: SlotWire,
    /// Readers outlive no publisher in a daemon either.
    _publisher: Rc<Publisher<Snapshot>>,
}

/// Two workers, each with a queue of a port that puts each client's packets on its owner's queue.
pub(crate) struct Pair {
    receiver: Bench,
    owner: Bench,
}

fn packet(ip: Ip, protocol: Protocol, number: u16, flags: u8) -> Vec<u8> {
    let packet = ip.client_packet(number, ip.virtual_address(0));
    match protocol {
        Protocol::Tcp => packet.tcp(client_port(number), VIRTUAL_PORT).flags(flags),
        _ => packet.udp(client_port(number), VIRTUAL_PORT),
    }
    .payload(&[7; 6])
    .build()
}

impl Bench {
    fn new(ip: Ip, protocol: Protocol, forward: ForwardMethod) -> Self {
        let service = setup::service(ip, 0, protocol, SchedulerKind::Rr, forward, REALS);
        let (port, wire) = slot_port();
        Self::with(&setup::spec(vec![service]), vec![port], wire)
    }

    /// `wire` is that of the device that frames are received by.
    fn with(spec: &Spec, queues: Vec<QueuePair<SlotRx, SlotTx>>, wire: SlotWire) -> Self {
        let mut publisher = Publisher::new(setup::snapshot(spec, 1));
        let start = Start {
            worker: 0,
            workers: 1,
        };
        Self {
            worker: worker(start, queues, publisher.subscribe(), inboxes(1)),
            wire,
            _publisher: Rc::new(publisher),
        }
    }

    fn receive(&self, frames: impl Iterator<Item = Vec<u8>>) {
        let mut to_port = self.wire.to_port.borrow_mut();
        to_port.extend(frames.map(|frame| SlotBuf::from_frame(&frame)));
    }

    /// Lets the worker take `frames`, and returns what it sent.
    fn forward(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
        self.receive(frames);
        self.worker.poll(NOW);
        let mut from_port = self.wire.from_port.borrow_mut();
        let sent: Vec<_> = from_port
            .iter()
            .map(|frame| frame.bytes().to_vec())
            .collect();
        from_port.clear();
        assert_eq!(sent.len(), BURST, "{:?}", self.worker.stats());
        sent
    }
}

impl Pair {
    fn new(spec: &Spec) -> Self {
        let mut publisher = Publisher::new(setup::snapshot(spec, 2));
        let readers = [publisher.subscribe(), publisher.subscribe()];
        let (inboxes, publisher) = (inboxes(2), Rc::new(publisher));
        let mut number = 0;
        let [receiver, owner] = readers.map(|reader| {
            let (port, wire) = slot_port();
            let start = Start {
                worker: number,
                workers: 2,
            };
            number += 1;
            Bench {
                worker: worker(start, vec![port], reader, inboxes.clone()),
                wire,
                _publisher: Rc::clone(&publisher),
            }
        });
        Self { receiver, owner }
    }

    /// A round of each worker.
    fn poll(&mut self) {
        black_box(self.receiver.worker.poll(NOW));
        black_box(self.owner.worker.poll(NOW));
    }
}

fn worker(
    start: Start,
    queues: Vec<QueuePair<SlotRx, SlotTx>>,
    reader: Reader<Snapshot>,
    inboxes: Inboxes<SlotBuf>,
) -> Worker<SlotRx, SlotTx, SlotPool> {
    let config = Config {
        steering: (start.workers > 1).then(|| Steering::usual(start.workers).into()),
        ..Config::new(start, 4096, [5, 6, 7, 8])
    };
    let resources = Resources {
        queues,
        pool: SlotPool,
        reader,
        commands: commands(),
        inboxes,
    };
    Worker::new(&config, resources)
}

/// A real server's answer to the request in `frame`.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let Parse::Ip(request) = parse(frame) else {
        return None;
    };
    let (real, client) = (request.addresses.destination(), request.addresses.source());
    let (std::net::IpAddr::V4(real), std::net::IpAddr::V4(client)) = (real, client) else {
        return None;
    };
    let packet = PacketBuilder::v4(real, client).mac(setup::ROUTER_MAC, OWN_MAC);
    let packet = packet.udp(request.destination_port, request.source_port);
    Some(packet.payload(&[7; 6]).build())
}

/// A burst of clients that have sessions.
fn with_sessions(ip: Ip, protocol: Protocol, forward: ForwardMethod) -> Box<Bench> {
    let mut bench = Bench::new(ip, protocol, forward);
    let packets = |flags| clients().map(move |number| packet(ip, protocol, number, flags));
    bench.forward(packets(tcp::SYN));
    bench.forward(packets(tcp::ACK));
    bench.receive(packets(tcp::ACK));
    Box::new(bench)
}

/// A burst of clients that have sessions, beside a port that may be stuck, with a full queue.
fn beside_a_port(is_stuck: bool) -> Box<Bench> {
    let (ip, udp, direct) = (Ip::V4, Protocol::Udp, ForwardMethod::Direct);
    let service = |number, reals| setup::service(ip, number, udp, SchedulerKind::Rr, direct, reals);
    let spec = setup::with_second_port(setup::spec(vec![service(0, REALS)]), service(1, 1));
    let ((wan, wire), (lan, stuck)) = (slot_port(), slot_port());
    let mut bench = Bench::with(&spec, vec![wan, lan], wire);
    stuck.is_stuck.set(is_stuck);
    for _ in 0..BACKLOG / BURST {
        bench.receive(clients().map(|number| {
            let packet = ip.client_packet(number, ip.virtual_address(1));
            packet.udp(client_port(number), VIRTUAL_PORT).build()
        }));
        bench.worker.poll(NOW);
    }
    let sent = stuck.from_port.take().len();
    assert_eq!(sent, if is_stuck { 0 } else { BACKLOG });
    let packets = || clients().map(|number| packet(ip, udp, number, 0));
    bench.forward(packets());
    bench.forward(packets());
    bench.receive(packets());
    Box::new(bench)
}

/// A burst of real servers' answers.
fn answers() -> Box<Bench> {
    let (ip, udp) = (Ip::V4, Protocol::Udp);
    let mut bench = Bench::new(ip, udp, ForwardMethod::Nat);
    let requests = clients().map(|number| packet(ip, udp, number, 0));
    let translated = bench.forward(requests);
    let answers = || translated.iter().filter_map(|request| answer(request));
    bench.forward(answers());
    bench.receive(answers());
    Box::new(bench)
}

/// A burst of real servers' answers at the worker that has none of their sessions.
fn answers_elsewhere() -> Box<Pair> {
    let (ip, udp, nat) = (Ip::V4, Protocol::Udp, ForwardMethod::Nat);
    let service = setup::service(ip, 0, udp, SchedulerKind::Rr, nat, REALS);
    let mut pair = Pair::new(&on_steered_ports(&setup::spec(vec![service])));
    let steering = Steering::usual(2);
    let is_owned = |number: &u16| {
        let flow = setup::flow(*number);
        let client = (flow.client, flow.client_port);
        let virtual_ = (flow.virtual_address, flow.virtual_port);
        steering.worker_of_flow(flow.protocol, client, virtual_) == 1
    };
    let numbers = (0..).filter(is_owned).take(BURST);
    let requests = numbers.map(|number| packet(ip, udp, number, 0));
    let translated = pair.owner.forward(requests);
    let answers = || translated.iter().filter_map(|request| answer(request));
    // The first ones fill what is remembered of their senders.
    pair.receiver.receive(answers());
    pair.poll();
    let sent = pair.owner.wire.from_port.take().len();
    assert_eq!(sent, BURST, "{:?}", pair.owner.worker.stats());
    pair.receiver.receive(answers());
    Box::new(pair)
}

/// A burst of clients that have no sessions, while others have.
fn without_sessions(forward: ForwardMethod) -> Box<Bench> {
    let (ip, tcp) = (Ip::V4, Protocol::Tcp);
    let mut bench = Bench::new(ip, tcp, forward);
    bench.forward(clients().map(|number| packet(ip, tcp, 1000 + number, tcp::SYN)));
    bench.receive(clients().map(|number| packet(ip, tcp, number, tcp::SYN)));
    Box::new(bench)
}

/// An empty receive queue.
fn nothing() -> Box<Bench> {
    let bench = with_sessions(Ip::V4, Protocol::Udp, ForwardMethod::Direct);
    bench.wire.to_port.borrow_mut().clear();
    bench
}

fn have_left(bench: Box<Bench>) {
    let sent = bench.wire.from_port.borrow().len();
    assert_eq!(sent, BURST, "{:?}", bench.worker.stats());
}

#[library_benchmark(setup = with_sessions, teardown = have_left)]
#[bench::direct_udp_v4(Ip::V4, Protocol::Udp, ForwardMethod::Direct)]
#[bench::direct_tcp_v4(Ip::V4, Protocol::Tcp, ForwardMethod::Direct)]
#[bench::direct_udp_v6(Ip::V6, Protocol::Udp, ForwardMethod::Direct)]
#[bench::nat_request_udp_v4(Ip::V4, Protocol::Udp, ForwardMethod::Nat)]
#[bench::nat_request_tcp_v4(Ip::V4, Protocol::Tcp, ForwardMethod::Nat)]
#[bench::tunnel_ipip_udp_v4(Ip::V4, Protocol::Udp, ForwardMethod::Tunnel)]
fn established(mut bench: Box<Bench>) -> Box<Bench> {
    black_box(bench.worker.poll(NOW));
    bench
}

#[library_benchmark(setup = beside_a_port, teardown = have_left)]
#[bench::that_sends(false)]
#[bench::that_is_stuck(true)]
fn beside(mut bench: Box<Bench>) -> Box<Bench> {
    black_box(bench.worker.poll(NOW));
    bench
}

#[library_benchmark(teardown = have_left)]
#[bench::udp_v4(setup = answers)]
fn nat_answer(mut bench: Box<Bench>) -> Box<Bench> {
    black_box(bench.worker.poll(NOW));
    bench
}

fn have_left_the_owner(pair: Box<Pair>) {
    have_left(Box::new(pair.owner));
}

// Both workers' rounds: one hands over, the other one forwards.
#[library_benchmark(teardown = have_left_the_owner)]
#[bench::udp_v4(setup = answers_elsewhere)]
fn nat_answer_elsewhere(mut pair: Box<Pair>) -> Box<Pair> {
    pair.poll();
    pair
}

#[library_benchmark(setup = without_sessions, teardown = have_left)]
#[bench::direct_tcp_v4(ForwardMethod::Direct)]
#[bench::nat_tcp_v4(ForwardMethod::Nat)]
fn new_session(mut bench: Box<Bench>) -> Box<Bench> {
    black_box(bench.worker.poll(NOW));
    bench
}

// What every round costs, whatever comes in.
#[library_benchmark]
#[bench::all(setup = nothing)]
fn idle(mut bench: Box<Bench>) -> Box<Bench> {
    black_box(bench.worker.poll(NOW));
    bench
}

library_benchmark_group!(
    name = rounds,
    benchmarks = [
        established,
        beside,
        nat_answer,
        nat_answer_elsewhere,
        new_session,
        idle
    ]
);

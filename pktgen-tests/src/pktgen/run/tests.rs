//! Whole runs in memory, with a clock that is moved: whatever the generator sends, the far end takes at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use plimsoll_dataplane::io::heap::{HeapBuf, MemoryPool};
use plimsoll_dataplane::testing::Rig;

use super::*;
use crate::pktgen::{Family, Fault, Order, Shape};

thread_local! {
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
}

/// Each look at it takes 20 microseconds.
const CLOCK: Clock = Clock {
    now: || {
        NOW_NS.set(NOW_NS.get() + 20_000);
        NOW_NS.get()
    },
    hz: 1_000_000_000,
};

/// What has come from the far end.
type Inbox = Rc<RefCell<VecDeque<HeapBuf>>>;

#[derive(Debug)]
struct Rx(Inbox);

struct Tx<F> {
    inbox: Inbox,
    far_end: F,
}

impl RxQueue for Rx {
    type Buf = HeapBuf;

    fn receive(&mut self, burst: &mut Vec<HeapBuf>, max: usize) -> usize {
        let mut inbox = self.0.borrow_mut();
        let count = inbox.len().min(max);
        burst.extend(inbox.drain(..count));
        count
    }
}

impl<F: FnMut(&[u8]) -> Vec<Vec<u8>>> TxQueue for Tx<F> {
    type Buf = HeapBuf;

    fn transmit(&mut self, frames: &mut Vec<HeapBuf>) -> usize {
        let count = frames.len();
        for frame in frames.drain(..) {
            let back = (self.far_end)(frame.bytes());
            let back = back.iter().map(|bytes| HeapBuf::from_frame(bytes));
            self.inbox.borrow_mut().extend(back);
        }
        count
    }
}

fn plan(method: Method, family: Family, protocol: Protocol, mode: Mode) -> Plan {
    let scenario = Scenario {
        method,
        family,
        protocol,
        reals: 3,
        ..Scenario::default()
    };
    Plan {
        shape: Shape {
            frame_bytes: 100,
            data: true,
        },
        scenario,
        mode,
        flows: 200,
        seed: 1,
        order: Order::Uniform,
        rate: Some(2000),
        concurrent: 16,
        duration: Duration::from_millis(250),
        warmup: Duration::from_millis(20),
        timeout: Duration::from_secs(10),
        answers: method == Method::Nat,
        returns: Returns::Balanced,
        balancer: None,
    }
}

/// Runs a plan against whatever the far end does with a frame.
fn run(plan: &Plan, far_end: impl FnMut(&[u8]) -> Vec<Vec<u8>>) -> Result<Report, RunError> {
    let inbox = Inbox::default();
    let queues = QueuePair {
        rx: Rx(Rc::clone(&inbox)),
        tx: Tx { inbox, far_end },
    };
    let stop = AtomicBool::new(false);
    Run::new(plan, queues, MemoryPool::new(4096), CLOCK, &stop)?.measure(&mut |_| {})
}

/// A balancer, which may damage what it forwards.
fn balancer(plan: &Plan, mut damage: impl FnMut(&mut Vec<u8>)) -> Result<Report, RunError> {
    let mut rig = Rig::new(1, &plan.scenario.spec(Scenario::BALANCER_MAC).unwrap());
    run(plan, move |frame| {
        let mut back: Vec<_> = rig
            .pass(0, frame)
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect();
        back.iter_mut().for_each(&mut damage);
        back
    })
}

#[test]
fn a_stream_through_the_data_plane_comes_back_whole() {
    for (method, family, protocol) in [
        (Method::Dr, Family::V4, Protocol::Udp),
        (Method::Dr, Family::V6, Protocol::Tcp),
        (Method::Nat, Family::V4, Protocol::Tcp),
        (Method::Nat, Family::V6, Protocol::Udp),
        (Method::Tunnel, Family::V4, Protocol::Udp),
    ] {
        let plan = plan(method, family, protocol, Mode::Stream);
        let report = balancer(&plan, |_| {}).unwrap();
        assert!(!report.has_faults(), "{report}");
        assert!(report.received >= 490, "{report}");
        assert_eq!(report.lost, 0, "{report}");
        assert_eq!(report.received, report.sent, "{report}");
        let answered = report.good.replies == report.good.forwarded;
        assert_eq!(answered, method == Method::Nat, "{report}");
        assert!(
            report
                .latency_ns
                .is_some_and(|latency| latency.p50 <= latency.max)
        );
        assert_eq!(report.rx_pps_intervals.len(), 2);
    }
}

#[test]
fn connections_through_the_data_plane_are_complete() {
    for (method, data) in [
        (Method::Dr, true),
        (Method::Nat, true),
        (Method::Nat, false),
        (Method::Tunnel, false),
    ] {
        let plan = Plan {
            shape: Shape {
                frame_bytes: 100,
                data,
            },
            rate: Some(500),
            flows: 1 << 20,
            ..plan(method, Family::V4, Protocol::Tcp, Mode::Connections)
        };
        let report = balancer(&plan, |_| {}).unwrap();
        assert!(!report.has_faults(), "{report}");
        let connections = report.connections.unwrap();
        assert!(connections.complete > 20, "{report}");
        assert_eq!((connections.lost, report.lost), (0, 0), "{report}");
    }
}

#[test]
fn damage_and_loss_on_the_way_are_told_apart() {
    let plan = plan(Method::Dr, Family::V4, Protocol::Udp, Mode::Stream);
    let mut count = 0;
    let report = balancer(&plan, |frame| {
        count += 1;
        // All flows are open by then, and the warm-up is over.
        if count > 350 && count % 10 == 0 {
            frame[99] ^= 1;
        }
    })
    .unwrap();
    assert!(report.faults.count(Fault::Payload) > 0, "{report}");
    assert!(report.fault_samples.contains_key("payload"));
    assert!(
        report
            .to_string()
            .contains("the payload is not what was sent")
    );
    assert!(report.lost == 0 && report.received < report.sent);
    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert!(json["faults"]["payload"].as_u64().unwrap() > 0);
    assert_eq!(json["scenario"]["method"], "dr");
    assert_eq!(json["mode"], "stream");
}

#[test]
fn testpmd_is_measured_in_the_same_way() {
    let plan = Plan {
        returns: Returns::MacSwapped,
        rate: None,
        ..plan(Method::Dr, Family::V4, Protocol::Udp, Mode::Stream)
    };
    let report = run(&plan, |frame| {
        let mut frame = frame.to_vec();
        let (to, rest) = frame.split_at_mut(6);
        to.swap_with_slice(&mut rest[..6]);
        vec![frame]
    })
    .unwrap();
    assert!(!report.has_faults() && report.good.swapped > 0, "{report}");
    assert_eq!(report.expected, "testpmd-macswap");
}

#[test]
fn nobody_at_the_other_end_is_an_error_in_time() {
    let silent = |plan: &Plan| run(plan, |_| Vec::new()).unwrap_err();
    let plan = Plan {
        timeout: Duration::from_millis(300),
        ..plan(Method::Dr, Family::V4, Protocol::Udp, Mode::Stream)
    };
    let start = NOW_NS.get();
    assert!(matches!(silent(&plan), RunError::NoBalancer { .. }));
    let plan = Plan {
        returns: Returns::MacSwapped,
        ..plan
    };
    let error = silent(&plan);
    assert!(matches!(error, RunError::NoReturn { .. }), "{error}");
    assert!(
        NOW_NS.get() - start < 700_000_000,
        "twice the timeout, and little more"
    );
    let plan = Plan {
        mode: Mode::Connections,
        ..plan
    };
    assert_eq!(silent(&plan), RunError::ConnectionsOfUdp);
}

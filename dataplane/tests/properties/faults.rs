//! What holds when workers lag, queues are full, links go down and configurations change.
//! What frames there are is told by `properties.rs`.

use super::*;

/// What happens to the machine.
#[derive(Debug, Clone)]
enum Event {
    /// A burst of frames.
    Arrive(Vec<Arrival>),
    /// A worker stops polling, or goes on.
    Stall { worker: usize, is_stalled: bool },
    /// The depths of a port's queues change.
    Depths { port: u16, rx: usize, tx: usize },
    /// A link goes down, or comes back.
    Link { port: u16, is_down: bool },
    /// A configuration with some of the services.
    Reload { parts: usize },
    /// Time goes by.
    Wait { ms: u64 },
}

fn some_event(workers: usize) -> impl Strategy<Value = Event> {
    let depth = || prop_oneof![0..4_usize, Just(40), Just(usize::MAX)];
    prop_oneof![
        6 => arrivals(workers).prop_map(Event::Arrive),
        2 => (0..workers, any::<bool>())
            .prop_map(|(worker, is_stalled)| Event::Stall { worker, is_stalled }),
        2 => (0..4_u16, depth(), depth()).prop_map(|(port, rx, tx)| Event::Depths { port, rx, tx }),
        2 => (0..4_u16, any::<bool>()).prop_map(|(port, is_down)| Event::Link { port, is_down }),
        1 => (1..4_usize).prop_map(|parts| Event::Reload { parts }),
        1 => (0..3000_u64).prop_map(|ms| Event::Wait { ms }),
    ]
}

fn set_all(rig: &Rig, workers: usize, port: u16, set: impl Fn(&MemoryWire)) {
    for worker in 0..workers {
        rig.wire(worker, port).into_iter().for_each(&set);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_goes_wrong_every_frame_has_one_verdict_and_no_buffer_is_lost(
        (workers, events) in (1..=4_usize).prop_flat_map(|workers| {
            (Just(workers), prop::collection::vec(some_event(workers), 1..12))
        }),
    ) {
        let mut rig = Rig::with_sessions(workers, 64, &everything());
        for event in events {
            match event {
                Event::Arrive(arrivals) => {
                    for Arrival { worker, port, frame } in arrivals {
                        rig.inject(worker, port, &frame);
                    }
                }
                Event::Stall { worker, is_stalled } => rig.stall(worker, is_stalled),
                Event::Depths { port, rx, tx } => set_all(&rig, workers, port, |wire| {
                    wire.set_rx_limit(rx);
                    wire.set_tx_limit(tx);
                }),
                Event::Link { port, is_down } => {
                    set_all(&rig, workers, port, |wire| wire.set_down(is_down));
                }
                Event::Reload { parts } => {
                    let mut spec = everything();
                    let mut number = 0;
                    spec.services.retain(|_| {
                        number += 1;
                        number % parts == 0
                    });
                    rig.reload(&spec);
                }
                Event::Wait { ms } => {
                    rig.wait_ms(ms);
                }
            }
            // It checks that every frame is accounted for.
            rig.run();
        }
        for port in 0..4 {
            set_all(&rig, workers, port, |wire| {
                wire.set_tx_limit(usize::MAX);
                wire.set_down(false);
            });
        }
        for worker in 0..workers {
            rig.stall(worker, false);
        }
        rig.run();
        finish(rig);
    }
}

//! Whole workers under frames of every kind, reloads, and all that may go wrong with a machine.
//! The rig checks that every frame has one verdict; here it is checked what leaves.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use plimsoll_dataplane::io::memory::MemoryWire;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::testing::{Rig, Sent};

use crate::network::{REALS, ip, spec};
use crate::script::Script;
use crate::{checksum, frames};

/// Steps of one run at most.
const STEPS: usize = 300;

/// A machine, and what is known of the frames that came to it.
pub(crate) struct Machine {
    pub(crate) rig: Rig,
    workers: usize,
    /// Whether the checksum of every packet so far was right, and could be looked at.
    all_right: bool,
    /// What came to the kernel's port leaves as it is.
    from_kernel: bool,
    /// How many frames came, and a hash over what left, in order.
    trace: Trace,
}

/// What became of a run's frames, as two numbers.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// How many came in.
    pub frames: u64,
    hasher: DefaultHasher,
}

impl Trace {
    /// A hash over what left by which port, in order, and over the counters at the end.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.hasher.finish()
    }
}

impl Machine {
    pub(crate) fn new(forward: ForwardMethod, workers: usize) -> Self {
        Self {
            rig: Rig::with_sessions(workers, 64, &spec(forward, 1)),
            workers,
            all_right: true,
            from_kernel: false,
            trace: Trace::default(),
        }
    }

    pub(crate) fn inject(&mut self, worker: usize, port: u16, frame: &[u8]) {
        self.trace.frames += 1;
        self.from_kernel |= port == 2;
        self.all_right &= checksum::transport(frame) == Some(true);
        self.rig.inject(worker % self.workers, port, frame);
    }

    /// Lets everything happen that is to happen, and looks at what leaves.
    pub(crate) fn run(&mut self) {
        let sent = self.rig.run();
        self.check(&sent);
    }

    fn wait_ms(&mut self, ms: u64) {
        let sent = self.rig.wait_ms(ms);
        self.check(&sent);
    }

    fn check(&mut self, sent: &[Sent]) {
        sent.hash(&mut self.trace.hasher);
        for (port, frame) in sent {
            if *port > 1 || self.from_kernel {
                continue;
            }
            assert!(checksum::ip(frame), "IP checksum: {frame:02x?}");
            let most = [1514, 1414][usize::from(*port)];
            assert!(frame.len() <= most, "{} bytes: {frame:02x?}", frame.len());
            if self.all_right {
                assert_ne!(
                    checksum::transport(frame),
                    Some(false),
                    "transport checksum: {frame:02x?}"
                );
            }
        }
    }

    fn wires(&self, port: u16, set: impl Fn(&MemoryWire)) {
        for worker in 0..self.workers {
            self.rig.wire(worker, port).into_iter().for_each(&set);
        }
    }

    /// Brings everything back, and checks that nothing is kept for ever.
    pub(crate) fn finish(mut self) -> Trace {
        for port in 0..3 {
            self.wires(port, |wire| {
                wire.set_tx_limit(usize::MAX);
                wire.set_down(false);
            });
        }
        for worker in 0..self.workers {
            self.rig.stall(worker, false);
        }
        self.run();
        self.wait_ms(40_000);
        assert_eq!(self.rig.waiting(), 0, "frames wait for ever");
        assert_eq!(self.rig.held(), 0, "buffers are lost");
        self.rig.all_drops().hash(&mut self.trace.hasher);
        let reals = REALS.iter().flatten();
        for totals in reals.map(|real| self.rig.totals(ip(real))) {
            format!("{totals:?}").hash(&mut self.trace.hasher);
        }
        self.trace
    }
}

/// Runs the script under services of one method.
pub(crate) fn run(forward: ForwardMethod, data: &[u8]) {
    let mut script = Script::new(data);
    let workers = 1 + script.below(4);
    run_on(workers, forward, script);
}

/// The same on so many workers.
pub(crate) fn run_on(workers: usize, forward: ForwardMethod, mut script: Script<'_>) -> Trace {
    let mut machine = Machine::new(forward, workers);
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        let step = script.byte();
        let worker = usize::from(step >> 4);
        match step & 15 {
            0..=3 => {
                let (port, frames) = frames::sound(&mut script);
                for frame in frames {
                    machine.inject(worker, port, &frame);
                }
            }
            4..=7 => {
                let port = u16::from(script.byte() % 3);
                let frame = frames::raw(&mut script);
                machine.inject(worker, port, &frame);
            }
            8 => {
                let is_stalled = script.flag();
                machine.rig.stall(worker % workers, is_stalled);
            }
            9 => {
                let depths = [0, 1, 3, 40, 1000, usize::MAX];
                let (rx, tx) = (depths[script.below(6)], depths[script.below(6)]);
                machine.wires(u16::from(step >> 4) % 3, |wire| {
                    wire.set_rx_limit(rx);
                    wire.set_tx_limit(tx);
                });
            }
            10 => {
                let is_down = script.flag();
                machine.wires(u16::from(step >> 4) % 3, |wire| wire.set_down(is_down));
            }
            11 => {
                let parts = 1 + script.below(4);
                machine.rig.reload(&spec(forward, parts));
            }
            12 => machine.wait_ms(u64::from(script.word()) % 20_000),
            _ => machine.run(),
        }
    }
    machine.finish()
}

//! One worker on one link, for tests of stages alone: no engine, and no configuration but a port's.

use std::sync::Arc;

use ahash::RandomState;

use crate::id::{DeviceId, PortId};
use crate::io::heap::MemoryPool;
use crate::pipeline::handover::message::inboxes;
use crate::pipeline::leave::exit::Exit;
use crate::schedule::Start;
use crate::snapshot::Snapshot;
use crate::snapshot::build::Builder;
use crate::spec::Spec;
use crate::spec::network::{DeviceSpec, PortRole, PortSpec};
use crate::stats::WorkerStats;
use crate::time::Time;
use crate::wire::Mac;

pub(super) const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(super) const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
pub(super) const PORT: PortId = PortId::new(0);
pub(super) const NOW: Time = Time::from_ms(1000);

/// The link, on which this machine is 10.0.0.1 and 2001:db8::1.
pub(super) struct OneLink {
    pub(super) hasher: RandomState,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) exit: Exit<MemoryPool>,
}

impl OneLink {
    /// With room for so many frames.
    pub(super) fn new(frames: usize) -> Self {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let port = PortSpec {
            name: "wan".into(),
            device: DeviceId::new(0),
            mtu: 1500,
            addresses: ["10.0.0.1/24", "2001:db8::1/64"]
                .map(|network| network.parse().unwrap())
                .into(),
            role: PortRole::Network { kernel: None },
        };
        let spec = Spec {
            devices: vec![DeviceSpec::new(OWN, PORT)],
            ports: vec![port],
            ..Spec::default()
        };
        let stats = Arc::new(WorkerStats::new(1));
        let start = Start {
            worker: 0,
            workers: 1,
        };
        let (pool, inboxes) = (MemoryPool::new(frames), inboxes(1));
        Self {
            snapshot: Builder::new(1, &hasher).build(&spec, true),
            exit: Exit::new(start, hasher.clone(), pool, Arc::clone(&stats), inboxes),
            hasher,
            stats,
        }
    }
}

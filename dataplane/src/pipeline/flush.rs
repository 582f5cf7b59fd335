//! Sessions that end because their real server was removed and their service will have them reset.
//! A few slots of the table at a time, between bursts; nobody is told before he speaks.

use arrayvec::ArrayVec;

use super::admit::uncount;
use super::{Engine, Sessions, Tabled};
use crate::flow::{Address, V4, V6};
use crate::io::Pool;
use crate::session::{Session, SessionIndex, SessionTable};
use crate::snapshot::Snapshot;
use crate::snapshot::policy::OnDown;

/// Slots of each table that are looked at between two bursts.
const STEP: usize = 64;

/// How far the tables have been looked through.
#[derive(Debug, Default)]
pub(super) struct Flush {
    /// The snapshot for whose sake they are.
    generation: u64,
    v4: Option<u32>,
    v6: Option<u32>,
}

impl Flush {
    pub(super) fn is_under_way(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }
}

impl<P: Pool> Engine<P> {
    /// Ends a few more sessions, if there are such at all (IPVS: `expire_nodest_conn` flushes when a
    /// destination is deleted).
    pub(super) fn flush(&mut self, snapshot: &Snapshot) {
        if self.flush.generation != snapshot.flush {
            self.flush.generation = snapshot.flush;
            (self.flush.v4, self.flush.v6) = (Some(0), Some(0));
        }
        let Flush { v4, v6, .. } = self.flush;
        let worker = self.start.worker;
        self.flush.v4 = v4.and_then(|from| step::<V4>(snapshot, worker, &mut self.sessions, from));
        self.flush.v6 = v6.and_then(|from| step::<V6>(snapshot, worker, &mut self.sessions, from));
    }
}

fn step<A: Tabled>(
    snapshot: &Snapshot,
    worker: usize,
    sessions: &mut Sessions,
    from: u32,
) -> Option<u32> {
    let table: &mut SessionTable<A> = A::table(sessions);
    let mut ended = ArrayVec::<SessionIndex, STEP>::new();
    let next = table.scan(from, STEP, |index, session| {
        if has_ended(snapshot, session) {
            ended.push(index);
        }
    });
    for index in ended {
        if let Some(session) = table.remove(index) {
            uncount(snapshot, worker, &session);
        }
    }
    next
}

fn has_ended<A: Address>(snapshot: &Snapshot, session: &Session<A>) -> bool {
    snapshot
        .real(session.real())
        .is_some_and(|real| !real.configured && real.policy.on_down == OnDown::Reset)
}

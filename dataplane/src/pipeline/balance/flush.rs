//! Sessions that end because their real server is gone and its sessions are to be reset.
//! A few slots of the table at a time, between bursts; a client gets its reset with its next segment.

use arrayvec::ArrayVec;

use crate::flow::{Address, V4, V6};
use crate::pipeline::action::Context;
use crate::pipeline::balance::admit::uncount;
use crate::pipeline::sessions::{Sessions, Tabled};
use crate::session::{Session, SessionIndex, SessionTable};
use crate::spec::policy::OnDown;
use crate::spec::service::Remaining;

/// Slots of each table that are looked at between two bursts.
const STEP: usize = 64;

/// How far the tables have been looked through.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    /// The snapshot for whose sake they are.
    generation: u64,
    v4: Option<u32>,
    v6: Option<u32>,
}

impl Flush {
    #[inline]
    pub(crate) fn is_under_way(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }

    /// Ends a few more sessions, if there are such at all (IPVS: `expire_nodest_conn` flushes when a
    /// destination is deleted).
    #[inline]
    pub(crate) fn step(&mut self, context: &Context<'_>, sessions: &mut Sessions) {
        if self.generation != context.snapshot.flush {
            self.generation = context.snapshot.flush;
            (self.v4, self.v6) = (Some(0), Some(0));
        }
        if !self.is_under_way() {
            return;
        }
        let Self { v4, v6, .. } = *self;
        self.v4 = v4.and_then(|from| step::<V4>(context, sessions, from));
        self.v6 = v6.and_then(|from| step::<V6>(context, sessions, from));
    }
}

fn step<A: Tabled>(context: &Context<'_>, sessions: &mut Sessions, from: u32) -> Option<u32> {
    let table: &mut SessionTable<A> = A::table(sessions);
    let mut ended = ArrayVec::<SessionIndex, STEP>::new();
    let next = table.scan(from, STEP, |index, session| {
        if has_ended(context, session) {
            ended.push(index);
        }
    });
    for index in ended {
        if let Some(session) = table.remove(index) {
            uncount(context, &session);
        }
    }
    next
}

fn has_ended<A: Address>(context: &Context<'_>, session: &Session<A>) -> bool {
    context
        .snapshot
        .real(session.real())
        .is_some_and(|real| real.remaining() == Remaining::Gone(OnDown::Reset))
}

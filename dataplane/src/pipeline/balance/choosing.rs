//! What the choice of real servers remembers on one worker, besides the schedulers' places in their lists.
//! Who is chosen is `schedule/`'s to say.

use ahash::RandomState;

use crate::pipeline::balance::shed::Shedder;
use crate::schedule::destinations::Destinations;
use crate::schedule::random::Random;
use crate::schedule::{Cursor, Moving};
use crate::spec::policy::Policy;

/// What one worker remembers.
#[derive(Debug)]
pub(crate) struct Choosing {
    destinations: Destinations,
    random: Random,
    shedder: Shedder,
}

impl Choosing {
    /// `seed` is another one on each worker.
    pub(crate) fn new(hasher: RandomState, seed: u64) -> Self {
        Self {
            destinations: Destinations::new(hasher),
            random: Random::new(seed),
            shedder: Shedder::default(),
        }
    }

    /// What moves while a scheduler chooses, which stands at `cursor`.
    #[inline]
    pub(crate) fn moving<'m>(&'m mut self, cursor: &'m Cursor) -> Moving<'m> {
        Moving {
            cursor,
            destinations: &mut self.destinations,
            random: &mut self.random,
        }
    }

    /// Whether a new session is shed; see [`Shedder::sheds`].
    #[inline]
    pub(crate) fn sheds(&mut self, policy: &Policy, free: usize, capacity: usize) -> bool {
        self.shedder.sheds(policy, free, capacity)
    }
}

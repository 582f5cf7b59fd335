//! Which new sessions are shed where a service's policy says so (IPVS: `drop_packet`).
//! Counts sessions, not packets; when a table is full is not decided here.

use crate::spec::policy::{Defence, Policy};

/// Decides which new sessions are shed. One per worker.
#[derive(Debug, Default)]
pub(crate) struct Shedder {
    /// New sessions until the next one is shed.
    left: u32,
}

impl Shedder {
    /// Whether a new session of a service with this policy is shed. `free` of a table's `capacity`
    /// sessions can still be entered.
    ///
    /// As in IPVS the first is shed and then every `shed_rate`th; with [`Defence::Auto`] the more, the
    /// fewer places are free, beginning when less than an eighth is.
    pub(crate) fn sheds(&mut self, policy: &Policy, free: usize, capacity: usize) -> bool {
        let rate = match policy.shed {
            Defence::Off => return false,
            Defence::Always => policy.shed_rate.get(),
            Defence::Auto => {
                let enough = capacity / 8;
                let missing = enough.saturating_sub(free);
                let Some(rate) = enough.checked_div(missing) else {
                    return false;
                };
                u32::try_from(rate).unwrap_or(u32::MAX)
            }
        };
        self.left = self.left.min(rate).saturating_sub(1);
        let sheds = self.left == 0;
        if sheds {
            self.left = rate;
        }
        sheds
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn shed(policy: &Policy, free: usize, sessions: usize) -> Vec<usize> {
        let mut shedder = Shedder::default();
        let mut shed = Vec::new();
        for session in 0..sessions {
            if shedder.sheds(policy, free, 800) {
                shed.push(session);
            }
        }
        shed
    }

    fn policy(shed: Defence) -> Policy {
        Policy {
            shed,
            shed_rate: NonZeroU32::new(3).unwrap(),
            ..Policy::default()
        }
    }

    #[test]
    fn the_first_of_each_three_is_shed() {
        assert_eq!(shed(&policy(Defence::Always), 800, 9), [0, 3, 6]);
        assert!(shed(&policy(Defence::Off), 0, 9).is_empty());
    }

    #[test]
    fn the_fuller_the_table_the_more_is_shed() {
        assert!(shed(&policy(Defence::Auto), 100, 60).is_empty());
        let rates = [99, 50, 20, 0].map(|free| shed(&policy(Defence::Auto), free, 60).len());
        assert!(rates.is_sorted(), "{rates:?}");
        assert_eq!((rates[0], rates[3]), (1, 60));
    }
}

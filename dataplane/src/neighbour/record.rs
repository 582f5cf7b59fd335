//! What a neighbour table shows of its entries, a few at a time: [`NeighbourRecord`].
//! It changes nothing, and knows neither who asks nor how the records get there.

use std::net::IpAddr;

use super::{Neighbours, State};
use crate::id::PortId;
use crate::time::Time;
use crate::wire::Mac;

crate::listed! {
    /// What is known of a neighbour, as `ip neigh` names it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum NeighbourState {
        /// Its MAC is configured, and nobody asks for it.
        Permanent => "permanent",
        /// Its MAC was confirmed lately.
        Reachable => "reachable",
        /// Its MAC is old, and is confirmed when it is used next.
        Stale => "stale",
        /// Its MAC is old and used, and its owner is being asked.
        Probe => "probe",
        /// It is being asked for, and has not answered yet.
        Incomplete => "incomplete",
        /// It did not answer.
        Failed => "failed",
    }
}

/// One neighbour as one worker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourRecord {
    /// The port that it is behind.
    pub port: PortId,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC, if it is known.
    pub mac: Option<Mac>,
    /// What is known of it.
    pub state: NeighbourState,
    /// Whether only another worker has asked for it so far.
    pub is_awaited: bool,
    /// When there was last news of it.
    pub news_at: Time,
}

impl NeighbourRecord {
    /// Whether this says more than what another worker knows of the same neighbour: the newer one does.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (!self.is_awaited, self.news_at) > (!other.is_awaited, other.news_at)
    }
}

impl<B> Neighbours<B> {
    /// Shows the entries in at most `slots` places, beginning with the place `from`. Returns where to go on, `None` after
    /// the last.
    pub(crate) fn scan(
        &self,
        from: usize,
        slots: usize,
        mut show: impl FnMut(NeighbourRecord),
    ) -> Option<usize> {
        let to = from.saturating_add(slots).min(self.entries.len());
        for entry in self.entries.get(from..to)?.iter().flatten() {
            let state = match entry.state {
                State::Reachable => NeighbourState::Reachable,
                State::Stale => NeighbourState::Stale,
                State::Probing { .. } => NeighbourState::Probe,
                State::Incomplete { .. } | State::Awaited => NeighbourState::Incomplete,
                State::Failed => NeighbourState::Failed,
            };
            let has_mac = !matches!(state, NeighbourState::Incomplete | NeighbourState::Failed);
            show(NeighbourRecord {
                port: entry.port,
                address: entry.address,
                mac: has_mac.then_some(entry.mac),
                state,
                is_awaited: entry.state == State::Awaited,
                news_at: entry.news_at,
            });
        }
        (to < self.entries.len()).then_some(to)
    }
}

#[cfg(test)]
mod tests {
    use ahash::RandomState;

    use super::*;
    use crate::neighbour::Claim;

    const PORT: PortId = PortId::new(0);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn all(table: &Neighbours<u32>, slots: usize) -> Vec<NeighbourRecord> {
        let (mut records, mut place) = (Vec::new(), Some(0));
        while let Some(from) = place {
            let before = records.len();
            place = table.scan(from, slots, |record| records.push(record));
            assert!(records.len() - before <= slots);
        }
        records
    }

    #[test]
    fn every_entry_is_shown_once_with_its_state_however_few_at_a_time() {
        let mut table = Neighbours::new(RandomState::with_seeds(1, 2, 3, 4));
        assert_eq!(all(&table, 1), []);
        let now = Time::from_ms;
        table.learn(PORT, address(1), Claim::answer(MAC), true, now(5));
        table.learn(PORT, address(2), Claim::unasked(MAC), true, now(6));
        table.wait(PORT, address(3), 1, now(7)).unwrap();
        table.expect(PORT, address(4), now(8));
        for slots in [1, 3, 4, 64] {
            let records = all(&table, slots);
            let shown = records.iter().map(|one| (one.address, one.mac, one.state));
            assert_eq!(
                shown.collect::<Vec<_>>(),
                [
                    (address(1), Some(MAC), NeighbourState::Reachable),
                    (address(2), Some(MAC), NeighbourState::Stale),
                    (address(3), None, NeighbourState::Incomplete),
                    (address(4), None, NeighbourState::Incomplete),
                ]
            );
            let ms: Vec<_> = records.iter().map(|one| one.news_at.as_ms()).collect();
            assert_eq!(ms, [5, 6, 7, 8]);
            assert!(records[3].is_awaited && !records[2].is_awaited);
        }
        for ms in [7, 1007, 2007, 3007] {
            table.tick(now(ms), |_| ());
            table.tick(now(ms), |_| ());
        }
        let failed = all(&table, 64)[2];
        assert_eq!(
            (failed.state, failed.news_at),
            (NeighbourState::Failed, now(3007))
        );
    }

    #[test]
    fn the_newest_of_what_workers_know_counts_and_a_question_of_another_least() {
        let mut known = NeighbourRecord {
            port: PORT,
            address: address(1),
            mac: Some(MAC),
            state: NeighbourState::Reachable,
            is_awaited: false,
            news_at: Time::from_ms(5),
        };
        let awaited = NeighbourRecord {
            mac: None,
            state: NeighbourState::Incomplete,
            is_awaited: true,
            news_at: Time::from_ms(9),
            ..known
        };
        assert!(known.is_newer_than(&awaited) && !awaited.is_newer_than(&known));
        let older = known;
        known.news_at = Time::from_ms(6);
        assert!(known.is_newer_than(&older) && !older.is_newer_than(&known));
    }
}

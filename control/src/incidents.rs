//! What the workers have seen and people should know: neighbours that do not answer, addresses that somebody else claims.
//! It writes no log and asks no worker; it says what is worth a line, and bounds how many lines that are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::incident::Incident;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;

/// Neighbours that are remembered at most; on a link with a large network, anybody can have others asked for.
const MOST: usize = 1024;
/// News that are worth a line, in one round of the control thread.
const MOST_NEWS: usize = 10;
/// Lines in a row, if there were none for long, so that all neighbours behind one switch are named.
const MOST_LINES: u64 = 60;
/// How long it takes until one more is worth a line.
const LINE_MS: u64 = 6_000;
/// Between two lines about those that have none of their own.
const MORE_MS: u64 = 60_000;
/// A neighbour that packets wait for is given up every four seconds. After so long without that, none wait.
const FORGET_MS: u64 = 30_000;

/// A neighbour that packets wait for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    /// When that was first seen.
    pub since: Time,
    /// When it was last seen.
    pub last: Time,
}

/// Something that is worth a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Packets wait for it in vain, and did not before.
    Unreachable(PortId, IpAddr),
    /// It answers again.
    Reachable(PortId, IpAddr),
    /// No packet has waited for it any more for a while, nor has it answered one.
    Forgotten(PortId, IpAddr),
    /// Somebody else claims an address of ours.
    Conflict(PortId, IpAddr, Mac),
    /// So many more neighbours that do not answer, which have no line of their own.
    MoreUnreachable(u64),
    /// So many more claims of addresses that have no line of their own.
    MoreConflicts(u64),
}

/// What is known at present.
#[derive(Debug, Default)]
pub struct Watch {
    unreachable: BTreeMap<(PortId, IpAddr), Unreachable>,
    /// Of neighbours, and of claimed addresses: whoever claims one may have any number of neighbours asked for.
    lines: [Lines; 2],
}

/// How many lines have been written, so that whoever has ever other neighbours asked for, or claims ever other
/// addresses, does not fill the log.
#[derive(Debug, Default)]
struct Lines {
    /// Not yet earned back.
    used: u64,
    counted_at: Time,
    /// News without a line that were not told of yet.
    more: u64,
    more_at: Option<Time>,
}

impl Lines {
    /// Leaves those of `news` that are worth a line now, and says how many had none for a while if it is time to.
    fn limit(&mut self, news: &mut Vec<News>, now: Time) -> Option<u64> {
        let earned = now.ms_since(self.counted_at) / LINE_MS;
        self.counted_at = self.counted_at.plus_ms(earned * LINE_MS);
        self.used = self.used.saturating_sub(earned);
        let left = usize::try_from(MOST_LINES - self.used).unwrap_or(MOST_NEWS);
        let most = left.min(MOST_NEWS);
        let left_out = news.get(most..).unwrap_or_default().iter();
        // An end without a line is no trouble.
        let troubles =
            left_out.filter(|one| matches!(one, News::Unreachable(..) | News::Conflict(..)));
        self.more += troubles.count() as u64;
        news.truncate(most);
        self.used += news.len() as u64;
        let is_due = self.more_at.is_none_or(|at| now.ms_since(at) >= MORE_MS);
        (self.more > 0 && is_due).then(|| {
            self.more_at = Some(now);
            std::mem::take(&mut self.more)
        })
    }
}

impl Watch {
    /// Takes what the workers have seen since the last time, and says what of it, and of earlier news, is worth a line
    /// now.
    pub fn look(&mut self, incidents: impl Iterator<Item = Incident>, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        for incident in incidents {
            news.extend(self.hear(incident, now));
        }
        self.unreachable.retain(|(port, address), one| {
            let stays = now.ms_since(one.last) < FORGET_MS;
            if !stays {
                news.push(News::Forgotten(*port, *address));
            }
            stays
        });
        let is_claim = |one: &News| matches!(one, News::Conflict(..));
        let (mut claims, mut others): (Vec<_>, Vec<_>) = news.into_iter().partition(is_claim);
        let [of_others, of_claims] = &mut self.lines;
        let more_claims = of_claims.limit(&mut claims, now).map(News::MoreConflicts);
        let more = of_others.limit(&mut others, now).map(News::MoreUnreachable);
        claims.extend(more_claims);
        claims.extend(others);
        claims.extend(more);
        claims
    }

    fn hear(&mut self, incident: Incident, now: Time) -> Option<News> {
        match incident {
            Incident::NeighbourUnreachable { port, address } => {
                if let Some(known) = self.unreachable.get_mut(&(port, address)) {
                    known.last = now;
                    return None;
                }
                self.make_room(now);
                if self.unreachable.len() < MOST {
                    let new = Unreachable {
                        since: now,
                        last: now,
                    };
                    self.unreachable.insert((port, address), new);
                }
                Some(News::Unreachable(port, address))
            }
            Incident::NeighbourReachable { port, address } => {
                let known = self.unreachable.remove(&(port, address));
                known.map(|_| News::Reachable(port, address))
            }
            Incident::AddressConflict { port, address, mac } => {
                Some(News::Conflict(port, address, mac))
            }
        }
    }

    /// Forgets the one that packets have not waited for for the longest, if there is room for no other: whoever stays
    /// silent while packets wait is seen every few seconds.
    fn make_room(&mut self, now: Time) {
        if self.unreachable.len() < MOST {
            return;
        }
        let passing = self.unreachable.iter().filter(|(_, one)| one.last < now);
        let longest = passing.min_by_key(|(_, one)| one.last);
        if let Some(key) = longest.map(|(key, _)| *key) {
            self.unreachable.remove(&key);
        }
    }

    /// The neighbours that packets wait for in vain.
    pub fn unreachable(&self) -> impl Iterator<Item = (PortId, IpAddr, Unreachable)> {
        let known = self.unreachable.iter();
        known.map(|((port, address), one)| (*port, *address, *one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortId = PortId::new(1);

    fn address(last: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + last).to_be_bytes())
    }

    fn hear(watch: &mut Watch, seconds: u64, incidents: &[Incident]) -> Vec<News> {
        let now = Time::from_ms(seconds * 1000);
        let mut news: Vec<News> = Vec::new();
        for incident in incidents {
            news.extend(watch.hear(*incident, now));
        }
        news.extend(watch.look(std::iter::empty(), now));
        news
    }

    fn lost(last: u32) -> Incident {
        Incident::NeighbourUnreachable {
            port: PORT,
            address: address(last),
        }
    }

    #[test]
    fn an_incident_is_told_once_and_its_end_too() {
        let mut watch = Watch::default();
        let found = Incident::NeighbourReachable {
            port: PORT,
            address: address(1),
        };
        assert_eq!(hear(&mut watch, 0, &[found]), []);
        let told = [News::Unreachable(PORT, address(1))];
        assert_eq!(hear(&mut watch, 1, &[lost(1), lost(1)]), told);
        assert_eq!(hear(&mut watch, 5, &[lost(1)]), []);
        let known: Vec<_> = watch.unreachable().collect();
        let since = Time::from_ms(1000);
        let last = Time::from_ms(5000);
        assert_eq!(known, [(PORT, address(1), Unreachable { since, last })]);
        let told = [News::Reachable(PORT, address(1))];
        assert_eq!(hear(&mut watch, 6, &[found, found]), told);
        assert_eq!(watch.unreachable().count(), 0);
        hear(&mut watch, 10, &[lost(1)]);
        assert_eq!(hear(&mut watch, 39, &[]), []);
        let told = [News::Forgotten(PORT, address(1))];
        assert_eq!(hear(&mut watch, 40, &[]), told);
    }

    #[test]
    fn a_claimed_address_is_told_however_many_neighbours_do_not_answer() {
        let mut watch = Watch::default();
        let (address, mac) = (address(9), Mac([2, 0, 0, 0, 0, 9]));
        let conflict = Incident::AddressConflict {
            port: PORT,
            address,
            mac,
        };
        let incidents = (100..200).map(lost).chain([conflict]);
        let news = watch.look(incidents, Time::from_ms(0));
        assert!(
            news.contains(&News::Conflict(PORT, address, mac)),
            "{news:?}"
        );
        assert_eq!(news.len(), 1 + MOST_NEWS + 1);
        // Also when that goes on.
        for seconds in 1..100 {
            let number = 1000 * u32::try_from(seconds).unwrap();
            let claims = (seconds % 10 == 0).then_some(conflict);
            let incidents = (number..number + 100).map(lost).chain(claims);
            let news = watch.look(incidents, Time::from_ms(seconds * 1000));
            let is_told = news.contains(&News::Conflict(PORT, address, mac));
            assert_eq!(is_told, claims.is_some(), "after {seconds} s: {news:?}");
        }
    }

    #[test]
    fn who_claims_ever_other_addresses_does_not_fill_the_log() {
        let mut watch = Watch::default();
        let (mut lines, mut more) = (0, 0);
        for second in 0..3600_u32 {
            let claims = (0..100).map(|last| Incident::AddressConflict {
                port: PORT,
                address: address(100 * second + last),
                mac: Mac([2, 0, 0, 0, 0, 9]),
            });
            for news in watch.look(claims, Time::from_ms(u64::from(second) * 1000)) {
                lines += 1;
                if let News::MoreConflicts(count) = news {
                    more += count;
                }
            }
        }
        assert!(lines < 1000, "{lines} lines in an hour");
        assert!(more > 300_000, "{more} others");
    }

    #[test]
    fn who_has_ever_other_neighbours_asked_for_does_not_fill_the_log() {
        let mut watch = Watch::default();
        let (mut lines, mut more) = (0, 0);
        for second in 0..3600_u32 {
            let incidents = (0..100).map(|last| lost(100 * second + last));
            let now = Time::from_ms(u64::from(second) * 1000);
            for news in watch.look(incidents, now) {
                lines += 1;
                if let News::MoreUnreachable(count) = news {
                    more += count;
                }
            }
        }
        assert!(lines < 1000, "{lines} lines in an hour");
        assert!(more > 300_000, "{more} others");
    }

    #[test]
    fn a_neighbour_that_stays_silent_is_known_beside_any_number_of_passing_ones() {
        let mut watch = Watch::default();
        for last in 10..5000 {
            watch.hear(lost(last), Time::from_ms(0));
        }
        for seconds in [4, 8, 12] {
            watch.hear(lost(1), Time::from_ms(seconds * 1000));
            for last in 0..250 {
                let number = 10_000 * u32::try_from(seconds).unwrap() + last;
                watch.hear(lost(number), Time::from_ms(seconds * 1000));
            }
        }
        let known = watch.unreachable().find(|(_, one, _)| *one == address(1));
        assert_eq!(known.unwrap().2.since, Time::from_ms(4000));
        assert_eq!(watch.unreachable().count(), MOST);
    }

    #[test]
    fn many_incidents_are_few_lines_and_little_memory() {
        let mut watch = Watch::default();
        for last in 0..5000 {
            watch.hear(lost(last), Time::from_ms(0));
        }
        assert_eq!(watch.unreachable().count(), MOST);
        let news = watch.look(std::iter::empty(), Time::from_ms(FORGET_MS));
        // That all of them are forgotten is no trouble.
        assert_eq!(news.len(), MOST_NEWS, "{news:?}");
    }
}

//! Who has which MAC: the states of RFC 4861 section 7.3.2, for ARP and NDP alike.
//! It neither parses nor builds frames; it says what to ask and what may go out.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::snapshot::id::PortId;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::wire::ethernet::Mac;

/// Neighbours that one worker knows at most; an attacker on the link cannot make it more.
const CAPACITY: usize = 4096;
/// Packets that wait for one neighbour at most (Linux: `unres_qlen`, about the same).
const QUEUE: usize = 64;
/// Packets that wait for all neighbours at most.
const WAITING: usize = 1024;
/// Questions before a neighbour counts as unreachable (RFC 4861: `MAX_MULTICAST_SOLICIT`).
const TRIES: u8 = 3;
/// Between questions (RFC 4861: `RETRANS_TIMER`).
const RETRY_MS: u64 = 1_000;
/// How long an answer is trusted (RFC 4861: `REACHABLE_TIME`).
const REACHABLE_MS: u64 = 30_000;
/// How long an unreachable neighbour is not asked again.
const HOLD_DOWN_MS: u64 = 1_000;
/// How long an unused entry is kept.
const UNUSED_MS: u64 = 600_000;
/// How long what is known already is not told to other workers again: less than the time between two
/// questions, since another worker's question may be answered here.
const TOLD_MS: u64 = RETRY_MS / 2;
/// Entries that one tick looks at, at most.
const TICK_BUDGET: usize = 64;

/// What an entry is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Asked everybody `tries` times; packets wait.
    Incomplete { tries: u8 },
    /// The MAC was confirmed lately.
    Reachable,
    /// The MAC is old; it is used, and asked for when it is.
    Stale,
    /// The old MAC is used while its owner is asked, `tries` times so far.
    Probing { tries: u8 },
    /// Nobody answered.
    Failed,
}

#[derive(Debug)]
struct Entry<B> {
    port: PortId,
    address: IpAddr,
    mac: Mac,
    state: State,
    used_at: Time,
    /// When the other workers were last told, or told this one.
    told_at: Time,
    /// When the state has something to do.
    due_at: Time,
    waiting: Vec<B>,
}

/// What the worker has to do for the table.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<B> {
    /// Ask who has `address`: everybody, or only the owner of the MAC known so far.
    Solicit {
        /// Where to ask.
        port: PortId,
        /// Whom.
        address: IpAddr,
        /// The MAC to be confirmed.
        known: Option<Mac>,
    },
    /// Give up these packets: the neighbour does not answer.
    GiveUp {
        /// The packets that waited.
        packets: Vec<B>,
    },
}

/// One worker's table. Workers tell each other what they learn.
#[derive(Debug)]
pub struct Neighbours<B> {
    entries: Vec<Option<Entry<B>>>,
    index: HashMap<(PortId, IpAddr), usize, RandomState>,
    free: Vec<usize>,
    waiting: usize,
    cursor: usize,
    /// No entry is due earlier, unless a scan is under way.
    next_due: Time,
    /// The earliest due time that the scan under way has seen.
    scan_due: Time,
}

const NEVER: Time = Time::from_ms(u64::MAX);

impl<B> Neighbours<B> {
    /// An empty table, keyed by `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self {
            entries: Vec::with_capacity(CAPACITY),
            index: HashMap::with_capacity_and_hasher(CAPACITY, hasher),
            free: Vec::with_capacity(CAPACITY),
            waiting: 0,
            cursor: 0,
            next_due: NEVER,
            scan_due: NEVER,
        }
    }

    /// Packets that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The neighbour's MAC, if it may be used.
    #[inline]
    pub fn lookup(&mut self, port: PortId, address: IpAddr, now: Time) -> Option<Mac> {
        let slot = *self.index.get(&(port, address))?;
        let entry = self.entries.get_mut(slot)?.as_mut()?;
        entry.used_at = now;
        match entry.state {
            State::Reachable | State::Probing { .. } => Some(entry.mac),
            State::Stale => {
                entry.state = State::Probing { tries: 0 };
                entry.due_at = now;
                let mac = entry.mac;
                self.wake(now);
                Some(mac)
            }
            State::Incomplete { .. } | State::Failed => None,
        }
    }

    /// Lets `packet` wait until the neighbour answers.
    ///
    /// # Errors
    /// The packet and the reason to drop it.
    pub fn wait(
        &mut self,
        port: PortId,
        address: IpAddr,
        packet: B,
        now: Time,
    ) -> Result<(), (B, DropReason)> {
        if self.waiting >= WAITING {
            return Err((packet, DropReason::NeighbourQueueFull));
        }
        let slot = match self.index.get(&(port, address)) {
            Some(slot) => *slot,
            None => match self.add(port, address, now) {
                Some(slot) => slot,
                None => return Err((packet, DropReason::NeighbourQueueFull)),
            },
        };
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return Err((packet, DropReason::NeighbourQueueFull));
        };
        if entry.state == State::Failed {
            return Err((packet, DropReason::NeighbourUnreachable));
        }
        if entry.waiting.len() >= QUEUE {
            return Err((packet, DropReason::NeighbourQueueFull));
        }
        entry.waiting.push(packet);
        self.waiting += 1;
        Ok(())
    }

    /// Takes note that `address` has `mac`. Returns the packets that waited for it, and whether
    /// other workers should hear of it: it is news here, or may be there, since they have not been
    /// told lately. An address that nobody asked for is entered only if `create`.
    pub fn learn(
        &mut self,
        port: PortId,
        address: IpAddr,
        mac: Mac,
        create: bool,
        now: Time,
    ) -> (Vec<B>, bool) {
        let slot = match self.index.get(&(port, address)) {
            Some(slot) => *slot,
            None if create => match self.add(port, address, now) {
                Some(slot) => slot,
                None => return (Vec::new(), false),
            },
            None => return (Vec::new(), false),
        };
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return (Vec::new(), false);
        };
        let news = entry.state != State::Reachable
            || entry.mac != mac
            || now.ms_since(entry.told_at) >= TOLD_MS;
        if news {
            entry.told_at = now;
        }
        entry.mac = mac;
        entry.state = State::Reachable;
        entry.due_at = now.plus_ms(REACHABLE_MS);
        let due_at = entry.due_at;
        let released = std::mem::take(&mut entry.waiting);
        self.wake(due_at);
        self.waiting -= released.len();
        (released, news)
    }

    /// When `tick` next has something to do; as long as it has not passed, `tick` is not done.
    #[must_use]
    pub fn next_due(&self) -> Time {
        self.next_due
    }

    /// Carries on what is due and hands each request to `act`. Looks at a bounded number of
    /// entries; costs one comparison when nothing is due.
    pub fn tick(&mut self, now: Time, mut act: impl FnMut(Request<B>)) {
        if now < self.next_due {
            return;
        }
        for _ in 0..TICK_BUDGET {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
                self.next_due = std::mem::replace(&mut self.scan_due, NEVER);
                return;
            }
            let slot = self.cursor;
            self.cursor += 1;
            let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
                continue;
            };
            if entry.due_at <= now {
                let given_up = entry.advance(now, &mut act);
                self.waiting -= given_up;
                if entry.due_at == NEVER {
                    self.index.remove(&(entry.port, entry.address));
                    if let Some(place) = self.entries.get_mut(slot) {
                        *place = None;
                    }
                    self.free.push(slot);
                    continue;
                }
            }
            self.scan_due = self.scan_due.min(entry.due_at);
        }
    }

    /// Something is due at `at`, perhaps in a slot that the scan under way has passed.
    fn wake(&mut self, at: Time) {
        self.next_due = self.next_due.min(at);
        self.scan_due = self.scan_due.min(at);
    }

    fn add(&mut self, port: PortId, address: IpAddr, now: Time) -> Option<usize> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.entries.len() < CAPACITY => {
                self.entries.push(None);
                self.entries.len() - 1
            }
            None => self.displace()?,
        };
        *self.entries.get_mut(slot)? = Some(Entry {
            port,
            address,
            mac: Mac([0; 6]),
            state: State::Incomplete { tries: 0 },
            used_at: now,
            told_at: now,
            due_at: now,
            waiting: Vec::new(),
        });
        self.index.insert((port, address), slot);
        self.wake(now);
        Some(slot)
    }

    /// Takes the place of an entry that nobody needs at once, among a few candidates.
    fn displace(&mut self) -> Option<usize> {
        let slot = (self.cursor..self.cursor + TICK_BUDGET).find(|slot| {
            self.entries
                .get(*slot)
                .and_then(Option::as_ref)
                .is_some_and(|entry| {
                    entry.waiting.is_empty()
                        && matches!(
                            entry.state,
                            State::Stale | State::Failed | State::Incomplete { .. }
                        )
                })
        })?;
        let old = self.entries.get_mut(slot)?.take()?;
        self.index.remove(&(old.port, old.address));
        Some(slot)
    }
}

impl<B> Entry<B> {
    /// Does what is due; `due_at == NEVER` afterwards means that the entry may go. Returns how many
    /// packets were given up.
    fn advance(&mut self, now: Time, act: &mut impl FnMut(Request<B>)) -> usize {
        match self.state {
            State::Incomplete { tries } if tries < TRIES => {
                self.state = State::Incomplete { tries: tries + 1 };
                self.due_at = now.plus_ms(RETRY_MS);
                act(Request::Solicit {
                    port: self.port,
                    address: self.address,
                    known: None,
                });
            }
            State::Incomplete { .. } => {
                self.state = State::Failed;
                self.due_at = now.plus_ms(HOLD_DOWN_MS);
                let packets = std::mem::take(&mut self.waiting);
                let count = packets.len();
                if count > 0 {
                    act(Request::GiveUp { packets });
                }
                return count;
            }
            State::Reachable => {
                self.state = State::Stale;
                self.due_at = self.used_at.plus_ms(UNUSED_MS).max(now.plus_ms(RETRY_MS));
            }
            State::Probing { tries } if tries < TRIES => {
                self.state = State::Probing { tries: tries + 1 };
                self.due_at = now.plus_ms(RETRY_MS);
                act(Request::Solicit {
                    port: self.port,
                    address: self.address,
                    known: Some(self.mac),
                });
            }
            State::Probing { .. } => {
                self.state = State::Incomplete { tries: 0 };
                self.due_at = now;
                return self.advance(now, act);
            }
            State::Stale if now.ms_since(self.used_at) < UNUSED_MS => {
                self.due_at = self.used_at.plus_ms(UNUSED_MS);
            }
            State::Stale | State::Failed => self.due_at = NEVER,
        }
        0
    }
}

#[cfg(test)]
mod tests;

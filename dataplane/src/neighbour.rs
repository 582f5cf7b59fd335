//! Who has which MAC: the states of RFC 4861 section 7.3.2, for ARP and NDP alike.
//! It neither parses nor builds frames; it says what to ask and what may go out.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::id::PortId;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::wire::Mac;

pub mod record;

/// Neighbours that one worker knows at most; an attacker on the link cannot make it more.
const CAPACITY: usize = 4096;
/// Packets that wait for one neighbour at most (Linux: `unres_qlen`, about the same).
const QUEUE: usize = 64;
/// Packets that wait for all neighbours at most.
pub const MOST_WAITING: u32 = 1024;
/// Between two neighbours that are asked for although no more packets may wait.
const ASK_ANYWAY_MS: u64 = 1;
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
/// Entries that one tick looks at, at most.
const TICK_BUDGET: usize = 64;
/// Entries among which one is chosen to give way to a newcomer.
const CANDIDATES: usize = 64;
/// An entry that was used within this time gives way to nobody.
const KEEP_MS: u64 = 5_000;
/// How long a search of the whole table that found nothing is not repeated.
const BARREN_MS: u64 = 100;
/// How long another worker's question may take until its answer comes here.
const AWAITED_MS: u64 = 3_000;
/// How often at most the others are told that a neighbour moved unasked (Linux: `locktime`).
const TELL_MS: u64 = 1_000;

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
    /// Another worker asked; the answer may come to this one.
    Awaited,
}

/// What somebody says about a MAC: a neighbour advertisement with its flags (RFC 4861 section 4.4),
/// or what says as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The MAC; absent in some answers to a unicast question.
    pub mac: Option<Mac>,
    /// Whether it answers a question of ours, and so proves that its sender hears us.
    pub solicited: bool,
    /// Whether it replaces another MAC.
    pub overrides: bool,
}

impl Claim {
    /// An answer: an ARP reply to us.
    #[must_use]
    pub const fn answer(mac: Mac) -> Self {
        Self {
            mac: Some(mac),
            solicited: true,
            overrides: true,
        }
    }

    /// What a question or an announcement says about its sender (RFC 4861 section 7.2.3). It moves
    /// a neighbour, but does not prove that our packets reach it.
    #[must_use]
    pub const fn unasked(mac: Mac) -> Self {
        Self {
            mac: Some(mac),
            solicited: false,
            overrides: true,
        }
    }
}

/// What came of a [`Claim`].
#[derive(Debug, PartialEq, Eq)]
pub struct Learned<B> {
    /// The packets that waited, and the MAC to send them to.
    pub released: Option<(Mac, Vec<B>)>,
    /// What the other workers have to be told.
    pub tell: Option<Claim>,
}

impl<B> Learned<B> {
    const NOTHING: Self = Self {
        released: None,
        tell: None,
    };
}

#[derive(Debug)]
struct Entry<B> {
    port: PortId,
    address: IpAddr,
    mac: Mac,
    state: State,
    /// When a packet last needed it; `None` if none did.
    used_at: Option<Time>,
    entered_at: Time,
    /// When there was last news of it: it was asked for first, somebody told its MAC, or it did not answer.
    news_at: Time,
    /// Another worker asked, so it has to be told the answer.
    wanted: bool,
    /// When the others were last told unasked.
    told_at: Option<Time>,
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
        /// Where it was asked for.
        port: PortId,
        /// Which.
        address: IpAddr,
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
    /// Where the search for an entry that may give way goes on.
    hand: usize,
    /// Until when no search of the whole table is worth while.
    barren_until: Time,
    /// When the next neighbour may be asked for although no more packets may wait.
    ask_anyway_at: Time,
    /// No entry is due earlier, unless a scan is under way.
    next_due: Time,
    /// The earliest due time that the scan under way has seen.
    scan_due: Time,
    changes: u64,
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
            hand: 0,
            barren_until: Time::default(),
            ask_anyway_at: Time::default(),
            next_due: NEVER,
            scan_due: NEVER,
            changes: 0,
        }
    }

    /// Counts up whenever a MAC that could be used is another one, or can no longer be used without
    /// asking for it: whoever remembers what `lookup` said must forget it.
    #[inline]
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
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
        entry.used_at = Some(now);
        match entry.state {
            State::Reachable | State::Probing { .. } => Some(entry.mac),
            State::Stale => {
                entry.state = State::Probing { tries: 0 };
                entry.due_at = now;
                let mac = entry.mac;
                self.wake(now);
                Some(mac)
            }
            State::Incomplete { .. } | State::Failed | State::Awaited => None,
        }
    }

    /// Lets `packet` wait until the neighbour answers. Whoever has many absent neighbours asked for can have all
    /// room for packets taken, but not keep others from being asked for: their next packets find a MAC.
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
        let is_full = self.waiting >= MOST_WAITING as usize;
        let slot = match self.index.get(&(port, address)) {
            Some(slot) => *slot,
            None if is_full && now < self.ask_anyway_at => {
                return Err((packet, DropReason::NeighbourQueueFull));
            }
            None => match self.add(port, address, true, now) {
                Some(slot) if is_full => {
                    self.ask_anyway_at = now.plus_ms(ASK_ANYWAY_MS);
                    slot
                }
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
        entry.used_at = Some(now);
        let waits = !is_full && entry.waiting.len() < QUEUE;
        let outcome = if waits {
            entry.waiting.push(packet);
            self.waiting += 1;
            Ok(())
        } else {
            Err((packet, DropReason::NeighbourQueueFull))
        };
        if entry.state == State::Awaited {
            // The other worker's answer may never come here.
            entry.state = State::Incomplete { tries: 0 };
            entry.due_at = now;
            self.wake(now);
        }
        outcome
    }

    /// Another worker asks for `address`: it is told the answer if that comes here.
    pub fn expect(&mut self, port: PortId, address: IpAddr, now: Time) {
        let known = self.index.get(&(port, address)).copied();
        let slot = known.or_else(|| self.add(port, address, false, now));
        let Some(entry) = slot
            .and_then(|slot| self.entries.get_mut(slot))
            .and_then(Option::as_mut)
        else {
            return;
        };
        entry.wanted = true;
        if known.is_none() || matches!(entry.state, State::Failed | State::Awaited) {
            entry.state = State::Awaited;
            entry.due_at = now.plus_ms(AWAITED_MS);
            let due_at = entry.due_at;
            self.wake(due_at);
        }
    }

    /// Takes note of what is said about `address`, as RFC 4861 section 7.2.5 has it. An address that
    /// nobody asked for is entered only if `create`.
    pub fn learn(
        &mut self,
        port: PortId,
        address: IpAddr,
        claim: Claim,
        create: bool,
        now: Time,
    ) -> Learned<B> {
        let slot = match self.index.get(&(port, address)) {
            Some(slot) => *slot,
            None if create && claim.mac.is_some() => match self.add(port, address, false, now) {
                Some(slot) => slot,
                None => return Learned::NOTHING,
            },
            None => return Learned::NOTHING,
        };
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return Learned::NOTHING;
        };
        let before = entry.certain_mac();
        let learned = entry.learn(claim, now);
        self.changes += u64::from(before.is_some() && before != entry.certain_mac());
        let due_at = entry.due_at;
        self.wake(due_at);
        if let Some((_, released)) = &learned.released {
            self.waiting -= released.len();
        }
        learned
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
                let before = entry.certain_mac();
                let given_up = entry.advance(now, &mut act);
                self.changes += u64::from(before.is_some() && before != entry.certain_mac());
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

    /// Forgets all neighbours of a port, whose link has gone: what stands at its other end when it comes back may be
    /// others. Returns the packets that waited.
    pub fn forget(&mut self, port: PortId) -> Vec<B> {
        let mut waited = Vec::new();
        for (slot, place) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = place.take_if(|entry| entry.port == port) {
                self.index.remove(&(port, entry.address));
                self.free.push(slot);
                waited.extend(entry.waiting);
            }
        }
        self.waiting -= waited.len();
        self.changes += 1;
        waited
    }

    /// Something is due at `at`, perhaps in a slot that the scan under way has passed.
    fn wake(&mut self, at: Time) {
        self.next_due = self.next_due.min(at);
        self.scan_due = self.scan_due.min(at);
    }

    /// A new entry. One that is `needed` by a packet finds a place while there is an entry that is
    /// not; any other only if one is found at once.
    fn add(&mut self, port: PortId, address: IpAddr, needed: bool, now: Time) -> Option<usize> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.entries.len() < CAPACITY => {
                self.entries.push(None);
                self.entries.len() - 1
            }
            None => self.displace(needed, now)?,
        };
        *self.entries.get_mut(slot)? = Some(Entry {
            port,
            address,
            mac: Mac([0; 6]),
            state: State::Incomplete { tries: 0 },
            used_at: None,
            entered_at: now,
            news_at: now,
            wanted: false,
            told_at: None,
            due_at: now,
            waiting: Vec::new(),
        });
        self.index.insert((port, address), slot);
        self.wake(now);
        Some(slot)
    }

    /// Takes the place of an entry that nobody needs at present.
    fn displace(&mut self, needed: bool, now: Time) -> Option<usize> {
        let mut slot = self.turn_hand(now);
        if slot.is_none() && needed && self.barren_until <= now {
            // Seldom: thousands of neighbours are in use at once. Then once in a while.
            slot = (1..CAPACITY.div_ceil(CANDIDATES)).find_map(|_| self.turn_hand(now));
            if slot.is_none() {
                self.barren_until = now.plus_ms(BARREN_MS);
            }
        }
        let old = self.entries.get_mut(slot?)?.take()?;
        self.changes += 1;
        self.index.remove(&(old.port, old.address));
        slot
    }

    /// Among the next few slots, the one whose entry was unused for the longest and may go.
    fn turn_hand(&mut self, now: Time) -> Option<usize> {
        let length = self.entries.len().max(1);
        let start = self.hand;
        self.hand = (start + CANDIDATES) % length;
        (start..start + CANDIDATES)
            .map(|slot| slot % length)
            .filter_map(|slot| Some((slot, self.entries.get(slot)?.as_ref()?)))
            .filter(|(_, entry)| !entry.is_needed(now))
            .min_by_key(|(_, entry)| (entry.used_at, entry.entered_at))
            .map(|(slot, _)| slot)
    }
}

impl<B> Entry<B> {
    /// The MAC, if using it has no further consequence.
    fn certain_mac(&self) -> Option<Mac> {
        matches!(self.state, State::Reachable | State::Probing { .. }).then_some(self.mac)
    }

    /// Whether packets wait for it, or were sent to it a moment ago.
    fn is_needed(&self, now: Time) -> bool {
        let has_mac = matches!(
            self.state,
            State::Reachable | State::Stale | State::Probing { .. }
        );
        !self.waiting.is_empty() || has_mac && self.used_within(KEEP_MS, now)
    }

    fn used_within(&self, ms: u64, now: Time) -> bool {
        self.used_at
            .is_some_and(|used_at| now.ms_since(used_at) < ms)
    }

    /// When it was last good for anything.
    fn last_needed(&self) -> Time {
        self.used_at.unwrap_or(self.entered_at)
    }

    /// RFC 4861 section 7.2.5; for questions section 7.2.3, which comes to the same with
    /// [`Claim::unasked`].
    fn learn(&mut self, claim: Claim, now: Time) -> Learned<B> {
        let is_resolved = matches!(
            self.state,
            State::Reachable | State::Stale | State::Probing { .. }
        );
        let was_probing = matches!(self.state, State::Probing { .. });
        let mac = match claim.mac {
            Some(mac) => mac,
            None if is_resolved => self.mac,
            // An answer without a MAC helps nobody who has none.
            None => return Learned::NOTHING,
        };
        let moves = is_resolved && mac != self.mac;
        if moves && !claim.overrides {
            if self.state == State::Reachable {
                self.become_stale(now);
            }
            return Learned::NOTHING;
        }
        self.mac = mac;
        self.news_at = now;
        if claim.solicited {
            self.state = State::Reachable;
            self.due_at = now.plus_ms(REACHABLE_MS);
        } else if moves || !is_resolved {
            self.become_stale(now);
        }
        let changes = claim.solicited || moves;
        let may_tell = self
            .told_at
            .is_none_or(|told_at| now.ms_since(told_at) >= TELL_MS);
        // Whoever claims one address after another, or one address with ever other MACs, must not
        // fill the other workers' inboxes.
        let asked_for =
            self.wanted && (changes || !is_resolved) || !is_resolved && self.used_at.is_some();
        let in_use = self.used_within(REACHABLE_MS, now);
        let is_news = asked_for || may_tell && (was_probing && changes || moves && in_use);
        if is_news {
            self.told_at = Some(now);
            self.wanted = false;
        }
        let tell = is_news.then_some(Claim {
            mac: Some(mac),
            solicited: claim.solicited,
            overrides: true,
        });
        let released = std::mem::take(&mut self.waiting);
        Learned {
            released: (!released.is_empty()).then_some((mac, released)),
            tell,
        }
    }

    fn become_stale(&mut self, now: Time) {
        self.state = State::Stale;
        self.due_at = self
            .last_needed()
            .plus_ms(UNUSED_MS)
            .max(now.plus_ms(RETRY_MS));
    }

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
                self.news_at = now;
                self.due_at = now.plus_ms(HOLD_DOWN_MS);
                let packets = std::mem::take(&mut self.waiting);
                let count = packets.len();
                if count > 0 {
                    act(Request::GiveUp {
                        port: self.port,
                        address: self.address,
                        packets,
                    });
                }
                return count;
            }
            State::Reachable => self.become_stale(now),
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
                self.news_at = now;
                self.due_at = now;
                return self.advance(now, act);
            }
            State::Stale if now.ms_since(self.last_needed()) < UNUSED_MS => {
                self.due_at = self.last_needed().plus_ms(UNUSED_MS);
            }
            State::Stale | State::Failed | State::Awaited => self.due_at = NEVER,
        }
        0
    }
}

#[cfg(test)]
mod tests;

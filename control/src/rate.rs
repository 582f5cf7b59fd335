//! Rates of sessions, packets and bytes by IPVS's estimator: what `ipvsadm -Ln --rate` shows.
//! Reads no clock and counts nothing: the sums of the workers' counters and the time are passed in.

use std::collections::HashMap;
use std::net::SocketAddr;

use plimsoll_dataplane::id::ServiceId;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::{RealServer, Totals, VirtualService};
use plimsoll_dataplane::time::Time;
use serde::{Deserialize, Serialize};

/// How often IPVS takes the difference.
const PERIOD_MS: u64 = 2000;
/// After so many periods without news nothing is left of what was.
const MOST_PERIODS: u64 = 128;
/// Real servers that are looked at in one period at most: a few hundredths of a second.
const MOST_REALS: usize = 131_072;
/// Fraction bits of the averages: ten for sessions and packets, five for bytes.
const FRACTION: [u32; 5] = [10, 10, 10, 5, 5];

/// Averages per second, rounded as `ipvsadm --rate` shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Sessions scheduled (CPS).
    pub conns: u64,
    /// Packets of clients (InPPS).
    pub in_packets: u64,
    /// Packets of real servers that passed through here (OutPPS).
    pub out_packets: u64,
    /// Bytes of clients' packets (InBPS, which are bytes and not bits).
    pub in_bytes: u64,
    /// Bytes of real servers' packets (OutBPS).
    pub out_bytes: u64,
}

/// Weighted averages that move a quarter of the way to what is new every two seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    last: [u64; 5],
    average: [i64; 5],
    /// The last period that met it.
    period: u64,
}

impl Estimate {
    /// `periods` have passed, at least one, in which the sums grew evenly to `totals`.
    fn advance(&mut self, totals: &Totals, periods: u64) {
        let now = counts(totals);
        for (at, fraction) in FRACTION.into_iter().enumerate() {
            let (Some(now), Some(last), Some(average)) =
                (now.get(at), self.last.get_mut(at), self.average.get_mut(at))
            else {
                return;
            };
            // Less than before: it was removed and came back, and counts from 0 again.
            let grown = now.checked_sub(*last).unwrap_or(*now);
            *last = *now;
            for period in 0..periods {
                let part = grown / periods + u64::from(period < grown % periods);
                // A period has two seconds, so the fraction has one bit less here.
                let part = i64::try_from(part)
                    .unwrap_or(i64::MAX)
                    .min(i64::MAX >> fraction);
                *average += ((part << (fraction - 1)) - *average) >> 2;
            }
        }
    }

    /// Whether there is anything that time alone would change.
    fn is_moving(&self) -> bool {
        self.average != [0; 5]
    }

    fn rate(&self) -> Rate {
        let mut shown = FRACTION.into_iter().zip(self.average);
        let mut next = || {
            let (fraction, average) = shown.next().unwrap_or_default();
            // As IPVS: one half is rounded down.
            let rounded = (average + (1 << fraction >> 1) - 1) >> fraction;
            u64::try_from(rounded).unwrap_or(0)
        };
        Rate {
            conns: next(),
            in_packets: next(),
            out_packets: next(),
            in_bytes: next(),
            out_bytes: next(),
        }
    }
}

const fn counts(totals: &Totals) -> [u64; 5] {
    [
        totals.sessions,
        totals.in_packets,
        totals.out_packets,
        totals.in_bytes,
        totals.out_bytes,
    ]
}

/// What is kept of a service that has counted something.
#[derive(Debug)]
struct Estimates {
    /// The service's, so that another one in its slot is not taken for it.
    first_revision: u32,
    service: Estimate,
    /// By address and port: a real server that comes back goes on.
    reals: HashMap<SocketAddr, Estimate>,
}

/// The rates of all configured services and real servers.
///
/// Services with traffic of late are looked at in every period, and the quiet ones in turn, so many
/// that the control thread has time for other things. With more than 131,072 real servers a
/// quiet one's first traffic is seen some periods late, and taken for as old as the last look.
#[derive(Debug)]
pub struct Rates {
    /// When the last period ended.
    mark: Time,
    /// Its number.
    period: u64,
    /// By the services' slots.
    estimates: HashMap<ServiceId, Estimates>,
    /// Those that had traffic of late.
    moving: Vec<ServiceId>,
    /// The slot that is looked at next, of the quiet ones.
    turn: u32,
    /// By slot: the last period in which it was looked at.
    looked: Vec<u64>,
}

impl Rates {
    /// All are 0, and the first period begins.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            mark: now,
            period: 0,
            estimates: HashMap::new(),
            moving: Vec::new(),
            turn: 0,
            looked: Vec::new(),
        }
    }

    /// Brings the rates up to date if a period or more has passed; to be called once a second or so.
    /// A service or real server that is met for the first time has existed since its slot was looked
    /// at, or for one period.
    pub fn advance(&mut self, now: Time, snapshot: &Snapshot) {
        self.advance_some(now, snapshot, MOST_REALS);
    }

    fn advance_some(&mut self, now: Time, snapshot: &Snapshot, most: usize) {
        let periods = now.ms_since(self.mark) / PERIOD_MS;
        if periods == 0 {
            return;
        }
        self.mark = self.mark.plus_ms(periods * PERIOD_MS);
        self.period += periods;
        let slots = u32::try_from(snapshot.services.len()).unwrap_or(u32::MAX);
        self.looked
            .resize(snapshot.services.len(), self.period.saturating_sub(1));
        let mut left = most;
        let moving = std::mem::take(&mut self.moving);
        // Half of what can be done remains for the quiet ones.
        for id in moving {
            if left > most / 2 {
                left = left.saturating_sub(self.look(id, snapshot));
            }
        }
        for _ in 0..slots {
            if left == 0 {
                break;
            }
            let id = ServiceId(self.turn % slots);
            self.turn = (self.turn + 1) % slots;
            left = left.saturating_sub(self.look(id, snapshot));
        }
    }

    /// Brings one service up to date; returns what that cost, in real servers.
    fn look(&mut self, id: ServiceId, snapshot: &Snapshot) -> usize {
        let Some(looked) = self.looked.get_mut(id.0 as usize) else {
            return 1;
        };
        let periods = (self.period - *looked).min(MOST_PERIODS);
        if periods == 0 {
            return 1;
        }
        *looked = self.period;
        let Some(service) = snapshot.service(id).filter(|service| service.configured) else {
            self.estimates.remove(&id);
            return 1;
        };
        let totals = snapshot.service_totals(service);
        let known = self.estimates.get(&id);
        if known.is_some_and(|known| known.first_revision != service.scheduling.first_revision) {
            self.estimates.remove(&id);
        }
        // What never counted anything has no entry: among a million services most are quiet.
        if counts(&totals) == [0; 5] && !self.estimates.contains_key(&id) {
            return 1 + service.scheduling.candidates.len();
        }
        let estimates = self.estimates.entry(id).or_insert_with(|| Estimates {
            first_revision: service.scheduling.first_revision,
            service: Estimate::default(),
            reals: HashMap::new(),
        });
        estimates.service.advance(&totals, periods);
        for candidate in service.scheduling.candidates.iter() {
            let Some(real) = snapshot.real(candidate.real) else {
                continue;
            };
            let totals = snapshot.real_totals(real.id);
            let socket = SocketAddr::new(real.spec.address, real.spec.port);
            if counts(&totals) == [0; 5] && !estimates.reals.contains_key(&socket) {
                continue;
            }
            let estimate = estimates.reals.entry(socket).or_default();
            estimate.period = self.period;
            estimate.advance(&totals, periods);
        }
        let period = self.period;
        estimates
            .reals
            .retain(|_, estimate| estimate.period == period);
        if estimates.service.is_moving() || estimates.reals.values().any(Estimate::is_moving) {
            self.moving.push(id);
        }
        1 + service.scheduling.candidates.len()
    }

    /// A service's rate.
    #[must_use]
    pub fn of_service(&self, service: &VirtualService) -> Rate {
        self.of(service, |estimates| Some(&estimates.service))
    }

    /// The rate of a service's real server.
    #[must_use]
    pub fn of_real(&self, service: &VirtualService, real: &RealServer) -> Rate {
        let socket = SocketAddr::new(real.spec.address, real.spec.port);
        self.of(service, |estimates| estimates.reals.get(&socket))
    }

    fn of(
        &self,
        service: &VirtualService,
        which: impl FnOnce(&Estimates) -> Option<&Estimate>,
    ) -> Rate {
        let estimates = self.estimates.get(&service.id);
        estimates
            .filter(|estimates| estimates.first_revision == service.scheduling.first_revision)
            .and_then(which)
            .map_or_else(Rate::default, Estimate::rate)
    }
}

#[cfg(test)]
mod tests;

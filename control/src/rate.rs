//! Rates of sessions, packets and bytes by IPVS's estimator: what `ipvsadm -Ln --rate` shows.
//! Reads no clock and counts nothing: the sums of the workers' counters and the time are passed in.

use std::collections::HashMap;
use std::net::SocketAddr;

use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::id::ServiceId;
use plimsoll_dataplane::snapshot::model::{RealServer, Totals, VirtualService};
use plimsoll_dataplane::time::Time;
use serde::{Deserialize, Serialize};

/// How often IPVS takes the difference.
const PERIOD_MS: u64 = 2000;
/// After so many periods without news nothing is left of what was.
const MOST_PERIODS: u64 = 128;
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

/// Whose rate: a service while its slot means it, or one of its real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    service: ServiceId,
    born: u32,
    real: Option<SocketAddr>,
}

impl Key {
    const fn service(service: &VirtualService) -> Self {
        Self {
            service: service.id,
            born: service.born,
            real: None,
        }
    }

    const fn real(service: &VirtualService, real: &RealServer) -> Self {
        Self {
            real: Some(SocketAddr::new(real.address, real.port)),
            ..Self::service(service)
        }
    }
}

/// Weighted averages that move a quarter of the way to what is new every two seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    last: [u64; 5],
    average: [i64; 5],
    /// The last round that met it.
    round: u64,
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

/// The rates of all configured services and real servers.
#[derive(Debug)]
pub struct Rates {
    /// When the last period ended.
    mark: Time,
    round: u64,
    estimates: HashMap<Key, Estimate>,
}

impl Rates {
    /// All are 0, and the first period begins.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            mark: now,
            round: 0,
            estimates: HashMap::new(),
        }
    }

    /// Brings the rates up to date if a period or more has passed; to be called once a second or so.
    /// A service or real server that is met for the first time has existed for one period.
    pub fn advance(&mut self, now: Time, snapshot: &Snapshot) {
        let periods = now.ms_since(self.mark) / PERIOD_MS;
        if periods == 0 {
            return;
        }
        self.mark = self.mark.plus_ms(periods * PERIOD_MS);
        self.round += 1;
        let periods = periods.min(MOST_PERIODS);
        for service in snapshot.configured_services() {
            let mut sum = service.past;
            for candidate in service.candidates.iter() {
                let Some(real) = snapshot.real(candidate.real) else {
                    continue;
                };
                let totals = snapshot.real_totals(real.id);
                sum.add(&totals);
                self.estimate(Key::real(service, real), &totals, periods);
            }
            for former in service.former.iter() {
                sum.add(&snapshot.real_totals(*former));
            }
            self.estimate(Key::service(service), &sum, periods);
        }
        let round = self.round;
        self.estimates.retain(|_, estimate| estimate.round == round);
    }

    fn estimate(&mut self, key: Key, totals: &Totals, periods: u64) {
        // What never counted anything has no entry: among a million services most are quiet.
        if counts(totals) == [0; 5] && !self.estimates.contains_key(&key) {
            return;
        }
        let estimate = self.estimates.entry(key).or_default();
        let periods = if estimate.round == 0 { 1 } else { periods };
        estimate.round = self.round;
        estimate.advance(totals, periods);
    }

    /// A service's rate.
    #[must_use]
    pub fn of_service(&self, service: &VirtualService) -> Rate {
        self.of(&Key::service(service))
    }

    /// The rate of a service's real server.
    #[must_use]
    pub fn of_real(&self, service: &VirtualService, real: &RealServer) -> Rate {
        self.of(&Key::real(service, real))
    }

    fn of(&self, key: &Key) -> Rate {
        self.estimates
            .get(key)
            .map_or_else(Rate::default, Estimate::rate)
    }
}

#[cfg(test)]
mod tests;

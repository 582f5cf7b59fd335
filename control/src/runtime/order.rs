//! What an operator orders of one real server, and what is remembered of it.
//! What the data plane makes of it is `changes.rs`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_dataplane::listed;
use plimsoll_dataplane::spec::target::Identity;
use serde::{Deserialize, Serialize};

/// A real server of a service, the same one across reloads and restarts.
pub(super) type Key = (Identity, (IpAddr, u16));

listed! {
    /// What operators have a real server do. Health is apart from it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Administration {
        /// It takes new sessions.
        Enabled => "enabled" default,
        /// It takes no new sessions; those that it has go on, and so do its checks.
        Drained => "drained",
        /// It takes no new sessions, its checks stop, and `on_down` says what becomes of the sessions that it has.
        Disabled => "disabled",
    }
}

listed! {
    /// What becomes of the sessions that are left when a drain's deadline has passed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Ending {
        /// They end: the client's next segment is answered by a reset.
        Reset => "reset",
        /// The client's next packet begins a session with another real server.
        Reschedule => "reschedule",
    }
}

/// When a drain ends whatever is left, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What becomes of the sessions that are left then.
    pub then: Ending,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    /// No new sessions; those that are left go on, or until a deadline.
    Drain {
        /// Milliseconds from now, and what is to be done then.
        #[serde(default)]
        deadline_ms: Option<u64>,
        /// Given with `deadline_ms`.
        #[serde(default)]
        then: Option<Ending>,
    },
    /// Takes a drain back.
    Undrain,
    /// No new sessions and no checks.
    Disable,
    /// As if it had never been drained or disabled.
    Enable,
    /// Another weight than the file's; `None` takes that back.
    Weight {
        /// 0 to 2147483647.
        weight: Option<u32>,
    },
}

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `undrain` of a disabled one.
    #[error("is disabled, not drained: `plimsoll enable` it")]
    Disabled,
    /// A weight beyond IPVS's.
    #[error("cannot have the weight {0}: expected 0 to 2147483647")]
    Weight(u32),
    /// A deadline without what to do then, or the other way round.
    #[error("a deadline needs what is to be done then, and the other way round")]
    HalfDeadline,
}

/// Why an order is not carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{service}/{real} {why}")]
pub struct OrderError {
    /// The service's name.
    pub service: Arc<str>,
    /// The real server.
    pub real: SocketAddr,
    /// Why.
    pub why: Refused,
}

/// The present time in milliseconds since 1970, which means the same after a restart.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// A weight that is not the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightChange {
    /// What is in force.
    pub weight: u32,
    /// What the file said then. Once it says something else, the file counts.
    pub of_file: u32,
}

/// What operators have changed of one real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RealChange {
    /// What it does.
    #[serde(default)]
    pub administration: Administration,
    /// When `administration` was changed, in milliseconds since 1970.
    #[serde(default)]
    pub since_ms: u64,
    /// When a drain ends what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Its weight, if that is not the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<WeightChange>,
}

/// The largest weight, as in the file.
const MOST_WEIGHT: u32 = 0x7fff_ffff;

impl RealChange {
    /// This after an order. `of_file` is the file's weight, `now_ms` in milliseconds since 1970.
    ///
    /// # Errors
    /// Why the order makes no sense here.
    pub fn after(mut self, order: Order, of_file: u32, now_ms: u64) -> Result<Self, Refused> {
        let administration = match order {
            Order::Drain { deadline_ms, then } => {
                self.deadline = match (deadline_ms, then) {
                    (Some(ms), Some(then)) => Some(Deadline {
                        at_ms: now_ms.saturating_add(ms),
                        then,
                    }),
                    (None, None) => None,
                    _ => return Err(Refused::HalfDeadline),
                };
                Administration::Drained
            }
            Order::Undrain if self.administration == Administration::Disabled => {
                return Err(Refused::Disabled);
            }
            Order::Undrain | Order::Enable => Administration::Enabled,
            Order::Disable => Administration::Disabled,
            Order::Weight { weight } => {
                if let Some(weight) = weight.filter(|weight| *weight > MOST_WEIGHT) {
                    return Err(Refused::Weight(weight));
                }
                self.weight = weight.map(|weight| WeightChange { weight, of_file });
                self.administration
            }
        };
        if administration != Administration::Drained {
            self.deadline = None;
        }
        if administration != self.administration {
            (self.administration, self.since_ms) = (administration, now_ms);
        }
        Ok(self)
    }

    /// Whether the real server is as the file says.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.administration == Administration::Enabled && self.weight.is_none()
    }

    /// The same for people.
    #[must_use]
    pub fn words(&self) -> String {
        let administration = (self.administration != Administration::Enabled)
            .then(|| self.administration.name().to_owned());
        let weight = self.weight.map(|weight| {
            format!(
                "at weight {} (the file's is {})",
                weight.weight, weight.of_file
            )
        });
        let words: Vec<String> = administration.into_iter().chain(weight).collect();
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Order = Order::Drain {
        deadline_ms: None,
        then: None,
    };

    fn after(orders: &[Order]) -> Result<RealChange, Refused> {
        let none = Ok(RealChange::default());
        orders
            .iter()
            .zip(1..)
            .fold(none, |change, (order, now)| change?.after(*order, 3, now))
    }

    #[test]
    fn what_was_undone_is_as_if_it_had_never_been() {
        let weight = |weight| Order::Weight { weight };
        for orders in [
            &[DRAIN, Order::Undrain][..],
            &[DRAIN, Order::Enable],
            &[Order::Disable, Order::Enable],
            &[Order::Disable, DRAIN, Order::Undrain],
            &[weight(Some(0)), weight(None)],
            &[Order::Undrain],
        ] {
            let change = after(orders).unwrap();
            assert!(change.is_none(), "{orders:?}: {change:?}");
            assert_eq!(change.deadline, None);
        }
        assert_eq!(
            after(&[DRAIN, weight(Some(7))]).unwrap().words(),
            "drained, at weight 7 (the file's is 3)"
        );
    }

    #[test]
    fn an_order_repeated_does_not_make_it_younger() {
        assert_eq!(after(&[DRAIN, DRAIN, DRAIN]).unwrap().since_ms, 1);
        assert_eq!(after(&[DRAIN, Order::Disable]).unwrap().since_ms, 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(
            after(&[Order::Disable, Order::Undrain]),
            Err(Refused::Disabled)
        );
        let much = Order::Weight {
            weight: Some(0x8000_0000),
        };
        assert_eq!(after(&[much]), Err(Refused::Weight(0x8000_0000)));
        let half = Order::Drain {
            deadline_ms: Some(1),
            then: None,
        };
        assert_eq!(after(&[half]), Err(Refused::HalfDeadline));
    }

    #[test]
    fn a_later_drain_replaces_the_deadline() {
        let drain = |deadline_ms, then| Order::Drain { deadline_ms, then };
        let first = drain(Some(1000), Some(Ending::Reset));
        let deadline = after(&[first]).unwrap().deadline.unwrap();
        assert_eq!((deadline.at_ms, deadline.then), (1001, Ending::Reset));
        assert_eq!(after(&[first, DRAIN]).unwrap().deadline, None);
        assert_eq!(after(&[first, Order::Disable]).unwrap().deadline, None);
    }
}

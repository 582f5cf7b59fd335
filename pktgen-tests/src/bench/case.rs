//! The cases that are measured, as data: method, protocol, family, sessions, workers.
//!
//! Must not know how a case is run; each part picks from these lists what it can do.

use super::text;
use crate::pktgen::{Family, Method, Protocol, Scenario};

/// Real servers in every case.
pub const REALS: u16 = 100;
/// Capacity of the table that new sessions are entered into.
pub const FULL_TABLE: u32 = 1 << 20;

/// What the packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Packets of so many sessions, which are entered before, in random order.
    Sessions(u32),
    /// The first packet of a new session each; the sessions before expire, so that the table stays at about 80 %.
    New,
}

/// How packets meet the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One worker gets all.
    One,
    /// Two workers, each of which gets the packets of its own sessions.
    Two,
    /// Two workers; the real servers' answers arrive where a NIC's hash puts them.
    TwoHashed,
    /// Two workers; the real servers' answers arrive at the one that has not the session.
    TwoCrossing,
}

impl Spread {
    /// How many workers.
    #[must_use]
    pub const fn workers(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Two | Self::TwoHashed | Self::TwoCrossing => 2,
        }
    }
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// How packets get to the real servers.
    pub method: Method,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The family of all addresses.
    pub family: Family,
    /// What the packets are.
    pub load: Load,
    /// How packets meet the workers.
    pub spread: Spread,
}

impl Case {
    const fn new(method: Method, protocol: Protocol, family: Family, load: Load) -> Self {
        Self {
            method,
            protocol,
            family,
            load,
            spread: Spread::One,
        }
    }

    /// New sessions that fill the table.
    pub const CHURN: Self = Self::new(Dr, Tcp, V4, New);
    /// Packets of sessions that stay.
    pub const STEADY: Self = Self::new(Dr, Udp, V4, Sessions(100_000));

    const fn with(self, spread: Spread) -> Self {
        Self { spread, ..self }
    }

    /// Its identity within a part.
    #[must_use]
    pub fn slug(&self) -> String {
        let method = match self.method {
            Method::Dr => "dr",
            Method::Nat => "nat",
            Method::Tunnel => "tunnel",
        };
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let family = match self.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        let load = match self.load {
            Load::Sessions(count) => count.to_string(),
            Load::New => "new".to_owned(),
        };
        let spread = match self.spread {
            Spread::One => "",
            Spread::Two => "/2-workers",
            Spread::TwoHashed => "/2-workers-hashed",
            Spread::TwoCrossing => "/2-workers-crossing",
        };
        format!("{method}-{protocol}-{family}/{load}{spread}")
    }

    /// It in words, without its sessions.
    #[must_use]
    pub fn title(&self) -> String {
        let method = match self.method {
            Method::Dr => "DR",
            Method::Nat => "NAT, both ways",
            Method::Tunnel => "tunnel",
        };
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let load = match self.load {
            Load::Sessions(_) => String::new(),
            Load::New => format!(
                ", new sessions, table of {} at 80 %",
                text::count(FULL_TABLE.into())
            ),
        };
        let spread = match self.spread {
            Spread::One => "",
            Spread::Two => ", 2 workers",
            Spread::TwoHashed => ", 2 workers, answers where a NIC's hash puts them",
            Spread::TwoCrossing => ", 2 workers, answers at the other one",
        };
        format!("{method} {protocol} {family}{load}{spread}")
    }

    /// Sessions in the table, where they stay.
    #[must_use]
    pub const fn sessions(&self) -> Option<u32> {
        match self.load {
            Load::Sessions(count) => Some(count),
            Load::New => None,
        }
    }

    /// The service and its real servers, for a table with room for all sessions and a few more.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        Scenario {
            method: self.method,
            protocol: self.protocol,
            family: self.family,
            reals: REALS,
            workers: self.spread.workers(),
            sessions: match self.load {
                // A sixteenth of the table is kept for other services.
                Load::Sessions(count) => count.saturating_add(count / 14).max(1024),
                Load::New => FULL_TABLE,
            },
            ..Scenario::default()
        }
    }
}

use Family::{V4, V6};
use Load::{New, Sessions};
use Method::{Dr, Nat, Tunnel};
use Protocol::{Tcp, Udp};

/// Whose rounds alternate: what is compared has the same noise.
const MEMORY: &[Case] = &[
    Case::new(Dr, Udp, V4, Sessions(1)),
    Case::new(Dr, Udp, V4, Sessions(1000)),
    Case::new(Dr, Udp, V4, Sessions(100_000)),
    Case::new(Dr, Udp, V4, Sessions(1_000_000)),
    Case::new(Dr, Tcp, V4, Sessions(1000)),
    Case::new(Dr, Tcp, V4, Sessions(1_000_000)),
    Case::new(Dr, Udp, V6, Sessions(1000)),
    Case::new(Dr, Udp, V6, Sessions(1_000_000)),
    Case::new(Nat, Udp, V4, Sessions(1)),
    Case::new(Nat, Udp, V4, Sessions(1000)),
    Case::new(Nat, Udp, V4, Sessions(100_000)),
    Case::new(Nat, Udp, V4, Sessions(1_000_000)),
    Case::new(Nat, Tcp, V4, Sessions(1000)),
    Case::new(Nat, Tcp, V4, Sessions(1_000_000)),
    Case::new(Nat, Udp, V6, Sessions(1000)),
    Case::new(Nat, Udp, V6, Sessions(1_000_000)),
    Case::new(Tunnel, Udp, V4, Sessions(1)),
    Case::new(Tunnel, Udp, V4, Sessions(1000)),
    Case::new(Tunnel, Udp, V4, Sessions(100_000)),
    Case::new(Tunnel, Udp, V4, Sessions(1_000_000)),
    Case::new(Tunnel, Tcp, V4, Sessions(1_000_000)),
    Case::new(Tunnel, Udp, V6, Sessions(1_000_000)),
    Case::new(Dr, Tcp, V4, New),
    Case::new(Nat, Tcp, V4, New),
    Case::new(Dr, Tcp, V6, New),
];

/// Two workers: not on a machine with one CPU.
const MEMORY_TWO: &[Case] = &[
    Case::new(Dr, Udp, V4, Sessions(1000)).with(Spread::Two),
    Case::new(Dr, Udp, V4, Sessions(1_000_000)).with(Spread::Two),
    Case::new(Nat, Udp, V4, Sessions(1000)).with(Spread::Two),
    Case::new(Nat, Udp, V4, Sessions(1000)).with(Spread::TwoCrossing),
    Case::new(Nat, Udp, V4, Sessions(1_000_000)).with(Spread::Two),
    Case::new(Nat, Udp, V4, Sessions(1_000_000)).with(Spread::TwoHashed),
    Case::new(Nat, Udp, V4, Sessions(1_000_000)).with(Spread::TwoCrossing),
];

/// Each needs gigabytes, so they are not in memory at the same time.
const MEMORY_LARGE: &[Case] = &[
    Case::new(Dr, Udp, V4, Sessions(10_000_000)),
    Case::new(Nat, Udp, V4, Sessions(10_000_000)),
    Case::new(Tunnel, Udp, V4, Sessions(10_000_000)),
];

/// What is worth a DPDK port.
const NULL: &[Case] = &[
    Case::new(Dr, Udp, V4, Sessions(1)),
    Case::new(Dr, Udp, V4, Sessions(1000)),
    Case::new(Dr, Udp, V4, Sessions(1_000_000)),
    Case::new(Dr, Tcp, V4, Sessions(1_000_000)),
    Case::new(Nat, Udp, V4, Sessions(1_000_000)),
    Case::new(Tunnel, Udp, V4, Sessions(1_000_000)),
];

/// What is worth two processes.
const PROCESSES: &[Case] = &[
    Case::new(Dr, Udp, V4, Sessions(1000)),
    Case::new(Dr, Udp, V4, Sessions(1_000_000)),
    Case::new(Dr, Tcp, V4, Sessions(1000)),
    Case::new(Dr, Udp, V6, Sessions(1000)),
    Case::new(Nat, Udp, V4, Sessions(1000)),
    Case::new(Nat, Udp, V4, Sessions(1_000_000)),
    Case::new(Tunnel, Udp, V4, Sessions(1000)),
    Case::new(Tunnel, Udp, V4, Sessions(1_000_000)),
];

/// The most sessions of a case in a quick run.
const QUICK_SESSIONS: u32 = 100_000;

/// The cases of a part, and how many sessions those have that a quick run leaves out.
fn choose(cases: &[Case], quick: bool) -> (Vec<Case>, Vec<Case>) {
    let few = |case: &Case| case.sessions().is_none_or(|count| count <= QUICK_SESSIONS);
    cases.iter().partition(|case| !quick || few(case))
}

/// In memory, in groups whose rounds alternate; and what is left out.
#[must_use]
pub fn memory(quick: bool, two: bool) -> (Vec<Vec<Case>>, Vec<Case>) {
    let (together, mut left_out) = choose(MEMORY, quick);
    let mut groups = vec![together];
    for group in [if two { MEMORY_TWO } else { &[] }, MEMORY_LARGE] {
        let (chosen, rest) = choose(group, quick);
        left_out.extend(rest);
        if group == MEMORY_LARGE {
            groups.extend(chosen.into_iter().map(|case| vec![case]));
        } else {
            groups.push(chosen);
        }
    }
    groups.retain(|group| !group.is_empty());
    (groups, left_out)
}

/// On a DPDK port in this process; and what is left out.
#[must_use]
pub fn null(quick: bool) -> (Vec<Case>, Vec<Case>) {
    choose(NULL, quick)
}

/// Between two processes; and what is left out.
#[must_use]
pub fn processes(quick: bool) -> (Vec<Case>, Vec<Case>) {
    choose(PROCESSES, quick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_share_an_identity() {
        let (groups, left_out) = memory(false, true);
        assert!(left_out.is_empty());
        let mut slugs: Vec<String> = groups.iter().flatten().map(Case::slug).collect();
        let count = slugs.len();
        slugs.sort();
        slugs.dedup();
        assert_eq!(slugs.len(), count);
    }

    #[test]
    fn a_quick_run_says_what_it_leaves_out() {
        let (groups, left_out) = memory(true, true);
        let chosen = groups.iter().flatten().count();
        assert_eq!(
            chosen + left_out.len(),
            MEMORY.len() + MEMORY_TWO.len() + MEMORY_LARGE.len()
        );
        assert!(groups.iter().flatten().any(|case| case.load == New));
        let (one, _) = memory(false, false);
        assert!(one.iter().flatten().all(|case| case.spread == Spread::One));
    }
}

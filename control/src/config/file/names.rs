//! What a key may be set to by a name: enumerations of the format's own, and which of the data plane's have names in it.
//! What a name brings about is not known here.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::listed;
use plimsoll_dataplane::listed::Listed;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::policy::{Defence, OnDown, OnDrain};
use plimsoll_dataplane::spec::scheduler::SchedulerKind;

use crate::config::value::names;

listed! {
    /// Whether packet buffers live in hugepages.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub enum Hugepages {
        /// Where they exist.
        Auto => "auto" default,
        /// Always; the daemon does not start without.
        On => "on",
        /// Never.
        Off => "off",
    }
}

listed! {
    /// `dataplane.idle`: what a worker does when nothing comes in.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub enum Idle {
        /// It goes on polling: the least latency, at the price of the whole CPU.
        Poll => "poll" default,
        /// It gives the CPU back until something comes in.
        Sleep => "sleep",
    }
}

listed! {
    /// Whose habits a service has where Plimsoll does otherwise than LVS; `docs/DEVIATIONS.md` lists them.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub enum Compat {
        /// What is better for the users.
        Plimsoll => "plimsoll" default,
        /// What LVS does.
        Lvs => "lvs",
    }
}

listed! {
    /// The settings of schedulers, by their IPVS names.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[expect(missing_docs, reason = "IPVS's names")]
    pub enum SchedulerFlag {
        ShFallback => "sh-fallback",
        ShPort => "sh-port",
        MhFallback => "mh-fallback",
        MhPort => "mh-port",
    }
}

listed! {
    /// The checksums of tunnels, by the names of `ipvsadm --tun-csum` and its like.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub enum TunnelChecksum {
        /// None.
        None => "none" default,
        /// GRE's checksum, or UDP's for GUE.
        Csum => "csum",
        /// Remote checksum offload, for GUE.
        Remcsum => "remcsum",
    }
}

names! {
    Compat: decides false,
    Defence: decides false,
    ForwardMethod: decides true,
    Hugepages: decides false,
    Idle: decides false,
    OnDown: decides false,
    OnDrain: decides false,
    Protocol: decides true,
    SchedulerFlag: decides true,
    SchedulerKind: decides true,
    TunnelChecksum: decides true,
    TunnelKind: decides true,
}

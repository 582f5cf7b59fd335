//! From `compat`, `ipvs`, `on_down` and `idle_reset` to a service's policy: LVS's names on one side, what follows on the other.
//! Nothing here can be wrong: every value was checked when it was read.

use std::num::NonZeroU32;

use plimsoll_dataplane::spec::policy::{OnDown, Policy, Reuse};

use crate::config::file::{Compat, Config, Service};

/// The policy of a service.
pub(super) fn of(config: &Config, service: &Service) -> Policy {
    let ipvs = &config.ipvs;
    let base = match service.compat.unwrap_or(config.compat) {
        Compat::Plimsoll => Policy::default(),
        Compat::Lvs => Policy::lvs(),
    };
    let gone = if ipvs.expire_nodest_conn {
        OnDown::Reset
    } else {
        base.on_down
    };
    Policy {
        reuse: match ipvs.conn_reuse_mode.map(|mode| mode.0) {
            None => base.reuse,
            Some(0) => Reuse::Never,
            Some(1) => Reuse::Closed,
            Some(_) => Reuse::Closing,
        },
        leaves_drained: ipvs.expire_nodest_conn,
        on_down: service.on_down.unwrap_or(gone),
        reuses_persistent: base.reuses_persistent,
        templates_leave_drained: ipvs.expire_quiescent_template,
        answers_one_packet: base.answers_one_packet,
        sloppy_tcp: ipvs.sloppy_tcp,
        schedule_icmp: ipvs.schedule_icmp,
        sloppy_sctp: ipvs.sloppy_sctp,
        secure_tcp: ipvs.secure_tcp,
        idle_reset: service.idle_reset,
        shed: ipvs.drop_packet,
        shed_rate: NonZeroU32::new(ipvs.am_droprate.0).unwrap_or(NonZeroU32::MIN),
        path_mtu: ipvs.pmtu_disc,
        relays_parameter_problems: base.relays_parameter_problems,
    }
}

//! From `compat`, `ipvs`, `on_down` and `idle_reset` to a service's policy: LVS's names on one side, what follows on the other.
//! Nothing here can be wrong: the schema has checked every value.

use std::num::NonZeroU32;

use plimsoll_dataplane::spec::policy::{OnDown, Policy, Reuse, Secure, Shed};

use super::super::file::{self, Compat, Config, Defence};

/// The policy of a service.
pub(super) fn of(config: &Config, service: &file::Service) -> Policy {
    let ipvs = &config.ipvs;
    let base = match service.compat.unwrap_or(config.compat) {
        Compat::Plimsoll => Policy::default(),
        Compat::Lvs => Policy::lvs(),
    };
    Policy {
        reuse: match ipvs.conn_reuse_mode {
            None => base.reuse,
            Some(0) => Reuse::Never,
            Some(1) => Reuse::Closed,
            Some(_) => Reuse::Closing,
        },
        leaves_drained: ipvs.expire_nodest_conn,
        on_down: match service.on_down {
            Some(file::OnDown::Keep) => OnDown::Keep,
            Some(file::OnDown::Reset) => OnDown::Reset,
            Some(file::OnDown::Reschedule) => OnDown::Reschedule,
            None if ipvs.expire_nodest_conn => OnDown::Reset,
            None => base.on_down,
        },
        reuses_persistent: base.reuses_persistent,
        templates_leave_drained: ipvs.expire_quiescent_template,
        answers_one_packet: base.answers_one_packet,
        sloppy_tcp: ipvs.sloppy_tcp,
        schedule_icmp: ipvs.schedule_icmp,
        sloppy_sctp: ipvs.sloppy_sctp,
        secure_tcp: match ipvs.secure_tcp {
            Defence::Off => Secure::Off,
            Defence::Auto => Secure::Auto,
            Defence::Always => Secure::Always,
        },
        idle_reset: service.idle_reset,
        shed: match ipvs.drop_packet {
            Defence::Off => Shed::Off,
            Defence::Auto => Shed::Auto,
            Defence::Always => Shed::Always,
        },
        shed_rate: NonZeroU32::new(ipvs.am_droprate).unwrap_or(NonZeroU32::MIN),
        path_mtu: ipvs.pmtu_disc,
        relays_parameter_problems: base.relays_parameter_problems,
    }
}

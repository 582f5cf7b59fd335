//! The rule for the owners of a service's sessions, and the sockets from which replies are attributed to services.
//! Slots are assigned elsewhere.

use crate::flow::Protocol;
use crate::id::{RealId, ServiceId};
use crate::snapshot::Snapshot;
use crate::snapshot::owner::Owner;
use crate::spec::service::{RealSpec, ServiceSpec};
use crate::spec::target::{Target, Vip, is_one_address};

/// The rule for the owners of a service's sessions from now on, and whether existing sessions may be misplaced. Depends
/// on the rule before, since sessions that began with NAT or persistence may still exist.
pub(super) fn own(next: &mut Snapshot, id: ServiceId, spec: &ServiceSpec) -> (Owner, bool) {
    let mut reals = spec.reals.iter();
    let wanted = match spec.persistence {
        Some(persistence) => Owner::Network(persistence.mask),
        None if has_sessions(spec) && reals.any(|real| real.forward.replies_name_client()) => {
            if replies_identify_flows(next, id, spec) {
                Owner::Flow
            } else {
                Owner::Socket
            }
        }
        None => Owner::Receiver,
    };
    let Some(service) = next.service(id) else {
        return (wanted, false);
    };
    let (old, service_id) = (service.owner, id);
    let (owner, misplaced) = old.after_change_to(wanted);
    if owner != old {
        let reals = service
            .scheduling
            .candidates
            .iter()
            .map(|candidate| candidate.real);
        let reals: Vec<RealId> = reals.chain(service.former.iter().copied()).collect();
        for id in reals {
            let real = next.real(id).filter(|real| real.replies_come_back);
            if let Some((address, port)) = real.map(|real| (real.spec.address, real.spec.port)) {
                for protocol in spec.target.protocols() {
                    let socket = (*protocol, address, port);
                    next.nat_sockets.change(socket, old, owner, service_id);
                }
            }
        }
    }
    let by_rules = matches!(spec.target, Target::Match { .. });
    if by_rules && owner != Owner::Receiver && !next.rule_owners.contains(&owner) {
        let known = next.rule_owners.iter().copied();
        next.rule_owners = known.chain([owner]).collect();
    }
    if let Owner::Network(bits) = owner
        && !next.networks.contains(&bits)
    {
        next.networks = next.networks.iter().copied().chain([bits]).collect();
    }
    (owner, misplaced)
}

/// Whether the socket from which a real server replies identifies the virtual address and port.
pub(super) fn identifies_vip(vip: &Vip, real: &RealSpec) -> bool {
    is_one_address(&vip.addresses) && (vip.port != 0 || real.port == 0)
}

/// Whether the rule may be [`Owner::Flow`]: devices steer requests to computed queues, and the socket of a reply
/// identifies the virtual socket.
fn replies_identify_flows(next: &Snapshot, id: ServiceId, spec: &ServiceSpec) -> bool {
    let Target::Vip(vip) = &spec.target else {
        return false;
    };
    let mut reals = spec
        .reals
        .iter()
        .filter(|real| real.forward.replies_name_client());
    // The rule stays once it is used: the owner is computed, so it is right even if devices no longer steer packets
    // there.
    let is_already = next
        .service(id)
        .is_some_and(|service| service.owner == Owner::Flow);
    (is_already || next.devices.iter().any(|device| device.steered))
        && vip.port != 0
        && is_one_address(&vip.addresses)
        && !vip.is_ftp()
        && reals.all(|real| {
            let socket = next.nat_sockets.find(vip.protocol, real.address, real.port);
            let is_shared = socket.is_some_and(|socket| {
                // Of several services with the socket, the first keeps the rule.
                let is_first = is_already && socket.flows().all(|one| one == id);
                !is_first && !socket.is_only_flows_of(id)
            });
            !is_shared
        })
}

/// Whether any packet of the service begins a session, which needs an owner with NAT.
fn has_sessions(spec: &ServiceSpec) -> bool {
    !spec.one_packet || spec.target.protocols() != [Protocol::Udp]
}

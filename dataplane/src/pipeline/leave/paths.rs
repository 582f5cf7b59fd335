//! By which path packets go to a real server or a client: the device, the next hop's MAC, and how much fits.
//! Paths are computed from the snapshot, the neighbours and the path MTUs when they are needed first, and cached.

use std::net::IpAddr;

use crate::id::{PortId, RealId};
use crate::io::Pool;
use crate::parse::PLAIN_L3;
use crate::pipeline::action::Context;
use crate::pipeline::handover::message::Message;
use crate::pipeline::inbox::Lane;
use crate::pipeline::leave::adjacency::Adjacency;
use crate::pipeline::leave::forward::Forwarder;
use crate::pipeline::leave::path_cache::{Path, Sources};
use crate::rewrite::tunnel::{self, Ipip};
use crate::snapshot::Snapshot;
use crate::snapshot::model::RealServer;
use crate::snapshot::route::Egress;
use crate::spec::forward::TunnelKind;
use crate::spec::service::Remaining;
use crate::time::Time;

impl<P: Pool> Forwarder<P> {
    /// The path to a real server, from the cache or computed now. `None` if its packets cannot take the fast path.
    #[inline(always)]
    pub(crate) fn path(&mut self, context: &Context<'_>, id: RealId) -> Option<&Path> {
        if self.path_cache.get(id).is_none() {
            return self.fill_path(context, id);
        }
        self.path_cache.get(id)
    }

    /// How frames reach a real server by `egress`; `None` if the next hop's MAC is not known.
    #[inline(always)]
    pub(crate) fn adjacency_to(
        &mut self,
        context: &Context<'_>,
        real: RealId,
        egress: &Egress,
    ) -> Option<Adjacency> {
        if let Some(path) = self.path(context, real) {
            return Some(path.adjacency);
        }
        self.exit.adjacency(context, egress.port, egress.next_hop)
    }

    /// Computes the path to a real server and caches it. `None` if its packets cannot take the fast path.
    #[cold]
    fn fill_path(&mut self, context: &Context<'_>, id: RealId) -> Option<&Path> {
        let Context { snapshot, now, .. } = *context;
        let real = snapshot
            .real(id)
            .filter(|real| real.remaining() == Remaining::Kept && !real.policy.idle_reset)?;
        let egress = real
            .egress
            .filter(|egress| has_plain_header(snapshot, egress.port))?;
        let exit = &mut self.exit;
        let path = Path {
            timeouts: real.timeouts,
            adjacency: exit.adjacency(context, egress.port, egress.next_hop)?,
            mtu: egress.mtu,
            inner_mtu: u16::try_from(self.inner_mtu(real, now)).unwrap_or(u16::MAX),
            secure: real.policy.secure_tcp,
            ipip: match (real.spec.tunnel, egress.source, real.spec.address) {
                (TunnelKind::Ipip, Some(IpAddr::V4(source)), IpAddr::V4(address)) => Some(Ipip {
                    source: source.into(),
                    real: address.into(),
                    may_be_cut: !real.policy.path_mtu,
                    ttl: real.spec.tunnel_ttl,
                }),
                _ => None,
            },
        };
        Some(self.path_cache.set(id, path))
    }

    /// How frames reach the next hop, if its MAC is known and the link is up. The last one is cached: most clients are
    /// behind the same router.
    #[inline(always)]
    pub(crate) fn adjacency_towards(
        &mut self,
        context: &Context<'_>,
        egress: &Egress,
    ) -> Option<Adjacency> {
        let (port, next_hop) = (egress.port, egress.next_hop);
        if let Some(adjacency) = self.path_cache.last_hop(port, next_hop) {
            return Some(adjacency);
        }
        let adjacency = self.exit.adjacency(context, port, next_hop)?;
        self.path_cache.set_last_hop(port, next_hop, adjacency);
        Some(adjacency)
    }

    /// Invalidates cached paths if something that they were computed from has changed.
    #[inline]
    pub(crate) fn renew_paths(&mut self, context: &Context<'_>) {
        let sources = Sources {
            generation: context.snapshot.generation,
            neighbours: self.exit.changes(),
            path_mtus: self.path_mtus.changes(),
        };
        self.path_cache.renew(sources, context.now);
    }

    /// The largest packet that fits into the tunnel to `real`; 0 if there is no route.
    pub(crate) fn inner_mtu(&mut self, real: &RealServer, now: Time) -> usize {
        let link = real.egress.map_or(0, |egress| egress.mtu);
        let outer = self.path_mtus.limit(real.spec.address, link, now);
        usize::from(outer).saturating_sub(tunnel::overhead(real.spec.tunnel, real.spec.address))
    }

    /// Handles a router's statement about the path MTU to a real server, and broadcasts it to the other workers if it
    /// is believed. Returns whether the MTU is smaller than before.
    pub(crate) fn learn_mtu(&mut self, context: &Context<'_>, real: IpAddr, told: u32) -> bool {
        let Some(egress) = context.snapshot.routes.egress(real) else {
            return false;
        };
        let learnt = self.path_mtus.learn(real, told, egress.mtu, context.now);
        if let Some(mtu) = learnt {
            self.exit
                .broadcast(Lane::Owner, || Message::PathMtu { real, mtu });
        }
        learnt.is_some()
    }

    /// Handles the message that another worker has learnt the path MTU to a real server.
    pub(crate) fn note_path_mtu(&mut self, real: IpAddr, mtu: u16, now: Time) {
        self.path_mtus.note(real, mtu, now);
    }
}

/// Whether what leaves by a port has an Ethernet header as long as a plain packet's, which is then written over.
#[inline(always)]
pub(crate) fn has_plain_header(snapshot: &Snapshot, port: PortId) -> bool {
    snapshot.header_bytes(port) == Some(PLAIN_L3)
}

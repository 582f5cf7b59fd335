//! What operators change of real servers while the daemon runs, put in force and kept.
//! What an order means is `runtime/`'s; who may give one is the API's.

use std::net::IpAddr;
use std::sync::Arc;

use plimsoll_dataplane::snapshot::delta::Delta;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Identity;

use super::Running;
use crate::config::valid::ReloadConfig;
use crate::report::left;
use crate::runtime::{Kept, Order, OrderError, RealChange, now_ms};

/// A real server of a service, by what makes both the same across reloads.
pub(crate) type RealKey = (Identity, (IpAddr, u16));

impl Running {
    /// Carries out an order on real servers, on all of them or on none; one that the file has no longer is passed over.
    /// Returns those that were there, and what will say whether the change survives a restart.
    ///
    /// # Errors
    /// When the order makes no sense for one of them.
    pub fn order(
        &mut self,
        reals: &[RealKey],
        order: Order,
    ) -> Result<(Vec<RealKey>, Kept), OrderError> {
        let now_ms = now_ms();
        let mut changes: Vec<(RealKey, RealChange)> = Vec::with_capacity(reals.len());
        let file = &self.parts.loaded.valid.reload().services;
        for (identity, socket) in reals {
            let Some(service) = file.find(identity) else {
                continue;
            };
            let is_it = |real: &&RealSpec| (real.address, real.port) == *socket;
            let Some(real) = service.reals.iter().find(is_it) else {
                continue;
            };
            let before = self.parts.runtime.of(identity, real);
            let after = before.after(order, real.weight, now_ms);
            let after = after.map_err(|why| OrderError {
                service: Arc::clone(&service.name),
                real: (*socket).into(),
                why,
            })?;
            changes.push(((*identity, *socket), after));
        }
        let mut services: Vec<Identity> = Vec::new();
        for ((service, socket), change) in &changes {
            self.parts.runtime.set(*service, *socket, *change);
            if services.last() != Some(service) {
                services.push(*service);
            }
        }
        self.put_over(&services);
        let changed = changes.into_iter().map(|(real, _)| real).collect();
        Ok((changed, self.parts.keeper.save(&self.parts.runtime)))
    }

    /// Ends the sessions of drained real servers whose deadline has passed; to be called once a second or so. Returns
    /// the names of their services.
    pub fn end_drains(&mut self) -> Vec<Arc<str>> {
        let (from_ms, to_ms) = (self.drains_ended_ms, now_ms());
        // A clock that was set back leaves deadlines where they are.
        self.drains_ended_ms = to_ms;
        let services = self.parts.runtime.ending(from_ms, to_ms);
        if services.is_empty() {
            return Vec::new();
        }
        self.put_over(&services);
        let file = &self.parts.loaded.valid.reload().services;
        let names = services.iter().filter_map(|service| file.find(service));
        names.map(|service| Arc::clone(&service.name)).collect()
    }

    /// Up to when deadlines have been looked at, in milliseconds since 1970.
    #[must_use]
    pub const fn drains_ended_ms(&self) -> u64 {
        self.drains_ended_ms
    }

    /// The sessions of all real servers for whose end a drain waits; see [`left`].
    #[must_use]
    pub fn sessions_left(&self) -> u64 {
        let snapshot = self.snapshot();
        let reals = snapshot.reals.iter();
        let served = reals.filter_map(|real| Some((snapshot.service(real.service)?, real)));
        served
            .map(|(service, real)| left(snapshot, service, real))
            .sum()
    }

    /// Puts services in force as the file has them, with what was changed laid over.
    fn put_over(&mut self, services: &[Identity]) {
        let file = &self.parts.loaded.valid.reload().services;
        let services = services.iter().filter_map(|service| file.find(service));
        let mut services: Vec<ServiceSpec> = services.cloned().collect();
        self.lay_over(&mut services);
        let now = self.now();
        self.change(&Delta {
            services,
            now,
            ..Delta::default()
        });
    }

    /// Lays what operators have changed over services as the file has them.
    pub(super) fn lay_over(&self, services: &mut [ServiceSpec]) {
        let now_ms = now_ms();
        for service in services {
            self.parts.runtime.lay_over(service, now_ms);
        }
    }

    /// Drops what operators have changed and a new file has no longer, or says otherwise; returns it in words.
    pub(super) fn drop_outdated(&mut self, new: &ReloadConfig) -> Vec<String> {
        let dropped = self.parts.runtime.rebase(&new.services);
        if !dropped.is_empty() {
            // The log says if it fails.
            drop(self.parts.keeper.save(&self.parts.runtime));
        }
        let old = &self.parts.loaded.valid.reload().services;
        let words = dropped.iter().map(|one| {
            let service = old.find(&one.service);
            one.words(service.map(|service| &*service.name))
        });
        words.collect()
    }
}

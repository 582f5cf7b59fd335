//! Persistence: the template that keeps a client at its real server, and whether it still may.
//! How templates live in the table is `session/template.rs`'s.

use crate::flow::{FlowKey, Protocol};
use crate::id::RealId;
use crate::pipeline::action::Context;
use crate::pipeline::balance::Balancer;
use crate::pipeline::balance::admit::{Admission, Counters};
use crate::pipeline::sessions::Tabled;
use crate::session::{NewTemplate, SessionIndex, TableFull};
use crate::snapshot::model::VirtualService;
use crate::spec::service::Persistence;
use crate::spec::target::Target;

/// The template that a session is entered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template {
    pub(crate) index: SessionIndex,
    /// Whether it was made for this session.
    pub(crate) is_new: bool,
}

impl Balancer {
    /// The real server of a client's new session, with the template that says so: one that was there
    /// already, whatever the weight and the load of its real server if that is available, or a new one for the
    /// scheduler's choice. `None` if the scheduler has none.
    pub(crate) fn real_by_template<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        service: &VirtualService,
        persistence: Persistence,
        key: &FlowKey<A>,
    ) -> Result<Option<(RealId, Template)>, TableFull> {
        let Context { snapshot, now, .. } = *context;
        let template = template_key(service, persistence, key);
        let table = A::table(&mut self.sessions);
        let hash = table.hash(&template);
        if let Some(index) = table.find_template(hash, &template, now) {
            let id = table.get(index).real();
            // Another service may have taken over a part of the addresses.
            let real = snapshot.real(id).filter(|real| real.service == service.id);
            let leaves_drained = service.policy.templates_leave_drained;
            if real.is_some_and(|real| {
                real.is_available() && !(leaves_drained && real.spec.weight == 0)
            }) {
                table.restart_template(index, now);
                let is_new = false;
                return Ok(Some((id, Template { index, is_new })));
            }
            table.invalidate_template(index);
        }
        let chosen = self.choose(context, service, key);
        let Some(real) = chosen.and_then(|real| snapshot.real(real)) else {
            return Ok(None);
        };
        let Some(counters) = Counters::of(context, real) else {
            return Ok(None);
        };
        let new = NewTemplate {
            key: template,
            any_protocol: service.target.mark().is_some(),
            real: real.id,
            timeout_ms: persistence.timeout_ms,
        };
        let table = A::table(&mut self.sessions);
        let admission = Admission {
            context,
            stats: &self.stats,
            service: service.id,
            counters: counters.service,
            capacity: table.capacity(),
            // A template is no session.
            at_limit: false,
        };
        let index = table.insert_template(hash, &new, now, admission)?;
        counters.enter(context, real, table.get(index));
        let is_new = true;
        Ok(Some((real.id, Template { index, is_new })))
    }
}

/// What the template is found by that a session with `key` uses (IPVS, `ip_vs_sched_persist`).
fn template_key<A: Tabled>(
    service: &VirtualService,
    persistence: Persistence,
    key: &FlowKey<A>,
) -> FlowKey<A> {
    let client = key.client.network(persistence.mask);
    match &service.target {
        Target::Vip(vip) => FlowKey {
            client,
            client_port: 0,
            virtual_address: key.virtual_address,
            // As in IPVS one is for FTP and its data connections.
            virtual_port: if vip.is_ftp() { 0 } else { vip.port },
            protocol: vip.protocol,
        },
        // One for all addresses, ports and protocols; the one here is a stand-in.
        Target::Match { mark, .. } => FlowKey {
            client,
            client_port: 0,
            virtual_address: A::of_mark(mark.number),
            virtual_port: 0,
            protocol: Protocol::Tcp,
        },
    }
}

//! From `Config` to `ValidConfig`: all that a single value cannot tell, such as duplicates and reachability.
//! Collects every mistake before it gives up; knows paths, not lines, so it checks what did not come from a file too.

mod dataplane;
mod finding;
mod network;
mod persistence;
mod policy;
mod schedulers;
mod services;
mod times;
mod tunnel;

use plimsoll_dataplane::spec::network::Network;

use super::diagnostics::Problems;
use super::file::{Compat, Config};
use super::tree::Node;
use super::valid::{ReloadConfig, ServiceList, ValidConfig};
use finding::Findings;

pub(super) use finding::Gaps;

/// Checks `config`, which was read from `root` up to its `gaps`.
pub(super) fn validate(
    config: &Config,
    root: &Node<'_>,
    gaps: Gaps,
    problems: &mut Problems,
) -> Option<ValidConfig> {
    let mut findings = Findings::new(root, problems);
    let start = dataplane::check(config, gaps, &mut findings);
    let net = network::check(config, gaps, &mut findings);
    let services = services::check(config, &net, &mut findings);
    let timeouts = times::common(config.timeouts, &mut findings);
    let is_lvs = config.compat == Compat::Lvs;
    (findings.errors() == 0 && !gaps.file).then(|| {
        let network = Network {
            routes: net.routes.into_iter().map(|(route, _)| route).collect(),
            neighbours: net.neighbours,
            link_neighbours: net.link_neighbours,
            forwarding: config.network.forwarding.unwrap_or(is_lvs),
            timeouts,
            refuses_replies: config.ipvs.nat_icmp_send,
            answers_as_lvs: is_lvs,
        };
        let reload = ReloadConfig {
            network,
            hash_key: config.hash.key.map(|key| key.0),
            services: ServiceList::new(services),
        };
        ValidConfig::new(start, reload)
    })
}

//! From `Config` to `ValidConfig`: all that a single value cannot tell, such as duplicates and reachability.
//! Collects every mistake before it gives up; knows paths, not lines, so it checks what did not come from a file too.

mod dataplane;
mod network;
mod persistence;
mod policy;
mod schedulers;
mod services;
mod tunnel;

use std::net::IpAddr;

use super::diagnostics::{Problem, Problems, Severity};
use super::file::{Compat, Config};
use super::tree::{Node, Step};
use super::valid::ValidConfig;

/// The path to a value: `steps!["services", 0, "vip"]`.
macro_rules! steps {
    ($($step:expr),* $(,)?) => { vec![$($crate::config::tree::Step::from($step)),*] };
}
use steps;

/// A mistake at a path.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    steps: Vec<Step>,
    message: String,
    help: Option<String>,
    also: Vec<(Vec<Step>, String)>,
}

impl Finding {
    fn error(steps: Vec<Step>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            steps,
            message: message.into(),
            help: None,
            also: Vec::new(),
        }
    }

    fn warning(steps: Vec<Step>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(steps, message)
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn also(mut self, steps: Vec<Step>, what: impl Into<String>) -> Self {
        self.also.push((steps, what.into()));
        self
    }
}

/// Where findings go: to the places of the tree they were read from.
struct Findings<'a, 't> {
    root: &'a Node<'t>,
    problems: &'a mut Problems,
}

impl Findings<'_, '_> {
    fn add(&mut self, finding: Finding) {
        let (place, path) = self.root.locate(&finding.steps);
        let mut problem = Problem::new(place, finding.message)
            .path(&path)
            .maybe_help(finding.help);
        problem.severity = finding.severity;
        for (steps, what) in finding.also {
            problem = problem.also(self.root.locate(&steps).0, what);
        }
        self.problems.add(problem);
    }
}

/// What could not be read, so that nothing may be said about what is missing for that reason.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gaps {
    /// Anything.
    pub(super) file: bool,
    /// Of the ports.
    pub(super) ports: bool,
    /// Of the routes.
    pub(super) routes: bool,
}

/// Checks `config`, which was read from `root` up to its `gaps`.
pub(super) fn validate(
    config: &Config,
    root: &Node<'_>,
    gaps: Gaps,
    problems: &mut Problems,
) -> Option<ValidConfig> {
    let mut findings = Findings { root, problems };
    let start = dataplane::check(config, gaps, &mut findings);
    let net = network::check(config, gaps, &mut findings);
    let services = services::check(config, &net, &mut findings);
    let timeouts = network::timeouts(&config.timeouts, &mut findings);
    (problems.errors() == 0 && !gaps.file).then(|| {
        ValidConfig::new(
            start,
            super::valid::ReloadConfig {
                routes: net.routes,
                neighbors: net.neighbors,
                forwarding: config
                    .network
                    .forwarding
                    .unwrap_or(config.compat == Compat::Lvs),
                timeouts,
                refuses_replies: config.ipvs.nat_icmp_send,
                answers_as_lvs: config.compat == Compat::Lvs,
                hash_key: config.hash.key.map(|key| key.0.0),
                services,
            },
        )
    })
}

/// Why no host can have this address, if so.
fn not_a_host(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets().first() == Some(&0) => Some("an address of 0.0.0.0/8"),
        _ => None,
    }
}

const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

//! A mistake that a single value cannot tell, and where it is in the file.
//! What is a mistake is said by the checks.

use std::net::IpAddr;

use crate::config::diagnostics::{Problem, Problems, Severity};
use crate::config::tree::{Node, Step};

/// The path to a value: `steps!["services", 0, "vip"]`.
macro_rules! steps {
    ($($step:expr),* $(,)?) => { vec![$($crate::config::tree::Step::from($step)),*] };
}
pub(super) use steps;

/// The path to what a key names in what `place` leads to.
pub(super) fn with(place: &[Step], key: &'static str) -> Vec<Step> {
    let mut steps = place.to_vec();
    steps.push(Step::Key(key));
    steps
}

/// A mistake at a path.
#[derive(Debug)]
pub(super) struct Finding {
    severity: Severity,
    steps: Vec<Step>,
    message: String,
    help: Option<String>,
    also: Vec<(Vec<Step>, String)>,
}

impl Finding {
    pub(super) fn error(steps: Vec<Step>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            steps,
            message: message.into(),
            help: None,
            also: Vec::new(),
        }
    }

    pub(super) fn warning(steps: Vec<Step>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(steps, message)
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn also(mut self, steps: Vec<Step>, what: impl Into<String>) -> Self {
        self.also.push((steps, what.into()));
        self
    }
}

/// Where findings go: to the places of the tree they were read from.
pub(super) struct Findings<'a, 't> {
    root: &'a Node<'t>,
    problems: &'a mut Problems,
}

impl<'a, 't> Findings<'a, 't> {
    pub(super) const fn new(root: &'a Node<'t>, problems: &'a mut Problems) -> Self {
        Self { root, problems }
    }

    pub(super) fn add(&mut self, finding: Finding) {
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

    /// Whether the file has what `steps` lead to, even if it could not be read.
    pub(super) fn has(&self, steps: &[Step]) -> bool {
        self.root.has(steps)
    }

    /// How many errors there are by now.
    pub(super) fn errors(&self) -> usize {
        self.problems.errors()
    }
}

/// What could not be read, so that nothing may be said about what is missing for that reason.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::config) struct Gaps {
    /// Anything.
    pub(in crate::config) file: bool,
    /// Of the ports.
    pub(in crate::config) ports: bool,
    /// Of the routes.
    pub(in crate::config) routes: bool,
}

/// Why no host can have this address, if so.
pub(super) fn not_a_host(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets().first() == Some(&0) => Some("an address of 0.0.0.0/8"),
        _ => None,
    }
}

pub(super) const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

//! IPVS's sysctls as the configuration's section `ipvs`.
//! Knows which have a key here, and why each of the others has none; reads text only.

use std::collections::BTreeMap;

use crate::config::Diagnostics;
use crate::config::diagnostics::{Place, Problem, Problems, quoted};

/// What was set, as keys and values of the section `ipvs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sysctls(BTreeMap<&'static str, String>);

/// Why a sysctl was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SysctlError {
    /// No kernel that is known here has one of this name.
    #[error("`{name}` is no sysctl of IPVS that is known here", name = quoted(.0))]
    Unknown(String),
    /// The kernel would refuse the value too.
    #[error("`{value}` is no value of `{1}`", value = quoted(.0))]
    Value(String, &'static str),
    /// Plimsoll has no such switch.
    #[error("`{0}` is not carried over: {1}")]
    NotCarried(&'static str, &'static str),
}

/// How a kernel's number reads in the configuration.
#[derive(Clone, Copy)]
enum Shape {
    Boolean,
    Number { max: u32 },
    Defence,
}

/// The keys of the section `ipvs`.
const CARRIED: &[(&str, Shape)] = &[
    ("am_droprate", Shape::Number { max: 1_000_000 }),
    ("conn_reuse_mode", Shape::Number { max: 3 }),
    ("drop_packet", Shape::Defence),
    ("expire_nodest_conn", Shape::Boolean),
    ("expire_quiescent_template", Shape::Boolean),
    ("nat_icmp_send", Shape::Boolean),
    ("pmtu_disc", Shape::Boolean),
    ("secure_tcp", Shape::Defence),
    ("sloppy_sctp", Shape::Boolean),
    ("schedule_icmp", Shape::Boolean),
    ("sloppy_tcp", Shape::Boolean),
];

const NO_KERNEL: &str = "there is no kernel in the way";
const NO_SYNC: &str = "directors do not tell each other of sessions";
const NO_ESTIMATOR: &str = "rates cost the packet path nothing, and need no task of the kernel";

/// The others, with their values after boot (none is any value) and why they have no key. `est_*` are there since Linux 6.2,
/// `*_lfactor` and `conn_max` since Linux 7 (Documentation/networking/ipvs-sysctl.rst).
const NOT_CARRIED: &[(&str, &str, &str)] = &[
    ("amemthresh", "1024", "tables have a fixed size"),
    ("backup_only", "0", NO_SYNC),
    (
        "cache_bypass",
        "0",
        "nothing is forwarded past the real servers",
    ),
    ("conn_lfactor", "-4", "tables have a fixed size"),
    (
        "conn_max",
        "",
        "`dataplane.sessions` is the number of sessions",
    ),
    ("conntrack", "0", NO_KERNEL),
    ("debug_level", "0", "there is no kernel's log"),
    (
        "drop_entry",
        "0",
        "half-open sessions give way when the table is full",
    ),
    ("est_cpulist", "", NO_ESTIMATOR),
    ("est_nice", "0", NO_ESTIMATOR),
    (
        "ignore_tunneled",
        "0",
        "packets in tunnels are not balanced",
    ),
    ("lblc_expiration", "86400", "the cache has a fixed size"),
    ("lblcr_expiration", "86400", "the cache has a fixed size"),
    ("run_estimation", "1", NO_ESTIMATOR),
    (
        "snat_reroute",
        "1",
        "replies always take the route to the client",
    ),
    ("svc_lfactor", "-3", "tables have a fixed size"),
    ("sync_persist_mode", "0", NO_SYNC),
    ("sync_ports", "1", NO_SYNC),
    ("sync_qlen_max", "", NO_SYNC),
    ("sync_refresh_period", "0", NO_SYNC),
    ("sync_retries", "0", NO_SYNC),
    ("sync_sock_size", "0", NO_SYNC),
    ("sync_threshold", "3 50", NO_SYNC),
    ("sync_version", "1", NO_SYNC),
];

impl Sysctls {
    /// Sets the sysctl `name`, without the `net.ipv4.vs.` before it.
    ///
    /// # Errors
    /// When IPVS has no such sysctl, the value is not one of its, or it has no key here and the value is
    /// not the one after boot.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let value = value.trim();
        if let Some((name, shape)) = CARRIED.iter().find(|(known, _)| *known == name) {
            let written = shape
                .written(value)
                .ok_or_else(|| SysctlError::Value(value.to_owned(), name))?;
            self.0.insert(name, written);
            return Ok(());
        }
        let (name, boot, why) = NOT_CARRIED
            .iter()
            .find(|(known, _, _)| *known == name)
            .ok_or_else(|| SysctlError::Unknown(name.to_owned()))?;
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if boot.is_empty() || words(value) == *boot {
            return Ok(());
        }
        Err(SysctlError::NotCarried(name, why))
    }

    /// Reads lines as in sysctl.conf or as `sysctl -a` prints them; those that are not IPVS's are skipped.
    #[must_use]
    pub fn read(name: &str, text: &str) -> (Self, Diagnostics) {
        let (mut sysctls, mut problems) = (Self::default(), Problems::default());
        for (number, line) in (1..).zip(text.lines()) {
            let setting = line.trim().trim_start_matches('-');
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            let key = key.trim().replace('/', ".");
            let Some(key) = key.strip_prefix("net.ipv4.vs.") else {
                continue;
            };
            if let Err(error) = sysctls.set(key, value) {
                let place = Place {
                    line: number,
                    column: 1,
                    length: u32::try_from(line.chars().count()).unwrap_or(1),
                };
                let mut problem = Problem::new(place, error.to_string());
                match error {
                    SysctlError::Value(..) => {}
                    SysctlError::NotCarried(..) => problem = problem.warning(),
                    // Every kernel has some more, with values that it started with.
                    SysctlError::Unknown(_) => {
                        let help = "one of a newer kernel? it is passed over";
                        problem = problem.help(help).warning();
                    }
                }
                problems.add(problem);
            }
        }
        (sysctls, problems.finish(name, text))
    }

    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// The section `ipvs:`, empty if nothing was set.
    #[must_use]
    pub fn section(&self) -> String {
        let given: Vec<String> = self
            .given()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        if given.is_empty() {
            return String::new();
        }
        format!("ipvs: {{ {} }}\n", given.join(", "))
    }
}

impl Shape {
    fn written(self, value: &str) -> Option<String> {
        let number: u32 = value.parse().ok()?;
        Some(match (self, number) {
            (Self::Boolean, number) => (number != 0).to_string(),
            (Self::Number { max }, number) if number <= max => number.to_string(),
            (Self::Defence, 0) => "\"off\"".to_owned(),
            (Self::Defence, 1 | 2) => "auto".to_owned(),
            (Self::Defence, 3) => "always".to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    #[test]
    fn a_file_of_sysctls_becomes_a_section() {
        let text = "# LVS\nnet.ipv4.ip_forward = 1\nnet.ipv4.vs.sloppy_tcp=1\n\
                    net/ipv4/vs/drop_packet = 3\n-net.ipv4.vs.am_droprate = 7\n\
                    net.ipv4.vs.sync_threshold = 3\t50\n";
        let (sysctls, diagnostics) = Sysctls::read("sysctl.conf", text);
        assert!(
            diagnostics.items().is_empty(),
            "{}",
            diagnostics.report(false)
        );
        assert_eq!(
            sysctls.section(),
            "ipvs: { am_droprate: 7, drop_packet: always, sloppy_tcp: true }\n"
        );
    }

    #[test]
    fn what_is_wrong_or_not_carried_is_told_with_its_line() {
        let text = "net.ipv4.vs.nosuch = 1\nnet.ipv4.vs.conn_reuse_mode = 9\n\
                    net.ipv4.vs.conntrack = 1\nnet.ipv4.vs.sloppy_tcp\n";
        let (sysctls, diagnostics) = Sysctls::read("sysctl.conf", text);
        let told: Vec<_> = diagnostics
            .items()
            .iter()
            .map(|item| (item.line.unwrap(), item.severity))
            .collect();
        let (error, warning) = (Severity::Error, Severity::Warning);
        assert_eq!(told, [(1, warning), (2, error), (3, warning), (4, error)]);
        assert_eq!(sysctls.section(), "");
    }

    #[test]
    fn every_key_that_is_written_is_one_of_the_configuration() {
        for (name, shape) in CARRIED {
            let mut sysctls = Sysctls::default();
            let value = if matches!(shape, Shape::Number { .. }) {
                "2"
            } else {
                "1"
            };
            sysctls.set(name, value).unwrap();
            let text = format!(
                "version: 1\ndataplane: {{ ports: [{{ name: lan, device: net_null0 }}] }}\n{}",
                sysctls.section()
            );
            crate::config::parse("", text).unwrap();
        }
    }
}

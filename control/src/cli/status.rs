//! `plimsoll status`: what runs, how busy it is and what is wrong with it, in about ten lines.
//! The numbers are the daemon's.

use std::fmt::Write as _;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_dataplane::verdict::DropReason;

use super::client::Client;
use super::{Exit, Format, Terminal};
use crate::report::ReloadResult;
use crate::report::status::{LastReload, Status, WorkerStatus};

/// Show what runs in about ten lines: load, sessions, ports, drops, the last reload, who does not answer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs();
        let text = |status: &Status| text(status, now_s);
        client.show("/api/v1/status", self.output, terminal, text)
    }
}

fn text(status: &Status, now_s: u64) -> String {
    let recent = span(status.recent_s);
    let rows = [
        (
            "daemon",
            format!("plimsolld {}, up {}", status.version, span(status.uptime_s)),
        ),
        (
            "file",
            format!(
                "{}, fingerprint {}, generation {}",
                status.file, status.fingerprint, status.generation
            ),
        ),
        ("reload", reload(status.last_reload.as_ref(), now_s)),
        ("workers", workers(&status.workers, &recent)),
        ("sessions", sessions(status)),
        ("services", services(status)),
        ("ports", ports(status)),
        ("drops", drops(status, &recent)),
        ("neighbors", neighbors(status)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<10} {value}");
    }
    text
}

fn reload(last: Option<&LastReload>, now_s: u64) -> String {
    let Some(last) = last else {
        return "none since the start".to_owned();
    };
    let result = match last.result {
        ReloadResult::Applied => "applied",
        ReloadResult::Unchanged => "nothing to change",
        ReloadResult::Invalid => "REFUSED, the file is invalid",
        ReloadResult::RestartNeeded => "REFUSED, a restart is needed",
    };
    let ago = span(now_s.saturating_sub(last.time_s));
    let why = last.why.as_deref();
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    format!("{result}, {ago} ago{why}")
}

fn workers(workers: &[WorkerStatus], recent: &str) -> String {
    let cpus: Vec<String> = workers.iter().map(|one| one.cpu.to_string()).collect();
    let cpus = cpus.join(",");
    let mut text = format!("{} on CPU {cpus}", workers.len());
    let busy = workers
        .iter()
        .filter_map(|one| Some((one, one.busy_ratio?)));
    let busy: Vec<_> = busy.collect();
    let most = busy.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    if let (Some((worker, most)), Ok(count)) = (most, u32::try_from(busy.len())) {
        let sum: f64 = busy.iter().map(|(_, ratio)| ratio).sum();
        let average = 100.0 * sum / f64::from(count);
        let _ = write!(text, ", busy {average:.1} % of the last {recent}");
        if count > 1 {
            let _ = write!(text, ", most on CPU {}: {:.1} %", worker.cpu, 100.0 * most);
        }
    }
    text
}

fn services(status: &Status) -> String {
    let (services, reals) = (status.services, status.reals);
    let changed = match status.operator_changes {
        0 => String::new(),
        changed => format!(", {changed} of them changed by operators (plimsoll list --state)"),
    };
    format!("{services} with {reals} real servers{changed}")
}

fn sessions(status: &Status) -> String {
    let (used, capacity) = (status.sessions.used, status.sessions.capacity);
    let per_mille = used.saturating_mul(1000).checked_div(capacity).unwrap_or(0);
    format!(
        "{used} of {capacity} ({}.{} %)",
        per_mille / 10,
        per_mille % 10
    )
}

fn ports(status: &Status) -> String {
    let up = status.ports.iter().filter(|port| port.link_up).count();
    let down = status.ports.iter().filter(|port| !port.link_up);
    let down: Vec<String> = down
        .map(|port| match port.kernel {
            true => format!("{} (TAP)", port.name),
            false => port.name.clone(),
        })
        .collect();
    let mut text = format!("{up} of {} up", status.ports.len());
    if !down.is_empty() {
        let _ = write!(text, ", DOWN: {}", down.join(", "));
    }
    text
}

fn drops(status: &Status, recent: &str) -> String {
    let drops = &status.drops;
    let mut text = format!(
        "{} in the last {recent}, {} since the start",
        drops.recent, drops.total
    );
    if let Some(top) = &drops.top {
        let mut reasons = DropReason::ALL.iter();
        let reason = reasons.find(|reason| reason.label() == top.reason);
        // `plimsoll drops` has all of it.
        let help = reason.map_or("", |reason| reason.help());
        let help = help.split([':', '(', '.']).next().unwrap_or_default();
        let _ = write!(text, "; most: {} ({})", top.reason, help.trim_end());
    }
    text
}

fn neighbors(status: &Status) -> String {
    let mut text = match status.unreachable_neighbors {
        0 => "all answer that packets wait for".to_owned(),
        1 => "1 does not answer: see `plimsoll neighbors`".to_owned(),
        silent => format!("{silent} do not answer: see `plimsoll neighbors`"),
    };
    if status.address_conflicts.recent > 0 {
        text.push_str("; another host claims an address of ours: see `plimsoll doctor`");
    }
    text
}

/// Seconds for people: the two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::{Count, DropSummary, PortStatus, TopDrop, Use};

    fn status() -> Status {
        let worker = |cpu, ratio| WorkerStatus {
            cpu,
            sessions: 5,
            busy_ratio: ratio,
            busy_polls: 1,
            idle_polls: 2,
        };
        let port = |name: &str, kernel, link_up| PortStatus {
            name: name.to_owned(),
            kernel,
            driver: "net_null".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1500,
            link_up,
        };
        Status {
            version: "0.1.0".to_owned(),
            file: "/etc/plimsoll.yaml".to_owned(),
            fingerprint: "0123456789abcdef".to_owned(),
            generation: 7,
            uptime_s: 273_000,
            recent_s: 60,
            sessions: Use {
                used: 10,
                capacity: 2048,
            },
            services: 3,
            reals: 6,
            operator_changes: 0,
            drops: DropSummary {
                total: 1200,
                recent: 12,
                top: Some(TopDrop {
                    reason: "no_service".to_owned(),
                    total: 1000,
                    recent: 12,
                }),
            },
            unreachable_neighbors: 2,
            address_conflicts: Count {
                total: 3,
                recent: 1,
            },
            last_reload: Some(LastReload {
                result: ReloadResult::Invalid,
                time_s: 1000,
                why: Some("line 3: unknown key `servises`".to_owned()),
            }),
            workers: vec![worker(1, Some(0.1)), worker(2, Some(0.25))],
            ports: vec![
                port("wan", false, true),
                port("lan", false, false),
                port("wan", true, false),
            ],
        }
    }

    #[test]
    fn ten_lines_say_what_matters() {
        assert_eq!(
            text(&status(), 1125),
            "daemon     plimsolld 0.1.0, up 3d 3h\n\
             file       /etc/plimsoll.yaml, fingerprint 0123456789abcdef, generation 7\n\
             reload     REFUSED, the file is invalid, 2m 5s ago: line 3: unknown key `servises`\n\
             workers    2 on CPU 1,2, busy 17.5 % of the last 1m 0s, most on CPU 2: 25.0 %\n\
             sessions   10 of 2048 (0.4 %)\n\
             services   3 with 6 real servers\n\
             ports      1 of 3 up, DOWN: lan, wan (TAP)\n\
             drops      12 in the last 1m 0s, 1200 since the start; most: no_service (For a VIP, but no service has \
             this protocol and port)\n\
             neighbors  2 do not answer: see `plimsoll neighbors`; another host claims an address of ours: see \
             `plimsoll doctor`\n"
        );
    }

    #[test]
    fn a_daemon_that_has_just_started_has_little_to_say() {
        let mut status = status();
        status.last_reload = None;
        status.drops = DropSummary {
            total: 0,
            recent: 0,
            top: None,
        };
        status.unreachable_neighbors = 0;
        status.address_conflicts.recent = 0;
        status.workers.truncate(1);
        status.workers[0].busy_ratio = None;
        status.ports.truncate(1);
        status.recent_s = 0;
        let text = text(&status, 0);
        for line in [
            "reload     none since the start\n",
            "workers    1 on CPU 1\n",
            "ports      1 of 1 up\n",
            "drops      0 in the last 0s, 0 since the start\n",
            "neighbors  all answer that packets wait for\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn spans_have_two_units() {
        let spans = [59, 60, 3599, 3600, 86_399, 86_400].map(span);
        assert_eq!(
            spans,
            ["59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 0h"]
        );
    }
}

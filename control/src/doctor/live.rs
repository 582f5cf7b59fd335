//! What only a running daemon knows: links, neighbours that do not answer, others that claim our addresses.
//! It judges what the daemon told, and asks nobody itself.

use super::finding::{Finding, Level};
use crate::report::neighbours::Neighbours;
use crate::report::status::{Count, Status};

/// What a running daemon tells.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its summary.
    pub status: Status,
    /// Who does not answer.
    pub neighbours: Neighbours,
}

pub(super) fn live(live: &Live) -> Vec<Finding> {
    let mut findings = links(&live.status);
    findings.extend(neighbours(&live.neighbours));
    findings.push(claims(&live.status));
    findings
}

fn links(status: &Status) -> Vec<Finding> {
    let ports = status.ports.iter().map(|port| {
        let about = format!("link {}", port.name);
        match (port.link_up, port.kernel) {
            (true, false) => Finding::new(Level::Ok, about, "is up"),
            (true, true) => Finding::new(Level::Ok, about, "the TAP to the kernel is up"),
            (false, false) => Finding::new(
                Level::Error,
                about,
                "is down: nothing comes and goes by this port",
            )
            .mend("# look after the cable, the switch's port, or the interface that it borrows")
            .mend("plimsoll ports"),
            (false, true) => Finding::new(
                Level::Warning,
                about,
                "the TAP to the kernel is down: what is not balanced is dropped",
            )
            .mend(format!("ip link set {} up", port.name)),
        }
    });
    ports.collect()
}

fn neighbours(neighbours: &Neighbours) -> Vec<Finding> {
    const ABOUT: &str = "neighbors";
    let silent = neighbours.unreachable.iter().map(|one| {
        let (port, address) = (&one.port, one.address);
        let since = format!("{address} on port {port} does not answer since {} s", one.since_s);
        if one.reals.is_empty() {
            let what = format!("{since}; it is no real server");
            return Finding::new(Level::Warning, ABOUT, what).mend(format!("plimsoll neighbors {address}"));
        }
        let what = format!("{since}: real server {}", one.reals.join(", "));
        Finding::new(Level::Error, ABOUT, what).mend(format!(
            "# look whether {address} is up and on the network of port {port}; until then take it out of the service"
        ))
    });
    let mut findings: Vec<Finding> = silent.collect();
    if findings.is_empty() {
        let what = "all answer that packets wait for";
        findings.push(Finding::new(Level::Ok, ABOUT, what));
    }
    findings
}

fn claims(status: &Status) -> Finding {
    const ABOUT: &str = "addresses";
    let Count { total, recent } = status.address_conflicts;
    let (level, when) = match (total, recent) {
        (0, _) => return Finding::new(Level::Ok, ABOUT, "nobody else claims one of Plimsoll's"),
        (_, 0) => (Level::Warning, "since the start, but not of late"),
        _ => (Level::Error, "of late"),
    };
    let what = format!(
        "another host claimed an address of Plimsoll's, a virtual one perhaps, {when}; the log has its MAC"
    );
    Finding::new(level, ABOUT, what)
        .mend("# if it is a real server, run there what `plimsoll real-setup SERVICE` writes; first of all:")
        .mend("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")
}

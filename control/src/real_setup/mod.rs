//! `plimsoll real-setup`: the commands that prepare a real server for a service, by forwarding method and family.
//! Made from the configuration in force or from a file; nothing is run, and no real server is asked.

mod debian;
mod networkd;
pub mod section;
mod windows;

use std::fmt::Write as _;
use std::net::SocketAddr;

use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::snapshot::route::Routes;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp};
use plimsoll_dataplane::spec::network::PortSpec;
use serde::{Deserialize, Serialize};

use section::{Group, Os, Service, groups};

/// Real servers that a heading names at most.
const MOST_NAMED: usize = 8;

/// `plimsoll real-setup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealSetup {
    /// The service.
    pub service: String,
    /// What the commands are for.
    pub os: Os,
    /// One for the real servers that need the same; none if the service has no real servers.
    pub sections: Vec<Section>,
}

/// What real servers that need the same have to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// How packets get to them.
    pub forward: String,
    /// The kind of tunnel; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// Which they are.
    pub reals: Vec<SocketAddr>,
    /// Whether they can be real servers this way; the text says why not.
    pub possible: bool,
    /// Commands with comments, to be pasted into a shell.
    pub text: String,
}

impl RealSetup {
    /// Whether each real server can be one.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.sections.iter().all(|section| section.possible)
    }

    /// All sections.
    #[must_use]
    pub fn text(&self) -> String {
        if self.sections.is_empty() {
            return format!("# {} has no real servers.\n", self.service);
        }
        let texts: Vec<&str> = self.sections.iter().map(|one| &*one.text).collect();
        texts.join("\n")
    }
}

/// What to run on the real servers of a service, of which `routes` says how they are reached.
#[must_use]
pub fn real_setup(service: Service<'_>, ports: &[PortSpec], routes: &Routes, os: Os) -> RealSetup {
    let sections = groups(service, ports, routes).into_iter().map(|group| {
        let commands = match os {
            Os::Debian => Some(debian::commands(&group)),
            Os::Networkd => Some(networkd::commands(&group)),
            Os::Windows => windows::commands(&group),
        };
        let possible = commands.is_some();
        let commands = commands.unwrap_or_else(|| {
            "# Windows takes no tunnel's packets apart: give these real servers `forward: nat`, or `dr`.\n".to_owned()
        });
        Section {
            forward: group.way.method.name().to_owned(),
            tunnel: group.way.tunnel.map(|kind| kind.name().to_owned()),
            possible,
            text: heading(&group) + &commands,
            reals: group.reals,
        }
    });
    RealSetup {
        service: service.name.to_owned(),
        os,
        sections: sections.collect(),
    }
}

/// What is said of a service that is not there; `near` is one that may have been meant.
pub(crate) fn unknown(name: &str, near: Option<&str>) -> String {
    let name = name.escape_debug();
    match near {
        Some(near) => format!("no service is called `{name}`; did you mean `{near}`?"),
        None => format!("no service is called `{name}`: see `plimsoll list -o json`"),
    }
}

/// Whose section it is, and what commands cannot do.
fn heading(group: &Group<'_>) -> String {
    let (service, way) = (group.service, group.way);
    let mut names: Vec<String> = group.reals.iter().map(SocketAddr::to_string).collect();
    if let Some(more) = names.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        names.truncate(MOST_NAMED);
        names.push(format!("{more} more"));
    }
    let mut how = way.method.name().to_owned();
    if let Some(kind) = way.tunnel {
        let _ = write!(how, " ({})", kind.name());
    }
    let identity = service.target.identity();
    let mut text = format!(
        "# {} ({identity}) by {how}, on each of: {}\n",
        service.name,
        names.join(", ")
    );
    let mut say = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "# {line}");
    };
    if way.is_ours {
        say(format_args!(
            "This is Plimsoll's own machine: its kernel gets the packets if the port has `kernel: true`."
        ));
    } else if way.ours.is_none() {
        say(format_args!(
            "Plimsoll has no route to it: see `plimsoll routes`."
        ));
    }
    if !way.method.rewrites_destination() {
        match service.target.port() {
            0 => say(format_args!(
                "It must serve the virtual addresses, by the ports that clients ask for: packets are not changed."
            )),
            port => say(format_args!(
                "It must serve port {port} of the virtual address: packets are not changed."
            )),
        }
    }
    if group.any_vip && !way.method.rewrites_destination() {
        say(format_args!(
            "Rules of the service take packets to any address: add those that clients ask for as it is done below."
        ));
    }
    if let (ForwardMethod::Tunnel, Some(mtu)) = (way.method, way.mtu) {
        let headers = if group.is_inner_v6() { 60 } else { 40 };
        let mss = mtu.saturating_sub(headers);
        say(format_args!(
            "A packet of at most {mtu} bytes fits into the tunnel: clients of TCP should send segments of at most {mss},"
        ));
        say(format_args!(
            "which they do if the route back to them says so: ip route change default via GATEWAY advmss {mss}."
        ));
        match service.mss_clamp {
            None => say(format_args!(
                "Else larger packets are answered with ICMP (\"fragmentation needed\"), which must reach the clients."
            )),
            Some(MssClamp::Auto) => say(format_args!(
                "The service's `mss_clamp: auto` limits what the real server sends, not what it gets."
            )),
            Some(MssClamp::Bytes(bytes)) => say(format_args!(
                "The service's `mss_clamp: {bytes}` limits what the real server sends, not what it gets."
            )),
        }
    }
    text
}

#[cfg(test)]
mod tests;

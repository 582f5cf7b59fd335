//! The YAML of a topology's load balancer.
//!
//! Must not use the daemon's own types: a file that a user would write is part of what is tested.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::topology::{Family, Method, Plan};

/// One virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its virtual address and port.
    pub vip: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The scheduler's keyword.
    pub scheduler: String,
    /// The forwarding method's keyword.
    pub forward: &'static str,
    /// The real servers and their weights.
    pub reals: Vec<(SocketAddr, u32)>,
    /// Further lines of the service, each `key: value`.
    pub extra: Vec<String>,
}

impl Service {
    /// The HTTP service of a topology, round robin over all servers, which are reached by `outer` addresses.
    #[must_use]
    pub fn http(plan: Plan, family: Family, outer: Family) -> Self {
        let name = if family == Family::V4 { "web" } else { "web6" };
        Self::of(
            name,
            plan,
            plan.virtual_http(family),
            "tcp",
            outer,
            plan.http_port(),
        )
    }

    /// The UDP echo of a topology.
    #[must_use]
    pub fn echo(plan: Plan, family: Family) -> Self {
        let name = if family == Family::V4 {
            "echo"
        } else {
            "echo6"
        };
        Self::of(
            name,
            plan,
            plan.virtual_echo(family),
            "udp",
            family,
            plan.echo_port(),
        )
    }

    fn of(
        name: &str,
        plan: Plan,
        vip: SocketAddr,
        protocol: &'static str,
        outer: Family,
        port: u16,
    ) -> Self {
        let reals = crate::topology::SERVERS
            .map(|number| (SocketAddr::new(plan.server(outer, number), port), 1));
        Self {
            name: name.to_owned(),
            vip,
            protocol,
            scheduler: "rr".to_owned(),
            forward: plan.method.keyword(),
            reals: reals.to_vec(),
            extra: Vec::new(),
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The topology's addresses.
    pub plan: Plan,
    /// The workers' CPUs.
    pub cpus: Vec<u16>,
    /// Sessions of each address family that each worker can hold.
    pub sessions: u32,
    /// Lines of `dataplane`, each `key: value`, for keys that are not covered here.
    pub dataplane: Vec<String>,
    /// The services.
    pub services: Vec<Service>,
    /// Lines for the top level, for keys that are not covered here.
    pub extra: Vec<String>,
}

/// The CPUs this process may use, lowest first.
#[must_use]
pub fn usable_cpus() -> Vec<u16> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return vec![0];
    };
    (0_u16..1024)
        .filter(|cpu| set.is_set(usize::from(*cpu)))
        .collect()
}

impl Config {
    /// The services of the lesson, HTTP in both families, on one worker, which has the last CPU.
    #[must_use]
    pub fn lesson(method: Method) -> Self {
        let plan = Plan::new(method);
        let services = Family::ALL
            .map(|family| Service::http(plan, family, family))
            .to_vec();
        Self {
            plan,
            cpus: usable_cpus().last().copied().into_iter().collect(),
            sessions: 65_536,
            dataplane: Vec::new(),
            services,
            extra: Vec::new(),
        }
    }

    /// The file's text; the control socket is `control.sock` in this directory.
    #[must_use]
    pub fn yaml(&self, directory: &Path) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, directory);
        text
    }

    fn write(&self, text: &mut String, directory: &Path) -> std::fmt::Result {
        let cpus: Vec<String> = self.cpus.iter().map(ToString::to_string).collect();
        writeln!(
            text,
            "version: 1\ndataplane:\n  cpus: [{}]\n  sessions: {}",
            cpus.join(", "),
            self.sessions
        )?;
        for line in &self.dataplane {
            writeln!(text, "  {line}")?;
        }
        writeln!(
            text,
            "  memory: {{ hugepages: auto, size: 256MiB }}\n  ports:"
        )?;
        for (number, port) in self.plan.ports().iter().enumerate() {
            let [v4, v6] = port.addresses();
            // One queue of the interface for each worker: the kernel spreads the flows over them (PACKET_FANOUT).
            let queues = match self.cpus.len() {
                1 => String::new(),
                count => format!(",qpairs={count}"),
            };
            writeln!(text, "    - name: {}", port.network.name())?;
            writeln!(
                text,
                "      device: \"net_af_packet{number},iface={}{queues}\"",
                port.interface()
            )?;
            writeln!(
                text,
                "      addresses: [\"{v4}\", \"{v6}\"]\n      mtu: 1500"
            )?;
        }
        writeln!(
            text,
            "control:\n  socket: {}\n  state: {}\n  http: 127.0.0.1:9142",
            directory.join("control.sock").display(),
            directory.join("state").display()
        )?;
        let routes: Vec<String> = self
            .plan
            .routes()
            .iter()
            .map(|(to, via)| format!("    - {{ to: \"{to}\", via: \"{via}\" }}\n"))
            .collect();
        if !routes.is_empty() {
            write!(text, "network:\n  routes:\n{}", routes.concat())?;
        }
        for line in &self.extra {
            writeln!(text, "{line}")?;
        }
        writeln!(text, "services:")?;
        for service in &self.services {
            writeln!(
                text,
                "  - name: {}\n    vip: \"{}\"",
                service.name, service.vip
            )?;
            writeln!(
                text,
                "    protocol: {}\n    scheduler: {}",
                service.protocol, service.scheduler
            )?;
            writeln!(text, "    forward: {}", service.forward)?;
            if service.forward == "tunnel"
                && !service.extra.iter().any(|line| line.starts_with("tunnel:"))
            {
                writeln!(text, "    tunnel: {{ type: ipip }}")?;
            }
            for line in &service.extra {
                writeln!(text, "    {line}")?;
            }
            writeln!(text, "    reals:")?;
            for (address, weight) in &service.reals {
                writeln!(
                    text,
                    "      - {{ address: \"{address}\", weight: {weight} }}"
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_maps_the_virtual_port_to_the_servers() {
        let text = Config::lesson(Method::Nat).yaml(Path::new("/x"));
        assert!(text.contains("vip: \"192.168.33.12:8088\""), "{text}");
        assert!(
            text.contains("{ address: \"192.168.33.13:80\", weight: 1 }"),
            "{text}"
        );
        assert!(text.contains("net_af_packet1,iface=veth-wan"), "{text}");
    }

    #[test]
    fn every_worker_has_a_queue() {
        let config = Config {
            cpus: vec![0, 1],
            ..Config::lesson(Method::Direct)
        };
        assert!(
            config
                .yaml(Path::new("/x"))
                .contains("\"net_af_packet0,iface=veth-lan,qpairs=2\"")
        );
    }

    #[test]
    fn a_tunnel_knows_the_way_to_its_servers() {
        let text = Config::lesson(Method::Tunnel).yaml(Path::new("/x"));
        assert!(
            text.contains("{ to: \"10.33.0.0/24\", via: \"192.168.33.1\" }"),
            "{text}"
        );
        assert!(text.contains("tunnel: { type: ipip }"), "{text}");
    }
}

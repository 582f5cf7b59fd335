//! Builds a method's topology and starts what runs in it.
//!
//! Must not start the load balancer: its namespace is left with bare interfaces for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::WorkDirectory;
use super::plan::{Family, Method, Network, Plan, SERVERS};
use super::process::Process;
use super::{guard, nginx};
use crate::error::{Error, Result};
use crate::topology::Namespace;

/// What a topology needs besides the machine's own programs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of `plimsoll-endpoint`.
    pub endpoint: PathBuf,
}

/// A real server: a namespace with nginx and a UDP echo that name it.
#[derive(Debug)]
pub struct Server {
    /// The last part of its address.
    pub number: u8,
    // Dropped in this order: what runs inside ends before the namespace goes.
    processes: Vec<Process>,
    /// Where it lives.
    pub namespace: Namespace,
}

impl Server {
    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> String {
        format!("server-{}", self.number)
    }

    /// Ends nginx and the echo, as a crash would: the address stays, the ports refuse.
    pub fn stop(&mut self) {
        self.processes.clear();
    }
}

/// The namespaces of one forwarding method. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Topology {
    /// The addresses.
    pub plan: Plan,
    /// The real servers.
    pub servers: Vec<Server>,
    /// The client.
    pub client: Namespace,
    /// The load balancer: its interfaces are up and have no address in the kernel.
    pub lb: Namespace,
    /// The router between the load balancer's network and the servers', if the method needs one.
    pub router: Option<Namespace>,
    switch: Namespace,
    options: Options,
    directory: WorkDirectory,
}

impl Topology {
    /// Builds the topology of a method and waits until its servers answer.
    ///
    /// # Errors
    /// Without root, or when a program that it needs is missing or fails.
    pub fn new(method: Method, options: Options) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        guard::catch_signals();
        guard::sweep();
        let plan = Plan::new(method);
        let prefix = guard::fresh_prefix()?;
        let directory = WorkDirectory::named(&prefix)?;
        let namespace = |role: &str| Namespace::new(format!("{prefix}-{role}"));

        let switch = namespace("switch")?;
        switch.sysctl(&[
            "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1",
        ])?;
        for network in [Network::Lan, Network::Wan, Network::Far] {
            let name = network.name();
            // Snooping would have to see multicast listener reports before it lets neighbour discovery pass.
            switch.links(&format!(
                "link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {name} up\n"
            ))?;
        }

        let lb = namespace("lb")?;
        lb.sysctl(&[
            "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1",
        ])?;
        // The daemon's own listener is on the loopback.
        lb.sysctl(&["net.ipv6.conf.lo.disable_ipv6=0"])?;
        for port in plan.ports() {
            attach(
                &switch,
                &lb,
                &port.interface(),
                port.network,
                plan.lb_last(),
                "lb",
            )?;
        }

        let client = namespace("client")?;
        host(&client)?;
        client.sysctl(&["net.ipv4.ip_local_port_range=1024 65535"])?;
        attach(
            &switch,
            &client,
            "eth0",
            plan.client_network(),
            plan.client_last(),
            "client",
        )?;
        address(&client, "eth0", plan.client_network(), plan.client_last())?;
        for family in Family::ALL {
            if method == Method::Nat {
                let bits = if family == Family::V4 { 32 } else { 128 };
                let (vip, via) = (plan.virtual_address(family), plan.lb(Network::Wan, family));
                client.links(&format!("route add {vip}/{bits} via {via} dev eth0\n"))?;
            }
            for (prefix, via) in plan
                .routes()
                .iter()
                .filter(|(_, via)| via.is_ipv4() == (family == Family::V4))
            {
                client.links(&format!("route add {prefix} via {via} dev eth0\n"))?;
            }
        }

        let router = if plan.has_router() {
            Some(router(&switch, namespace("router")?, plan)?)
        } else {
            None
        };

        let mut servers = Vec::new();
        for number in SERVERS {
            let namespace = namespace(&format!("server-{number}"))?;
            server_network(&switch, &namespace, plan, number)?;
            servers.push(Server {
                number,
                processes: Vec::new(),
                namespace,
            });
        }
        let mut topology = Self {
            plan,
            servers,
            client,
            lb,
            router,
            switch,
            options,
            directory,
        };
        topology.start_servers()?;
        Ok(topology)
    }

    /// The directory for configuration, sockets and logs; it goes with the topology.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The path of the program `plimsoll-endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.options.endpoint.display().to_string()
    }

    /// The namespace of the bridges that join the others, for tcpdump.
    #[must_use]
    pub const fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// Deletes the load balancer's interface to a network, as a container runtime does when it restarts a network.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_lb_interface(&self, network: Network) -> Result<()> {
        self.lb
            .links(&format!("link del veth-{}\n", network.name()))
    }

    /// Makes it again, with another MAC address than it had before.
    ///
    /// # Errors
    /// When it is there.
    pub fn make_lb_interface(&self, network: Network) -> Result<()> {
        let interface = format!("veth-{}", network.name());
        attach(
            &self.switch,
            &self.lb,
            &interface,
            network,
            self.plan.lb_last(),
            "lb",
        )?;
        self.lb
            .links(&format!("link set {interface} address 02:00:00:0a:0b:0c\n"))
    }

    /// Starts nginx, the UDP echo and, for tunnels, the decapsulator on each server that has none running.
    ///
    /// # Errors
    /// When one of them does not answer in time.
    pub fn start_servers(&mut self) -> Result<()> {
        for index in 0..self.servers.len() {
            let Some(server) = self.servers.get(index) else {
                break;
            };
            if server.processes.is_empty() {
                let processes = self.start_server(server)?;
                if let Some(server) = self.servers.get_mut(index) {
                    server.processes = processes;
                }
            }
        }
        Ok(())
    }

    fn start_server(&self, server: &Server) -> Result<Vec<Process>> {
        let (plan, name, endpoint) = (self.plan, server.name(), self.endpoint());
        let namespace = &server.namespace;
        let directory = self.directory().join(&name);
        let mut processes = Vec::new();

        let config = nginx::write(&directory, &name, plan.http_port())?
            .display()
            .to_string();
        let log = directory.join("nginx.log");
        let own = plan.server(Family::V4, server.number);
        let url = format!("http://{own}:{}/", plan.http_port());
        let words = ["nginx", "-e", "stderr", "-c", &config];
        let mut nginx = namespace.start(&format!("nginx of {name}"), &words, &log)?;
        nginx.wait_until(Duration::from_secs(10), |_| {
            namespace
                .run(&["curl", "-s", "-o", "/dev/null", "--max-time", "1", &url])
                .is_ok()
        })?;
        processes.push(nginx);

        if plan.method == Method::Tunnel {
            let log = directory.join("decap.log");
            let mut decap = namespace.start(
                &format!("decapsulator of {name}"),
                &[&endpoint, "decap"],
                &log,
            )?;
            decap.wait_until(Duration::from_secs(10), |process| {
                process.output().contains("ready")
            })?;
            processes.push(decap);
        }

        // A UDP socket answers with the address it is bound to, which has to be the one that was asked.
        let listen = Family::ALL.map(|family| {
            let address = if plan.servers_hold_virtual_address() {
                plan.virtual_address(family)
            } else {
                plan.server(family, server.number)
            };
            std::net::SocketAddr::new(address, plan.echo_port()).to_string()
        });
        let log = directory.join("echo.log");
        let [v4, v6] = &listen;
        let words = [
            &endpoint, "udp-echo", "--name", &name, "--listen", v4, "--listen", v6,
        ];
        let mut echo = namespace.start(&format!("UDP echo of {name}"), &words, &log)?;
        echo.wait_until(Duration::from_secs(10), |process| {
            process.output().contains("ready")
        })?;
        processes.push(echo);
        Ok(processes)
    }

    /// Gives the load balancer's ports their addresses in the kernel, and lets it forward: how the topology is
    /// checked without the daemon.
    ///
    /// # Errors
    /// When a command fails.
    pub fn kernel_takes_the_ports(&self) -> Result<()> {
        self.lb.sysctl(&[
            "net.ipv6.conf.all.disable_ipv6=0",
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.default.send_redirects=0",
        ])?;
        for port in self.plan.ports() {
            let interface = port.interface();
            self.lb.sysctl(&[
                &format!("net.ipv6.conf.{interface}.disable_ipv6=0"),
                &format!("net.ipv4.conf.{interface}.send_redirects=0"),
            ])?;
            address(&self.lb, &interface, port.network, self.plan.lb_last())?;
        }
        for (prefix, via) in self.plan.routes() {
            self.lb.links(&format!("route add {prefix} via {via}\n"))?;
        }
        Ok(())
    }
}

/// Settings of every host with an address of its own.
fn host(namespace: &Namespace) -> Result<()> {
    namespace.sysctl(&[
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
        // Nobody here advertises itself as a router, and a question to all hosts is noise for the counters.
        "net.ipv6.conf.all.router_solicitations=0",
        "net.ipv6.conf.default.router_solicitations=0",
        "net.ipv6.conf.all.accept_ra=0",
        "net.ipv6.conf.default.accept_ra=0",
        "net.ipv6.conf.all.accept_dad=0",
        "net.ipv6.conf.default.accept_dad=0",
    ])
}

/// Puts a cable from a namespace's new interface to a network's bridge.
fn attach(
    switch: &Namespace,
    namespace: &Namespace,
    interface: &str,
    network: Network,
    last: u8,
    role: &str,
) -> Result<()> {
    let (bridge, mac) = (network.name(), network.mac(last));
    let (peer, other) = (format!("{bridge}-{role}"), switch.name());
    namespace.links(&format!(
        "link add {interface} address {mac} type veth peer name {peer} netns {other}\n"
    ))?;
    switch.offloads_off(&peer)?;
    namespace.offloads_off(interface)?;
    switch.links(&format!("link set {peer} master {bridge} up\n"))?;
    namespace.links(&format!("link set {interface} up\n"))
}

/// Gives an interface its addresses of both families.
fn address(namespace: &Namespace, interface: &str, network: Network, last: u8) -> Result<()> {
    let v4 = network.interface(Family::V4, last);
    let v6 = network.interface(Family::V6, last);
    namespace.links(&format!(
        "addr add {v4} dev {interface}\naddr add {v6} dev {interface} nodad\n"
    ))
}

fn router(switch: &Namespace, namespace: Namespace, plan: Plan) -> Result<Namespace> {
    host(&namespace)?;
    namespace.sysctl(&[
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.default.send_redirects=0",
    ])?;
    for network in [Network::Lan, Network::Far] {
        attach(
            switch,
            &namespace,
            network.name(),
            network,
            plan.router_last(),
            "router",
        )?;
        address(&namespace, network.name(), network, plan.router_last())?;
    }
    Ok(namespace)
}

fn server_network(switch: &Namespace, namespace: &Namespace, plan: Plan, number: u8) -> Result<()> {
    host(namespace)?;
    let network = plan.server_network();
    if plan.servers_hold_virtual_address() {
        // The virtual address is the load balancer's on this wire: servers accept it and never announce it.
        namespace.sysctl(&[
            "net.ipv4.conf.all.arp_ignore=1",
            "net.ipv4.conf.all.arp_announce=2",
            "net.ipv4.conf.default.arp_ignore=1",
            "net.ipv4.conf.default.arp_announce=2",
        ])?;
        let (v4, v6) = (
            plan.virtual_address(Family::V4),
            plan.virtual_address(Family::V6),
        );
        namespace.links(&format!(
            "addr add {v4}/32 dev lo\naddr add {v6}/128 dev lo nodad\n"
        ))?;
    }
    attach(
        switch,
        namespace,
        "eth0",
        network,
        number,
        &format!("server-{number}"),
    )?;
    address(namespace, "eth0", network, number)?;
    for family in Family::ALL {
        if let Some(gateway) = plan.server_gateway(family) {
            namespace.links(&format!("route add default via {gateway} dev eth0\n"))?;
        }
    }
    Ok(())
}

//! A scenario as the daemon's configuration, and as what the data plane's builder is told.
//!
//! Must not write what the daemon would not read: the second is made from the text of the first.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use plimsoll_control::{compile, config};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::wire::Mac;

use super::scenario::{Method, Protocol, Scenario, ScenarioError};

/// Whether the daemon's packet memory is in hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hugepages {
    /// Where there are enough.
    #[default]
    Auto,
    /// Or it does not start.
    On,
    /// Never.
    Off,
}

/// What of the daemon's configuration depends on the machine and not on the scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonOptions {
    /// The port's device: a PCI address or one of DPDK's virtual devices.
    pub device: String,
    /// One CPU for each of the scenario's workers.
    pub cpus: Vec<u16>,
    /// What packet memory is made of.
    pub hugepages: Hugepages,
    /// Packet memory, in MiB.
    pub memory_mib: u32,
    /// Further arguments for DPDK.
    pub eal_args: Vec<String>,
    /// The control socket; the daemon's default without.
    pub socket: Option<PathBuf>,
    /// Where metrics are; the daemon's default without.
    pub http: Option<SocketAddr>,
}

impl DaemonOptions {
    /// CPU 0, 256 MiB in hugepages if there are any, and this device.
    #[must_use]
    pub fn new(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            cpus: vec![0],
            hugepages: Hugepages::Auto,
            memory_mib: 256,
            eal_args: Vec::new(),
            socket: None,
            http: None,
        }
    }
}

impl Scenario {
    /// The daemon's configuration, as a user would write it. The MACs of all real servers and of the clients'
    /// router are in it, so that nobody need be asked for them.
    #[must_use]
    pub fn yaml(&self, options: &DaemonOptions) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_yaml(&mut text, options);
        text
    }

    fn write_yaml(&self, out: &mut String, options: &DaemonOptions) -> std::fmt::Result {
        let hugepages = match options.hugepages {
            Hugepages::Auto => "auto",
            Hugepages::On => "on",
            Hugepages::Off => "off",
        };
        writeln!(out, "version: 1\ndataplane:")?;
        writeln!(out, "  cpus: {:?}", options.cpus)?;
        writeln!(out, "  sessions: {}", self.sessions)?;
        let memory_mib = options.memory_mib;
        writeln!(
            out,
            "  memory: {{ hugepages: {hugepages}, size: {memory_mib}MiB }}"
        )?;
        if !options.eal_args.is_empty() {
            writeln!(out, "  eal_args: {:?}", options.eal_args)?;
        }
        writeln!(out, "  ports:\n    - name: link")?;
        writeln!(out, "      device: {:?}", options.device)?;
        let (balancer, length) = (self.balancer(), self.link_prefix());
        writeln!(out, "      addresses: [\"{balancer}/{length}\"]")?;
        // Nothing of it is to outlive the measurement.
        writeln!(out, "control:\n  state: none")?;
        if let Some(socket) = &options.socket {
            writeln!(out, "  socket: {:?}", socket.display().to_string())?;
        }
        if let Some(http) = &options.http {
            writeln!(out, "  http: \"{http}\"")?;
        }
        let (clients, length, router) = (self.clients(), self.clients_prefix(), self.router());
        writeln!(out, "network:\n  routes:")?;
        writeln!(
            out,
            "    - {{ to: \"{clients}/{length}\", via: \"{router}\" }}"
        )?;
        writeln!(out, "  neighbors:")?;
        let router_mac = Self::ROUTER_MAC;
        writeln!(
            out,
            "    - {{ address: \"{router}\", mac: \"{router_mac}\" }}"
        )?;
        for real in 0..self.reals {
            let (address, mac) = (self.real(real), Self::real_mac(real));
            writeln!(out, "    - {{ address: \"{address}\", mac: \"{mac}\" }}")?;
        }
        writeln!(out, "timeouts: {{ tcp: 15m, tcp_fin: 2m, udp: 5m }}")?;
        writeln!(out, "services:\n  - name: measured")?;
        let vip = socket(self.vip(), Self::VIP_PORT);
        writeln!(out, "    vip: \"{vip}\"")?;
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        writeln!(out, "    protocol: {protocol}")?;
        writeln!(out, "    scheduler: {}", self.scheduler)?;
        let method = match self.method {
            Method::Dr => "dr",
            Method::Nat => "nat",
            Method::Tunnel => "tunnel",
        };
        writeln!(out, "    forward: {method}")?;
        if self.method == Method::Tunnel {
            writeln!(out, "    tunnel: {{ type: ipip }}")?;
        }
        writeln!(out, "    reals:")?;
        for real in 0..self.reals {
            let address = socket(self.real(real), self.real_port());
            writeln!(out, "      - {{ address: \"{address}\" }}")?;
        }
        Ok(())
    }

    /// The same for the data plane's builder, for a balancer in this process whose port has the MAC `balancer`.
    ///
    /// # Errors
    /// What the daemon would say about the configuration.
    pub fn spec(&self, balancer: Mac) -> Result<Spec, ScenarioError> {
        self.check()?;
        let options = DaemonOptions {
            cpus: (0..self.workers).collect(),
            ..DaemonOptions::new("net_null0")
        };
        let loaded = config::parse("scenario", self.yaml(&options))
            .map_err(|diagnostics| ScenarioError::Config(diagnostics.report(false)))?;
        let (devices, ports) = compile::ports(loaded.valid.start(), &[balancer]);
        Ok(compile::spec(&devices, &ports, loaded.valid.reload()))
    }
}

fn socket(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

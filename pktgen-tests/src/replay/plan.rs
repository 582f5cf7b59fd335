//! From a recording to what the simulator takes: a configuration, captures, and reloads at their times.
//! What LVS was told that Plimsoll cannot be told makes a recording unsupported; nothing is left out silently.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufWriter;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use plimsoll_control::config::{self, Diagnostics, Severity};
use plimsoll_control::import::{self, Table};
use plimsoll_control::simulate::{Faults, Plan};
use plimsoll_dataplane::spec::target::Identity;

use super::command::{mtu, rule, sysctl};
use super::error::{ReplayError, Unsupported};
use super::recording::Recording;
use super::setup;

/// The machine's ports.
pub(super) const PORTS: [&str; 2] = ["eth0", "eth1"];
/// The time of the first step; any will do.
pub(super) const EPOCH: Duration = Duration::from_secs(1_000_000);
/// About how long the recorder took from one step to the next.
const STEP: Duration = Duration::from_millis(20);
/// Between two frames of one step.
const FRAME: Duration = Duration::from_micros(1);

/// All that a run needs.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// When each step begins, after [`EPOCH`]; one more for the end.
    pub(super) starts: Vec<Duration>,
}

impl Prepared {
    /// Writes the files of a run into `folder`.
    pub(super) fn new(
        recording: &Recording,
        compat_lvs: bool,
        folder: &Path,
    ) -> Result<Result<Self, Unsupported>, ReplayError> {
        let starts = starts(recording);
        let changes = match changes(recording, &starts) {
            Ok(changes) => changes,
            Err(unsupported) => return Ok(Err(unsupported)),
        };
        let machine = Machine::new(recording, &changes, compat_lvs);
        let mut files = Vec::new();
        for (number, (at, table)) in changes.iter().enumerate() {
            let text = machine.config(table);
            if let Err(diagnostics) = config::parse("", text.as_str()) {
                return Ok(Err(Unsupported(first_error(&diagnostics))));
            }
            let path = folder.join(format!("{number}.yaml"));
            std::fs::write(&path, text).map_err(ReplayError::file(&path))?;
            files.push((*at, path));
        }
        let mut files = files.into_iter();
        let (_, config) = files.next().unwrap_or_default();
        let output = |port: &str| folder.join(format!("{port}.out.pcap"));
        let plan = Plan {
            config,
            inputs: captures(recording, &starts, folder)?,
            outputs: PORTS
                .iter()
                .map(|port| ((*port).to_owned(), output(port)))
                .collect(),
            reloads: files.collect(),
            // Sessions and counters are compared as they were when the recorder looked.
            end: starts.last().copied(),
            sessions_per_worker: None,
            workers: 1,
            faults: Faults::default(),
        };
        Ok(Ok(Self { plan, starts }))
    }
}

/// Time begins with the first frame: what is before it takes none.
fn starts(recording: &Recording) -> Vec<Duration> {
    let (mut now, mut begun) = (Duration::ZERO, false);
    let mut starts = Vec::new();
    for step in &recording.steps {
        starts.push(now);
        begun |= !step.input.is_empty();
        if begun {
            let slept = Duration::try_from_secs_f64(step.sleep.unwrap_or(0.0));
            now += slept.unwrap_or_default().max(STEP);
        }
    }
    starts.push(now);
    starts
}

/// The rules at the start, and after each command that changes them.
fn changes(
    recording: &Recording,
    starts: &[Duration],
) -> Result<Vec<(Duration, Table)>, Unsupported> {
    let mut table = Table::default();
    table.marks = setup::marks(&recording.setup)?;
    for (name, value) in &recording.sysctl {
        let name = name.trim_start_matches("net.ipv4.vs.");
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        set(&mut table, name, &value)?;
    }
    for (value, name) in recording.setup.iter().filter_map(|command| sysctl(command)) {
        set(&mut table, name, value)?;
    }
    for rule in &recording.rules {
        apply(&mut table, rule)?;
    }
    let mut changes = vec![(Duration::ZERO, table.clone())];
    for (step, at) in recording.steps.iter().zip(starts) {
        let mut codes = step
            .output
            .lines()
            .filter_map(|line| line.strip_prefix("rc="));
        let commands = step.cmd.iter().flat_map(|command| command.split(';'));
        let mut commands = commands.map(str::trim).peekable();
        while let Some(command) = commands.next() {
            // What the kernel refused changes nothing.
            let is_told = commands.next_if(|next| *next == "echo rc=$?").is_some();
            if is_told && codes.next().is_some_and(|code| code != "0") {
                continue;
            }
            let before = table.clone();
            if let Some((value, name)) = sysctl(command) {
                set(&mut table, name, value)?;
            }
            if let Some(what) = rule(command) {
                match apply(&mut table, what) {
                    // ipvsadm says nothing when the kernel does what it is told.
                    Err(_) if !step.output.is_empty() => {}
                    result => result?,
                }
            }
            if table != before {
                changes.push((*at, table.clone()));
            }
        }
    }
    Ok(changes)
}

fn set(table: &mut Table, name: &str, value: &str) -> Result<(), Unsupported> {
    let set = table.sysctls.set(name, value);
    set.map_err(|error| Unsupported(error.to_string()))
}

fn apply(table: &mut Table, rule: &str) -> Result<(), Unsupported> {
    let diagnostics = import::apply(table, "rules", rule);
    // A service of a mark that no packet gets is in LVS's lists all the same.
    let marks = table
        .services()
        .iter()
        .filter_map(|service| match service.key {
            Identity::Mark(mark) => Some(mark.number),
            Identity::Vip(_) => None,
        });
    for mark in marks.collect::<Vec<_>>() {
        table.marks.know(mark);
    }
    if diagnostics.errors() > 0 {
        let what = first_error(&diagnostics);
        return Err(Unsupported(format!("`{rule}`: {what}")));
    }
    let engine = |service: &import::Service| {
        let persistence = service.persistence.as_ref();
        persistence.is_some_and(|persistence| persistence.engine.is_some())
    };
    if table.services().iter().any(engine) {
        return Err(Unsupported("a persistence engine".to_owned()));
    }
    Ok(())
}

fn first_error(diagnostics: &Diagnostics) -> String {
    let mut errors = diagnostics.items().iter();
    let first = errors.find(|item| item.severity == Severity::Error);
    first.map_or_else(String::new, |item| item.message.clone())
}

/// The machine around the rules.
struct Machine {
    compat_lvs: bool,
    mtu: BTreeMap<String, String>,
    /// Addresses on its networks with their MAC addresses.
    neighbours: BTreeMap<IpAddr, String>,
}

/// Prefixes with the gateways that lead there.
const ROUTES: [(&str, &str); 4] = [
    ("0.0.0.0/0", "10.0.0.254"),
    ("::/0", "2001:db8::fe"),
    ("172.16.0.0/16", "10.1.0.254"),
    ("2001:db8:ffff::/48", "2001:db8:1::fe"),
];
/// As in Linux, a link with a smaller MTU has no IPv6 (RFC 8200 section 5).
const MIN_IPV6_MTU: u32 = 1280;

impl Machine {
    fn new(recording: &Recording, changes: &[(Duration, Table)], compat_lvs: bool) -> Self {
        let mtus = recording.setup.iter().filter_map(|line| mtu(line));
        let outs = || recording.steps.iter().flat_map(|step| &step.out);
        // LVS asks only for what it does not know.
        let asked: BTreeSet<IpAddr> = outs()
            .filter_map(|frame| arp_target(&frame.bytes))
            .collect();
        let reals = changes.iter().flat_map(|(_, table)| table.services());
        let reals = reals.flat_map(|service| &service.reals);
        let hosts = reals.map(|real| real.address.ip());
        let hosts = hosts.chain(outs().filter_map(|frame| frame.to.parse().ok()));
        let gateways = ROUTES
            .iter()
            .filter_map(|(_, gateway)| gateway.parse().ok());
        let hosts = hosts.chain(gateways);
        let mut machine = Self {
            compat_lvs,
            mtu: mtus
                .map(|(port, mtu)| (port.to_owned(), mtu.to_owned()))
                .collect(),
            neighbours: BTreeMap::new(),
        };
        machine.neighbours = hosts
            .filter(|host| !asked.contains(host) && machine.is_on_link(*host))
            .filter_map(|host| Some((host, mac(host)?)))
            .collect();
        machine
    }

    fn mtu(&self, port: &str) -> &str {
        self.mtu.get(port).map_or("1500", String::as_str)
    }

    /// The addresses of a port, of the families that its MTU leaves it.
    fn addresses(&self, number: usize) -> Vec<&'static str> {
        let (Some((v4, v6)), Some(port)) = (setup::ADDRESSES.get(number), PORTS.get(number)) else {
            return Vec::new();
        };
        let is_narrow = self
            .mtu(port)
            .parse()
            .is_ok_and(|mtu: u32| mtu < MIN_IPV6_MTU);
        let v6 = if is_narrow { &[][..] } else { v6 };
        v4.iter().chain(v6).copied().collect()
    }

    /// Whether a host is on one of the ports' networks.
    fn is_on_link(&self, host: IpAddr) -> bool {
        let networks = (0..PORTS.len()).flat_map(|number| self.addresses(number));
        let mut networks = networks.filter_map(|network| network.parse().ok());
        networks.any(|network: IpNet| network.contains(&host))
    }

    fn config(&self, table: &Table) -> String {
        let mut text = "version: 1\ndataplane:\n  sessions: 4096\n  ports:\n".to_owned();
        for (number, port) in PORTS.iter().enumerate() {
            let addresses = self.addresses(number);
            let addresses: Vec<String> = addresses.iter().map(|net| format!("\"{net}\"")).collect();
            let (mtu, addresses) = (self.mtu(port), addresses.join(", "));
            let _ = writeln!(
                text,
                "    - {{ name: {port}, device: net_null{number}, mtu: {mtu}, addresses: [{addresses}] }}"
            );
        }
        text.push_str("network:\n  routes:\n");
        let is_reached = |gateway: &str| gateway.parse().is_ok_and(|host| self.is_on_link(host));
        for (to, via) in ROUTES.iter().filter(|(_, gateway)| is_reached(gateway)) {
            let _ = writeln!(text, "    - {{ to: \"{to}\", via: \"{via}\" }}");
        }
        text.push_str("  neighbors:\n");
        for (address, mac) in &self.neighbours {
            let _ = writeln!(text, "    - {{ address: \"{address}\", mac: \"{mac}\" }}");
        }
        if self.compat_lvs {
            text.push_str("compat: lvs\n");
        }
        text + &import::timeouts(table.timeouts)
            + &table.sysctls.section()
            + &import::services(table)
    }
}

/// The MAC address of a host on one of the machine's networks: its number is the address's last part.
fn mac(host: IpAddr) -> Option<String> {
    let (network, number) = match host {
        IpAddr::V4(host) => match host.octets() {
            [10, network @ (0 | 1), 0, number] if number > 1 => (network, number),
            _ => return None,
        },
        IpAddr::V6(host) => match host.segments() {
            [0x2001, 0xdb8, network @ (0 | 1), 0, 0, 0, 0, number] if number > 1 => {
                // `::11` is host 11, `::fe` the router.
                let number = format!("{number:x}");
                let number = number.parse().or_else(|_| u8::from_str_radix(&number, 16));
                (u8::from(network == 1), number.ok()?)
            }
            _ => return None,
        },
    };
    Some(format!("02:00:00:00:{network:02x}:{number:02x}"))
}

/// Whom an ARP request asks for.
fn arp_target(frame: &[u8]) -> Option<IpAddr> {
    let request = frame.get(12..14)? == [8, 6] && frame.get(20..22)? == [0, 1];
    let target: [u8; 4] = frame.get(38..42)?.try_into().ok()?;
    request.then_some(target.into())
}

fn captures(
    recording: &Recording,
    starts: &[Duration],
    folder: &Path,
) -> Result<Vec<(String, PathBuf)>, ReplayError> {
    let mut captures = Vec::new();
    for port in PORTS {
        let path = folder.join(format!("{port}.in.pcap"));
        let file = File::create(&path).map_err(ReplayError::file(&path))?;
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(BufWriter::new(file), header)?;
        for (step, start) in recording.steps.iter().zip(starts) {
            for (frame, number) in step.input.iter().zip(0..) {
                if frame.dev == port {
                    let at = EPOCH + *start + FRAME * number;
                    let length = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
                    writer.write_packet(&PcapPacket::new(at, length, &frame.bytes))?;
                }
            }
        }
        let mut file = writer.into_writer();
        std::io::Write::flush(&mut file).map_err(ReplayError::file(&path))?;
        captures.push((port.to_owned(), path));
    }
    Ok(captures)
}

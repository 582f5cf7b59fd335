//! The table that the kernel would have after the rules: services, and their real servers newest first.
//! Which errors there are and what order results is IPVS's; how rules are written is not known here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::limits::Limits;
use plimsoll_dataplane::spec::target::{self, Identity, Mark};
use plimsoll_dataplane::spec::timeouts::OwnTimeouts;

use super::marks::Marks;
use super::sysctl::Sysctls;
use crate::config::diagnostics::{Place, Problem, Problems};
use crate::config::file::TunnelChecksum;

/// What keeps clients at their real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persistence {
    /// For how many seconds.
    pub timeout_s: u32,
    /// The prefix length by which clients are told apart; the whole address if `None`.
    pub mask: Option<u8>,
    /// A persistence engine's name. Not carried over.
    pub engine: Option<String>,
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What names it.
    pub key: Identity,
    /// Its scheduler's name in LVS; any, also one that nobody knows.
    pub scheduler: String,
    /// Its scheduler's flags.
    pub flags: Vec<String>,
    /// Whether clients stay.
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself.
    pub one_packet: bool,
    /// In the kernel's order: newest first.
    pub reals: Vec<Real>,
    /// What real servers without a method of their own have, where rules say so: ipvsadm's do not.
    pub(super) method: Option<Method>,
    pub(super) place: Place,
}

/// How a tunnel encapsulates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encapsulation {
    /// IP in IP, GRE or GUE.
    pub kind: TunnelKind,
    /// GUE's UDP port; 0 if there is none.
    pub port: u16,
    /// What is summed.
    pub checksum: TunnelChecksum,
}

/// How packets get to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// The forwarding method.
    pub forward: ForwardMethod,
    /// Of any meaning for tunnels only.
    pub tunnel: Encapsulation,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Real {
    /// Its address and port.
    pub address: SocketAddr,
    /// How packets get to it.
    pub method: Method,
    /// Its share of new sessions.
    pub weight: u32,
    /// How many sessions it shall have.
    pub limits: Limits,
    pub(super) place: Place,
}

/// Services and real servers in the kernel's order.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// In the order of adding.
    pub(super) services: Vec<Service>,
    /// Those that somebody set.
    pub timeouts: OwnTimeouts,
    /// What marks mean; a service of another mark is not carried.
    pub marks: Marks,
    /// IPVS's.
    pub sysctls: Sysctls,
    /// Where each service is.
    index: HashMap<Identity, usize>,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        (&self.services, self.timeouts, &self.marks, &self.sysctls)
            == (
                &other.services,
                other.timeouts,
                &other.marks,
                &other.sysctls,
            )
    }
}

impl Eq for Table {}

/// A service that a configuration has a place for.
#[derive(Debug)]
pub(super) struct Carried<'t> {
    /// Which of the table's it is.
    pub(super) index: usize,
    pub(super) service: &'t Service,
    /// What its packets look like, if it is by mark.
    pub(super) rules: Vec<target::Rule>,
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum What {
    AddService(Box<Service>),
    EditService(Box<Service>),
    DeleteService(Identity),
    Clear,
    AddServer(Identity, Real),
    EditServer(Identity, Real),
    DeleteServer(Identity, SocketAddr),
    Timeouts(OwnTimeouts),
    /// Nothing, if there is the service; of all, there always is.
    Zero(Option<Identity>),
    /// Nothing.
    Daemon,
}

/// A rule, and where it says what it is about.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) what: What,
    pub(super) service: Place,
    pub(super) server: Place,
}

/// ipvsadm's words for what the kernel refuses.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    ServiceExists,
    NoService,
    ServerExists,
    NoServer,
}

impl Table {
    /// The services that a configuration has a place for, in the order in which it has them. Those by mark
    /// stand in their marks' order, at the places that any of them has here.
    pub(super) fn carried(&self) -> Vec<Carried<'_>> {
        let marks: Vec<(u32, bool)> = self
            .services
            .iter()
            .filter_map(|service| match service.key {
                Identity::Mark(mark) => Some((mark.number, mark.is_v6)),
                Identity::Vip(_) => None,
            })
            .collect();
        let ordered = if marks.is_empty() {
            Vec::new()
        } else {
            self.marks.resolve(&marks)
        };
        let mut by_mark = ordered.into_iter().filter_map(|((number, is_v6), rules)| {
            let index = self.find(Identity::Mark(Mark { number, is_v6 }))?;
            let service = self.services.get(index)?;
            let has_place = !rules.is_empty() || self.marks.is_known(number);
            Some((has_place, index, service, rules))
        });
        let mut carried = Vec::with_capacity(self.services.len());
        for (index, service) in self.services.iter().enumerate() {
            let next = match service.key {
                Identity::Vip(_) => Some((true, index, service, Vec::new())),
                Identity::Mark(_) => by_mark.next(),
            };
            if let Some((true, index, service, rules)) = next {
                carried.push(Carried {
                    index,
                    service,
                    rules,
                });
            }
        }
        carried
    }

    /// All services, in the order of adding.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// To change all but what names them.
    pub(super) fn services_mut(&mut self) -> &mut [Service] {
        &mut self.services
    }

    /// Keeps some services.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Service) -> bool) {
        self.services.retain(keep);
        self.count();
    }

    pub(super) fn push(&mut self, service: Service) {
        self.index.insert(service.key, self.services.len());
        self.services.push(service);
    }

    pub(super) fn find(&self, key: Identity) -> Option<usize> {
        self.index.get(&key).copied()
    }

    fn remove(&mut self, at: usize) {
        self.services.remove(at);
        self.count();
    }

    fn count(&mut self) {
        let keys = self.services.iter().map(|service| service.key);
        self.index = keys.zip(0..).collect();
    }

    /// Does what a rule says, or tells why the kernel would not.
    pub(super) fn apply(&mut self, rule: Rule, problems: &mut Problems) {
        let Rule {
            what,
            service,
            server,
        } = rule;
        let done = match what {
            What::Clear => {
                self.services.clear();
                self.index.clear();
                Ok(())
            }
            What::Timeouts(timeouts) => {
                self.timeouts = timeouts.or(self.timeouts);
                Ok(())
            }
            What::Zero(Some(key)) if self.find(key).is_none() => Err(Refusal::NoService),
            What::Zero(_) | What::Daemon => Ok(()),
            What::AddService(new) => self.add_service(*new),
            What::EditService(new) => self.edit_service(*new),
            What::DeleteService(key) => match self.find(key) {
                Some(at) => {
                    self.remove(at);
                    Ok(())
                }
                None => Err(Refusal::NoService),
            },
            What::AddServer(key, real) => self.with(key, |reals| {
                if reals.iter().any(|other| other.address == real.address) {
                    return Err(Refusal::ServerExists);
                }
                // IPVS inserts at the head, so the newest is visited first.
                reals.insert(0, real);
                Ok(())
            }),
            What::EditServer(key, real) => self.with(key, |reals| {
                let old = reals.iter_mut().find(|old| old.address == real.address);
                *old.ok_or(Refusal::NoServer)? = real;
                Ok(())
            }),
            What::DeleteServer(key, address) => self.with(key, |reals| {
                let at = reals.iter().position(|real| real.address == address);
                reals.remove(at.ok_or(Refusal::NoServer)?);
                Ok(())
            }),
        };
        if let Err(refusal) = done {
            let (message, help) = refusal.words();
            let place = match refusal {
                Refusal::ServiceExists | Refusal::NoService => service,
                Refusal::ServerExists | Refusal::NoServer => server,
            };
            problems.add(Problem::new(place, message).help(help));
        }
    }

    fn add_service(&mut self, service: Service) -> Result<(), Refusal> {
        if self.find(service.key).is_some() {
            return Err(Refusal::ServiceExists);
        }
        self.push(service);
        Ok(())
    }

    fn edit_service(&mut self, service: Service) -> Result<(), Refusal> {
        let at = self.find(service.key).ok_or(Refusal::NoService)?;
        let old = self.services.get_mut(at).ok_or(Refusal::NoService)?;
        let reals = std::mem::take(&mut old.reals);
        *old = Service { reals, ..service };
        Ok(())
    }

    fn with(
        &mut self,
        key: Identity,
        change: impl FnOnce(&mut Vec<Real>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let at = self.find(key).ok_or(Refusal::NoService)?;
        let service = self.services.get_mut(at).ok_or(Refusal::NoService)?;
        change(&mut service.reals)
    }
}

impl Refusal {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ServiceExists => (
                "Service already exists",
                "expected a service that no earlier line adds; -E edits one",
            ),
            Self::NoService => (
                "Service not defined",
                "expected a service that an earlier line adds with -A",
            ),
            Self::ServerExists => (
                "Destination already exists",
                "expected a real server that no earlier line adds; -e edits one",
            ),
            Self::NoServer => (
                "No such destination",
                "expected a real server that an earlier line adds with -a",
            ),
        }
    }
}

/// The real server's port: the service's, where packets reach it unchanged.
pub(super) const fn server(
    key: Identity,
    host: IpAddr,
    port: Option<u16>,
    unchanged: bool,
) -> SocketAddr {
    let port = match (port, key) {
        (Some(port), Identity::Mark(_)) => port,
        (Some(port), Identity::Vip(_)) if !unchanged => port,
        _ => key.port(),
    };
    SocketAddr::new(host, port)
}

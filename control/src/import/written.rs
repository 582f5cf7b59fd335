//! Services as the configuration writes them, with the keys of the whole format.
//! More lenient than `config::file`: what a version does not carry yet is read all the same.

use std::time::Duration;

use serde::Deserialize;

use crate::config::file::{self, Forward, Protocol, TunnelChecksum, TunnelType};
use crate::config::leaf::{RealAddr, Vip, Written};

#[derive(Debug, Default, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    #[serde(default)]
    pub(super) vip: Option<Written<Vip>>,
    #[serde(default, rename = "match")]
    pub(super) rules: Option<Vec<file::Rule>>,
    #[serde(default)]
    pub(super) mark: Option<u32>,
    #[serde(default)]
    pub(super) protocol: Protocol,
    #[serde(default = "default_scheduler")]
    pub(super) scheduler: String,
    #[serde(default)]
    pub(super) scheduler_flags: Vec<String>,
    #[serde(default)]
    pub(super) maglev: Option<serde_yaml::Value>,
    #[serde(default)]
    pub(super) slow_start: Option<serde_yaml::Value>,
    #[serde(default)]
    pub(super) forward: Forward,
    #[serde(default)]
    pub(super) reals: Vec<Real>,
    #[serde(default)]
    pub(super) persistence: Option<Persistence>,
    #[serde(default)]
    pub(super) one_packet: bool,
    #[serde(default)]
    pub(super) tunnel: Tunnel,
    #[serde(default)]
    pub(super) health: Option<serde_yaml::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Real {
    pub(super) address: Written<RealAddr>,
    #[serde(default = "default_weight")]
    pub(super) weight: u32,
    #[serde(default)]
    pub(super) upper: u32,
    #[serde(default)]
    pub(super) lower: u32,
    #[serde(default)]
    pub(super) forward: Option<Forward>,
    #[serde(default)]
    pub(super) tunnel: Option<Tunnel>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Tunnel {
    #[serde(default, rename = "type")]
    pub(super) kind: TunnelType,
    #[serde(default)]
    pub(super) port: u16,
    #[serde(default)]
    pub(super) checksum: TunnelChecksum,
    #[serde(default)]
    pub(super) source: Option<Written<std::net::IpAddr>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Persistence {
    #[serde(default = "default_persistence")]
    pub(super) timeout: Written<Duration>,
    #[serde(default)]
    pub(super) mask: Option<u8>,
}

const fn default_weight() -> u32 {
    1
}

const fn default_persistence() -> Written<Duration> {
    Written(Duration::from_secs(6 * 60))
}

fn default_scheduler() -> String {
    file::Scheduler::default().name().to_owned()
}

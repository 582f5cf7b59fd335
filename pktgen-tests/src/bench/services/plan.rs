//! Configurations of as many services as one likes, as the text of a file.
//! They are alike on every machine; nothing is read or measured here.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Addresses of real servers that all services share.
pub const REAL_SERVERS: u32 = 10_000;
/// The first services' real servers have fixed MACs, so that packets to them wait for nobody.
pub const NEIGHBOURS: u32 = 64;
/// What their MACs begin with.
pub const NEIGHBOUR_MAC: [u8; 5] = [2, 0, 0, 0, 1];
/// The port of all virtual services and real servers.
pub const PORT: u16 = 80;

/// 100.64.0.0/10, the largest block that is nobody's: four million virtual addresses.
const FIRST_VIP: u32 = u32::from_be_bytes([100, 64, 0, 0]);
/// In the port's own network, 10.0.0.0/8.
const FIRST_REAL: u32 = u32::from_be_bytes([10, 1, 0, 0]);
/// Far from each other, so that neighbours in the file share nothing.
const STRIDE: u32 = 7919;

const HEAD: &str = r#"version: 1
dataplane:
  cpus: [0]
  ports: [{ name: wan, device: net_null0, addresses: [10.0.0.1/8] }]
network:
  neighbors:
"#;

/// One service of a configuration, by its number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedService {
    /// Its number.
    pub number: u32,
    /// The weight of its first real server.
    pub weight: u32,
    /// Whether it has a real server more than planned.
    pub wider: bool,
}

impl PlannedService {
    /// As it is at first.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self {
            number,
            weight: 1,
            wider: false,
        }
    }

    /// Its virtual address.
    #[must_use]
    pub fn vip(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST_VIP + self.number)
    }

    /// Its real servers' addresses: one or two by turns.
    pub fn reals(self) -> impl Iterator<Item = Ipv4Addr> {
        let count = 1 + self.number % 2 + u32::from(self.wider);
        // The first ones have real servers with a known MAC.
        let among = if self.number < NEIGHBOURS {
            NEIGHBOURS
        } else {
            REAL_SERVERS
        };
        (0..count).map(move |nth| {
            let place = (self.number % among + nth * STRIDE) % among;
            Ipv4Addr::from_bits(FIRST_REAL + place)
        })
    }

    /// Its lines in the file. Mostly DR, as such many services have it; every eighth has NAT.
    fn write(self, text: &mut String) {
        let Self { number, weight, .. } = self;
        let (vip, scheduler) = (self.vip(), ["rr", "wrr", "wlc"]);
        let scheduler = scheduler.get(number as usize % 3).unwrap_or(&"rr");
        let forward = if number % 8 == 7 { "nat" } else { "dr" };
        let _ = write!(
            text,
            "  - {{ name: service-{number}, vip: \"{vip}:{PORT}\", protocol: tcp, \
             scheduler: {scheduler}, forward: {forward}, reals: ["
        );
        for (nth, real) in self.reals().enumerate() {
            let (comma, weight) = if nth == 0 { ("", weight) } else { (", ", 1) };
            let _ = write!(
                text,
                "{comma}{{ address: \"{real}:{PORT}\", weight: {weight} }}"
            );
        }
        text.push_str("] }\n");
    }
}

/// The text of a file with `services`.
#[must_use]
pub fn text(services: impl Iterator<Item = PlannedService>) -> String {
    let mut text = String::from(HEAD);
    for place in 0..NEIGHBOURS {
        let address = Ipv4Addr::from_bits(FIRST_REAL + place);
        let _ = writeln!(
            text,
            "    - {{ address: {address}, mac: \"02:00:00:00:01:{place:02x}\" }}"
        );
    }
    text.push_str("services:\n");
    for service in services {
        service.write(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use plimsoll_control::config;

    use super::*;

    #[test]
    fn the_text_is_a_valid_configuration_without_warnings() {
        let loaded = config::parse("plan", text((0..3000).map(PlannedService::new)));
        let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.report(false)));
        assert!(loaded.warnings.items().is_empty());
        let services = &loaded.valid.reload().services;
        assert_eq!(services.len(), 3000);
        assert_eq!(services[7].reals.len(), 2);
    }
}

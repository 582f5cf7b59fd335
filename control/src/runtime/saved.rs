//! The file in which runtime changes outlive the daemon: JSON that people can read.
//! Any text that is not such a file is refused as a whole.

use std::net::SocketAddr;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::target::{Identity, Mark, Vip, VipSocket};
use serde::{Deserialize, Serialize};

use super::changes::RuntimeChanges;
use super::order::RealChange;
use crate::config::leaf::Leaf as _;

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    changes: Vec<SavedChange>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedChange {
    service: SavedService,
    real: SocketAddr,
    #[serde(flatten)]
    change: RealChange,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum SavedService {
    Vip { vip: String, protocol: String },
    Mark { mark: u32, ipv6: bool },
}

impl SavedService {
    fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Vip(vip) => Self::Vip {
                vip: vip.socket().print(),
                protocol: vip.protocol.name().to_owned(),
            },
            Identity::Mark(mark) => Self::Mark {
                mark: mark.number,
                ipv6: mark.is_v6,
            },
        }
    }

    fn identity(&self) -> Option<Identity> {
        Some(match self {
            Self::Vip { vip, protocol } => {
                let VipSocket { addresses, port } = VipSocket::parse(vip).ok()?;
                Identity::Vip(Vip {
                    protocol: Protocol::by_name(protocol)?,
                    addresses,
                    port,
                })
            }
            Self::Mark { mark, ipv6 } => Identity::Mark(Mark {
                number: *mark,
                is_v6: *ipv6,
            }),
        })
    }
}

impl RuntimeChanges {
    /// As they are kept, in an order that depends on them alone.
    #[must_use]
    pub fn write(&self) -> String {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|((service, real), _)| (service.to_string(), *real));
        let saved = Saved {
            version: VERSION,
            changes: all
                .into_iter()
                .map(|((service, real), change)| SavedChange {
                    service: SavedService::of(&service),
                    real: real.into(),
                    change,
                })
                .collect(),
        };
        // Nothing of it can fail to be written.
        serde_json::to_string_pretty(&saved).unwrap_or_default() + "\n"
    }

    /// Reads what [`Self::write`] has written.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &str) -> Result<Self, String> {
        let saved: Saved = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if saved.version != VERSION {
            return Err(format!(
                "it has version {}, and this program knows version {VERSION}",
                saved.version
            ));
        }
        let mut changes = Self::default();
        for SavedChange {
            service,
            real,
            change,
        } in saved.changes
        {
            let identity = service
                .identity()
                .ok_or_else(|| format!("no service is like {service:?}"))?;
            changes.set(identity, (real.ip(), real.port()), change);
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::{Administration, Deadline, Ending, WeightChange};
    use super::*;

    fn some() -> RuntimeChanges {
        let mut changes = RuntimeChanges::default();
        let vip = |protocol, addresses: &str| {
            Identity::Vip(Vip {
                protocol,
                addresses: addresses.parse().unwrap(),
                port: 53,
            })
        };
        let mark = |is_v6| Identity::Mark(Mark { number: 7, is_v6 });
        for (number, service) in (1..).zip([
            vip(Protocol::Udp, "192.0.2.1/32"),
            vip(Protocol::Tcp, "192.0.2.0/28"),
            vip(Protocol::Sctp, "2001:db8::/64"),
            mark(false),
            mark(true),
        ]) {
            let change = RealChange {
                administration: Administration::ALL[usize::from(number) % 3],
                since_ms: 1_700_000_000_000 + u64::from(number),
                deadline: (number == 1).then_some(Deadline {
                    at_ms: 5,
                    then: Ending::Reset,
                }),
                weight: (number != 1).then_some(WeightChange {
                    weight: 0,
                    of_file: 3,
                }),
            };
            changes.set(service, ([10, 0, 0, number].into(), 53), change);
        }
        changes
    }

    #[test]
    fn what_was_written_is_read_back() {
        let changes = some();
        let text = changes.write();
        assert_eq!(RuntimeChanges::read(&text).unwrap(), changes, "{text}");
        assert_eq!(RuntimeChanges::read(&text).unwrap().write(), text);
        let none = RuntimeChanges::default();
        assert_eq!(RuntimeChanges::read(&none.write()).unwrap(), none);
    }

    #[test]
    fn anything_else_is_refused() {
        let text = some().write();
        for cut in 0..text.trim_end().len() {
            assert!(RuntimeChanges::read(&text[..cut]).is_err(), "{cut}");
        }
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            ("192.0.2.1:53", "192.0.2.1"),
            ("\"udp\"", "\"icmp\""),
            ("\"disabled\"", "\"asleep\""),
            ("10.0.0.1:53", "10.0.0.1"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            assert!(RuntimeChanges::read(&changed).is_err(), "{to}");
        }
    }
}

//! Answers of ARP and NDP for all who are not the balancer, and the question for the balancer's MAC.
//!
//! Must not remember anything: addresses and MACs follow from the scenario.

use std::net::IpAddr;

use plimsoll_dataplane::flow::V6;
use plimsoll_dataplane::wire::ethernet::{self, HEADER_BYTES as ETHERNET, MIN_FRAME_BYTES};
use plimsoll_dataplane::wire::{Mac, arp, ipv6, ndp};

use super::scenario::Scenario;

/// The stations on the balancer's link.
#[derive(Debug, Clone)]
pub struct Neighbours {
    scenario: Scenario,
}

impl Neighbours {
    /// All stations of a scenario.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
        }
    }

    /// Writes the router's question for the balancer's MAC; the frame's length, or `None` if `out` is shorter than
    /// 86 bytes.
    #[must_use]
    pub fn ask(&self, out: &mut [u8]) -> Option<usize> {
        let mac = Scenario::ROUTER_MAC;
        match (self.scenario.router(), self.scenario.balancer()) {
            (IpAddr::V4(router), IpAddr::V4(balancer)) => {
                let packet = arp::Packet::request(mac, router.into(), balancer.into());
                padded(out, |out| arp::write(out, Mac::BROADCAST, &packet))
            }
            (IpAddr::V6(router), IpAddr::V6(balancer)) => {
                ndp::write(out, &ndp::solicitation(mac, router.into(), balancer.into()))
            }
            _ => None,
        }
    }

    /// The balancer's MAC, if `frame` tells it.
    #[must_use]
    pub fn balancer_mac(&self, frame: &[u8]) -> Option<Mac> {
        let (address, mac) = match read(frame)? {
            Talk::Arp(packet) => (IpAddr::from(packet.sender), packet.sender_mac),
            Talk::Ndp {
                message:
                    ndp::Message::Advertisement {
                        target, target_mac, ..
                    },
                ..
            } => (IpAddr::from(target), target_mac?),
            Talk::Ndp { .. } => return None,
        };
        (address == self.scenario.balancer()).then_some(mac)
    }

    /// Whether `frame` is of ARP or neighbour discovery, or any other that hosts send about themselves.
    #[must_use]
    pub fn concerns(frame: &[u8]) -> bool {
        read(frame).is_some()
    }

    /// Writes the answer to `frame` into `out`, if it asks for somebody here; the answer's length.
    #[must_use]
    pub fn answer(&self, frame: &[u8], out: &mut [u8]) -> Option<usize> {
        match read(frame)? {
            Talk::Arp(packet) => {
                let mac = self.scenario.mac_of(packet.target.into())?;
                let asks = packet.operation == arp::Operation::Request;
                let reply = arp::Packet::reply_to(&packet, mac);
                asks.then(|| padded(out, |out| arp::write(out, packet.sender_mac, &reply)))?
            }
            Talk::Ndp {
                asker,
                asker_mac,
                message: ndp::Message::Solicitation { target, .. },
            } => {
                let mac = self.scenario.mac_of(target.into())?;
                ndp::write(out, &ndp::reply(mac, target, asker, asker_mac))
            }
            Talk::Ndp { .. } => None,
        }
    }
}

/// What neighbours say.
enum Talk {
    Arp(arp::Packet),
    Ndp {
        asker: V6,
        asker_mac: Mac,
        message: ndp::Message,
    },
}

fn read(frame: &[u8]) -> Option<Talk> {
    let header = ethernet::Header::new(frame)?;
    let packet = frame.get(ETHERNET..)?;
    match header.ether_type() {
        ethernet::ARP => arp::parse(packet).map(Talk::Arp),
        ethernet::IPV6 => {
            let ip = ipv6::Header::new(packet)?;
            let l4 = packet.get(ipv6::HEADER_BYTES..)?;
            let l4 = l4.get(..usize::from(ip.payload_length()))?;
            let is_icmp = ip.next_header() == ipv6::ICMP;
            let message = is_icmp
                .then(|| ndp::parse(ip.source(), ip.destination(), ip.hop_limit(), l4))
                .flatten()?;
            Some(Talk::Ndp {
                asker: ip.source(),
                asker_mac: header.source(),
                message,
            })
        }
        _ => None,
    }
}

/// Fills up what `write` has written to the shortest frame.
fn padded(out: &mut [u8], write: impl Fn(&mut [u8]) -> Option<usize>) -> Option<usize> {
    out.get_mut(..MIN_FRAME_BYTES)?.fill(0);
    write(out).map(|length| length.max(MIN_FRAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Family;
    use super::*;

    #[test]
    fn everybody_but_the_balancer_answers_with_the_mac_of_the_scenario() {
        for family in [Family::V4, Family::V6] {
            let scenario = Scenario {
                family,
                reals: 3,
                ..Scenario::default()
            };
            let neighbours = Neighbours::new(&scenario);
            let mut out = [0; 100];
            let ask = |target: IpAddr, out: &mut [u8]| match (scenario.balancer(), target) {
                (IpAddr::V4(own), IpAddr::V4(target)) => {
                    let packet =
                        arp::Packet::request(Scenario::BALANCER_MAC, own.into(), target.into());
                    arp::write(out, Mac::BROADCAST, &packet).unwrap()
                }
                (IpAddr::V6(own), IpAddr::V6(target)) => {
                    let own = V6::from(own);
                    let question = ndp::solicitation(Scenario::BALANCER_MAC, own, target.into());
                    ndp::write(out, &question).unwrap()
                }
                _ => 0,
            };
            for (target, mac) in [
                (scenario.router(), Some(Scenario::ROUTER_MAC)),
                (scenario.real(0), Some(Scenario::real_mac(0))),
                (scenario.real(2), Some(Scenario::real_mac(2))),
                (scenario.real(3), None),
                (scenario.balancer(), None),
            ] {
                let length = ask(target, &mut out);
                let mut answer = [0; 100];
                let answered = neighbours.answer(&out[..length], &mut answer);
                assert_eq!(answered.is_some(), mac.is_some(), "{target}");
                if let (Some(length), Some(mac)) = (answered, mac) {
                    let told = match read(&answer[..length]) {
                        Some(Talk::Arp(packet)) => Some(packet.sender_mac),
                        Some(Talk::Ndp {
                            message: ndp::Message::Advertisement { target_mac, .. },
                            ..
                        }) => target_mac,
                        _ => None,
                    };
                    assert_eq!(told, Some(mac));
                    assert_eq!(&answer[..6], Scenario::BALANCER_MAC.0);
                }
            }
            assert_eq!(neighbours.answer(&[0; 60], &mut out), None);
            assert_eq!(neighbours.ask(&mut [0; 10]), None);
        }
    }
}

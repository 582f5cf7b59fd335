//! The besieged balancer: two TCP services, a UDP and an SCTP one of each family, all by one method.
//! Sends single packets and says who got them; plays no client.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::testing::{PacketBuilder, Rig};

use crate::net::*;

pub(crate) const METHODS: [ForwardMethod; 3] = [
    ForwardMethod::Direct,
    ForwardMethod::Nat,
    ForwardMethod::Tunnel,
];

/// The service that is attacked by TCP, and those beside it.
pub(crate) const WEB: (Protocol, u16) = (Protocol::Tcp, 80);
pub(crate) const MAIL: (Protocol, u16) = (Protocol::Tcp, 25);
pub(crate) const DNS: (Protocol, u16) = (Protocol::Udp, 53);
pub(crate) const DIAMETER: (Protocol, u16) = (Protocol::Sctp, 3868);

pub(crate) const PUSH_ACK: u8 = 0x18;

/// Sessions of each family that the one worker can hold.
pub(crate) const CAPACITY: u32 = 1024;

/// What a side sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Tcp(u8),
    Udp,
    Sctp(u8),
}

/// One side of a connection: its client, and the service it talks to.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(crate) client: String,
    pub(crate) port: u16,
    pub(crate) service: (Protocol, u16),
}

pub(crate) struct World {
    pub(crate) rig: Rig,
    pub(crate) method: ForwardMethod,
    pub(crate) is_v6: bool,
    clients: u32,
}

pub(crate) fn services(method: ForwardMethod) -> Vec<ServiceSpec> {
    let mut services = Vec::new();
    for (protocol, port) in [WEB, MAIL, DNS, DIAMETER] {
        for (vip, reals) in [(VIP, REALS), (VIP6, REALS6)] {
            let reals = reals.map(|address| real(address, real_port(method, port), method));
            services.push(service(protocol, vip, port, reals.to_vec()));
        }
    }
    services
}

fn real_port(method: ForwardMethod, port: u16) -> u16 {
    match method {
        ForwardMethod::Nat => port + 8000,
        ForwardMethod::Direct | ForwardMethod::Tunnel => port,
    }
}

impl World {
    pub(crate) fn new(method: ForwardMethod, is_v6: bool) -> Self {
        Self::with(method, is_v6, CAPACITY, &two_armed(services(method)))
    }

    pub(crate) fn with(method: ForwardMethod, is_v6: bool, sessions: u32, spec: &Spec) -> Self {
        Self {
            rig: Rig::with_sessions(1, sessions, spec),
            method,
            is_v6,
            clients: 0,
        }
    }

    /// A client that was not there before, whoever it is.
    pub(crate) fn client(&mut self, service: (Protocol, u16)) -> Flow {
        self.clients += 1;
        let number = self.clients;
        let [_, a, b, c] = number.to_be_bytes();
        Flow {
            client: if self.is_v6 {
                format!("2001:db8:f::{number:x}")
            } else {
                format!("23.{a}.{b}.{c}")
            },
            port: 1024 + (number % 60_000) as u16,
            service,
        }
    }

    fn vip(&self) -> &'static str {
        if self.is_v6 { VIP6 } else { VIP }
    }

    fn request(&self, flow: &Flow, part: Part) -> PacketBuilder {
        add(
            from_wan(&flow.client, self.vip()),
            (flow.port, flow.service.1),
            part,
        )
    }

    /// Sends a client's packet; says which real server got it.
    pub(crate) fn send(&mut self, flow: &Flow, part: Part) -> Option<&'static str> {
        let frame = self.request(flow, part).build();
        let sent = self.rig.pass(WAN, &frame);
        let reals = if self.is_v6 { REALS6 } else { REALS };
        let [(LAN, frame)] = &sent[..] else {
            return None;
        };
        reals.into_iter().find(|real| frame[..6] == mac_of(real).0)
    }

    fn reply(&self, flow: &Flow, real: &str, part: Part) -> PacketBuilder {
        let port = real_port(self.method, flow.service.1);
        add(from_lan(real, &flow.client), (port, flow.port), part)
    }

    /// Sends a real server's packet; says whether the client got it, from the VIP. Where the method has it go
    /// past the balancer it always does.
    pub(crate) fn answer(&mut self, flow: &Flow, real: &str, part: Part) -> bool {
        if self.method != ForwardMethod::Nat {
            return true;
        }
        let frame = self.reply(flow, real, part).build();
        let sent = self.rig.pass(LAN, &frame);
        let [(WAN, frame)] = &sent[..] else {
            return false;
        };
        let expected = add(
            to_wan(self.vip(), &flow.client),
            (flow.service.1, flow.port),
            part,
        );
        *frame == expected.build()
    }
}

fn add(packet: PacketBuilder, (from, to): (u16, u16), part: Part) -> PacketBuilder {
    match part {
        Part::Tcp(flags) if flags & PUSH_ACK == PUSH_ACK => {
            packet.tcp(from, to).flags(flags).payload(b"x")
        }
        Part::Tcp(flags) => packet.tcp(from, to).flags(flags),
        Part::Udp => packet.udp(from, to).payload(b"x"),
        Part::Sctp(chunk) => packet.sctp(from, to, chunk),
    }
}

//! What a packet is for: a session or service, one of our own addresses, the kernel, or nobody.
//! Order matters, and follows IPVS where IPVS has an order.

use crate::flow::{Addresses, Protocol, V4, V6};
use crate::io::{PacketBuf, Pool};
use crate::parse::{Packet, Parse};
use crate::pipeline::action::{Action, Answer, Context, Decision, Refusal, punt};
use crate::pipeline::engine::Engine;
use crate::pipeline::fragments::classify_fragment;
use crate::pipeline::leave::transit::{is_group, pass_on, pass_on_icmp};
use crate::pipeline::sessions::{Tabled, flow_key};
use crate::verdict::DropReason;
use crate::wire::{ethernet, icmpv4, icmpv6, ipv4, ipv6};

impl<P: Pool> Engine<P> {
    /// Decides what happens to the frame, and rewrites it accordingly.
    #[inline]
    pub(crate) fn classify<F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        parse: &Parse,
    ) -> Decision {
        let Context {
            snapshot, origin, ..
        } = *context;
        let (Some(port), Some(mac)) = (snapshot.port(origin.port), snapshot.mac_of(origin.port))
        else {
            return Err(DropReason::NotLocal.into());
        };
        let header = ethernet::Header::new(frame.bytes());
        let to = header.ok_or(DropReason::Truncated)?.destination();
        if to != mac && !to.is_group() {
            return Err(DropReason::OtherMac.into());
        }
        match parse {
            Parse::Ip(packet) => {
                if packet.datagram_bytes() > u32::from(port.mtu) && origin.cut.is_none() {
                    return Err(DropReason::OversizeFrame.into());
                }
                if to.is_group() && !is_group(packet) {
                    // RFC 1122 section 3.3.6; IPVS too takes only what was sent to the host alone.
                    return Err(DropReason::OtherMac.into());
                }
                self.classify_ip(context, frame, packet)
            }
            Parse::Arp { offset } => {
                let exit = &mut self.forwarder.exit;
                Ok(self.host.arp(exit, context, frame, (*offset).into())?)
            }
            // Bridges and switches talk to each other all the time (STP, LLDP).
            Parse::Other { .. } if to.is_group() => {
                Ok(punt(snapshot, origin.port).unwrap_or(Action::Consume))
            }
            Parse::Other { .. } => {
                Ok(punt(snapshot, origin.port).ok_or(DropReason::EtherTypeUnknown)?)
            }
            Parse::Drop(DropReason::Truncated) if is_cut_off(frame.bytes(), port.mtu) => {
                Err(DropReason::OversizeFrame.into())
            }
            Parse::Drop(reason) => Err((*reason).into()),
        }
    }

    #[inline]
    fn classify_ip<F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
    ) -> Decision {
        if is_neighbour_discovery(frame.bytes(), packet) {
            // RFC 6980: none of it comes in fragments, nor behind a fragment header. Nobody puts
            // other headers before it either.
            if context.origin.cut.is_some()
                || usize::from(packet.l4 - packet.l3) != ipv6::HEADER_BYTES
            {
                return Err(DropReason::NdpInvalid.into());
            }
            let exit = &mut self.forwarder.exit;
            return Ok(self.host.ndp(exit, context, frame, packet)?);
        }
        if let Some(reason) = packet.addresses.martian() {
            return Err(reason.into());
        }
        if packet.fragment.is_some() {
            return classify_fragment(&self.balancer.owners, context, frame, packet);
        }
        match (packet.addresses, packet.balanced_protocol()) {
            (Addresses::V4 { .. }, Some(protocol)) => {
                self.classify_flow::<V4, F>(context, frame, packet, protocol)
            }
            (Addresses::V6 { .. }, Some(protocol)) => {
                self.classify_flow::<V6, F>(context, frame, packet, protocol)
            }
            (Addresses::V4 { .. }, None) if packet.is_icmp() => {
                self.classify_icmp::<V4, F>(context, frame, packet)
            }
            (Addresses::V6 { .. }, None) if packet.is_icmp() => {
                self.classify_icmp::<V6, F>(context, frame, packet)
            }
            (_, None) => pass_on(context, frame, packet).map_err(|refusal| match refusal.reason {
                reason @ (DropReason::LocalUnhandled | DropReason::NoService) => {
                    Refusal::new(reason, Answer::AsHost)
                }
                _ => refusal,
            }),
        }
    }

    #[inline(always)]
    fn classify_flow<A: Tabled, F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        protocol: Protocol,
    ) -> Decision {
        let (source, destination) = A::pair(packet.addresses).ok_or(DropReason::NotLocal)?;
        let key = &flow_key(packet, protocol, source, destination);
        let hash = A::table_of(&self.balancer.sessions).hash(key);
        let forwarder = &mut self.forwarder;
        self.balancer
            .balance::<A, P, F>(forwarder, context, frame, packet, (key, hash))
    }

    /// An ICMP message: an echo request to this machine, an error, or another one, which is treated as other packets are.
    fn classify_icmp<A: Tabled, F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
    ) -> Decision {
        let snapshot = context.snapshot;
        let kind = packet.upper(frame.bytes()).first().copied();
        let kind = kind.ok_or(DropReason::IcmpInvalid)?;
        let (is_error, is_echo) = match packet.addresses {
            Addresses::V4 { .. } => (is_relayed_v4(kind), kind == icmpv4::ECHO_REQUEST),
            Addresses::V6 { .. } => (icmpv6::is_error(kind), kind == icmpv6::ECHO_REQUEST),
        };
        if snapshot.is_martian_source(packet.addresses.source()) {
            return Err(DropReason::MartianSource.into());
        }
        let forwarder = &mut self.forwarder;
        if is_echo && snapshot.is_ours(packet.addresses.destination()) {
            let exit = &mut forwarder.exit;
            return Ok(self.host.echo(exit, context, frame, packet)?);
        }
        if is_error {
            let (relay, balancer) = (&mut self.relay, &mut self.balancer);
            return relay.relay::<A, P, F>(balancer, forwarder, context, frame, packet);
        }
        pass_on_icmp(context, frame, packet, DropReason::IcmpIgnored)
    }
}

/// RFC 4861's messages, which are about the link and not about a flow.
#[inline]
fn is_neighbour_discovery(frame: &[u8], packet: &Packet) -> bool {
    matches!(packet.addresses, Addresses::V6 { .. })
        && packet.is_icmp()
        && packet.fragment.is_none()
        && packet
            .upper(frame)
            .first()
            .is_some_and(|kind| matches!(*kind, icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT))
}

/// Whether a frame that ends too early is one that segmentation offload made longer than the
/// receive buffer.
#[cold]
fn is_cut_off(frame: &[u8], mtu: u16) -> bool {
    ethernet::Header::new(frame).is_some_and(|header| header.ether_type() == ethernet::IPV4)
        && ipv4::Header::at(frame, ethernet::HEADER_BYTES)
            .is_some_and(|header| header.total_length() > mtu)
}

/// The errors that are relayed. A redirect concerns only the link on which it was received.
const fn is_relayed_v4(kind: u8) -> bool {
    matches!(
        kind,
        icmpv4::DESTINATION_UNREACHABLE
            | icmpv4::SOURCE_QUENCH
            | icmpv4::TIME_EXCEEDED
            | icmpv4::PARAMETER_PROBLEM
    )
}

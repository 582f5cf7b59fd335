//! Echo replies of IPv4 and IPv6, made from the requests.
//! Whether a request is for this machine is decided in `classify.rs`.

use crate::flow::Addresses;
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Context};
use crate::pipeline::answer::local::Host;
use crate::pipeline::leave::exit::Exit;
use crate::pipeline::leave::forward::{fit, route, strip};
use crate::verdict::{DropReason, Verdict};
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6};

impl Host {
    /// Turns an echo request to an address of ours into its reply, within the limit on pings.
    pub(crate) fn echo<P: Pool, F: PacketBuf>(
        &mut self,
        exit: &mut Exit<P>,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
    ) -> Result<Action, DropReason> {
        let Context {
            snapshot,
            now,
            origin,
            ..
        } = *context;
        if !packet.is_icmp_checksum_valid(frame.bytes()) {
            return Err(DropReason::IcmpInvalid);
        }
        if !self.policer.may_answer(snapshot, origin.port, packet, now) {
            return Err(DropReason::EchoLimited);
        }
        let upper = packet.upper_mut(frame.bytes_mut());
        let made = match packet.addresses {
            Addresses::V4 { .. } => icmpv4::make_echo_reply(upper),
            Addresses::V6 { .. } => icmpv6::make_echo_reply(upper),
        };
        if !made {
            return Err(DropReason::IcmpInvalid);
        }
        let id = origin.cut.is_none().then(|| exit.take_id());
        let ip = frame.bytes_mut().get_mut(packet.l3.into()..);
        let ip = ip.ok_or(DropReason::Truncated)?;
        match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                if let Some(mut header) = ipv4::Header::new_mut(ip) {
                    header.set_source(destination);
                    header.set_destination(source);
                    header.set_ttl(64);
                    if let Some(id) = id {
                        // The reply gets an identification of its own, as Linux does it.
                        header.set_id(id);
                        header.set_flags(0);
                    }
                }
                let header_bytes = usize::from(packet.l4 - packet.l3);
                let checksum = ip.get(..header_bytes).map_or(0, ipv4::header_checksum);
                if let Some(mut header) = ipv4::Header::new_mut(ip) {
                    header.set_checksum(checksum);
                }
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                if let Some(mut header) = ipv6::Header::new_mut(ip) {
                    header.set_source(destination);
                    header.set_destination(source);
                    header.set_hop_limit(64);
                }
            }
        }
        let egress = snapshot.routes.egress(packet.addresses.source());
        let egress = egress.ok_or(DropReason::NoRoute)?;
        let packet = &mut { *packet };
        strip(snapshot, frame, packet, egress.port)?;
        let cut = fit(packet, egress.mtu, origin.cut).map_err(|_| DropReason::MtuExceeded)?;
        Ok(route(egress, cut, Verdict::Replied))
    }
}

//! This machine as a host on its links: it replies to ARP requests and neighbour solicitations for its addresses, and
//! defends these addresses. Neighbours' MACs are kept in `neighbour.rs`; echo replies are made in `echo.rs`.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::flow::{V4, V6};
use crate::id::PortId;
use crate::incident::Incident;
use crate::io::{PacketBuf, Pool};
use crate::neighbour::Claim;
use crate::parse::Packet;
use crate::pipeline::action::{Action, Context, punt};
use crate::pipeline::answer::defence::Defences;
use crate::pipeline::answer::policer::Policer;
use crate::pipeline::leave::exit::Exit;
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;
use crate::verdict::{DropReason, Verdict};
use crate::wire::family::Family;
use crate::wire::{Mac, arp, ethernet, ndp};

/// What one worker remembers as a host on its links.
#[derive(Debug)]
pub(crate) struct Host {
    stats: Arc<WorkerStats>,
    defences: Defences,
    pub(crate) policer: Policer,
}

impl Host {
    pub(crate) fn new(hasher: RandomState, stats: Arc<WorkerStats>) -> Self {
        Self {
            stats,
            policer: Policer::new(&hasher),
            defences: Defences::new(hasher),
        }
    }

    /// Handles an ARP packet, which begins at `offset`: replies to a request for an address of ours, and learns the
    /// sender's MAC (RFC 826).
    pub(crate) fn arp<P: Pool, F: PacketBuf>(
        &mut self,
        exit: &mut Exit<P>,
        context: &Context<'_>,
        frame: &mut F,
        offset: usize,
    ) -> Result<Action, DropReason> {
        let Context { snapshot, now, .. } = *context;
        let port = context.origin.port;
        let heard = frame.bytes().get(offset..).and_then(arp::parse);
        let heard = heard.ok_or(DropReason::ArpInvalid)?;
        let own_mac = snapshot.mac_of(port).ok_or(DropReason::ArpInvalid)?;
        let (sender, target): (IpAddr, IpAddr) = (heard.sender.into(), heard.target.into());
        let asked = heard.operation == arp::Operation::Request && snapshot.is_ours(target);
        if snapshot.is_ours(sender) && heard.sender_mac != own_mac {
            // Another host claims one of our addresses. Its MAC must not be learnt for it.
            self.defend(exit, context, sender, heard.sender_mac);
            return Err(DropReason::MartianSource);
        }
        if snapshot.is_on_link(port, sender) {
            // Only a reply to our MAC and address is an answer. A reply to other hosts, or a broadcast one, is worth no
            // more than a request.
            let answers = heard.operation == arp::Operation::Reply
                && heard.target_mac == own_mac
                && snapshot.is_ours(target);
            let claim = if answers {
                Claim::answer(heard.sender_mac)
            } else {
                Claim::unasked(heard.sender_mac)
            };
            exit.learn(snapshot, port, sender, claim, asked, now);
        }
        if !asked {
            return Ok(punt(snapshot, port).unwrap_or(Action::Consume));
        }
        let reply = arp::Packet::reply_to(&heard, own_mac);
        let room = frame.set_len(arp::FRAME_BYTES);
        room.map_err(|_| DropReason::ArpInvalid)?;
        arp::write(frame.bytes_mut(), heard.sender_mac, &reply).ok_or(DropReason::ArpInvalid)?;
        Ok(Action::Emit {
            port,
            verdict: Verdict::Replied,
        })
    }

    /// Handles a neighbour discovery message: replies to a solicitation for an address of ours, and learns MACs (RFC 4861
    /// section 7.2). Other messages, such as router advertisements, go to the kernel.
    pub(crate) fn ndp<P: Pool, F: PacketBuf>(
        &mut self,
        exit: &mut Exit<P>,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
    ) -> Result<Action, DropReason> {
        let Context { snapshot, now, .. } = *context;
        let port = context.origin.port;
        let (Some((source, destination)), Some(own_mac), Some(header)) = (
            V6::pair(packet.addresses),
            snapshot.mac_of(port),
            ethernet::Header::new(frame.bytes()),
        ) else {
            return Err(DropReason::NdpInvalid);
        };
        let asker_mac = header.source();
        let upper = packet.upper(frame.bytes());
        let is_neighbour = upper.first().is_some_and(|kind| (135..=136).contains(kind));
        if !is_neighbour {
            return Ok(punt(snapshot, port).unwrap_or(Action::Consume));
        }
        let message = ndp::parse(source, destination, packet.ttl, upper);
        let message = message.ok_or(DropReason::NdpInvalid)?;
        match message {
            ndp::Message::Solicitation { target, source_mac } => {
                if !snapshot.is_ours(target.into()) {
                    return Ok(punt(snapshot, port).unwrap_or(Action::Consume));
                }
                if snapshot.is_ours(source.into()) && asker_mac != own_mac {
                    self.defend(exit, context, source.into(), asker_mac);
                    return Err(DropReason::MartianSource);
                }
                if let Some(mac) = source_mac
                    && snapshot.is_on_link(port, source.into())
                {
                    let claim = Claim::unasked(mac);
                    exit.learn(snapshot, port, source.into(), claim, true, now);
                }
                let answer = ndp::reply(own_mac, target, source, source_mac.unwrap_or(asker_mac));
                let room = frame.set_len(ndp::MAX_FRAME_BYTES);
                room.map_err(|_| DropReason::NdpInvalid)?;
                let length = ndp::write(frame.bytes_mut(), &answer);
                let length = length.ok_or(DropReason::NdpInvalid)?;
                let cut = frame.set_len(length);
                cut.map_err(|_| DropReason::NdpInvalid)?;
                Ok(Action::Emit {
                    port,
                    verdict: Verdict::Replied,
                })
            }
            ndp::Message::Advertisement {
                target,
                target_mac,
                solicited,
                overrides,
                ..
            } => {
                if let Some(mac) = target_mac.filter(|mac| *mac != own_mac)
                    && snapshot.is_ours(target.into())
                {
                    self.defend(exit, context, target.into(), mac);
                    return Err(DropReason::MartianSource);
                }
                if snapshot.is_on_link(port, target.into()) {
                    let claim = Claim {
                        mac: target_mac,
                        solicited,
                        overrides,
                    };
                    exit.learn(snapshot, port, target.into(), claim, false, now);
                }
                Ok(punt(snapshot, port).unwrap_or(Action::Consume))
            }
        }
    }

    /// Another host, with the MAC `mac`, claims our `address`: announces the address, at a limited rate.
    fn defend<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        context: &Context<'_>,
        address: IpAddr,
        mac: Mac,
    ) {
        let Context { snapshot, now, .. } = *context;
        let port = context.origin.port;
        // Two of our devices on one link receive each other's messages.
        if snapshot.devices.iter().any(|own| own.mac == mac) {
            return;
        }
        if self.defences.is_due(port, address, now) {
            let incident = Incident::AddressConflict { port, address, mac };
            self.stats.tell(incident);
            exit.announce(snapshot, port, address);
        }
    }
}

impl<P: Pool> Exit<P> {
    /// Announces on the link that `address` is ours (RFC 5227 section 3, RFC 4861 section 7.2.6).
    pub(crate) fn announce(&mut self, snapshot: &Snapshot, port: PortId, address: IpAddr) {
        let Some(own_mac) = snapshot.mac_of(port) else {
            return;
        };
        match address {
            IpAddr::V4(address) => {
                let packet = arp::Packet::announcement(own_mac, V4::from(address));
                self.originate_frame(snapshot, port, arp::FRAME_BYTES, |out| {
                    arp::write(out, Mac::BROADCAST, &packet)
                });
            }
            IpAddr::V6(address) => {
                let message = ndp::announcement(own_mac, V6::from(address));
                self.originate_frame(snapshot, port, ndp::MAX_FRAME_BYTES, |out| {
                    ndp::write(out, &message)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;

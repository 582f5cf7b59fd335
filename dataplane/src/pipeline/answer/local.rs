//! What is for this machine as a host on its links: ARP and neighbour discovery.
//! Who has which MAC is remembered in `neighbour.rs`.

use std::net::IpAddr;

use crate::flow::{V4, V6};
use crate::id::PortId;
use crate::incident::Incident;
use crate::io::{PacketBuf, Pool};
use crate::neighbour::Claim;
use crate::parse::Packet;
use crate::pipeline::action::{Action, punt};
use crate::pipeline::engine::Engine;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::family::Family;
use crate::wire::{Mac, arp, ethernet, ndp};

impl<P: Pool> Engine<P> {
    /// Answers for our addresses and listens to answers (RFC 826).
    pub(crate) fn classify_arp<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        offset: usize,
        port: PortId,
        now: Time,
    ) -> Action {
        let Some(heard) = frame.bytes().get(offset..).and_then(arp::parse) else {
            return Action::Drop(DropReason::ArpInvalid);
        };
        let Some(own_mac) = snapshot.mac_of(port) else {
            return Action::Drop(DropReason::ArpInvalid);
        };
        let (sender, target): (IpAddr, IpAddr) = (heard.sender.into(), heard.target.into());
        let asked = heard.operation == arp::Operation::Request && snapshot.is_ours(target);
        if snapshot.is_ours(sender) && heard.sender_mac != own_mac {
            // Somebody claims one of our addresses; believing it would only help an attacker.
            self.defend(snapshot, port, sender, heard.sender_mac, now);
            return Action::Drop(DropReason::MartianSource);
        }
        if snapshot.is_on_link(port, sender) {
            // A reply to us; one to everybody or to somebody else proves as little as a question.
            let answers = heard.operation == arp::Operation::Reply
                && heard.target_mac == own_mac
                && snapshot.is_ours(target);
            let claim = if answers {
                Claim::answer(heard.sender_mac)
            } else {
                Claim::unasked(heard.sender_mac)
            };
            self.exit.learn(snapshot, port, sender, claim, asked, now);
        }
        if !asked {
            return punt(snapshot, port).unwrap_or(Action::Consume);
        }
        let reply = arp::Packet::reply_to(&heard, own_mac);
        if frame.set_len(arp::FRAME_BYTES).is_err() {
            return Action::Drop(DropReason::ArpInvalid);
        }
        match arp::write(frame.bytes_mut(), heard.sender_mac, &reply) {
            Some(_) => Action::Emit {
                port,
                verdict: Verdict::Replied,
            },
            None => Action::Drop(DropReason::ArpInvalid),
        }
    }

    /// Answers for our addresses and listens to answers (RFC 4861 section 7.2); everything else,
    /// such as router advertisements, is the kernel's.
    pub(crate) fn classify_ndp<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        port: PortId,
        now: Time,
    ) -> Action {
        let (Some((source, destination)), Some(own_mac), Some(header)) = (
            V6::pair(packet.addresses),
            snapshot.mac_of(port),
            ethernet::Header::new(frame.bytes()),
        ) else {
            return Action::Drop(DropReason::NdpInvalid);
        };
        let asker_mac = header.source();
        let upper = packet.upper(frame.bytes());
        let is_neighbour = upper.first().is_some_and(|kind| (135..=136).contains(kind));
        if !is_neighbour {
            return punt(snapshot, port).unwrap_or(Action::Consume);
        }
        let Some(message) = ndp::parse(source, destination, packet.ttl, upper) else {
            return Action::Drop(DropReason::NdpInvalid);
        };
        match message {
            ndp::Message::Solicitation { target, source_mac } => {
                if !snapshot.is_ours(target.into()) {
                    return punt(snapshot, port).unwrap_or(Action::Consume);
                }
                if snapshot.is_ours(source.into()) && asker_mac != own_mac {
                    self.defend(snapshot, port, source.into(), asker_mac, now);
                    return Action::Drop(DropReason::MartianSource);
                }
                if let Some(mac) = source_mac
                    && snapshot.is_on_link(port, source.into())
                {
                    let claim = Claim::unasked(mac);
                    self.exit
                        .learn(snapshot, port, source.into(), claim, true, now);
                }
                let answer = ndp::reply(own_mac, target, source, source_mac.unwrap_or(asker_mac));
                if frame.set_len(ndp::MAX_FRAME_BYTES).is_err() {
                    return Action::Drop(DropReason::NdpInvalid);
                }
                let length = ndp::write(frame.bytes_mut(), &answer);
                if length.is_none_or(|length| frame.set_len(length).is_err()) {
                    return Action::Drop(DropReason::NdpInvalid);
                }
                Action::Emit {
                    port,
                    verdict: Verdict::Replied,
                }
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
                    self.defend(snapshot, port, target.into(), mac, now);
                    return Action::Drop(DropReason::MartianSource);
                }
                if snapshot.is_on_link(port, target.into()) {
                    let claim = Claim {
                        mac: target_mac,
                        solicited,
                        overrides,
                    };
                    self.exit
                        .learn(snapshot, port, target.into(), claim, false, now);
                }
                punt(snapshot, port).unwrap_or(Action::Consume)
            }
        }
    }

    /// Somebody else, at `mac`, claims our `address`: the link is told where it is, but not too often.
    fn defend(&mut self, snapshot: &Snapshot, port: PortId, address: IpAddr, mac: Mac, now: Time) {
        // Two of our devices on one link hear each other.
        if snapshot.devices.iter().any(|own| own.mac == mac) {
            return;
        }
        if self.defences.is_due(port, address, now) {
            let incident = Incident::AddressConflict { port, address, mac };
            self.stats.tell(incident);
            self.announce(snapshot, port, address);
        }
    }

    /// Tells the link that `address` is here, unasked (RFC 5227 section 3, RFC 4861 section 7.2.6).
    pub(crate) fn announce(&mut self, snapshot: &Snapshot, port: PortId, address: IpAddr) {
        let Some(own_mac) = snapshot.mac_of(port) else {
            return;
        };
        match address {
            IpAddr::V4(address) => {
                let packet = arp::Packet::announcement(own_mac, V4::from(address));
                self.exit
                    .originate_frame(snapshot, port, arp::FRAME_BYTES, |out| {
                        arp::write(out, Mac::BROADCAST, &packet)
                    });
            }
            IpAddr::V6(address) => {
                let message = ndp::announcement(own_mac, V6::from(address));
                self.exit
                    .originate_frame(snapshot, port, ndp::MAX_FRAME_BYTES, |out| {
                        ndp::write(out, &message)
                    });
            }
        }
    }
}

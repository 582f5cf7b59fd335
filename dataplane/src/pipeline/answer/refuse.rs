//! Tells the sender of a packet that is dropped why: a TCP reset, or an ICMP error. Resets and errors have separate
//! rate limits.
//! Which packets are refused, and with which answer, is decided by the callers.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::flow::{Addresses, Protocol, V4, V6};
use crate::id::RealId;
use crate::io::Pool;
use crate::parse::Packet;
use crate::pipeline::action::{Answer, Context, Received, Speaker};
use crate::pipeline::answer::icmp_error::{Error, send_error};
use crate::pipeline::answer::quoted_hops;
use crate::pipeline::leave::exit::Exit;
use crate::pipeline::limit::Limits;
use crate::pipeline::sessions::{Sessions, Tabled, flow_key};
use crate::rewrite::reset::{MAX_RESET_BYTES, reset_of, write_reset};
use crate::session::{Direction, SessionIndex, Step};
use crate::time::Time;
use crate::wire::{ipv4, ipv6, sctp, tcp, udp};

/// One worker's answers to packets that it drops.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    limits: Limits,
}

impl Answers {
    /// Sends an answer to a packet, which is as it was received.
    #[cold]
    pub(crate) fn give<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        sessions: &mut Sessions,
        context: &Context<'_>,
        (frame, packet): (&[u8], &Packet),
        answer: Answer,
    ) {
        let datagram = Cow::Borrowed(packet.datagram(frame));
        // LVS decrements the TTL of a client's packet before it checks the size; of replies and routed packets after.
        let as_quoted = || quoted_hops::as_quoted(context.snapshot, packet.datagram(frame));
        let (datagram, error, speaker) = match answer {
            Answer::Nothing => return,
            Answer::AsHost => return self.as_host(exit, sessions, context, frame, packet),
            Answer::AsReal => return self.as_real(exit, sessions, context, frame, packet),
            Answer::PortUnreachable => (datagram, Error::PortUnreachable, Speaker::Vip),
            Answer::ReplyUnreachable => (as_quoted(), Error::PortUnreachable, Speaker::Router),
            Answer::HostUnreachable => (datagram, Error::HostUnreachable, Speaker::Router),
            Answer::TimeExceeded(speaker) => (datagram, Error::TimeExceeded, speaker),
            Answer::TooBig(mtu, Speaker::Vip) => (as_quoted(), Error::TooBig { mtu }, Speaker::Vip),
            Answer::TooBig(mtu, speaker) => (datagram, Error::TooBig { mtu }, speaker),
        };
        self.report(exit, sessions, context, (&datagram, packet), error, speaker);
    }

    /// Sends "host unreachable" for a client's packet because the next hop's MAC could not be resolved.
    #[cold]
    pub(crate) fn neighbour_unreachable<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        sessions: &mut Sessions,
        context: &Context<'_>,
        Received { packet, datagram }: &Received,
    ) {
        let datagram = quoted_hops::as_quoted(context.snapshot, datagram);
        let (error, speaker) = (Error::HostUnreachable, Speaker::Router);
        self.report(exit, sessions, context, (&datagram, packet), error, speaker);
    }

    /// Sends "reassembly time exceeded" for a datagram of which `first` is the first fragment.
    pub(crate) fn reassembly_time_exceeded<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        context: &Context<'_>,
        first: &[u8],
        addresses: (IpAddr, IpAddr),
    ) {
        let error = Error::ReassemblyTimeExceeded;
        if self.limits.allow(error, context.now) {
            send_error(exit, context, first, addresses, error);
        }
    }

    /// Refuses a packet to an address of ours that no service and no session takes, as a host refuses a packet to a
    /// closed port. In LVS, the director's kernel does that.
    fn as_host<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        sessions: &mut Sessions,
        context: &Context<'_>,
        frame: &[u8],
        packet: &Packet,
    ) {
        let snapshot = context.snapshot;
        // The answer would go to this machine if the source is an address of ours, and to all hosts on the link if it
        // is a broadcast address.
        if snapshot.is_martian_source(packet.addresses.source()) {
            return;
        }
        let datagram = packet.datagram(frame);
        let error = match packet.balanced_protocol() {
            Some(Protocol::Tcp) => {
                self.reset(exit, context, frame, packet);
                return;
            }
            Some(Protocol::Udp) if is_udp_sound(packet, packet.upper(frame)) => {
                Error::PortUnreachable
            }
            // Only an INIT is answered. The receiver treats this error as an ABORT (RFC 9260 section 10), which would
            // end an association that uses another path or another balancer. A host without SCTP, such as an LVS
            // director, does not examine the SCTP header.
            Some(Protocol::Sctp) if packet.sctp_chunk == sctp::INIT || snapshot.answers_as_lvs => {
                protocol_unreachable(datagram)
            }
            None if !packet.is_icmp() && packet.protocol != ipv6::NO_NEXT_HEADER => {
                protocol_unreachable(datagram)
            }
            Some(Protocol::Udp | Protocol::Sctp) | None => return,
        };
        self.report(
            exit,
            sessions,
            context,
            (datagram, packet),
            error,
            Speaker::Vip,
        );
    }

    /// Refuses a packet whose real server is this machine. The session is advanced by the reset, as in IPVS.
    fn as_real<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        sessions: &mut Sessions,
        context: &Context<'_>,
        frame: &[u8],
        packet: &Packet,
    ) {
        if packet.balanced_protocol() != Some(Protocol::Tcp) {
            return self.as_host(exit, sessions, context, frame, packet);
        }
        let length = self.reset(exit, context, frame, packet);
        if length == 0 {
            return;
        }
        match packet.addresses {
            Addresses::V4 { .. } => was_reset::<V4>(sessions, context, packet, length),
            Addresses::V6 { .. } => was_reset::<V6>(sessions, context, packet, length),
        }
    }

    /// Sends a reset in reply to a segment. Returns its length, or 0 if none is sent.
    fn reset<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        context: &Context<'_>,
        frame: &[u8],
        packet: &Packet,
    ) -> usize {
        let reset = reset_of(packet, packet.upper(frame));
        let Some(reset) = reset.filter(|_| self.limits.resets.allow(context.now)) else {
            return 0;
        };
        let write = |out: &mut [u8]| write_reset(out, packet.addresses, &reset);
        exit.originate(context, packet.addresses.source(), MAX_RESET_BYTES, write)
    }

    /// Sends an error about a packet, and counts it.
    fn report<P: Pool>(
        &mut self,
        exit: &mut Exit<P>,
        sessions: &Sessions,
        context: &Context<'_>,
        (datagram, packet): (&[u8], &Packet),
        error: Error,
        speaker: Speaker,
    ) {
        // Never an error about an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
        if packet.is_icmp() || !self.limits.allow(error, context.now) {
            return;
        }
        let to = packet.addresses.source();
        let from = match speaker {
            Speaker::Vip => Some(packet.addresses.destination()),
            Speaker::Router => {
                let egress = context.snapshot.routes.egress(to);
                egress.and_then(|egress| egress.source)
            }
        };
        let Some(from) = from else { return };
        let length = send_error(exit, context, datagram, (from, to), error);
        // As in IPVS, an error about a packet of a one-way session counts as a reply of its real server.
        if length > 0
            && let Some(real) = one_way_real_of(sessions, context, packet)
        {
            context.count_packet(real, Direction::Output, length as u64);
        }
    }
}

impl Limits {
    /// Whether one more error of this kind is within its limit.
    fn allow(&mut self, error: Error, now: Time) -> bool {
        match error {
            Error::PortUnreachable | Error::ProtocolUnreachable { .. } | Error::HostUnreachable => {
                self.unreachable.allow(now)
            }
            Error::TimeExceeded | Error::ReassemblyTimeExceeded => self.exceeded.allow(now),
            Error::TooBig { .. } | Error::Relayed { .. } => true,
        }
    }
}

fn protocol_unreachable(datagram: &[u8]) -> Error {
    Error::ProtocolUnreachable {
        link: ipv6::walk(datagram).map_or(0, |chain| chain.link),
    }
}

/// Advances the packet's session by a reset of `length` bytes from its real server.
fn was_reset<A: Tabled>(
    sessions: &mut Sessions,
    context: &Context<'_>,
    packet: &Packet,
    length: usize,
) {
    let Some(index) = session_of::<A>(sessions, context, packet) else {
        return;
    };
    let real = A::table_of(sessions).get(index).real();
    let Some(known) = context.snapshot.real(real) else {
        return;
    };
    let step = Step {
        direction: Direction::Output,
        signal: tcp::RST,
        secure: known.policy.is_secure(sessions.half_open_pressure),
        timeouts: &known.timeouts,
    };
    let bytes = u32::try_from(length).ok();
    sessions.advance::<A>(context, (index, real), step, bytes, || false);
}

/// The real server of the one-way session that a client's packet belongs to.
fn one_way_real_of(sessions: &Sessions, context: &Context<'_>, packet: &Packet) -> Option<RealId> {
    fn of<A: Tabled>(
        sessions: &Sessions,
        context: &Context<'_>,
        packet: &Packet,
    ) -> Option<RealId> {
        let session = A::table_of(sessions).get(session_of::<A>(sessions, context, packet)?);
        let one_way = session.flags().is_one_way();
        one_way.then(|| session.real())
    }
    match packet.addresses {
        Addresses::V4 { .. } => of::<V4>(sessions, context, packet),
        Addresses::V6 { .. } => of::<V6>(sessions, context, packet),
    }
}

/// The session that a client's packet belongs to.
fn session_of<A: Tabled>(
    sessions: &Sessions,
    context: &Context<'_>,
    packet: &Packet,
) -> Option<SessionIndex> {
    let (source, destination) = A::pair(packet.addresses)?;
    let key = flow_key(packet, packet.balanced_protocol()?, source, destination);
    let table = A::table_of(sessions);
    table.find(table.hash(&key), &key, context.now)
}

/// Whether a host would accept the datagram: its length and checksum are right.
fn is_udp_sound(packet: &Packet, upper: &[u8]) -> bool {
    let Some(header) = udp::Header::new(upper) else {
        return false;
    };
    let Some(datagram) = upper.get(..usize::from(header.length())) else {
        return false;
    };
    if datagram.len() < udp::HEADER_BYTES {
        return false;
    }
    match (header.checksum(), packet.addresses) {
        (0, Addresses::V4 { .. }) => true,
        (0, Addresses::V6 { .. }) => false,
        _ => packet
            .addresses
            .pseudo_header(ipv4::UDP, datagram.len())
            .bytes(datagram)
            .is_valid(),
    }
}

#[cfg(test)]
mod tests;

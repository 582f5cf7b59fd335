//! Removes expired sessions. For an expired TCP session, client and real server get a reset if the service has
//! `idle_reset`. The session table decides when a session expires; `leave/forward.rs` sends the packets.

use arrayvec::ArrayVec;

use crate::flow::{Address, Addresses, Protocol};
use crate::io::{PacketBuf, Pool};
use crate::parse::{Packet, parse_ip};
use crate::pipeline::action::{Action, Context, Waiting};
use crate::pipeline::balance::Balancer;
use crate::pipeline::balance::admit::uncount;
use crate::pipeline::leave::exit::Exit;
use crate::pipeline::leave::forward::Forwarder;
use crate::pipeline::sessions::{Tabled, change_of};
use crate::rewrite::reset::{MAX_RESET_BYTES, Reset, write_reset};
use crate::session::{Numbers, Session, State, TcpState};
use crate::snapshot::Snapshot;
use crate::wire::tcp;

/// Whether both ends of an expired session get a reset.
fn is_told<A: Address>(snapshot: &Snapshot, session: &Session<A>) -> bool {
    session.state() == State::Tcp(TcpState::Established)
        && snapshot
            .real(session.real())
            .is_some_and(|real| real.policy.idle_reset)
}

impl Balancer {
    /// Removes expired sessions from the table.
    pub(crate) fn expire<A: Tabled, P: Pool>(
        &mut self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
    ) {
        /// The most sessions that one tick examines, and so the most pairs of resets that it sends.
        const BUDGET: usize = 64;
        let mut told = ArrayVec::<(Session<A>, Numbers), BUDGET>::new();
        A::table(&mut self.sessions).expire(context.now, BUDGET, |session, numbers| {
            uncount(context, session);
            if let Some(numbers) = numbers
                && is_told(context.snapshot, session)
            {
                // There is room: no more than `BUDGET` expire.
                let _ = told.try_push((*session, numbers));
            }
        });
        for (session, numbers) in &told {
            self.reset_both(forwarder, context, session, *numbers);
        }
    }

    /// Sends the resets of an expired session: one to the client from the virtual address, one to the real server from the
    /// client's address.
    #[cold]
    fn reset_both<A: Tabled, P: Pool>(
        &self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        session: &Session<A>,
        numbers: Numbers,
    ) {
        let key = session.key();
        debug_assert_eq!(key.protocol, Protocol::Tcp);
        let to_client = Reset {
            source_port: key.virtual_port,
            destination_port: key.client_port,
            sequence: numbers.server_next,
            acknowledgement: 0,
            flags: tcp::RST,
        };
        let request = A::addresses(key.client, key.virtual_address);
        let write = |out: &mut [u8]| write_reset(out, request, &to_client);
        let exit = &mut forwarder.exit;
        exit.originate(context, key.client.into(), MAX_RESET_BYTES, write);
        let to_real = Reset {
            source_port: key.client_port,
            destination_port: key.virtual_port,
            sequence: numbers.client_next,
            ..to_client
        };
        self.reset_real(forwarder, context, session, &to_real);
    }

    /// Sends `reset` to the real server as a packet of the session: by DR, NAT or tunnel.
    fn reset_real<A: Tabled, P: Pool>(
        &self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        session: &Session<A>,
        reset: &Reset,
    ) {
        let snapshot = context.snapshot;
        let key = session.key();
        let Some(real) = snapshot.real(session.real()) else {
            return;
        };
        let header_bytes = real
            .egress
            .and_then(|egress| snapshot.header_bytes(egress.port));
        let Some(header_bytes) = header_bytes else {
            return;
        };
        let answer = A::addresses(key.virtual_address, key.client);
        let Some((mut frame, packet)) = frame_of(&mut forwarder.exit, header_bytes, answer, reset)
        else {
            return;
        };
        let change = change_of(session);
        let decision = forwarder.forward::<A, P::Buf>(context, &mut frame, &packet, real, change);
        let exit = &mut forwarder.exit;
        match decision {
            Ok(Action::Emit { port, .. }) => {
                self.stats.originated.add(1);
                exit.emit(snapshot, frame, port, None);
            }
            Ok(Action::Route {
                port,
                next_hop,
                cut: None,
                ..
            }) => {
                self.stats.originated.add(1);
                exit.send(context, Waiting::made_here(frame), port, next_hop);
            }
            _ => {}
        }
        // It was originated here, so no ICMP error is sent about it.
        forwarder.received = None;
    }
}

/// A frame with a reset in reply to a packet with these addresses, behind an Ethernet header of `header_bytes`.
fn frame_of<P: Pool>(
    exit: &mut Exit<P>,
    header_bytes: usize,
    addresses: Addresses,
    reset: &Reset,
) -> Option<(P::Buf, Packet)> {
    let mut frame = exit.allocate()?;
    frame.set_len(header_bytes + MAX_RESET_BYTES).ok()?;
    let out = frame.bytes_mut().get_mut(header_bytes..)?;
    let length = write_reset(out, addresses, reset)?;
    frame.set_len(header_bytes + length).ok()?;
    let packet = parse_ip(frame.bytes(), u16::try_from(header_bytes).ok()?).ok()?;
    Some((frame, packet))
}

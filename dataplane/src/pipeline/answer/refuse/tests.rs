//! The answers alone: no engine, and no session but where one is asked for.

use std::sync::Arc;

use super::*;
use crate::id::DeviceId;
use crate::io::PacketBuf as _;
use crate::io::heap::{HeapBuf, MemoryPool};
use crate::memory::Memory;
use crate::neighbour::Claim;
use crate::parse::{Parse, parse};
use crate::pipeline::action::Origin;
use crate::pipeline::answer::one_link::{NOW, OWN, OneLink, PEER, PORT};
use crate::session::SessionTable;
use crate::snapshot::Snapshot;
use crate::testing::PacketBuilder;
use crate::wire::icmpv4;

const CLIENT: V4 = V4(0x0a00_0009);
const ADDRESS: V4 = V4(0x0a00_0001);

struct Alone {
    snapshot: Arc<Snapshot>,
    answers: Answers,
    sessions: Sessions,
    exit: Exit<MemoryPool>,
}

impl Alone {
    fn new() -> Self {
        let OneLink {
            snapshot, mut exit, ..
        } = OneLink::new(2048);
        let claim = Claim::answer(PEER);
        exit.learn(&snapshot, PORT, CLIENT.into(), claim, true, NOW);
        let keys = [1, 2, 3, 4];
        Self {
            snapshot,
            answers: Answers::default(),
            sessions: Sessions {
                half_open_pressure: false,
                v4: SessionTable::new(8, keys, Memory::HEAP),
                v6: SessionTable::new(8, keys, Memory::HEAP),
            },
            exit,
        }
    }

    /// Gives the answer to a packet. Returns the datagrams that were sent.
    fn give(&mut self, packet: &PacketBuilder, answer: Answer) -> Vec<Vec<u8>> {
        let frame = HeapBuf::from_frame(&packet.build());
        let Parse::Ip(packet) = parse(frame.bytes()) else {
            panic!("not parsed");
        };
        let context = &Context::new(&self.snapshot, 0, NOW, Origin::HERE).unwrap();
        let packet = (frame.bytes(), &packet);
        let (exit, sessions) = (&mut self.exit, &mut self.sessions);
        self.answers.give(exit, sessions, context, packet, answer);
        let queue = self.exit.queue(DeviceId::new(0)).unwrap();
        let frames = queue.frames.drain(..);
        frames.map(|frame| frame.bytes()[14..].to_vec()).collect()
    }
}

fn syn() -> PacketBuilder {
    PacketBuilder::v4(CLIENT, ADDRESS)
        .mac(PEER, OWN)
        .tcp(4000, 80)
        .flags(tcp::SYN)
}

#[test]
fn resets_and_errors_have_limits_of_their_own() {
    let mut alone = Alone::new();
    let resets = (0..1001).map(|_| alone.give(&syn(), Answer::AsHost));
    let sent: Vec<_> = resets.flatten().collect();
    assert_eq!(sent.len(), 1000);
    let flags = tcp::Header::new(&sent[0][20..]).unwrap().flags();
    assert_eq!(flags, tcp::RST | tcp::ACK);

    let error = alone.give(&syn(), Answer::TimeExceeded(Speaker::Router));
    let header = icmpv4::Header::new(&error[0][20..]).unwrap();
    assert_eq!(header.kind(), icmpv4::TIME_EXCEEDED);
}

#[test]
fn an_error_quotes_the_packet_as_it_was_received() {
    let mut alone = Alone::new();
    let packet = syn();
    for answer in [
        Answer::PortUnreachable,
        Answer::ReplyUnreachable,
        Answer::HostUnreachable,
        Answer::TooBig(1200, Speaker::Vip),
        Answer::TooBig(1200, Speaker::Router),
    ] {
        let sent = alone.give(&packet, answer);
        assert_eq!(sent.len(), 1, "{answer:?}");
        assert_eq!(sent[0][28..68], packet.build()[14..54], "{answer:?}");
    }
}

#[test]
fn nothing_is_answered_to_an_error() {
    let mut alone = Alone::new();
    let quoted = &syn().build()[14..];
    let error = PacketBuilder::v4(CLIENT, ADDRESS)
        .mac(PEER, OWN)
        .icmp_error(icmpv4::DESTINATION_UNREACHABLE, 3, 0, quoted);
    for answer in [
        Answer::Nothing,
        Answer::AsHost,
        Answer::AsReal,
        Answer::PortUnreachable,
    ] {
        assert!(alone.give(&error, answer).is_empty(), "{answer:?}");
    }
}

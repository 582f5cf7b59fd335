//! The host alone: no engine, no sessions.

use super::*;
use crate::id::DeviceId;
use crate::io::heap::{HeapBuf, MemoryPool};
use crate::parse::{Parse, parse};
use crate::pipeline::action::Origin;
use crate::pipeline::answer::one_link::{NOW, OWN, OneLink, PEER, PORT};
use crate::testing::{PacketBuilder, arp_frame, neighbour_frame};

const REPLIED: Result<Action, DropReason> = Ok(Action::Emit {
    port: PORT,
    verdict: Verdict::Replied,
});

struct Alone {
    snapshot: Arc<Snapshot>,
    host: Host,
    exit: Exit<MemoryPool>,
}

impl Alone {
    fn new() -> Self {
        let OneLink {
            hasher,
            stats,
            snapshot,
            exit,
        } = OneLink::new(8);
        let host = Host::new(hasher, stats);
        Self {
            snapshot,
            host,
            exit,
        }
    }

    fn arp(&mut self, packet: &arp::Packet) -> (Result<Action, DropReason>, Option<arp::Packet>) {
        let mut frame = HeapBuf::from_frame(&arp_frame(OWN, packet));
        let context = &Context::new(&self.snapshot, 0, NOW, Origin::HERE).unwrap();
        let action = self.host.arp(&mut self.exit, context, &mut frame, 14);
        (action, frame.bytes().get(14..).and_then(arp::parse))
    }

    fn sent(&mut self) -> usize {
        let queue = self.exit.queue(DeviceId::new(0)).unwrap();
        queue.frames.drain(..).count()
    }
}

fn v4(text: &str) -> V4 {
    text.parse::<std::net::Ipv4Addr>().unwrap().into()
}

#[test]
fn a_request_for_an_address_of_ours_becomes_its_reply() {
    let mut alone = Alone::new();
    let request = arp::Packet::request(PEER, v4("10.0.0.9"), v4("10.0.0.1"));
    let (action, reply) = alone.arp(&request);
    assert_eq!(action, REPLIED);
    assert_eq!(reply, Some(arp::Packet::reply_to(&request, OWN)));
    let others = arp::Packet::request(PEER, v4("10.0.0.9"), v4("10.0.0.8"));
    assert_eq!(alone.arp(&others).0, Ok(Action::Consume));
    assert_eq!(alone.sent(), 0);
}

#[test]
fn an_address_of_ours_is_defended_once_in_ten_seconds() {
    let mut alone = Alone::new();
    let claim = arp::Packet::request(PEER, v4("10.0.0.1"), v4("10.0.0.9"));
    for sent in [1, 0] {
        assert_eq!(alone.arp(&claim).0, Err(DropReason::MartianSource));
        assert_eq!(alone.sent(), sent);
    }
}

#[test]
fn a_solicitation_and_an_echo_request_are_replied_to() {
    let mut alone = Alone::new();
    let (own, peer) = ("2001:db8::1", "2001:db8::9");
    let [own, peer] = [own, peer].map(|text| text.parse::<std::net::Ipv6Addr>().unwrap());
    let solicitation = neighbour_frame(&ndp::solicitation(PEER, peer.into(), own.into()));
    let mut frame = HeapBuf::from_frame(&solicitation);
    let Parse::Ip(packet) = parse(frame.bytes()) else {
        panic!("not parsed");
    };
    let Alone {
        snapshot,
        host,
        exit,
    } = &mut alone;
    let context = &Context::new(snapshot, 0, NOW, Origin::HERE).unwrap();
    let action = host.ndp(exit, context, &mut frame, &packet);
    assert_eq!(action, REPLIED);

    let request = PacketBuilder::v6(peer, own)
        .mac(PEER, OWN)
        .echo_request(1, 1);
    let mut frame = HeapBuf::from_frame(&request.build());
    let Parse::Ip(packet) = parse(frame.bytes()) else {
        panic!("not parsed");
    };
    let action = host.echo(exit, context, &mut frame, &packet);
    let is_reply = matches!(
        action,
        Ok(Action::Route {
            verdict: Verdict::Replied,
            ..
        })
    );
    assert!(is_reply, "{action:?}");
}

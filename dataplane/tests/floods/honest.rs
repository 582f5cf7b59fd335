//! Clients that are really there: what they and their real servers send, step by step, and that all of it arrives.
//! They retransmit nothing, so one lost packet is a client that was not served.

use plimsoll_dataplane::flow::Protocol;

use crate::net::{ACK, FIN_ACK, SYN, SYN_ACK};
use crate::world::{Flow, PUSH_ACK, Part, World};

pub(crate) const INIT: u8 = 1;
pub(crate) const INIT_ACK: u8 = 2;
pub(crate) const COOKIE_ECHO: u8 = 10;
pub(crate) const COOKIE_ACK: u8 = 11;
const DATA: u8 = 0;
const SACK: u8 = 3;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const SHUTDOWN_COMPLETE: u8 = 14;

/// Who sends what within one round trip.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Say {
    Client(Part),
    Real(Part),
}

use Say::{Client, Real};

/// A whole short exchange, by round trips.
pub(crate) fn script(protocol: Protocol) -> Vec<Vec<Say>> {
    let (tcp, udp, sctp) = (Part::Tcp, Part::Udp, Part::Sctp);
    match protocol {
        Protocol::Tcp => vec![
            vec![Client(tcp(SYN)), Real(tcp(SYN_ACK))],
            vec![Client(tcp(ACK)), Client(tcp(PUSH_ACK)), Real(tcp(PUSH_ACK))],
            vec![Client(tcp(FIN_ACK)), Real(tcp(FIN_ACK)), Client(tcp(ACK))],
        ],
        Protocol::Udp => vec![vec![Client(udp), Real(udp)]; 3],
        Protocol::Sctp => vec![
            vec![Client(sctp(INIT)), Real(sctp(INIT_ACK))],
            vec![Client(sctp(COOKIE_ECHO)), Real(sctp(COOKIE_ACK))],
            vec![Client(sctp(DATA)), Real(sctp(SACK))],
            vec![
                Client(sctp(SHUTDOWN)),
                Real(sctp(SHUTDOWN_ACK)),
                Client(sctp(SHUTDOWN_COMPLETE)),
            ],
        ],
    }
}

/// What opens a connection, and what both sides send in an open one.
fn opening(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp | Protocol::Sctp => 2,
        Protocol::Udp => 1,
    }
}

/// A client in the middle of an exchange.
#[derive(Debug)]
pub(crate) struct Honest {
    pub(crate) flow: Flow,
    real: Option<&'static str>,
    steps: std::vec::IntoIter<Vec<Say>>,
}

impl Honest {
    pub(crate) fn new(world: &mut World, service: (Protocol, u16)) -> Self {
        Self {
            flow: world.client(service),
            real: None,
            steps: script(service.0).into_iter(),
        }
    }

    /// A connection that has been opened and stays so.
    pub(crate) fn open(world: &mut World, service: (Protocol, u16)) -> Self {
        let mut client = Self::new(world, service);
        for _ in 0..opening(service.0) {
            client.step(world);
        }
        client
    }

    pub(crate) fn is_done(&self) -> bool {
        self.steps.len() == 0
    }

    /// The next round trip.
    #[track_caller]
    pub(crate) fn step(&mut self, world: &mut World) {
        for say in self.steps.next().into_iter().flatten() {
            self.say(world, say);
        }
    }

    /// The client has sent all of its request, and waits for the answer.
    #[track_caller]
    pub(crate) fn finish_sending(&mut self, world: &mut World) {
        self.say(world, Client(Part::Tcp(FIN_ACK)));
    }

    /// Data in both directions.
    #[track_caller]
    pub(crate) fn talk(&mut self, world: &mut World) {
        let (request, answer) = match self.flow.service.0 {
            Protocol::Tcp => (Part::Tcp(PUSH_ACK), Part::Tcp(PUSH_ACK)),
            Protocol::Udp => (Part::Udp, Part::Udp),
            Protocol::Sctp => (Part::Sctp(DATA), Part::Sctp(SACK)),
        };
        self.say(world, Client(request));
        self.say(world, Real(answer));
    }

    #[track_caller]
    fn say(&mut self, world: &mut World, say: Say) {
        let now = world.rig.now();
        match say {
            Client(part) => {
                let real = world.send(&self.flow, part);
                let drops = world.rig.all_drops();
                assert!(
                    real.is_some(),
                    "{part:?} of {:?} is lost at {now:?}: {drops:?}",
                    self.flow
                );
                assert!(self.real.is_none() || self.real == real, "{:?}", self.flow);
                self.real = real;
            }
            Real(part) => {
                let real = self.real.unwrap();
                let arrived = world.answer(&self.flow, real, part);
                assert!(
                    arrived,
                    "answer {part:?} to {:?} is lost at {now:?}",
                    self.flow
                );
            }
        }
    }
}

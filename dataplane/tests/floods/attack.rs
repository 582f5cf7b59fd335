//! What floods consist of: packets of clients that were never there before, and what real servers answer them.
//! Nobody looks at what becomes of them.

use plimsoll_dataplane::flow::Protocol;

use crate::honest::{Say, script};
use crate::net::{ACK, SYN, SYN_ACK};
use crate::world::{Part, World};

/// What one invented or hasty client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// A SYN.
    Syn,
    /// A SYN, and an ACK that the real server's host drops: a reset would end the session at once.
    SynAck,
    /// Two datagrams, each of which the real server answers.
    Datagrams,
    /// A whole connection.
    Churn,
}

impl Attack {
    pub(crate) const ALL: [Self; 4] = [Self::Syn, Self::SynAck, Self::Datagrams, Self::Churn];

    /// One more client of `service` attacks.
    pub(crate) fn strike(self, world: &mut World, port: u16) {
        let protocol = match self {
            Self::Datagrams => Protocol::Udp,
            Self::Syn | Self::SynAck | Self::Churn => Protocol::Tcp,
        };
        let flow = world.client((protocol, port));
        let (tcp, udp) = (Part::Tcp, Part::Udp);
        let steps = match self {
            Self::Syn => vec![Say::Client(tcp(SYN)), Say::Real(tcp(SYN_ACK))],
            Self::SynAck => vec![
                Say::Client(tcp(SYN)),
                Say::Real(tcp(SYN_ACK)),
                Say::Client(tcp(ACK)),
            ],
            Self::Datagrams => vec![
                Say::Client(udp),
                Say::Real(udp),
                Say::Client(udp),
                Say::Real(udp),
            ],
            Self::Churn => script(protocol).concat(),
        };
        let mut real = None;
        for say in steps {
            match say {
                Say::Client(part) => real = world.send(&flow, part).or(real),
                Say::Real(part) => {
                    if let Some(real) = real {
                        world.answer(&flow, real, part);
                    }
                }
            }
        }
    }
}

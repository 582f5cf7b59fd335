//! How long a scenario's frames are.
//!
//! Must not write any.

use plimsoll_dataplane::wire::ethernet::{HEADER_BYTES as ETHERNET, MIN_FRAME_BYTES};
use plimsoll_dataplane::wire::{ipv4, ipv6, tcp, udp};

use super::scenario::{Family, Method, Protocol, Scenario, ScenarioError};

/// The largest IP packet on the link.
const MTU: usize = 1500;

/// How long frames are, and whether connections carry data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// A frame with a payload as the client sends it, in bytes without FCS.
    pub frame_bytes: usize,
    /// Whether a connection carries a segment of data each way before it ends.
    pub data: bool,
}

impl Shape {
    /// The headers alone, Ethernet's included.
    fn header_bytes(scenario: &Scenario) -> usize {
        let l3 = match scenario.family {
            Family::V4 => ipv4::HEADER_BYTES,
            Family::V6 => ipv6::HEADER_BYTES,
        };
        let l4 = match scenario.protocol {
            Protocol::Tcp => tcp::HEADER_BYTES,
            Protocol::Udp => udp::HEADER_BYTES,
        };
        ETHERNET + l3 + l4
    }

    /// The shortest frame of a scenario, in bytes without FCS.
    #[must_use]
    pub fn least(scenario: &Scenario) -> usize {
        Self::header_bytes(scenario).max(MIN_FRAME_BYTES)
    }

    /// Checks that there is room for the headers, and for a tunnel's on the link.
    ///
    /// # Errors
    /// [`ScenarioError::FrameBytes`], or what is wrong with the scenario itself.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ScenarioError> {
        scenario.check()?;
        let outer = match (scenario.method, scenario.family) {
            (Method::Dr | Method::Nat, _) => 0,
            (Method::Tunnel, Family::V4) => ipv4::HEADER_BYTES,
            (Method::Tunnel, Family::V6) => ipv6::HEADER_BYTES,
        };
        let (least, most) = (Self::least(scenario), ETHERNET + MTU - outer);
        if (least..=most).contains(&self.frame_bytes) {
            Ok(())
        } else {
            Err(ScenarioError::FrameBytes {
                asked: self.frame_bytes,
                least,
                most,
            })
        }
    }

    /// Bytes behind the transport header of a frame with a payload.
    pub(super) fn payload_bytes(&self, scenario: &Scenario) -> usize {
        self.frame_bytes
            .saturating_sub(Self::header_bytes(scenario))
    }

    /// The data of one direction of a connection, in bytes.
    pub(super) fn data_bytes(&self, scenario: &Scenario) -> u32 {
        if self.data {
            u32::try_from(self.payload_bytes(scenario)).unwrap_or(0)
        } else {
            0
        }
    }
}

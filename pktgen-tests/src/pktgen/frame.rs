//! Writes the frames of flows as the clients' router sends them.
//!
//! Must not choose a flow or read a clock: both are arguments.

use plimsoll_dataplane::wire::Mac;

use super::flows::Clients;
use super::scenario::{Scenario, ScenarioError};
use super::segment::Segment;
use super::shape::Shape;
use super::template::{Fields, Stage, Template};

/// Writes the clients' frames. What stays the same in all of them is written once, into templates.
#[derive(Debug, Clone)]
pub struct FrameWriter {
    clients: Clients,
    templates: [Template; Segment::COUNT],
}

impl FrameWriter {
    /// Frames to the balancer with this MAC.
    ///
    /// # Errors
    /// [`ScenarioError`] if there can be no such frames.
    pub fn new(
        scenario: &Scenario,
        shape: Shape,
        clients: Clients,
        balancer: Mac,
    ) -> Result<Self, ScenarioError> {
        shape.check(scenario)?;
        Ok(Self {
            clients,
            templates: Template::all(scenario, shape, balancer, Stage::Sent),
        })
    }

    /// Writes a frame of `flow` into the start of `out` and returns its length; `None` if `out` is shorter.
    ///
    /// Where the payload has room, it begins with `stamp`, a time in the caller's unit, then with `flow`, then
    /// with `number`, each in four bytes.
    #[inline]
    #[must_use]
    pub fn write(
        &self,
        segment: Segment,
        flow: u32,
        stamp: u32,
        number: u32,
        out: &mut [u8],
    ) -> Option<usize> {
        let template = self.templates.get(segment as usize)?;
        let (client, port) = self.clients.of(flow);
        let fields = Fields {
            client,
            port,
            real: 0,
            numbers: if matches!(segment, Segment::Datagram) {
                (0, 0)
            } else {
                template.numbers(flow)
            },
            mark: [stamp, flow, number],
        };
        template.write(&fields, out)
    }

    /// The length of such a frame, in bytes without FCS.
    #[inline]
    #[must_use]
    pub fn frame_bytes(&self, segment: Segment) -> usize {
        self.templates
            .get(segment as usize)
            .map_or(0, Template::padded)
    }

    /// Whether frames with a payload have room for a time stamp.
    #[must_use]
    pub fn stamps(&self) -> bool {
        self.templates.iter().any(|template| template.marks() > 0)
    }
}

//! To which real server each flow went, in one byte per flow.
//!
//! Must not be asked about frames that were not judged good.

use plimsoll_dataplane::prefetch::prefetch;

use super::fault::Fault;

/// Remembers a flow's real server. With more than 255 real servers it is remembered modulo 255, so that a change
/// in 254 is overlooked.
#[derive(Debug, Clone)]
pub struct Affinity(Vec<u8>);

impl Affinity {
    /// Nothing is known yet of flows 0 to `flows`.
    #[must_use]
    pub fn new(flows: u32) -> Self {
        Self(vec![0; usize::try_from(flows).unwrap_or(usize::MAX)])
    }

    /// Asks the CPU for what [`Self::check`] will need.
    #[inline]
    pub fn prefetch(&self, flow: u32) {
        if let Ok(flow) = usize::try_from(flow) {
            prefetch(&self.0, flow);
        }
    }

    /// Notes that the flow went to `real`.
    ///
    /// # Errors
    /// [`Fault::Affinity`] if it went to another before.
    #[inline]
    pub fn check(&mut self, flow: u32, real: u16) -> Result<(), Fault> {
        let byte = u8::try_from(real % 255).unwrap_or(0) + 1;
        let known = usize::try_from(flow)
            .ok()
            .and_then(|flow| self.0.get_mut(flow));
        match known {
            Some(known) if *known == 0 => {
                *known = byte;
                Ok(())
            }
            Some(known) if *known == byte => Ok(()),
            Some(_) => Err(Fault::Affinity),
            None => Err(Fault::UnknownFlow),
        }
    }

    /// Whether the flow has reached a real server.
    #[must_use]
    pub fn is_known(&self, flow: u32) -> bool {
        let known = usize::try_from(flow).ok().and_then(|flow| self.0.get(flow));
        known.is_some_and(|known| *known != 0)
    }

    /// The flow begins anew.
    #[inline]
    pub fn forget(&mut self, flow: u32) {
        let known = usize::try_from(flow)
            .ok()
            .and_then(|flow| self.0.get_mut(flow));
        if let Some(known) = known {
            *known = 0;
        }
    }
}

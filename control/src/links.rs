//! Which ports have a link, and what the workers have been told of that: the same for the daemon and the simulator.
//! Who asks the ports, and how often, is not decided here.

use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::worker::{Command, Commands};

/// Links in the order of the ports.
#[derive(Debug)]
pub(crate) struct Links {
    /// Whether each port had a link when that was last known.
    up: Vec<bool>,
    /// The same as all workers have been told, `None` if some have and some have not; they begin with all links up.
    told: Vec<Option<bool>>,
}

impl Links {
    /// With these links, of which nobody has been told yet.
    pub(crate) fn new(up: Vec<bool>) -> Self {
        Self {
            told: vec![Some(true); up.len()],
            up,
        }
    }

    /// Whether each port had a link when that was last known.
    pub(crate) fn up(&self) -> &[bool] {
        &self.up
    }

    /// Takes note of the ports' links, and tells the workers what they do not know. Returns the places of those that
    /// changed. `None` is a port that cannot tell at present, which stays as it was.
    pub(crate) fn look<'c>(
        &mut self,
        links: impl Iterator<Item = Option<bool>>,
        workers: impl Iterator<Item = &'c Commands> + Clone,
    ) -> Vec<usize> {
        let mut changed = Vec::new();
        let known = self.up.iter_mut().zip(&mut self.told);
        for ((place, link), (was_up, told)) in links.enumerate().zip(known) {
            let Some(up) = link else { continue };
            if std::mem::replace(was_up, up) != up {
                changed.push(place);
            }
            if *told == Some(up) {
                continue;
            }
            let port = PortId(u16::try_from(place).unwrap_or(u16::MAX));
            let refusals = workers
                .clone()
                .filter(|commands| commands.push(Command::Link { port, up }).is_err());
            // If one's queue is full, all are told once more the next time, whatever the link is then.
            *told = (refusals.count() == 0).then_some(up);
        }
        changed
    }

    /// Whether the workers would be told something if these were the links.
    pub(crate) fn differ(&self, links: impl Iterator<Item = bool>) -> bool {
        links.zip(&self.told).any(|(up, told)| Some(up) != *told)
    }
}

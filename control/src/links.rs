//! Which devices have a link, and what the workers have been told of that: the same for the daemon and the simulator.
//! Who asks the devices, and how often, is not decided here.

use plimsoll_dataplane::id::DeviceId;
use plimsoll_dataplane::worker::{Command, Commands};

/// Links by [`DeviceId`].
#[derive(Debug)]
pub(crate) struct Links {
    /// Whether each device had a link when that was last known.
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

    /// Whether a device had a link when that was last known.
    pub(crate) fn is_up(&self, device: DeviceId) -> bool {
        self.up.get(device.place()).copied().unwrap_or_default()
    }

    /// Takes note of the devices' links, and tells the workers what they do not know. Returns those that changed. `None`
    /// is a device that cannot tell at present, which stays as it was.
    pub(crate) fn look<'c>(
        &mut self,
        links: impl Iterator<Item = Option<bool>>,
        workers: impl Iterator<Item = &'c Commands> + Clone,
    ) -> Vec<DeviceId> {
        let mut changed = Vec::new();
        let known = self.up.iter_mut().zip(&mut self.told);
        for ((device, link), (was_up, told)) in DeviceId::each(links).zip(known) {
            let Some(up) = link else { continue };
            if std::mem::replace(was_up, up) != up {
                changed.push(device);
            }
            if *told == Some(up) {
                continue;
            }
            let refusals = workers
                .clone()
                .filter(|commands| commands.push(Command::Link { device, up }).is_err());
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

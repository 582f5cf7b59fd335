//! Ports whose interface was deleted: noticed, told, and opened again when an interface of that name is there.
//! It touches no packet: the workers swap their queues themselves.

use plimsoll_dataplane::id::DeviceId;
use plimsoll_dpdk::{Eal, Mempool, Port, PortConfig, PortError, device};
use tracing::{info, warn};

use super::crash;
use super::worker::{Mailbox, QueuePair};
use crate::running::{Device, Running};

/// What is needed to open ports once more.
pub(super) struct Reopening<'a> {
    eal: &'a Eal,
    pool: &'a Mempool,
    /// How each device was opened, by [`DeviceId`].
    configs: Vec<PortConfig>,
    /// Of the workers, in the order of their numbers.
    mailboxes: Vec<Mailbox>,
    state: Vec<State>,
}

/// Failures of one outage that are told at most.
const MOST_TOLD: usize = 16;

/// What becomes of one device.
#[derive(Debug, Default)]
struct State {
    /// How often it was tried to open it again: each attempt has a device of its own in DPDK.
    attempts: u32,
    /// Why attempts failed since it was open, as was logged: they would be the same lines every second.
    told: Vec<PortError>,
    gone: bool,
    /// The former device and its queues, until all workers have given theirs back.
    former: Option<Former>,
}

#[derive(Debug)]
struct Former {
    _device: Box<dyn Device>,
    queues: Vec<QueuePair>,
}

impl<'a> Reopening<'a> {
    pub(super) fn new(
        eal: &'a Eal,
        pool: &'a Mempool,
        configs: Vec<PortConfig>,
        mailboxes: Vec<Mailbox>,
    ) -> Self {
        let state = configs.iter().map(|_| State::default()).collect();
        Self {
            eal,
            pool,
            configs,
            mailboxes,
            state,
        }
    }

    /// To be called once a second or so.
    pub(super) fn round(&mut self, running: &mut Running) {
        let Self {
            eal,
            pool,
            configs,
            mailboxes,
            state,
        } = self;
        for ((id, config), state) in DeviceId::each(configs).zip(state) {
            state.collect(id, mailboxes);
            let device = running.device(id);
            let present = device.is_none_or(|(_, device)| device.is_present());
            if present || state.former.is_some() {
                continue;
            }
            let interface = device::interface(&config.device).unwrap_or_default();
            if !std::mem::replace(&mut state.gone, true) {
                warn!(
                    port = config.name,
                    interface,
                    "the interface is gone: the port receives and sends nothing until one of this name is there again"
                );
            }
            if !device::may_open_again(&config.device) {
                continue;
            }
            state.attempts += 1;
            let again = PortConfig {
                device: device::again(&config.device, state.attempts),
                ..config.clone()
            };
            match Port::open(eal, &again, pool) {
                Ok((opened, queues)) => {
                    info!(
                        port = config.name,
                        interface,
                        device = again.device,
                        "the interface is back and the port opened again; what the kernel had on it (addresses, \
                         rules) has to be put on it again"
                    );
                    for (mailbox, queues) in mailboxes.iter().zip(queues) {
                        mailbox.put(id, queues);
                    }
                    crash::number_port(id.place(), opened.id());
                    let steered = opened.is_steered();
                    if device.is_some_and(|(spec, _)| spec.steered) && !steered {
                        warn!(
                            port = config.name,
                            "the port no longer spreads flows as it is told: flows are spread as if nothing were known of it"
                        );
                    }
                    let device = running.replace_device(id, Box::new(opened), steered);
                    state.put_in_force(device);
                }
                Err(error) => {
                    if state.is_news(&error) {
                        warn!(
                            port = config.name,
                            "the port cannot be opened again: {error}"
                        );
                    }
                }
            }
        }
    }
}

impl State {
    /// Frees the former device once every worker has given its queues back.
    fn collect(&mut self, id: DeviceId, mailboxes: &[Mailbox]) {
        if let Some(former) = &mut self.former {
            let given_back = mailboxes.iter().flat_map(|mailbox| mailbox.take_former(id));
            former.queues.extend(given_back);
            if former.queues.len() >= mailboxes.len() {
                self.former = None;
            }
        }
    }

    fn put_in_force(&mut self, former: Option<Box<dyn Device>>) {
        self.gone = false;
        self.told.clear();
        self.former = former.map(|device| Former {
            _device: device,
            queues: Vec::new(),
        });
    }

    /// Whether no attempt has failed so since the port was open.
    fn is_news(&mut self, error: &PortError) -> bool {
        let is_news =
            self.told.len() < MOST_TOLD && !self.told.iter().any(|told| told.is_like(error));
        if is_news {
            self.told.push(error.clone());
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_alike_are_told_once_whatever_their_devices_are_called() {
        let device = |attempt| device::again("net_tap_wan,iface=wan", attempt);
        let refused = |attempt, step, reason: &str| PortError::Refused {
            port: "wan".to_owned(),
            device: device(attempt),
            step,
            reason: reason.to_owned(),
            messages: format!("; DPDK says: {}: failed", device(attempt)),
        };
        let probe = |attempt| PortError::Probe {
            port: "wan".to_owned(),
            device: device(attempt),
            reason: "No such device".to_owned(),
            advice: String::new(),
            messages: device(attempt),
        };
        let mut state = State::default();
        let mut news = Vec::new();
        for attempt in 1..10 {
            news.push(state.is_news(&refused(attempt, "start", "Device or resource busy")));
        }
        for attempt in 10..20 {
            news.push(state.is_news(&probe(attempt)));
        }
        assert_eq!(news.iter().filter(|one| **one).count(), 2, "{news:?}");
        assert!(news[0] && news[9]);
        // Nor are those news that come by turns.
        assert!(!state.is_news(&refused(20, "start", "Device or resource busy")));
        assert!(state.is_news(&refused(21, "start", "Permission denied")));
        assert!(state.is_news(&refused(22, "stop", "Permission denied")));
        state.put_in_force(None);
        assert!(state.is_news(&refused(23, "stop", "Permission denied")));
    }
}

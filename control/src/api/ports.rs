//! The ports with their links, addresses and counters.
//! What is told of each is in `report/ports.rs`.

use axum::Json;
use axum::extract::State;
use plimsoll_dataplane::spec::network::PortRole;
use plimsoll_dataplane::stats::{Counter, QueueCounters};

use super::state::Api;
use crate::metrics::is_kernel;
use crate::report::ports::{Port, PortCounters, Ports};
use crate::running::{self, Running, lock};

pub(super) async fn list(State(api): State<Api>) -> Json<Ports> {
    let running = lock(&api.running);
    let ports = running.ports().map(|port| of(&running, &port));
    Json(Ports {
        ports: ports.collect(),
    })
}

fn of(running: &Running, port: &running::Port<'_>) -> Port {
    let sum = |counter: fn(&QueueCounters) -> &Counter| {
        let queues = running.stats();
        let queues = queues.filter_map(|stats| stats.queues(port.spec.device));
        queues.map(|queue| counter(queue).value()).sum()
    };
    let device = port.device.counts();
    Port {
        name: port.spec.name.to_string(),
        kernel: is_kernel(port.spec),
        has_kernel: matches!(port.spec.role, PortRole::Network { kernel: Some(_) }),
        link_up: port.is_up,
        present: port.device.is_present(),
        mac: port.device_spec.mac.to_string(),
        mtu: port.spec.mtu,
        driver: port.device.driver(),
        addresses: port
            .spec
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect(),
        steered: port.device_spec.steered,
        counters: PortCounters {
            rx_packets: sum(|queue| &queue.rx_packets),
            rx_bytes: sum(|queue| &queue.rx_bytes),
            tx_packets: sum(|queue| &queue.tx_packets),
            tx_bytes: sum(|queue| &queue.tx_bytes),
            rx_missed: device.rx_missed,
            rx_errors: device.rx_errors,
            rx_no_buffer: device.rx_no_buffer,
            rx_too_long: device.rx_too_long,
            tx_errors: device.tx_errors,
            misplaced: sum(|queue| &queue.misplaced),
        },
    }
}

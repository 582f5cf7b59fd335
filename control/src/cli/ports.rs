//! `plimsoll ports`: the ports in the manner of `ip -br link`, with their counters as `ip -s link` has them.
//! The numbers are the daemon's.

use std::fmt::Write as _;
use std::io;

use super::client::Client;
use super::{Exit, Format, Terminal};
use crate::report::ports::{Port, PortCounters, Ports};

/// Show the ports: link, MAC, MTU, driver, addresses, frames, bytes and what the devices lost.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        client.show("/api/v1/ports", self.output, terminal, text)
    }
}

fn text(ports: &Ports) -> String {
    ports.ports.iter().map(of).collect()
}

fn of(port: &Port) -> String {
    let Port { mac, mtu, .. } = port;
    let name = if port.kernel {
        format!("{}@kernel", port.name)
    } else {
        port.name.clone()
    };
    let link = match (port.present, port.link_up) {
        (false, _) => "GONE",
        (true, false) => "DOWN",
        (true, true) => "UP",
    };
    let flags = [(port.has_kernel, "KERNEL"), (port.steered, "STEERED")];
    let flags = flags.iter().filter(|(has, _)| *has);
    let flags: Vec<&str> = flags.map(|(_, flag)| *flag).collect();
    let flags = flags.join(",");
    let driver = &port.driver;
    let mut text = format!("{name:<16} {link:<14} {mac} <{flags}> mtu {mtu} driver {driver}");
    for address in &port.addresses {
        let _ = write!(text, " {address}");
    }
    let PortCounters {
        rx_packets,
        rx_bytes,
        tx_packets,
        tx_bytes,
        rx_missed,
        rx_errors,
        rx_no_buffer,
        rx_too_long,
        tx_errors,
        misplaced,
    } = port.counters;
    let _ = write!(
        text,
        "\n    RX: {rx_packets} frames {rx_bytes} bytes, {rx_missed} missed {rx_errors} errors \
         {rx_no_buffer} no buffer {rx_too_long} too long {misplaced} misplaced\
         \n    TX: {tx_packets} frames {tx_bytes} bytes, {tx_errors} errors\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_three_lines_that_begin_as_ip_link_begins() {
        let wan = Port {
            name: "wan".to_owned(),
            kernel: false,
            has_kernel: true,
            link_up: true,
            present: true,
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1500,
            driver: "net_virtio".to_owned(),
            addresses: vec!["192.0.2.2/24".to_owned(), "2001:db8::2/64".to_owned()],
            steered: true,
            counters: PortCounters {
                rx_packets: 10,
                rx_bytes: 640,
                rx_missed: 3,
                tx_errors: 2,
                ..PortCounters::default()
            },
        };
        let tap = Port {
            kernel: true,
            has_kernel: false,
            link_up: false,
            steered: false,
            addresses: Vec::new(),
            counters: PortCounters::default(),
            ..wan.clone()
        };
        let gone = Port {
            present: false,
            ..tap.clone()
        };
        let text = text(&Ports {
            ports: vec![wan, tap, gone],
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "wan              UP             02:00:00:00:00:01 <KERNEL,STEERED> mtu 1500 driver net_virtio \
                 192.0.2.2/24 2001:db8::2/64",
                "    RX: 10 frames 640 bytes, 3 missed 0 errors 0 no buffer 0 too long 0 misplaced",
                "    TX: 0 frames 0 bytes, 2 errors",
                "wan@kernel       DOWN           02:00:00:00:00:01 <> mtu 1500 driver net_virtio",
            ]
        );
        assert!(lines[6].starts_with("wan@kernel       GONE "), "{text}");
    }
}

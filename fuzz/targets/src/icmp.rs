//! ICMP errors that quote packets of known sessions: whole, cut, changed, or made up.
//! What becomes of them is checked by the machine.

use plimsoll_dataplane::spec::forward::ForwardMethod;

use crate::frames::packet;
use crate::network::{CLIENTS, GATEWAY_MAC, MACS, OWN, REALS, SHIFT, VIPS};
use crate::pipeline::Machine;
use crate::script::Script;
use plimsoll_dataplane::wire::Mac;

/// Errors of one run at most.
const ERRORS: usize = 40;

/// Begins sessions of each protocol and sends errors about them from either side.
pub fn icmp(data: &[u8]) {
    let mut script = Script::new(data);
    let forward = ForwardMethod::ALL[script.below(ForwardMethod::COUNT)];
    let mut machine = Machine::new(forward, 1 + script.below(3));
    for (client, vip) in CLIENTS.iter().zip(VIPS) {
        let from_client = packet(client, vip).mac(GATEWAY_MAC, MACS[0]);
        machine.inject(0, 0, &from_client.clone().tcp(4000, 80).flags(2).build());
        machine.inject(1, 0, &from_client.udp(4000, 53).build());
        machine.run();
    }
    for _ in 0..ERRORS {
        if script.is_over() {
            break;
        }
        let family = script.below(2);
        let (client, vip) = (CLIENTS[family], VIPS[family]);
        let real = REALS[family][script.below(2)];
        let from_lan = script.flag();
        let shift = if forward.rewrites_destination() {
            SHIFT
        } else {
            0
        };
        // As the one who complains has seen it.
        let quoted = if from_lan && forward.encapsulates() {
            packet(OWN[family], real)
        } else if from_lan {
            packet(
                client,
                if forward.rewrites_destination() {
                    real
                } else {
                    vip
                },
            )
        } else {
            packet(vip, client)
        };
        let what = script.byte();
        let ports = |near: u16| {
            if from_lan {
                (4000, near + shift)
            } else {
                (near, 4000)
            }
        };
        let quoted = match what % 4 {
            0 => {
                let (source, destination) = ports(80);
                quoted.tcp(source, destination).payload(&[1; 40])
            }
            1 => {
                let (source, destination) = ports(53);
                quoted.udp(source, destination).payload(&[1; 40])
            }
            2 => {
                let inner = packet(client, vip).tcp(4000, 80).build_datagram();
                let number = if family == 0 { 4 } else { 41 };
                quoted.protocol(number).payload(&inner)
            }
            _ => quoted.protocol(script.byte()).payload(&[1; 40]),
        };
        let mut quoted = quoted.build_datagram();
        if what & 0x80 != 0 {
            for _ in 0..1 + script.below(3) {
                let at = usize::from(script.byte()) % quoted.len();
                quoted[at] = script.byte();
            }
        }
        if what & 0x40 != 0 {
            let length = script.byte();
            quoted = script.take(usize::from(length)).to_vec();
        }
        if what & 0x20 != 0 {
            quoted.truncate(usize::from(script.byte()));
        }
        let (port, error) = if from_lan {
            let mac = Mac([2, 0, 0, 0, 1, 0xb]);
            let to = if what & 0x10 == 0 {
                client
            } else {
                OWN[family]
            };
            (1, packet(real, to).mac(mac, MACS[1]))
        } else {
            (0, packet(client, vip).mac(GATEWAY_MAC, MACS[0]))
        };
        let (kind, code, rest) = (script.byte(), script.byte(), script.word());
        let kinds = if family == 0 {
            [3, 4, 11, 12]
        } else {
            [1, 2, 3, 4]
        };
        let kind = if kind < 0xc0 {
            kinds[usize::from(kind) % 4]
        } else {
            kind
        };
        let error = error.icmp_error(kind, code & 0xf, u32::from(rest), &quoted);
        machine.inject(usize::from(code >> 4), port, &error.build());
        machine.run();
    }
    machine.finish();
}

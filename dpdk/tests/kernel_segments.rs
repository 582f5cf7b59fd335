//! What `net_af_packet` hands over when the sender leaves work to "the NIC": unfinished checksums and
//! cut segments. It shows why the sending side of a veth needs `ethtool -K ... off`.

#![cfg(test)]

use std::process::Command;

use plimsoll_dataplane::io::PacketBuf;

mod support;
use support::{Veth, ip, open, receive, start, udp_checksum_is_right, unique};

#[test]
fn a_large_datagram_of_the_kernel_is_cut_and_its_checksum_unfinished() {
    let veth = Veth::new();
    let (eal, pool) = start(&[]);
    let namespace = Namespace::new(&veth.right);
    let device = format!("net_af_packet0,iface={}", veth.left);
    let (port, mut queues) = open(&eal, &pool, &device, 1);

    assert!(port.capabilities().rx_unfinished_checksums);
    // A small datagram: only the pseudo header is summed, unless the interface's offload is off.
    let first = namespace.send(100, &mut queues[0].rx);
    assert!(
        !udp_checksum_is_right(&first),
        "the kernel finished the checksum by itself"
    );
    namespace.run(&["ethtool", "-K", &veth.right, "tx", "off"]);
    let second = namespace.send(100, &mut queues[0].rx);
    assert!(udp_checksum_is_right(&second));

    // Fragments: the fan-out group asks the kernel to reassemble, and the slot cuts the whole.
    let whole = namespace.send(4000, &mut queues[0].rx);
    let told = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    println!(
        "IPv4 header says {told} bytes, the frame has {}",
        whole.len()
    );
    assert_eq!(told, 4000 + 28);
    assert!(whole.len() < 2048);
    drop((port, queues));
    assert_eq!(pool.in_use(), 0);
}

struct Namespace {
    name: String,
}

impl Namespace {
    fn new(interface: &str) -> Self {
        let name = unique("plmn");
        ip(&format!("netns add {name}"));
        let namespace = Self { name };
        let name = &namespace.name;
        ip(&format!("link set {interface} netns {name}"));
        ip(&format!("-n {name} link set {interface} up"));
        ip(&format!("-n {name} addr add 192.0.2.1/24 dev {interface}"));
        ip(&format!(
            "-n {name} neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev {interface}"
        ));
        namespace
    }

    fn run(&self, words: &[&str]) {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(words)
            .output();
        let output = output.expect("ip cannot be run");
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Has the kernel in the namespace send a datagram, and returns the frame that arrives.
    fn send(&self, payload: usize, queue: &mut plimsoll_dpdk::RxQueue) -> Vec<u8> {
        let script = format!("head -c {payload} /dev/zero >/dev/udp/192.0.2.2/9");
        self.run(&["bash", "-c", &script]);
        loop {
            let frames = receive(queue, 1);
            if let Some(frame) = frames.iter().find(|mbuf| mbuf.bytes()[12..14] == [8, 0]) {
                return frame.bytes().to_vec();
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

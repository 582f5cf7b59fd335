//! `net_pcap`: frames read from a file are sent to another one, and are the same.

#![cfg(test)]

use std::fs::File;
use std::time::Duration;

use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use plimsoll_dataplane::io::{PacketBuf, RxQueue as _, TxQueue as _};

mod support;
use plimsoll_dpdk::{Eal, Mempool};
use support::{Veth, frame, ip, open, start};

#[test]
fn a_forwarded_capture_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (
        directory.path().join("in.pcap"),
        directory.path().join("out.pcap"),
    );
    let frames: Vec<Vec<u8>> = (0..100)
        .map(|tag| frame(tag, 60 + usize::from(tag) * 14))
        .collect();
    let mut writer = PcapWriter::new(File::create(&input).unwrap()).unwrap();
    for (frame, second) in frames.iter().zip(1..) {
        let packet = PcapPacket::new(
            Duration::from_secs(second),
            u32::try_from(frame.len()).unwrap(),
            frame,
        );
        writer.write_packet(&packet).unwrap();
    }

    // A frame that does not fit one buffer comes in several pieces, and is dropped and counted.
    let packet = PcapPacket::new(Duration::from_secs(200), 3000, &[0x5a; 3000]);
    writer.write_packet(&packet).unwrap();
    drop(writer);

    let (eal, pool) = start(&[]);
    let device = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        input.display(),
        output.display()
    );
    let (port, mut queues) = open(&eal, &pool, &device, 1);
    let mut burst = Vec::new();
    let mut moved = 0;
    while moved < frames.len() {
        let left = frames.len() - moved;
        let received = queues[0].rx.receive(&mut burst, left.min(7));
        assert!((1..=7).contains(&received));
        // Through the headroom and back, as a tunnel would.
        for mbuf in &mut burst {
            mbuf.prepend(40).unwrap();
            mbuf.bytes_mut()[..40].fill(0xff);
            mbuf.trim_front(40);
        }
        moved += queues[0].tx.transmit(&mut burst);
    }
    assert_eq!(
        (port.stats().rx_packets, port.stats().tx_packets),
        (100, 100)
    );
    drop((port, queues));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");

    let mut reader = PcapReader::new(File::open(&output).unwrap()).unwrap();
    for frame in &frames {
        assert_eq!(
            reader.next_packet().unwrap().unwrap().data.as_ref(),
            &frame[..]
        );
    }
    assert!(reader.next_packet().is_none());

    the_mtu_is_the_interfaces(&eal, &pool);
}

/// The driver cannot set an MTU, and the kernel sends nothing that is longer than its interface's.
fn the_mtu_is_the_interfaces(eal: &Eal, pool: &Mempool) {
    let veth = Veth::new();
    ip(&format!("link set {} up mtu 1400", veth.left));
    let device = format!("net_pcap1,iface={}", veth.left);
    let (port, _queues) = open(eal, pool, &device, 1);
    assert_eq!((port.mtu(), port.mtu_is_set()), (1400, false));
    ip(&format!("link set {} mtu 9000", veth.left));
    let (port, _queues) = open(eal, pool, &device.replace("pcap1", "pcap2"), 1);
    assert_eq!((port.mtu(), port.mtu_is_set()), (1500, false));
}

//! `net_memif`: shared memory with another process, here with ourselves.

#![cfg(test)]

use plimsoll_dataplane::io::{PacketBuf, RxQueue as _};

mod support;
use support::{filled, frame, open, receive, send, start, until};

#[test]
fn frames_cross_a_memif() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("memif.sock");
    let (eal, pool) = start(&[]);
    let text = |name: &str, role: &str| {
        format!(
            "net_memif{name},role={role},socket={},socket-abstract=no",
            socket.display()
        )
    };
    let (server_port, mut server) = open(&eal, &pool, &text("0", "server"), 1);
    let (client_port, mut client) = open(&eal, &pool, &text("1", "client"), 1);
    until("both links are up", || {
        (server_port.link_up() && client_port.link_up()).then_some(())
    });
    send(
        &mut client[0].tx,
        vec![filled(&pool, &frame(1, 1514)), filled(&pool, &frame(2, 60))],
    );
    let there = receive(&mut server[0].rx, 2);
    assert_eq!(
        (there[0].bytes(), there[1].bytes()),
        (&frame(1, 1514)[..], &frame(2, 60)[..])
    );
    // The receiver provides the buffers, and does so when it polls, as a worker always does.
    assert_eq!(client[0].rx.receive(&mut Vec::new(), 32), 0);
    send(&mut server[0].tx, there);
    assert_eq!(receive(&mut client[0].rx, 2).len(), 2);
    drop((client_port, client, server_port, server));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}

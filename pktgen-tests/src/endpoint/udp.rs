//! A UDP echo that names itself, and the probe that asks it.
//!
//! Must not retry: a datagram without an answer is what the probe is there to count.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::output;

/// Answers every datagram with `<name> ` and what it said, on each of these addresses, for good.
///
/// # Errors
/// When an address is not ours or taken.
pub fn echo(name: &str, listen: &[SocketAddr]) -> Result<()> {
    let sockets = listen
        .iter()
        .map(|address| {
            UdpSocket::bind(address).with_context(|| format!("cannot listen on {address}"))
        })
        .collect::<Result<Vec<_>>>()?;
    output::line("ready")?;
    thread::scope(|scope| {
        for socket in sockets {
            scope.spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    let said = buffer.get(..length).unwrap_or_default();
                    let answer = [name.as_bytes(), b" ", said].concat();
                    // The asker counts what it does not get.
                    let _ = socket.send_to(&answer, peer);
                }
            });
        }
    });
    Ok(())
}

/// What a probe has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams sent.
    pub sent: u64,
    /// Answers by the server that gave them.
    pub by_server: BTreeMap<String, u64>,
    /// Datagrams without an answer, or with a wrong one.
    pub lost: u64,
    /// Flows whose answers came from more than one server.
    pub split_flows: u64,
}

impl Seen {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "sent": self.sent,
            "by_server": self.by_server,
            "lost": self.lost,
            "split_flows": self.split_flows,
        })
    }
}

/// After so many losses there is nothing more to learn, and each costs the whole timeout.
const ENOUGH_LOST: u64 = 10;

/// Sends `per_flow` datagrams from each of `flows` source ports, one after another, and waits for each answer; stops
/// early after ten losses.
///
/// # Errors
/// When no socket can be opened.
pub fn probe(
    to: SocketAddr,
    flows: u32,
    per_flow: u32,
    bytes: usize,
    timeout: Duration,
) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut buffer = vec![0; 65536];
    for flow in 0..flows {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        // Connected, so that an answer from another address than the asked one does not count.
        socket
            .connect(to)
            .with_context(|| format!("no route to {to}"))?;
        socket.set_read_timeout(Some(timeout))?;
        let mut servers = Vec::new();
        for number in 0..per_flow {
            if seen.lost >= ENOUGH_LOST {
                return Ok(seen);
            }
            let mut said = format!("{flow}/{number}").into_bytes();
            said.resize(bytes.max(said.len()), b'.');
            seen.sent += 1;
            let answer = socket.send(&said).and_then(|_| socket.recv(&mut buffer));
            let answer = answer.ok().and_then(|length| buffer.get(..length));
            match answer.and_then(|answer| server_of(answer, &said)) {
                Some(server) => {
                    *seen.by_server.entry(server.clone()).or_default() += 1;
                    servers.push(server);
                }
                None => seen.lost += 1,
            }
        }
        servers.sort();
        servers.dedup();
        seen.split_flows += u64::from(servers.len() > 1);
    }
    Ok(seen)
}

/// The server that gave this answer, if it is the answer to what was said.
fn server_of(answer: &[u8], said: &[u8]) -> Option<String> {
    let name = answer.strip_suffix(said)?.strip_suffix(b" ")?;
    String::from_utf8(name.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_something_else_is_a_loss() {
        assert_eq!(
            server_of(b"server-11 0/1", b"0/1"),
            Some("server-11".to_owned())
        );
        assert_eq!(server_of(b"server-11 0/2", b"0/1"), None);
    }

    #[test]
    fn the_probe_hears_the_echo_and_a_silence() {
        let echoing = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = echoing.local_addr().unwrap();
        drop(echoing);
        thread::spawn(move || echo("here", &[to]));
        // The echo is another thread: give it the time to bind.
        thread::sleep(Duration::from_millis(100));
        let seen = probe(to, 2, 3, 64, Duration::from_secs(2)).unwrap();
        assert_eq!(
            (seen.sent, seen.lost, seen.by_server.get("here")),
            (6, 0, Some(&6))
        );

        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let seen = probe(
            silent.local_addr().unwrap(),
            1,
            1,
            0,
            Duration::from_millis(10),
        )
        .unwrap();
        assert_eq!((seen.sent, seen.lost), (1, 1));
    }
}

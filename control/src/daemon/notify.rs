//! What systemd is told (sd_notify): ready, reloading, stopping, alive.
//! It never waits for systemd, and without systemd does nothing.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Where systemd listens, sd_notify(3).
const SOCKET: &str = "NOTIFY_SOCKET";

fn text(states: &[NotifyState<'_>]) -> String {
    states.iter().fold(String::new(), |mut text, state| {
        let _ = writeln!(text, "{state}");
        text
    })
}

/// Fails with `WouldBlock` if systemd has not read what was sent before.
fn send(to: &OsStr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match to.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(to)?,
    };
    socket
        .send_to_addr(message.as_bytes(), &address)
        .map(|_| ())
}

/// What systemd may miss, since it is told again or acts without.
fn mention(state: NotifyState<'_>) {
    if let Some(to) = std::env::var_os(SOCKET) {
        // Whoever started this process may have gone; packets are forwarded all the same.
        let _ = send(&to, &text(&[state]));
    }
}

/// Until the end.
pub(super) fn stopping() {
    mention(NotifyState::Stopping);
}

/// The end is put off, for sessions to go on: whatever systemd's limit is, it waits for so long from now.
pub(super) fn draining(more: Duration) {
    mention(NotifyState::Stopping);
    let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    mention(NotifyState::ExtendTimeoutUsec(micros));
}

/// A sign of life.
pub(super) fn alive() {
    mention(NotifyState::Watchdog);
}

/// Half the time that systemd waits for a sign of life, if it does.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// What systemd must not miss: it would wait for it, and then end this process.
#[derive(Debug)]
pub(super) struct Systemd {
    socket: Option<OsString>,
    /// What could not be sent yet: at most a reload and that it has ended.
    late: Vec<String>,
    /// The log has said that it cannot be told.
    warned: bool,
}

impl Systemd {
    pub(super) fn of_environment() -> Self {
        Self {
            socket: std::env::var_os(SOCKET),
            late: Vec::new(),
            warned: false,
        }
    }

    /// Packets are forwarded, with the configuration of this generation.
    pub(super) fn ready(&mut self, generation: u64) {
        let status = format!("forwarding, generation {generation}");
        let reloading = text(&[NotifyState::Reloading]);
        self.late.retain(|late| late.starts_with(&reloading));
        self.late
            .push(text(&[NotifyState::Ready, NotifyState::Status(&status)]));
        self.again();
    }

    /// Until the next [`Systemd::ready`].
    pub(super) fn reloading(&mut self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.late.clear();
            self.late.push(text(&[NotifyState::Reloading, now]));
            self.again();
        }
    }

    /// Tells what could not be told before, if there is room now.
    pub(super) fn again(&mut self) {
        while let Some(first) = self.late.first() {
            let sent = self.socket.as_deref().map(|to| send(to, first));
            if let Some(Err(error)) = sent {
                let is_full = error.kind() == io::ErrorKind::WouldBlock;
                if !is_full && !std::mem::replace(&mut self.warned, true) {
                    warn!(%error, "systemd cannot be told that this process is ready; it is tried once a second");
                }
                // It may have no room, this process no descriptor or memory. Nothing says for certain that it has
                // gone, and trying once a second costs nothing.
                return;
            }
            self.late.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A socket that nobody reads, with as much in it as it takes.
    fn full(at: &std::path::Path) -> (UnixDatagram, usize) {
        let manager = UnixDatagram::bind(at).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut count = 0;
        while sender.send_to(b"x", at).is_ok() {
            count += 1;
        }
        (manager, count)
    }

    fn received(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn a_manager_that_reads_nothing_keeps_nobody_waiting_and_is_told_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let (manager, count) = full(&path);
        let mut systemd = Systemd {
            socket: Some(path.into()),
            late: Vec::new(),
            warned: false,
        };
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            systemd.ready(1);
            for generation in 2..5 {
                systemd.reloading();
                systemd.ready(generation);
            }
            let _ = tell.send(systemd);
        });
        let waits = Duration::from_secs(10);
        let mut systemd = told.recv_timeout(waits).expect("it waits for its manager");
        assert!(!systemd.warned, "it has no room, and that is all");
        manager.set_nonblocking(true).unwrap();
        for _ in 0..count {
            assert_eq!(received(&manager).as_deref(), Some("x"));
        }
        assert_eq!(received(&manager), None);
        systemd.again();
        let reload = received(&manager).unwrap();
        assert!(
            reload.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{reload}"
        );
        let ready = received(&manager).unwrap();
        assert_eq!(ready, "READY=1\nSTATUS=forwarding, generation 4\n");
        systemd.again();
        assert_eq!(received(&manager), None);
    }

    #[test]
    fn what_cannot_be_sent_for_a_while_is_sent_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let mut systemd = Systemd {
            socket: Some(path.clone().into()),
            late: Vec::new(),
            warned: false,
        };
        systemd.ready(1);
        for generation in 2..100 {
            systemd.reloading();
            systemd.ready(generation);
            systemd.again();
        }
        assert!(systemd.warned);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        systemd.again();
        assert!(received(&manager).unwrap().starts_with("RELOADING=1\n"));
        let ready = received(&manager).unwrap();
        assert_eq!(ready, "READY=1\nSTATUS=forwarding, generation 99\n");
        systemd.again();
        assert_eq!(received(&manager), None);
    }

    #[test]
    fn abstract_addresses_are_names_behind_an_at_sign() {
        let name = format!("plimsoll-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), "READY=1\n").unwrap();
        assert_eq!(received(&manager).as_deref(), Some("READY=1\n"));
    }
}

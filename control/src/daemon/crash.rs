//! The message of a crash: the frames of the burst that the thread was working on.
//! It allocates little, takes no lock and waits for no reader of stderr: the process must end soon, whatever they do.

use std::fmt::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use plimsoll_dpdk::{BurstSource, last_burst, last_frame, on_fatal_signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, write};
use tracing::warn;

/// Of each frame so many bytes are shown: all of it, but for jumbo frames.
const SHOWN: usize = 2048;
/// How long writing may take in all, if nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);

/// The numbers in DPDK and the names of the ports, in their order.
static PORTS: OnceLock<Vec<(AtomicU16, String)>> = OnceLock::new();
/// The message is written once: a panic aborts, which is a signal.
static TOLD: AtomicBool = AtomicBool::new(false);

/// From now on a panic, after what is told of it already, and a signal that ends this process leave the message on
/// stderr.
pub(super) fn watch() {
    let place = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let first = !TOLD.swap(true, Ordering::SeqCst);
        place(panic);
        if first {
            let mut out = Out::new(std::io::stderr());
            // What cannot be written has no other place.
            let _ = tell_burst(&mut out);
            out.flush();
        }
    }));
    if let Err(error) = on_fatal_signal(tell_signal) {
        warn!(%error, "a crash in a driver will leave no message");
    }
}

/// The names that the message has for ports, and their numbers at first.
pub(super) fn name_ports(ports: impl Iterator<Item = (u16, String)>) {
    // Once for each process; another one would have the same names.
    let _ = PORTS.set(
        ports
            .map(|(number, name)| (AtomicU16::new(number), name))
            .collect(),
    );
}

/// The port at this place has this number from now on, as one that was opened again has.
pub(super) fn number_port(place: usize, number: u16) {
    if let Some((known, _)) = PORTS.get().and_then(|ports| ports.get(place)) {
        known.store(number, Ordering::Relaxed);
    }
}

fn tell_signal(signal: i32) {
    if TOLD.swap(true, Ordering::SeqCst) {
        return;
    }
    let mut out = Out::new(std::io::stderr());
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let _ = writeln!(
        out,
        "plimsolld: crash by signal {signal} in thread {thread}"
    );
    let _ = tell_burst(&mut out);
    out.flush();
}

fn tell_burst<F: AsFd>(out: &mut Out<F>) -> fmt::Result {
    let (source, count) = last_burst();
    if count == 0 {
        return writeln!(out, "plimsolld: this thread has received no frames");
    }
    write!(
        out,
        "plimsolld: the last burst of this thread: {count} frames "
    )?;
    match source {
        BurstSource::Worker => write!(out, "from another worker")?,
        BurstSource::Queue { port, queue } => {
            let names = PORTS.get().map(Vec::as_slice).unwrap_or_default();
            match names
                .iter()
                .find(|(number, _)| number.load(Ordering::Relaxed) == port)
            {
                Some((_, name)) => write!(out, "from port {name}, queue {queue}")?,
                None => write!(out, "from DPDK's port {port}, queue {queue}")?,
            }
        }
    }
    writeln!(
        out,
        ", as they are in memory now (those before the one at fault may be rewritten, or sent):"
    )?;
    for index in 0..count {
        let mut bytes = [0; 64];
        let (mut at, (_, len)) = (0, last_frame(index, 0, &mut []));
        write!(out, "plimsolld: frame {}, {len} bytes: ", index + 1)?;
        while at < len.min(SHOWN) {
            let (copied, _) = last_frame(index, at, &mut bytes);
            let copied = copied.min(SHOWN - at);
            if copied == 0 {
                break;
            }
            for byte in bytes.iter().take(copied) {
                write!(out, "{byte:02x}")?;
            }
            at += copied;
        }
        writeln!(out, "{}", if len > SHOWN { "..." } else { "" })?;
    }
    Ok(())
}

/// A file that is written in pieces of which none blocks, as far as poll(2) can tell: a pipe that is ready takes
/// PIPE_BUF bytes.
struct Out<F> {
    file: F,
    buffer: [u8; 512],
    len: usize,
    end: Instant,
    broken: bool,
}

impl<F: AsFd> Out<F> {
    fn new(file: F) -> Self {
        Self {
            file,
            buffer: [0; 512],
            len: 0,
            end: Instant::now() + PATIENCE,
            broken: false,
        }
    }

    fn flush(&mut self) {
        let mut from = 0;
        while let Some(rest) = self.buffer.get(from..self.len)
            && !rest.is_empty()
            && !self.broken
        {
            let left = self.end.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).ok();
            let mut ready = [PollFd::new(&self.file, PollFlags::OUT)];
            match poll(&mut ready, limit.as_ref()) {
                Ok(0) => self.broken = true,
                Ok(_) => match write(&self.file, rest) {
                    Ok(0) => self.broken = true,
                    Ok(count) => from += count,
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(_) => self.broken = true,
                },
                Err(Errno::INTR) => {}
                Err(_) => self.broken = true,
            }
        }
        self.len = 0;
    }
}

impl<F: AsFd> fmt::Write for Out<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.len == self.buffer.len() {
                self.flush();
            }
            if let Some(place) = self.buffer.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
        if self.broken { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::Command;

    const CHILD: &str = "PLIMSOLL_TEST_CRASH";

    /// No test by itself: what the next ones start.
    #[test]
    fn child() {
        match std::env::var(CHILD).as_deref() {
            Ok("panic") => {
                watch();
                let crash = std::thread::Builder::new().name("worker-7".to_owned());
                let crash = crash.spawn(|| panic!("of this packet"));
                let _ = crash.unwrap().join();
                // As with `panic = "abort"`.
                std::process::abort();
            }
            Ok("signal") => {
                watch();
                std::process::abort();
            }
            _ => {}
        }
    }

    fn crash(how: &str) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon::crash::tests::child", "--nocapture"])
            .env(CHILD, how)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn a_panic_and_a_signal_are_told_once_with_thread_and_place() {
        let said = crash("panic");
        let (place, frames) = said.split_once("plimsolld: ").unwrap();
        assert!(
            place.contains("worker-7") && place.contains("of this packet"),
            "{said}"
        );
        assert_eq!(frames, "this thread has received no frames\n");
        assert!(crash("signal").starts_with("plimsolld: crash by signal 6 in thread "));
    }

    #[test]
    fn who_reads_nothing_holds_up_nothing() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut out = Out::new(writer);
        out.end = Instant::now() + Duration::from_millis(50);
        // More than a pipe holds.
        let line = "x".repeat(1000);
        let written = (0..1000)
            .take_while(|_| out.write_str(&line).is_ok())
            .count();
        assert!(written < 1000);
        drop(out);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.len() > 4096 && text.bytes().all(|byte| byte == b'x'));
    }
}

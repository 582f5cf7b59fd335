//! What DPDK has to say: its log goes into a pipe, from which errors and the daemon's log take it.
//! It must never make a worker wait: when the pipe is full, messages are lost.

use std::io;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::pipe::{PipeFlags, pipe_with};

/// The reading end. The writing end belongs to DPDK until the process ends.
static READER: OnceLock<OwnedFd> = OnceLock::new();

/// Sends DPDK's log into the pipe from now on. Called once, before DPDK is started.
pub(crate) fn capture() -> io::Result<()> {
    let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    // SAFETY: the descriptor is open and nobody else's, since `into_raw_fd` gives it away, and the
    // mode is a C string.
    let stream = unsafe { dpdk_sys::fdopen(writer.into_raw_fd(), c"w".as_ptr()) };
    if stream.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the stream is open and is never closed, as DPDK may write to it at any time.
    let status = unsafe { dpdk_sys::rte_openlog_stream(stream) };
    if status != 0 {
        return Err(io::Error::other("DPDK does not take a stream for its log"));
    }
    // A second pipe would have been refused before: `Eal::init` runs once.
    let _ = READER.set(reader);
    Ok(())
}

/// Takes the lines that DPDK has logged since the last call.
pub(crate) fn take() -> Vec<String> {
    let Some(reader) = READER.get() else {
        return Vec::new();
    };
    let mut text = Vec::new();
    let mut chunk = [0_u8; 4096];
    // Ends at "would block", and also at 1 MiB, should DPDK write faster than this reads.
    while text.len() < 1 << 20 {
        match rustix::io::read(reader.as_fd(), &mut chunk) {
            Ok(count) if count > 0 => text.extend(chunk.iter().take(count)),
            Err(rustix::io::Errno::INTR) => {}
            _ => break,
        }
    }
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The end of an error message: what DPDK said since the last call, or nothing.
pub(crate) fn quoted() -> String {
    let lines = take();
    let skip = lines.len().saturating_sub(8);
    match lines.get(skip..) {
        Some(last) if !last.is_empty() => format!("; DPDK said: {}", last.join(" | ")),
        _ => String::new(),
    }
}

//! Lines of the log on their way to stderr: a bounded queue, and the thread that writes what is in it.
//! Who logs never waits for who reads: a line that finds no room or cannot be written is counted as lost.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of lines that wait at most. A reload that changes a thousand things logs about 100 KiB.
const MOST_BYTES: usize = 4 << 20;
/// Bytes that are written at once, so that a slow reader is seen to read.
const CHUNK: usize = 4096;
/// How long a line may take at the end, when nothing is waited for any more, if nothing of it is read.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often lost lines are reported at most.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// Lines that are still to be written.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the thread is at a line that it has taken out.
    writing: bool,
    /// Counts up with every chunk that was written or given up.
    steps: u64,
}

impl Queue {
    /// An empty one. It counts lost lines in `lost`.
    pub(super) fn new(lost: Arc<AtomicU64>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            lost,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a line written soon, or counts it as lost.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(line.len());
        if bytes > MOST_BYTES {
            drop(state);
            self.lose();
            return;
        }
        state.bytes = bytes;
        state.lines.push_back(line);
        drop(state);
        self.changed.notify_all();
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until all lines are written, as long as somebody reads them.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        while state.writing || !state.lines.is_empty() {
            let before = state.steps;
            let waited = self
                .changed
                .wait_timeout_while(state, PATIENCE, |state| state.steps == before);
            let late;
            (state, late) = waited.unwrap_or_else(PoisonError::into_inner);
            if late.timed_out() {
                return;
            }
        }
    }

    /// Writes lines to `out` for ever. `report` makes the line that says how many were lost.
    pub(super) fn write(&self, out: impl Write, mut report: impl FnMut(u64) -> Vec<u8>) -> ! {
        let mut out = Lines { out, torn: false };
        let mut reported = 0;
        let mut reported_at: Option<Instant> = None;
        loop {
            let line = self.take();
            if out.line(&line, || self.step()).is_err() {
                self.lose();
            } else {
                let lost = self.lost.load(Ordering::Relaxed);
                let is_time = reported_at.is_none_or(|at| at.elapsed() >= BETWEEN_REPORTS);
                if lost != reported && is_time {
                    let line = report(lost.wrapping_sub(reported));
                    if out.line(&line, || self.step()).is_ok() {
                        (reported, reported_at) = (lost, Some(Instant::now()));
                    }
                }
            }
            self.lock().writing = false;
            self.step();
        }
    }

    /// The next line, as soon as there is one.
    fn take(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes = state.bytes.saturating_sub(line.len());
                state.writing = true;
                return line;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn step(&self) {
        let mut state = self.lock();
        state.steps = state.steps.wrapping_add(1);
        drop(state);
        self.changed.notify_all();
    }
}

/// An output that may refuse a line in the middle.
struct Lines<W> {
    out: W,
    /// Whether the last line has no end.
    torn: bool,
}

impl<W: Write> Lines<W> {
    fn line(&mut self, line: &[u8], mut step: impl FnMut()) -> io::Result<()> {
        if self.torn {
            self.all(b"\n")?;
            self.torn = false;
        }
        for chunk in line.chunks(CHUNK) {
            self.all(chunk)?;
            self.torn = true;
            step();
        }
        self.torn = false;
        Ok(())
    }

    fn all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.torn = true;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

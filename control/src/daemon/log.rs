//! The log: one line per change of state to stderr, as `key=value` pairs or as JSON.
//! Nothing is logged per packet, nobody who logs waits, and nothing decides here what is worth a line.

mod queue;

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::{CpuSet, Pid, gettid, sched_setaffinity};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, error, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use queue::Queue;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `time=... level=info msg="..." key=value`.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// The log of this process.
#[derive(Debug)]
pub(super) struct Log {
    queue: Arc<Queue>,
    lost: Arc<AtomicU64>,
    writer: Arc<OnceLock<Pid>>,
}

impl Log {
    /// From now on this process logs, panics too.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn start(format: LogFormat) -> io::Result<Self> {
        let filter =
            EnvFilter::try_from_env("PLIMSOLL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let lost = Arc::<AtomicU64>::default();
        let queue = Arc::new(Queue::new(Arc::clone(&lost)));
        let (lines, writer) = (Arc::clone(&queue), Arc::<OnceLock<Pid>>::default());
        let thread = Arc::clone(&writer);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let _ = thread.set(gettid());
                lines.write(Stderr, report_lost)
            })?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            // It would print them to stderr, which panics where stderr cannot be written.
            .log_internal_errors(false)
            .with_ansi(false)
            .with_writer(Lines(Arc::clone(&queue)));
        // Fails if somebody logs already, which is as good.
        let _ = match format {
            LogFormat::Logfmt => log.event_format(Logfmt).try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
        let log = Arc::clone(&queue);
        std::panic::set_hook(Box::new(move |panic| {
            report_panic(panic);
            log.finish();
        }));
        Ok(Self {
            queue,
            lost,
            writer,
        })
    }

    /// Counts the lines that were not written, as nobody read them or there was no room for them.
    pub(super) fn lost(&self) -> &Arc<AtomicU64> {
        &self.lost
    }

    /// Keeps the thread that writes on a CPU, where it takes no time from workers.
    pub(super) fn pin(&self, cpu: usize) {
        if let Some(thread) = self.writer.get().filter(|_| cpu < CpuSet::MAX_CPU) {
            let mut cpus = CpuSet::new();
            cpus.set(cpu);
            // Where it may not, it runs anywhere, now and then for a moment.
            let _ = sched_setaffinity(Some(*thread), &cpus);
        }
    }

    /// Writes a text as it is.
    pub(super) fn raw(&self, text: String) {
        self.queue.push(text.into_bytes());
    }

    /// Waits until everything is written, as long as somebody reads it.
    pub(super) fn finish(&self) {
        self.queue.finish();
    }
}

thread_local! {
    /// Where the thread that writes the log has its own line; elsewhere `None`.
    static OWN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The line that tells of lost ones. Not by the queue, which may be full again.
fn report_lost(lines: u64) -> Vec<u8> {
    OWN.set(Some(Vec::new()));
    warn!(
        lines,
        "lines of the log were lost, since nobody read them or they could not be written"
    );
    OWN.take().unwrap_or_default()
}

/// As the standard library does it, but to the log: it waits for stderr, and a panic in a panic hook ends it.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let trace = std::backtrace::Backtrace::capture();
    let trace = matches!(trace.status(), std::backtrace::BacktraceStatus::Captured)
        .then(|| trace.to_string());
    error!(
        thread = std::thread::current().name(),
        place,
        trace,
        "panic, which is a bug: {}",
        message(panic)
    );
}

fn message<'p>(panic: &'p PanicHookInfo<'_>) -> &'p str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a message")
}

/// Makes the writers of lines.
struct Lines(Arc<Queue>);

/// One line that is being put together.
struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            queue: &self.0,
            bytes: Vec::new(),
        }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        OWN.with_borrow_mut(|own| match own {
            Some(own) => own.extend(bytes),
            None => self.queue.push(bytes),
        });
    }
}

/// The process's stderr, which may be a pipe that somebody else has set to non-blocking.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            match stderr.lock().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)?;
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an event as `key=value` pairs.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "time=")?;
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(writer, " level={level}")?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, " msg={}{}", value(&fields.message), fields.others)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.add(field, text);
    }

    fn record_debug(&mut self, field: &Field, shown: &dyn fmt::Debug) {
        self.add(field, &format!("{shown:?}"));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            text.trim_end().clone_into(&mut self.message);
        } else {
            // Writing to a string does not fail.
            let _ = write!(self.others, " {}={}", field.name(), value(text));
        }
    }
}

/// In quotes if need be, on one line in any case.
fn value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_and_one_line() {
        for (text, shown) in [
            ("wan", "wan"),
            ("127.0.0.1:9142", "127.0.0.1:9142"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("one\n\"two\"", "\"one\\n\\\"two\\\"\""),
        ] {
            assert_eq!(value(text), shown);
        }
    }
}

//! What every subcommand shares: exit codes, output formats and where output goes.
//! Colour and terminals are decided once, by the caller.

use std::io::{self, Write};
use std::process::{ExitCode, Termination};

use clap::ValueEnum;
use serde::Serialize;

/// How the program ends. The numbers are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// Tried, and did not succeed.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// A configuration is invalid or unreadable.
    InvalidConfig,
    /// No daemon answers.
    Unreachable,
    /// A plan has changes.
    Changes,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InvalidConfig => 3,
            Self::Unreachable => 5,
            Self::Changes => 6,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// How a subcommand's result is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// An output that may be closed or full: what is written to it then is lost, and that is no failure.
pub(super) struct Optional<'a>(pub(super) &'a mut dyn Write);

impl Write for Optional<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Where output goes.
pub struct Terminal<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Diagnostics.
    pub err: &'a mut dyn Write,
    /// Whether diagnostics may have colour.
    pub stderr_colour: bool,
}

impl Terminal<'_> {
    /// Writes a result for programs.
    pub(super) fn json(&mut self, result: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *self.out, result)?;
        writeln!(self.out)
    }
}

impl std::fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("stderr_colour", &self.stderr_colour)
            .finish_non_exhaustive()
    }
}

/// An output whose reader may go away: what it does not want to read is not written, and that is no failure.
#[derive(Debug)]
pub struct Pipe<W>(pub W);

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

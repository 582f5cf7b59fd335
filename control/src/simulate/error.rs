//! What cannot be simulated, and why.
//! Its words are for whoever gave the command; it finds no fault itself.

use std::path::PathBuf;

use crate::config::Diagnostics;
use crate::memory::Shortage;

/// What cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A configuration is invalid.
    #[error("{} is not a valid configuration", .0.name())]
    Config(Diagnostics),
    /// A reload changes what needs a restart.
    #[error("{}: `{section}` differs from the configuration at the start; that needs a restart", .path.display())]
    NeedsRestart {
        /// The reload's file.
        path: PathBuf,
        /// Which section.
        section: &'static str,
    },
    /// No port has this name.
    #[error("no port is named `{name}`; the configuration has {known}")]
    NoPort {
        /// The name on the command line.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A worker that does not exist is to lag.
    #[error("there is no worker {worker}: they are numbered from 0 to {}", .workers.saturating_sub(1))]
    NoWorker {
        /// Its number.
        worker: usize,
        /// How many there are.
        workers: usize,
    },
    /// Two captures are to be written for one port.
    #[error("port `{0}` has two outputs; one is enough")]
    TwoOutputs(String),
    /// A file that was to be written is another one of this run.
    #[error("{}: writing it would destroy another input or output of this run", .0.display())]
    SameFile(PathBuf),
    /// The session tables do not fit into the memory that there is.
    #[error(transparent)]
    Memory(#[from] Shortage),
    /// A capture cannot be read.
    #[error("{}: {why}", .path.display())]
    Read {
        /// The capture.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A capture or the report cannot be written.
    #[error("{}: {why}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

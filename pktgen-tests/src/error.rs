//! [`Error`]: why a topology could not be built, or a program in it not be used.
//! What becomes of it then is for whoever asked.

use std::process::ExitStatus;

/// What can go wrong while a topology is built or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces, raw sockets and DPDK's ports need root.
    #[error("this needs root: it makes network namespaces (try again with sudo)")]
    NotRoot,
    /// A program could not be started at all.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program's name or path.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it complained about.
        stderr: String,
    },
    /// Something did not become ready in time.
    #[error("{what} was not ready within {seconds} s{log}")]
    Late {
        /// What was waited for.
        what: String,
        /// The deadline.
        seconds: u64,
        /// The last lines of its log, if there is one, each on a line of its own.
        log: String,
    },
    /// A program answered with something that cannot be understood.
    #[error("{what}: unexpected answer: {answer}")]
    Answer {
        /// Who answered what.
        what: String,
        /// The answer, or the part that surprises.
        answer: String,
    },
    /// A file or directory of the topology could not be used.
    #[error("{path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A signal arrived, everything is being taken down.
    #[error("interrupted")]
    Interrupted,
}

/// The result of everything that touches a topology.
pub type Result<T> = std::result::Result<T, Error>;

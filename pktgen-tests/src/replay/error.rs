//! Why a recording could not be played, or asks for more than Plimsoll has.
//! Must not know how a recording is played.

use std::path::{Path, PathBuf};

/// Why a recording could not be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no recording.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A capture could not be read or written.
    #[error("a capture: {0}")]
    Capture(#[from] pcap_file::PcapError),
    /// The simulator gave up.
    #[error(transparent)]
    Simulator(#[from] plimsoll_control::simulate::SimulateError),
}

impl ReplayError {
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// What a recording asks for and Plimsoll does not have.
#[derive(Debug)]
pub(super) struct Unsupported(pub(super) String);

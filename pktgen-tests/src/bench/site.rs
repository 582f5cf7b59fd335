//! Where two programs exchange frames: through shared memory, or over a veth between two namespaces.
//!
//! Must not know what the programs are.

use std::path::{Path, PathBuf};
use std::process::Output;

use super::plan::Plan;
use crate::error::Result;
use crate::topology::{Pair, Process, WorkDirectory};

/// How the two are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// vhost-user on the side that is measured, virtio-user on the side that measures.
    Vhost,
    /// `net_af_packet` on both ends of a veth.
    Veth,
}

/// The place of one run of two programs. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Site {
    wire: Wire,
    // Dropped first: what runs inside uses the directory.
    pair: Option<Pair>,
    directory: WorkDirectory,
    /// Whether packet memory is in hugepages.
    pub huge: bool,
}

impl Site {
    /// Makes the place.
    ///
    /// # Errors
    /// When namespaces are needed and there is no root, or something cannot be made.
    pub fn new(wire: Wire, plan: &Plan) -> Result<Self> {
        let directory = WorkDirectory::new()?;
        Ok(Self {
            wire,
            pair: match wire {
                Wire::Vhost => None,
                Wire::Veth => Some(Pair::new()?),
            },
            directory,
            huge: plan.huge,
        })
    }

    /// A file of this place.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The socket that the measured side makes, if they meet at one.
    #[must_use]
    pub fn meeting_point(&self) -> Option<PathBuf> {
        (self.wire == Wire::Vhost).then(|| self.file("vhost.sock"))
    }

    /// The measured side's device.
    #[must_use]
    pub fn subject_device(&self) -> String {
        match self.meeting_point() {
            Some(socket) => format!("net_vhost0,iface={}", socket.display()),
            None => veth(),
        }
    }

    /// The measuring side's device.
    #[must_use]
    pub fn generator_device(&self) -> String {
        match self.meeting_point() {
            Some(socket) => format!("net_virtio_user0,path={},queue_size=256", socket.display()),
            None => veth(),
        }
    }

    /// Starts a program on the measured side.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_subject(&self, name: &str, words: &[&str]) -> Result<Process> {
        self.forget(name);
        match &self.pair {
            Some(pair) => pair.subject.start(name, words, &self.log(name)),
            None => self.directory.start(name, words),
        }
    }

    /// Starts a program on the measuring side.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_generator(&self, name: &str, words: &[&str]) -> Result<Process> {
        self.forget(name);
        match &self.pair {
            Some(pair) => pair.generator.start(name, words, &self.log(name)),
            None => self.directory.start(name, words),
        }
    }

    /// Runs a program on the measured side to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ask_subject(&self, words: &[&str]) -> Result<Output> {
        match &self.pair {
            Some(pair) => pair.subject.run_any(words),
            None => self.directory.run_any(words),
        }
    }

    /// What a former program has printed is not this one's.
    fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.log(name));
    }

    fn log(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.log"))
    }
}

fn veth() -> String {
    format!("net_af_packet0,iface={}", Pair::INTERFACE)
}

/// A path as a word of a command.
#[must_use]
pub fn word(path: &Path) -> String {
    path.display().to_string()
}

//! Recordings of a real kernel's IPVS, played to the simulator and compared frame by frame.
//! Knows no packet's meaning beyond what two kernels would not agree on either; `recordings/README.md` has the format.

mod command;
mod compare;
mod deviations;
mod error;
mod figures;
mod mask;
mod plan;
mod recording;
mod setup;

use std::fmt;
use std::path::Path;

pub use deviations::Deviations;
pub use error::ReplayError;
use error::Unsupported;
use plan::Prepared;
use recording::Recording;

/// What came of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every frame, session and counter is as LVS had it.
    Match,
    /// Something is not, and `docs/DEVIATIONS.md` says so.
    Documented(String),
    /// Something is not; this is the first of it.
    Differs(String),
    /// It needs what Plimsoll does not have; this is the first of it.
    NotSupported(String),
}

impl Outcome {
    /// Whether it counts as a failure.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Differs(_) | Self::NotSupported(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("match"),
            Self::Documented(_) => f.write_str("deviates (documented)"),
            Self::Differs(what) => write!(f, "differs: {what}"),
            Self::NotSupported(what) => write!(f, "not supported: {what}"),
        }
    }
}

/// The names of the recordings in a folder, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>, ReplayError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(ReplayError::file(folder))? {
        let entry = entry.map_err(ReplayError::file(folder))?;
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Plays one recording.
///
/// # Errors
/// When it cannot be played at all, which says nothing about LVS or Plimsoll.
pub fn replay(folder: &Path, name: &str, known: &Deviations) -> Result<Outcome, ReplayError> {
    let recording = Recording::read(&folder.join(format!("{name}.json")))?;
    Ok(match play(&recording, false)? {
        Outcome::Differs(what)
            if known.names(name) || play(&recording, true)? == Outcome::Match =>
        {
            Outcome::Documented(what)
        }
        outcome => outcome,
    })
}

/// Plays it as Plimsoll does it by default, or with `compat: lvs`.
fn play(recording: &Recording, compat_lvs: bool) -> Result<Outcome, ReplayError> {
    let folder = tempfile::tempdir().map_err(ReplayError::file(&std::env::temp_dir()))?;
    let prepared = match Prepared::new(recording, compat_lvs, folder.path())? {
        Ok(prepared) => prepared,
        Err(Unsupported(what)) => return Ok(Outcome::NotSupported(what)),
    };
    let report = plimsoll_control::simulate::run(&prepared.plan)?;
    let difference = match compare::frames(recording, &prepared)? {
        Some(difference) => Some(difference),
        None => figures::compare(recording, &report),
    };
    Ok(difference.map_or(Outcome::Match, Outcome::Differs))
}

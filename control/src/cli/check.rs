//! `plimsoll check FILE`: is this a configuration that the daemon would take?
//! Asks no daemon, and of the machine only how many CPUs it has.

use std::io;
use std::path::PathBuf;

use super::{Exit, Format, Terminal};
use crate::config::{self, Diagnostics, Loaded, ValidConfig};
use crate::memory::Need;

/// Check a configuration file: exit 0 if it is valid, 3 if not, with the reasons on stderr.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    file: PathBuf,
    /// How to write the result to stdout [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let (diagnostics, valid) = match config::load(&self.file) {
            Ok(Loaded {
                warnings, valid, ..
            }) => (warnings, Some(valid)),
            Err(errors) => (errors, None),
        };
        complain(&diagnostics, terminal);
        match (self.output.unwrap_or_default(), &valid) {
            (Format::Json, _) => {
                let mut json = diagnostics.to_json();
                if let (Some(valid), Some(json)) = (&valid, json.as_object_mut()) {
                    let need = serde_json::to_value(memory(valid).0)?;
                    json.insert("memory".to_owned(), need);
                }
                terminal.json(&json)?;
            }
            (Format::Text, Some(valid)) => writeln!(
                terminal.out,
                "{}: valid ({}, {}, {})\nmemory: {}",
                diagnostics.name(),
                count(valid.start().ports.len(), "port"),
                count(valid.reload().services.len(), "service"),
                count(
                    valid
                        .reload()
                        .services
                        .iter()
                        .map(|service| service.reals.len())
                        .sum(),
                    "real server"
                ),
                memory(valid).1,
            )?,
            (Format::Text, None) => {}
        }
        Ok(if valid.is_some() {
            Exit::Ok
        } else {
            Exit::InvalidConfig
        })
    }
}

/// The memory that the daemon takes at its start, for programs and for people.
fn memory(valid: &ValidConfig) -> (Need, String) {
    let configured = valid.start().cpus.as_ref().map(Vec::len);
    let here = || std::thread::available_parallelism().map_or(1, usize::from);
    // Without `cpus` it is every CPU but the first.
    let workers = configured.unwrap_or_else(|| here().saturating_sub(1).max(1));
    let need = Need::of(valid, workers);
    let text = match configured {
        Some(_) => need.text(),
        None => format!("{} (workers as on this machine)", need.text()),
    };
    (need, text)
}

/// Writes the report; nobody reading it does not change whether the file is valid.
pub(super) fn complain(diagnostics: &Diagnostics, terminal: &mut Terminal<'_>) {
    let report = diagnostics.report(terminal.stderr_colour);
    let _ = terminal.err.write_all(report.as_bytes());
}

fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

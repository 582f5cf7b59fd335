//! `plimsoll check FILE`: is this a configuration that the daemon would take?
//! Asks no daemon and looks at no hardware.

use std::io;
use std::path::PathBuf;

use super::{Exit, Format, Terminal};
use crate::config::{self, Diagnostics, Loaded};

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
        if !diagnostics.items().is_empty() {
            complain(&diagnostics, terminal);
        }
        match (self.output.unwrap_or_default(), &valid) {
            (Format::Json, _) => {
                serde_json::to_writer_pretty(&mut *terminal.out, &diagnostics.to_json())?;
                writeln!(terminal.out)?;
            }
            (Format::Text, Some(valid)) => writeln!(
                terminal.out,
                "{}: valid ({}, {}, {})",
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

/// Writes the report; nobody reading it does not change whether the file is valid.
pub(super) fn complain(diagnostics: &Diagnostics, terminal: &mut Terminal<'_>) {
    let _ = terminal
        .err
        .write_all(diagnostics.report(terminal.stderr_colour).as_bytes());
}

fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

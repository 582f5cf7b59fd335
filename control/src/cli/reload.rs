//! `plimsoll reload`: the daemon reads its file again, and puts all of it in force or nothing.
//! The file is read by the daemon, so that what it checked is what it applies.

use std::io;

use super::client::Client;
use super::{Exit, Format, Terminal};
use crate::report::{Reload, ReloadResult};

/// Have the daemon read its configuration again: exit 0 if it is in force, 1 if it needs a restart,
/// 3 if it is invalid. What is refused changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to write the result to stdout [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let path = format!("/api/v1/reload?colour={}", terminal.stderr_colour);
        let reload: Reload = match client.post(&path) {
            Ok(reload) => reload,
            Err(error) => return error.tell(terminal),
        };
        // Nobody reading the report does not change what was done.
        let _ = terminal.err.write_all(reload.report.as_bytes());
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(&reload)?,
            Format::Text => show(&reload, terminal)?,
        }
        Ok(match reload.result {
            ReloadResult::Applied | ReloadResult::Unchanged => Exit::Ok,
            ReloadResult::RestartNeeded => Exit::Failed,
            ReloadResult::Invalid => Exit::InvalidConfig,
        })
    }
}

fn show(reload: &Reload, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let (file, generation) = (&reload.file, reload.generation);
    match reload.result {
        ReloadResult::Applied => {
            for line in reload.changes.lines() {
                writeln!(terminal.out, "{line}")?;
            }
            for dropped in &reload.dropped {
                writeln!(terminal.out, "! {dropped}")?;
            }
            writeln!(terminal.out, "{file} is in force, generation {generation}")
        }
        ReloadResult::Unchanged => writeln!(
            terminal.out,
            "{file} is in force already, generation {generation}"
        ),
        ReloadResult::Invalid => {
            writeln!(
                terminal.err,
                "plimsoll: nothing was changed, generation {generation} stays in force"
            )
        }
        ReloadResult::RestartNeeded => {
            for what in &reload.restart {
                writeln!(terminal.err, "! {what}")?;
            }
            writeln!(
                terminal.err,
                "plimsoll: nothing was changed, since {file} changes what needs a restart of plimsolld; \
                 generation {generation} stays in force"
            )
        }
    }
}

//! `plimsoll plan`: what a reload would change.
//! The daemon compares, since it alone knows what is in force; nothing is changed.

use std::io;
use std::path::PathBuf;

use super::check::complain;
use super::client::{Client, escape};
use super::{Exit, Format, Terminal};
use crate::config;
use crate::report::Plan;

/// Show what a reload would change: exit 0 if nothing, 6 if anything, also if it needs a restart, 3 if the file is
/// invalid.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file [default: the one that the daemon reads when it reloads].
    file: Option<PathBuf>,
    /// How to write the result to stdout [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let mut path = format!("/api/v1/plan?colour={}", terminal.stderr_colour);
        let mut text = String::new();
        if let Some(file) = &self.file {
            text = match config::text(file) {
                Ok(text) => text,
                Err(errors) => {
                    complain(&errors, terminal);
                    return Ok(Exit::InvalidConfig);
                }
            };
            let name = file.display().to_string();
            path.push_str("&file=");
            path.push_str(&escape(&name));
        }
        let plan: Plan = match client.send_text(&path, text) {
            Ok(plan) => plan,
            Err(error) => return error.tell(terminal),
        };
        // Nobody reading the report does not change what is planned.
        let _ = terminal.err.write_all(plan.report.as_bytes());
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(&plan)?,
            Format::Text => write!(terminal.out, "{}", show(&plan))?,
        }
        Ok(match &plan {
            plan if !plan.valid => Exit::InvalidConfig,
            plan if plan.has_changes() => Exit::Changes,
            _ => Exit::Ok,
        })
    }
}

fn show(plan: &Plan) -> String {
    if !plan.valid {
        return String::new();
    }
    let mut lines = plan.changes.lines();
    for touched in &plan.touched {
        lines.push(format!(
            "  service {}: real servers that go have {} sessions",
            touched.service, touched.sessions
        ));
    }
    lines.extend(plan.dropped.iter().map(|what| format!("! {what}")));
    lines.extend(plan.runtime.iter().map(|what| format!("= {what}")));
    let restart = plan.restart.iter();
    lines.extend(restart.map(|what| format!("! needs a restart of plimsolld: {what}")));
    lines.push(if plan.restart.is_empty() {
        let does = if plan.has_changes() {
            "changes this"
        } else {
            "changes nothing"
        };
        format!("a reload of {} {does}", plan.file)
    } else {
        format!("a reload of {} is refused: it needs a restart", plan.file)
    });
    lines.join("\n") + "\n"
}

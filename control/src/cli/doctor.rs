//! `plimsoll doctor`: what would keep Plimsoll from working here, each with the command that mends it.
//! What is judged is in `doctor/`; here it is found out what there is to look at.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::check::complain;
use super::client::Client;
use super::{Exit, Format, Terminal};
use crate::config::{self, ValidConfig};
use crate::doctor::finding::{Level, Root};
use crate::doctor::live::Live;
use crate::doctor::{Diagnosis, examine};

/// Look at this machine's memory, CPUs and devices, and at what a running daemon tells of links and neighbours: exit 1 if
/// something does not work. Changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration that is to run here [default: the running daemon's].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the machine's /sys is: for tests, and for what was copied from another machine.
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    root: PathBuf,
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let live = live(client);
        let config = match (&self.config, &live) {
            (Some(file), _) => match load(file, terminal) {
                Some(valid) => Some(valid),
                None => return Ok(Exit::InvalidConfig),
            },
            // What it reads at its next reload or start; not readable for everybody.
            (None, Some(live)) if Path::new(&live.status.file).is_absolute() => {
                load(Path::new(&live.status.file), terminal)
            }
            (None, _) => None,
        };
        let diagnosis = examine(&Root::new(&self.root), config.as_ref(), live.as_ref());
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(&diagnosis)?,
            Format::Text => write!(terminal.out, "{}", text(&diagnosis))?,
        }
        Ok(if diagnosis.works {
            Exit::Ok
        } else {
            Exit::Failed
        })
    }
}

/// What a daemon tells, if one answers.
fn live(client: &Client) -> Option<Live> {
    Some(Live {
        status: client.get("/api/v1/status").ok()?,
        neighbours: client.get("/api/v1/neighbors").ok()?,
    })
}

fn load(file: &Path, terminal: &mut Terminal<'_>) -> Option<ValidConfig> {
    match config::load(file) {
        Ok(loaded) => Some(loaded.valid),
        Err(errors) => {
            complain(&errors, terminal);
            None
        }
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for finding in &diagnosis.findings {
        let level = match finding.level {
            Level::Ok | Level::Note => finding.level.name().to_owned(),
            Level::Warning | Level::Error => finding.level.name().to_uppercase(),
        };
        let _ = writeln!(text, "{level:<8} {}: {}", finding.about, finding.what);
        for command in &finding.mend {
            let _ = writeln!(text, "             {command}");
        }
    }
    let count = |level| {
        let found = diagnosis.findings.iter().filter(|one| one.level == level);
        match found.count() {
            1 => format!("1 {}", level.name()),
            count => format!("{count} {}s", level.name()),
        }
    };
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let _ = writeln!(text, "{errors}, {warnings}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Finding;

    #[test]
    fn each_finding_has_its_commands_below_it() {
        let finding = |level, what: &str, mend: &[&str]| Finding {
            level,
            about: "hugepages".to_owned(),
            what: what.to_owned(),
            mend: mend.iter().map(|command| (*command).to_owned()).collect(),
        };
        let diagnosis = Diagnosis {
            works: false,
            findings: vec![
                finding(Level::Ok, "enough", &[]),
                finding(Level::Error, "none", &["sysctl -w vm.nr_hugepages=256"]),
            ],
        };
        assert_eq!(
            text(&diagnosis),
            "ok       hugepages: enough\n\
             ERROR    hugepages: none\n             \
             sysctl -w vm.nr_hugepages=256\n\
             1 error, 0 warnings\n"
        );
    }
}

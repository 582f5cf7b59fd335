//! `plimsoll list`: services, real servers and sessions in the columns that `ipvsadm` prints.
//! How the columns look is in `table.rs`.

use std::io;

use super::client::{Client, NoAnswer};
use super::{Exit, Format, Terminal, table};
use crate::report::{Services, Sessions, Timeouts};

/// Show services and real servers, as `ipvsadm -Ln` does.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each option of the command line"
)]
pub(super) struct Args {
    /// Sessions, packets and bytes since the start, as `ipvsadm -Ln --stats` shows them.
    #[arg(long, groups = ["view", "numbers"])]
    stats: bool,
    /// Sessions, packets and bytes per second of late, as `ipvsadm -Ln --rate` shows them.
    #[arg(long, groups = ["view", "numbers"])]
    rate: bool,
    /// Thresholds of real servers, as `ipvsadm -Ln --thresholds` shows them.
    #[arg(long, group = "view")]
    thresholds: bool,
    /// Persistent clients of real servers, as `ipvsadm -Ln --persistent-conn` shows them.
    #[arg(long, group = "view")]
    persistent_conn: bool,
    /// What operators have real servers do, the file's weights beside those in force, and removed real servers that
    /// have sessions left.
    #[arg(long, group = "view")]
    state: bool,
    /// How long idle sessions live, in seconds, as `ipvsadm -L --timeout` shows it.
    #[arg(long, group = "view")]
    timeout: bool,
    /// Numbers in full, not in K, M, G.
    #[arg(long, requires = "numbers")]
    exact: bool,
    /// All sessions, as `ipvsadm -Lnc` shows them.
    #[arg(long, group = "view")]
    sessions: bool,
    /// At most so many sessions.
    #[arg(long, requires = "sessions", value_name = "N")]
    limit: Option<usize>,
    /// How to write the result; JSON always has all columns [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let all = |text| (text, Exit::Ok);
        let shown = if self.sessions {
            self.sessions(client, terminal)
        } else if self.timeout {
            self.timeouts(client).map(all)
        } else {
            self.services(client).map(all)
        };
        match shown {
            Ok((text, exit)) => {
                terminal.out.write_all(text.as_bytes())?;
                Ok(exit)
            }
            Err(error) => error.tell(terminal),
        }
    }

    fn services(&self, client: &Client) -> Result<String, NoAnswer> {
        let mut list: Services = client.get("/api/v1/services")?;
        if self.output.unwrap_or_default() == Format::Text && !self.state {
            // The texts are ipvsadm's, which shows nothing that was removed.
            list.services.retain(|service| !service.removed);
            for service in &mut list.services {
                service.reals.retain(|real| !real.removed);
            }
        }
        Ok(match self.output.unwrap_or_default() {
            Format::Json => serde_json::to_string_pretty(&list)? + "\n",
            Format::Text if self.stats => table::stats(&list, self.exact),
            Format::Text if self.rate => table::rate(&list, self.exact),
            Format::Text if self.thresholds => table::thresholds(&list),
            Format::Text if self.persistent_conn => table::persistent(&list),
            Format::Text if self.state => table::state(&list),
            Format::Text => table::services(&list),
        })
    }

    fn timeouts(&self, client: &Client) -> Result<String, NoAnswer> {
        let timeouts: Timeouts = client.get("/api/v1/timeouts")?;
        Ok(match self.output.unwrap_or_default() {
            Format::Json => serde_json::to_string_pretty(&timeouts)? + "\n",
            Format::Text => table::timeouts(&timeouts),
        })
    }

    fn sessions(
        &self,
        client: &Client,
        terminal: &mut Terminal<'_>,
    ) -> Result<(String, Exit), NoAnswer> {
        let limit = self
            .limit
            .map_or_else(String::new, |limit| format!("?limit={limit}"));
        let list: Sessions = client.get(&format!("/api/v1/sessions{limit}"))?;
        if list.truncated && self.limit.is_none() {
            writeln!(terminal.err, "plimsoll: there are more sessions than these")?;
        }
        if list.incomplete {
            writeln!(
                terminal.err,
                "plimsoll: a worker did not answer: its other sessions are missing; see the daemon's log"
            )?;
        }
        let text = match self.output.unwrap_or_default() {
            Format::Json => serde_json::to_string_pretty(&list)? + "\n",
            Format::Text => table::sessions(&list),
        };
        let exit = if list.incomplete {
            Exit::Failed
        } else {
            Exit::Ok
        };
        Ok((text, exit))
    }
}

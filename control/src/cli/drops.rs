//! `plimsoll drops`: why packets were dropped, and how many.
//! The words are the data plane's own.

use std::io;

use plimsoll_dataplane::verdict::DropReason;

use super::client::Client;
use super::{Exit, Format, Terminal};
use crate::report::Drops;

/// Show why packets were dropped since the daemon was started.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show the reasons that nothing was dropped for too.
    #[arg(short, long)]
    all: bool,
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let drops: Drops = match client.get(&format!("/api/v1/drops?all={}", self.all)) {
            Ok(drops) => drops,
            Err(error) => return error.tell(terminal),
        };
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(&drops)?,
            Format::Text => write!(terminal.out, "{}", text(&drops))?,
        }
        Ok(Exit::Ok)
    }
}

/// The most frequent first.
fn text(drops: &Drops) -> String {
    if drops.drops.is_empty() {
        return "no packet was dropped\n".to_owned();
    }
    let help = |label: &str| {
        let reason = DropReason::ALL
            .iter()
            .find(|reason| reason.label() == label);
        reason.map_or("", |reason| reason.help())
    };
    let mut rows: Vec<_> = drops.drops.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    rows.iter()
        .map(|(label, count)| format!("{count:>12}  {label:<22}  {}\n", help(label)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reason_comes_first_with_its_help() {
        let drops = [("no_service", 2_u64), ("tx_full", 300)];
        let drops = Drops {
            drops: drops.map(|(name, n)| (name.to_owned(), n)).into(),
        };
        assert_eq!(
            text(&drops),
            "         300  tx_full                 The transmit queue and its backlog are full.\n           \
             2  no_service              For a VIP, but no service has this protocol and port.\n"
        );
    }

    #[test]
    fn no_drops_are_said_in_words() {
        let drops = Drops {
            drops: std::collections::BTreeMap::new(),
        };
        assert_eq!(text(&drops), "no packet was dropped\n");
    }
}

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
        let path = format!("/api/v1/drops?all={}", self.all);
        client.show(&path, self.output, terminal, text)
    }
}

/// The most frequent first, each with what an operator does about it on a second line.
fn text(drops: &Drops) -> String {
    if drops.drops.is_empty() {
        return "no packet was dropped\n".to_owned();
    }
    let mut rows: Vec<_> = drops.drops.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    rows.iter()
        .map(|(label, count)| {
            // A daemon of another version may have reasons that this command does not know.
            let reason = DropReason::by_label(label);
            let help = reason.map_or("", DropReason::help);
            let head = format!("{count:>12}  {label:<22}  {help}");
            let remedy = reason.map(|reason| format!("{:38}To do: {}\n", "", reason.remedy()));
            format!("{}\n{}", head.trim_end(), remedy.unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(counts: &[(&str, u64)]) -> Drops {
        let counts = counts.iter().map(|(name, n)| ((*name).to_owned(), *n));
        Drops {
            drops: counts.collect(),
        }
    }

    #[test]
    fn the_most_frequent_reason_comes_first_with_its_meaning_and_remedy() {
        let text = text(&drops(&[("no_service", 2), ("tx_full", 300)]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            [lines[0], lines[2]],
            [
                "         300  tx_full                 The transmit queue and its backlog are full.",
                "           2  no_service              For a VIP, but no service has this protocol and port.",
            ]
        );
        let remedies = [lines[1], lines[3]].map(str::trim_start);
        assert_eq!(
            remedies,
            [DropReason::TxFull, DropReason::NoService]
                .map(|reason| format!("To do: {}", reason.remedy()))
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_reason_of_another_version_is_shown_by_its_label_alone() {
        assert_eq!(text(&drops(&[("of_later", 7)])), "           7  of_later\n");
    }

    #[test]
    fn json_has_the_counts_alone() {
        let json = serde_json::to_string(&drops(&[("no_service", 2)])).unwrap();
        assert_eq!(json, r#"{"drops":{"no_service":2}}"#);
    }

    #[test]
    fn no_drops_are_said_in_words() {
        assert_eq!(text(&drops(&[])), "no packet was dropped\n");
    }

    #[test]
    fn the_page_about_drops_has_every_reason_as_the_code_says() {
        let sections = DropReason::ALL.iter().map(|reason| {
            let (label, help, remedy) = (reason.label(), reason.help(), reason.remedy());
            format!("### {label}\n\n{help}\n\n*To do:* {remedy}\n\n")
        });
        crate::pages::check("TROUBLESHOOTING.md", &sections.collect::<String>());
    }
}

//! `plimsoll neighbors`: the neighbours that workers know, as `ip neigh` prints them.
//! The daemon asks its workers; what of several counts is decided there.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use super::client::escape;
use super::client::{Client, NoAnswer};
use super::status::span;
use super::{Exit, Format, Terminal};
use crate::report::neighbours::Neighbours;

/// Show who is known on the links, as `ip neigh` does: exit 1 if a worker did not answer and some are missing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this neighbour.
    address: Option<IpAddr>,
    /// Only those behind this port.
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let list = match self.list(client) {
            Ok(list) => list,
            Err(error) => return error.tell(terminal),
        };
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(&list)?,
            Format::Text => write!(terminal.out, "{}", text(&list))?,
        }
        if list.incomplete {
            writeln!(
                terminal.err,
                "plimsoll: a worker did not answer: what it alone knows is missing; see the daemon's log"
            )?;
            return Ok(Exit::Failed);
        }
        Ok(Exit::Ok)
    }

    fn list(&self, client: &Client) -> Result<Neighbours, NoAnswer> {
        let port = self.port.as_ref().map(|port| ("port", port.clone()));
        let address = self.address.map(|address| ("address", address.to_string()));
        let values = [port, address].into_iter().flatten();
        let values: Vec<String> = values
            .map(|(key, value)| format!("{key}={}", escape(&value)))
            .collect();
        client.get(&format!("/api/v1/neighbors?{}", values.join("&")))
    }
}

fn text(list: &Neighbours) -> String {
    let mut text = String::new();
    for one in &list.neighbors {
        let _ = write!(text, "{} dev {}", one.address, one.port);
        if let Some(mac) = &one.mac {
            let _ = write!(text, " lladdr {mac}");
        }
        let _ = writeln!(text, " {}", one.state.name().to_uppercase());
        let mut silent = list.unreachable.iter();
        let silent = silent.find(|silent| silent.port == one.port && silent.address == one.address);
        if let Some(silent) = silent {
            let _ = write!(text, "    does not answer since {}", span(silent.since_s));
            if !silent.reals.is_empty() {
                let _ = write!(text, ": real server {}", silent.reals.join(", "));
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::neighbours::{Neighbour, State, UnreachableNeighbour};

    #[test]
    fn neighbours_are_written_as_ip_writes_them_and_who_is_silent_has_a_line_more() {
        let neighbour = |last: u8, mac: Option<&str>, state| Neighbour {
            port: "lan".to_owned(),
            address: [10, 0, 0, last].into(),
            mac: mac.map(str::to_owned),
            state,
            age_s: None,
        };
        let mac = Some("02:00:00:00:00:01");
        let list = Neighbours {
            unreachable: vec![UnreachableNeighbour {
                port: "lan".to_owned(),
                address: [10, 0, 0, 3].into(),
                since_s: 75,
                reals: vec!["web/10.0.0.3:80".to_owned()],
            }],
            neighbors: vec![
                neighbour(1, mac, State::Permanent),
                neighbour(2, mac, State::Reachable),
                neighbour(3, None, State::Failed),
            ],
            incomplete: false,
        };
        assert_eq!(
            text(&list),
            "10.0.0.1 dev lan lladdr 02:00:00:00:00:01 PERMANENT\n\
             10.0.0.2 dev lan lladdr 02:00:00:00:00:01 REACHABLE\n\
             10.0.0.3 dev lan FAILED\n    \
             does not answer since 1m 15s: real server web/10.0.0.3:80\n"
        );
    }
}

//! `plimsoll routes`: the routes in force, as `ip route` prints them.
//! Which of them counts for an address is said by their order: the first that has it.

use std::fmt::Write as _;
use std::io;

use super::client::Client;
use super::{Exit, Format, Terminal};
use crate::report::routes::Routes;

/// Show the routes, the longest prefix first, as `ip route` does.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        client.show("/api/v1/routes", self.output, terminal, text)
    }
}

fn text(routes: &Routes) -> String {
    let mut text = String::new();
    for route in &routes.routes {
        // Both families have one of all addresses, which `ip` shows in lists of their own.
        if route.to.prefix_len() == 0 && route.to.addr().is_ipv4() {
            text.push_str("default");
        } else {
            let _ = write!(text, "{}", route.to);
        }
        if let Some(via) = route.via {
            let _ = write!(text, " via {via}");
        }
        let _ = write!(text, " dev {}", route.port);
        if route.connected {
            text.push_str(" scope link");
        }
        if let Some(source) = route.source {
            let _ = write!(text, " src {source}");
        }
        let _ = writeln!(text, " mtu {}", route.mtu);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::routes::Route;

    #[test]
    fn routes_are_written_as_ip_writes_them() {
        let route = |to: &str, via: Option<&str>, source: Option<&str>| Route {
            to: to.parse().unwrap(),
            via: via.map(|via| via.parse().unwrap()),
            port: "wan".to_owned(),
            connected: via.is_none(),
            source: source.map(|source| source.parse().unwrap()),
            mtu: 1500,
        };
        let list = Routes {
            routes: vec![
                route("192.0.2.0/24", None, Some("192.0.2.2")),
                route("0.0.0.0/0", Some("192.0.2.1"), Some("192.0.2.2")),
                route("::/0", Some("fe80::1"), None),
            ],
        };
        assert_eq!(
            text(&list),
            "192.0.2.0/24 dev wan scope link src 192.0.2.2 mtu 1500\n\
             default via 192.0.2.1 dev wan src 192.0.2.2 mtu 1500\n\
             ::/0 via fe80::1 dev wan mtu 1500\n"
        );
    }
}

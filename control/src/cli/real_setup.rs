//! `plimsoll real-setup`: what to run on the real servers of a service.
//! The commands are `real_setup`'s; here it is decided whether the daemon's configuration or a file's is meant.

use std::io;
use std::path::{Path, PathBuf};

use plimsoll_dataplane::snapshot::route::Routes;
use plimsoll_dataplane::wire::Mac;

use super::check::complain;
use super::client::escape;
use super::client::{Client, NoAnswer};
use super::{Exit, Format, Terminal};
use crate::compile;
use crate::config::suggest::nearest;
use crate::config::{self, ValidConfig};
use crate::real_setup::section::{Os, Service};
use crate::real_setup::{RealSetup, real_setup, unknown};

/// Write the commands that make a machine a real server of a service, by its forwarding method: to be pasted into a shell
/// there. Exit 1 if there is no such service, or a real server cannot be one with this system.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service's name.
    service: String,
    /// What runs on the real servers.
    #[arg(long, value_enum, default_value_t)]
    os: Os,
    /// Take the service from this file, not from the running daemon.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

impl Args {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let setup = match &self.config {
            Some(file) => match self.of_file(file, terminal) {
                Ok(setup) => setup,
                Err(exit) => return Ok(exit),
            },
            None => match self.of_daemon(client) {
                Ok(setup) => setup,
                Err(error) => return error.tell(terminal),
            },
        };
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(&setup)?,
            Format::Text => write!(terminal.out, "{}", setup.text())?,
        }
        Ok(if setup.is_possible() {
            Exit::Ok
        } else {
            Exit::Failed
        })
    }

    fn of_daemon(&self, client: &Client) -> Result<RealSetup, NoAnswer> {
        let (service, os) = (escape(&self.service), self.os.name());
        client.get(&format!("/api/v1/real-setup?service={service}&os={os}"))
    }

    fn of_file(&self, file: &Path, terminal: &mut Terminal<'_>) -> Result<RealSetup, Exit> {
        let valid = match config::load(file) {
            Ok(loaded) => loaded.valid,
            Err(errors) => {
                complain(&errors, terminal);
                return Err(Exit::InvalidConfig);
            }
        };
        of_config(&valid, &self.service, self.os).map_err(|said| {
            let _ = writeln!(terminal.err, "plimsoll: {said}");
            Exit::Failed
        })
    }
}

/// What is written for a service of a file; what to say if it has none of this name.
fn of_config(valid: &ValidConfig, name: &str, os: Os) -> Result<RealSetup, String> {
    let (start, reload) = (valid.start(), valid.reload());
    let Some(service) = reload.services.iter().find(|one| *one.name == *name) else {
        let names: Vec<&str> = reload.services.iter().map(|one| &*one.name).collect();
        return Err(unknown(name, nearest(name, &names)));
    };
    // No command has a MAC of ours.
    let macs = vec![Mac([0; 6]); start.ports.len()];
    let (_, ports) = compile::ports(start, &macs);
    let routes = Routes::new(&ports, &reload.network.routes);
    let service = Service {
        name: &service.name,
        target: &service.target,
        mss_clamp: service.mss_clamp,
        reals: &service.reals,
    };
    Ok(real_setup(service, &ports, &routes, os))
}

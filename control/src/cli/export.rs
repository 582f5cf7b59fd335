//! `plimsoll export`: the services of a configuration as another load balancer's rules.
//! Asks no daemon; the work is done by `import/`.

use std::io;
use std::path::PathBuf;

use super::{Exit, Terminal};
use crate::config;
use crate::import;

/// Turn a configuration's services into another load balancer's rules.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, clap::Subcommand)]
enum To {
    /// Lines for `ipvsadm -R` on stdout, exit 1 if LVS cannot have some service.
    ///
    /// The nft commands that services with `match` need are on stderr, as comments.
    Ipvsadm {
        /// The configuration file.
        file: PathBuf,
    },
}

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let To::Ipvsadm { file } = self.to;
        let loaded = match config::load(&file) {
            Ok(loaded) => loaded,
            Err(diagnostics) => {
                super::check::complain(&diagnostics, terminal);
                return Ok(Exit::InvalidConfig);
            }
        };
        let exported = import::export(&file.display().to_string(), &loaded);
        super::check::complain(&exported.diagnostics, terminal);
        terminal.err.write_all(exported.marks.as_bytes())?;
        terminal.out.write_all(exported.lines.as_bytes())?;
        Ok(if exported.diagnostics.errors() == 0 {
            Exit::Ok
        } else {
            Exit::Failed
        })
    }
}

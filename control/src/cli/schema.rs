//! `plimsoll schema`: the JSON Schema of the configuration, for editors.
//! Describes what this version accepts, not all that the format may come to hold.

use std::io;

use super::{Exit, Terminal};
use crate::config;

/// Print the JSON Schema of the configuration file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        terminal.json(&config::schema())?;
        Ok(Exit::Ok)
    }
}

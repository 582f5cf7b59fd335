//! `plimsoll completion SHELL`: what a shell sources to complete the command line.
//! Generated from the command line's definition, never written by hand.

use std::io;

use clap_complete::Shell;

use super::{Exit, Terminal};

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    /// `definition` is the command line's.
    pub(super) fn run(
        self,
        definition: &mut clap::Command,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Exit> {
        // The generator panics when a write fails, so it gets a buffer.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, definition, "plimsoll", &mut script);
        terminal.out.write_all(&script)?;
        Ok(Exit::Ok)
    }
}

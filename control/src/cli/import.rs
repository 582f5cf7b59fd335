//! `plimsoll import`: another load balancer's rules as Plimsoll's configuration.
//! Asks no daemon and changes nothing but a file it is told to write; the work is done by `import/`.

mod inputs;
mod keepalived;

use std::io;
use std::path::{Path, PathBuf};

use super::{Exit, Terminal, check};
use crate::import;
use inputs::{Beside, Inputs};

/// Turn another load balancer's rules into a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// Rules of LVS as `ipvsadm -Sn` writes them: YAML on stdout.
    #[command(after_help = CODES)]
    Ipvsadm {
        /// The rules; `-` for stdin.
        file: PathBuf,
        #[command(flatten)]
        beside: Beside,
    },
    #[command(after_help = CODES)]
    Keepalived(keepalived::Args),
}

/// What both imports say of their exit code.
const CODES: &str = "Exit codes: 0 everything is carried over, or what is not changes nothing about where traffic goes \
                     (warnings); 1 something was lost (errors), and what is written is valid without it; 3 the base is \
                     invalid, and nothing is written.";

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let losses = match self.from {
            From::Ipvsadm { file, beside } => ipvsadm(&file, &beside, terminal)?,
            From::Keepalived(args) => args.run(terminal)?,
        };
        match losses {
            Ok(0) => Ok(Exit::Ok),
            Ok(_) => {
                writeln!(
                    terminal.err,
                    "plimsoll: what the errors above are about was left out; what was written is valid without it"
                )?;
                Ok(Exit::Failed)
            }
            Err(exit) => Ok(exit),
        }
    }
}

/// Imports ipvsadm's rules. Says how many losses it told of; or how the program ends without a result, which was told.
fn ipvsadm(
    file: &Path,
    beside: &Beside,
    terminal: &mut Terminal<'_>,
) -> io::Result<Result<usize, Exit>> {
    let inputs = match Inputs::read(file, beside, terminal)? {
        Ok(inputs) => inputs,
        Err(exit) => return Ok(Err(exit)),
    };
    let Inputs {
        name,
        text,
        base,
        table,
        mut errors,
    } = inputs;
    let imported = import::import_onto(table, &name, &text, base.as_ref());
    if !imported.diagnostics.items().is_empty() {
        check::complain(&imported.diagnostics, terminal);
    }
    terminal.out.write_all(imported.yaml.as_bytes())?;
    errors += imported.diagnostics.errors();
    Ok(Ok(errors))
}

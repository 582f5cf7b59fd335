//! `plimsoll import`: another load balancer's rules as Plimsoll's configuration.
//! Asks no daemon and changes nothing but a file it is told to write; the work is done by `import/`.

mod inputs;
mod keepalived;

use std::io;
use std::path::PathBuf;

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
        let (file, beside) = match &self.from {
            From::Ipvsadm { file, beside } => (file, beside),
            From::Keepalived(args) => (&args.file, &args.beside),
        };
        let inputs = match Inputs::read(file, beside, terminal)? {
            Ok(inputs) => inputs,
            Err(exit) => return Ok(exit),
        };
        let mut errors = inputs.errors;
        let (diagnostics, yaml, output) = match &self.from {
            From::Ipvsadm { .. } => {
                let (name, text) = (&inputs.name, &inputs.text);
                let imported = import::import(inputs.table, name, text, inputs.base.as_ref());
                (vec![imported.diagnostics], imported.yaml, None)
            }
            From::Keepalived(args) => {
                let (imported, read) = args.import(inputs);
                let output = args.output.as_deref().map(|path| (path, read));
                (imported.diagnostics, imported.yaml, output)
            }
        };
        for diagnostics in &diagnostics {
            check::complain(diagnostics, terminal);
            errors += diagnostics.errors();
        }
        match output {
            None => terminal.out.write_all(yaml.as_bytes())?,
            Some((path, read)) => {
                if let Err(error) = keepalived::write(path, &yaml, &read) {
                    let path = path.display();
                    writeln!(terminal.err, "plimsoll: {path} cannot be written: {error}")?;
                    return Ok(Exit::Failed);
                }
            }
        }
        if errors == 0 {
            return Ok(Exit::Ok);
        }
        writeln!(
            terminal.err,
            "plimsoll: what the errors above are about was left out; what was written is valid without it"
        )?;
        Ok(Exit::Failed)
    }
}

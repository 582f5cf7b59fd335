//! `plimsoll import`: another load balancer's rules as Plimsoll's configuration.
//! Asks no daemon and changes nothing; the work is done by `import/`.

mod keepalived;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Exit, Terminal};
use crate::config;
use crate::import::{self, Base, Marks, Sysctls, Table};

/// More than the rules of some million services take.
const MAX_BYTES: u64 = 512 << 20;

/// Turn another load balancer's rules into a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// Rules of LVS as `ipvsadm -Sn` writes them: YAML on stdout, exit 1 if lines could not be read.
    ///
    /// What could be read is written all the same. What this version does not carry yet is in the YAML too,
    /// and told on stderr.
    Ipvsadm {
        /// The rules; `-` for stdin.
        file: PathBuf,
        /// A configuration whose services are replaced, so that the result is a whole one.
        #[arg(long, value_name = "FILE.yaml")]
        base: Option<PathBuf>,
        /// Sysctls of IPVS (`net.ipv4.vs.*`) as sysctl.conf has them, which become the section `ipvs`.
        #[arg(long, value_name = "FILE")]
        sysctl: Option<PathBuf>,
        /// What firewall marks mean, for services by mark: lines of nft, or of iptables-save.
        #[arg(long, value_name = "FILE")]
        marks: Option<PathBuf>,
    },
    Keepalived(keepalived::Args),
}

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let (file, base, sysctl, marks) = match self.from {
            From::Ipvsadm {
                file,
                base,
                sysctl,
                marks,
            } => (file, base, sysctl, marks),
            From::Keepalived(args) => return args.run(terminal),
        };
        let inputs = match Inputs::read(&file, base.as_deref(), sysctl.as_deref(), terminal)? {
            Ok(inputs) => inputs,
            Err(exit) => return Ok(exit),
        };
        let Inputs {
            name,
            text,
            base,
            sysctls,
            mut errors,
        } = inputs;
        let mut table = Table::default();
        table.sysctls = sysctls;
        if let Some(marks) = marks {
            let Some((name, text)) = read_or_tell(&marks, terminal)? else {
                return Ok(Exit::Failed);
            };
            let diagnostics;
            (table.marks, diagnostics) = Marks::read(&name, &text);
            if !diagnostics.items().is_empty() {
                super::check::complain(&diagnostics, terminal);
            }
            errors += diagnostics.errors();
        }
        let imported = import::import_onto(table, &name, &text, base.as_ref());
        if !imported.diagnostics.items().is_empty() {
            super::check::complain(&imported.diagnostics, terminal);
        }
        terminal.out.write_all(imported.yaml.as_bytes())?;
        errors += imported.diagnostics.errors();
        Ok(if errors == 0 { Exit::Ok } else { Exit::Failed })
    }
}

/// What an import reads.
struct Inputs {
    name: String,
    text: String,
    base: Option<Base>,
    sysctls: Sysctls,
    /// What is wrong with the sysctls, which was told.
    errors: usize,
}

impl Inputs {
    /// Reads them; or how the program ends without them, which was told.
    fn read(
        file: &Path,
        base: Option<&Path>,
        sysctl: Option<&Path>,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Result<Self, Exit>> {
        let base = match base.map(config::load).transpose() {
            Ok(base) => base,
            Err(diagnostics) => {
                super::check::complain(&diagnostics, terminal);
                return Ok(Err(Exit::InvalidConfig));
            }
        };
        let base = match base.as_ref().map(Base::of).transpose() {
            Ok(base) => base,
            Err(error) => {
                writeln!(terminal.err, "plimsoll: {error}")?;
                return Ok(Err(Exit::InvalidConfig));
            }
        };
        let Some((name, text)) = read_or_tell(file, terminal)? else {
            return Ok(Err(Exit::Failed));
        };
        let (mut errors, mut sysctls) = (0, Sysctls::default());
        if let Some(path) = sysctl {
            let Some((name, text)) = read_or_tell(path, terminal)? else {
                return Ok(Err(Exit::Failed));
            };
            let diagnostics;
            (sysctls, diagnostics) = Sysctls::read(&name, &text);
            super::check::complain(&diagnostics, terminal);
            errors = diagnostics.errors();
        }
        Ok(Ok(Self {
            name,
            text,
            base,
            sysctls,
            errors,
        }))
    }
}

fn read_or_tell(path: &Path, terminal: &mut Terminal<'_>) -> io::Result<Option<(String, String)>> {
    match read(path) {
        Ok(read) => Ok(Some(read)),
        Err(error) => {
            let path = path.display();
            writeln!(terminal.err, "plimsoll: {path} cannot be read: {error}")?;
            Ok(None)
        }
    }
}

/// A name for messages, and the text. A pipe will do: `plimsoll import ipvsadm <(ipvsadm -Sn)`.
fn read(path: &Path) -> io::Result<(String, String)> {
    let (name, input): (_, Box<dyn io::Read>) = if path.as_os_str() == "-" {
        ("stdin".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let file = std::fs::File::open(path)?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        let message = "it is larger than 512 MiB, which no rules are";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let lines = error.as_bytes().iter().take(good);
            let line = 1 + lines.filter(|byte| **byte == b'\n').count();
            let message = format!("line {line} is not UTF-8");
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }
}

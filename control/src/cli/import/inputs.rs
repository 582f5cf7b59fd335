//! What all imports read: the rules, and what the command line gives beside them.
//! Finds no rules in a text; the importers in `import/` do.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::cli::check;
use crate::cli::output::{Exit, Terminal};
use crate::config;
use crate::import::{Base, Marks, Sysctls, Table};

/// More than the rules of some million services take.
const MAX_BYTES: u64 = 512 << 20;
/// More than sysctls or a firewall take.
const MAX_BESIDE_BYTES: u64 = 64 << 20;

/// What is read beside the rules.
#[derive(Debug, clap::Args)]
pub(super) struct Beside {
    /// A configuration whose services are replaced, so that the result is a whole one.
    #[arg(long, value_name = "FILE.yaml")]
    pub(super) base: Option<PathBuf>,
    /// Sysctls of IPVS (`net.ipv4.vs.*`) as sysctl.conf has them, which become the section `ipvs`.
    #[arg(long, value_name = "FILE")]
    pub(super) sysctl: Option<PathBuf>,
    /// What firewall marks mean, for services by mark: what `iptables-save` or `nft list ruleset` prints, or
    /// the commands that make it.
    #[arg(long, value_name = "FILE")]
    pub(super) marks: Option<PathBuf>,
}

/// What an import reads.
pub(super) struct Inputs {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) base: Option<Base>,
    /// Without services, but with sysctls and what marks mean.
    pub(super) table: Table,
    /// What is wrong with sysctls and marks, which was told.
    pub(super) errors: usize,
}

impl Inputs {
    /// Reads them; or how the program ends without them, which was told.
    pub(super) fn read(
        file: &Path,
        beside: &Beside,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Result<Self, Exit>> {
        let base = match beside.base.as_deref().map(config::load).transpose() {
            Ok(base) => base,
            Err(diagnostics) => {
                check::complain(&diagnostics, terminal);
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
        let Some((name, text)) = read_or_tell(file, MAX_BYTES, terminal)? else {
            return Ok(Err(Exit::Failed));
        };
        let (mut errors, mut table) = (0, Table::default());
        if let Some(path) = &beside.sysctl {
            let Some((name, text)) = read_or_tell(path, MAX_BESIDE_BYTES, terminal)? else {
                return Ok(Err(Exit::Failed));
            };
            let (sysctls, diagnostics) = Sysctls::read(&name, &text);
            check::complain(&diagnostics, terminal);
            errors += diagnostics.errors();
            table.sysctls = sysctls;
        }
        if let Some(path) = &beside.marks {
            let Some((name, text)) = read_or_tell(path, MAX_BESIDE_BYTES, terminal)? else {
                return Ok(Err(Exit::Failed));
            };
            let (marks, diagnostics) = Marks::read(&name, &text);
            check::complain(&diagnostics, terminal);
            errors += diagnostics.errors();
            table.marks = marks;
        }
        Ok(Ok(Self {
            name,
            text,
            base,
            table,
            errors,
        }))
    }
}

fn read_or_tell(
    path: &Path,
    max: u64,
    terminal: &mut Terminal<'_>,
) -> io::Result<Option<(String, String)>> {
    match read(path, max) {
        Ok(read) => Ok(Some(read)),
        Err(error) => {
            let path = path.display();
            writeln!(terminal.err, "plimsoll: {path} cannot be read: {error}")?;
            Ok(None)
        }
    }
}

/// A name for messages, and the text. A pipe will do: `plimsoll import ipvsadm <(ipvsadm -Sn)`.
pub(super) fn read(path: &Path, max: u64) -> io::Result<(String, String)> {
    let (name, input): (_, Box<dyn io::Read>) = if path.as_os_str() == "-" {
        ("stdin".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let file = std::fs::File::open(path)?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    input.take(max + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max) {
        let message = format!("it is larger than {} MiB, which no such file is", max >> 20);
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

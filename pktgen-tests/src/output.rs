//! What the programs of this crate print: results on the standard output, remarks on the standard error.
//! They must not use `println!` and its kin, which panic when nobody reads any more and so leave namespaces behind.

use std::fmt::Display;
use std::io::{self, Write as _};

use plimsoll_control::cli::Pipe;

/// A result, and the end of its line. That nobody reads it is no error.
///
/// # Errors
/// When the standard output cannot be written, as on a full disk.
pub fn line(result: impl Display) -> io::Result<()> {
    text(format_args!("{result}\n"))
}

/// A result as it is. That nobody reads it is no error.
///
/// # Errors
/// When the standard output cannot be written, as on a full disk.
pub fn text(result: impl Display) -> io::Result<()> {
    let mut out = Pipe(io::stdout().lock());
    write!(out, "{result}")?;
    out.flush()
}

/// What a person may want to know, and the end of its line. Where nobody can be told nothing is lost.
pub fn remark(remark: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{remark}");
}

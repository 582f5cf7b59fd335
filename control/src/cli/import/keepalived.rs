//! `plimsoll import keepalived`: keepalived.conf and the files that it includes as a configuration.
//! Finds and reads files; what is in them is `import/keepalived`'s.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::inputs::{self, Beside, Inputs};
use crate::import::keepalived::{self, Files, Imported};
use crate::output_file::{Identity, OutputFile};

/// More files than one pattern has.
const MOST_MATCHES: usize = 10_000;
/// More than a file has that another includes.
const MOST_INCLUDED_BYTES: u64 = 16 << 20;
/// More alternatives than one pattern of files has.
const MOST_PATTERNS: usize = 1000;

/// Virtual servers of keepalived.conf: YAML.
///
/// What is not carried over (VRRP, health checks, sorry servers, quorum, scripts) is told on stderr and in
/// comments at the top of the YAML.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// keepalived.conf; `-` for stdin. Files that it includes are read too.
    pub(super) file: PathBuf,
    /// Where to write the YAML; stdout if omitted.
    #[arg(short, long, value_name = "OUT.yaml")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) beside: Beside,
    /// As keepalived's: whose `@ID` lines to read. Without it none are, and those of `@^ID` are.
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
}

impl Args {
    /// What the file and those that it includes say, and which files were read.
    pub(super) fn import(&self, inputs: Inputs) -> (Imported, Vec<Identity>) {
        let (id, path) = (self.config_id.as_deref(), Path::new(&inputs.name));
        let (file, disk) = ((path, inputs.text.as_str()), Disk::default());
        let imported = keepalived::import(inputs.table, file, &disk, id, inputs.base.as_ref());
        let Beside {
            base,
            sysctl,
            marks,
        } = &self.beside;
        let given = [
            Some(&self.file),
            base.as_ref(),
            sysctl.as_ref(),
            marks.as_ref(),
        ];
        let mut read = disk.read.into_inner();
        read.extend(
            given
                .into_iter()
                .flatten()
                .filter_map(|path| Identity::of(path)),
        );
        (imported, read)
    }
}

/// Puts the text into a file, as a whole or not at all, unless it is one of those that were `read`.
pub(super) fn write(path: &Path, text: &str, read: &[Identity]) -> io::Result<()> {
    if Identity::of(path).is_some_and(|file| read.contains(&file)) {
        let why = "it is one of the files that were read, and stays as it is";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut file = OutputFile::create(path)?;
    file.write_all(text.as_bytes())?;
    file.finish()
}

/// This machine's files.
#[derive(Default)]
struct Disk {
    /// Those that were read.
    read: RefCell<Vec<Identity>>,
}

impl Files for Disk {
    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
        let pattern = pattern.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        let mut found = Vec::new();
        let patterns = alternatives(pattern).ok_or_else(|| wrong("its braces make too many"))?;
        for pattern in patterns {
            let paths = glob::glob(&single(&pattern)).map_err(|error| wrong(error.msg))?;
            // A folder that cannot be looked into has no files for us.
            let paths = paths.filter_map(Result::ok).filter(|path| path.is_file());
            found.extend(paths.take(MOST_MATCHES.saturating_sub(found.len())));
        }
        Ok(found)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.read.borrow_mut().extend(Identity::of(path));
        inputs::read(path, MOST_INCLUDED_BYTES).map(|(_, text)| text)
    }
}

/// Several stars are one, as in glob(3): no pattern walks through all folders below one.
fn single(pattern: &str) -> String {
    let mut single = String::with_capacity(pattern.len());
    for letter in pattern.chars() {
        if letter != '*' || !single.ends_with('*') {
            single.push(letter);
        }
    }
    single
}

/// A pattern's braces written out, as csh does: `a{b,c{d,e}}` is `ab acd ace`. Nothing if that is too much.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let (mut open, mut done) = (vec![pattern.to_owned()], Vec::new());
    while let Some(pattern) = open.pop() {
        if open.len() + done.len() > MOST_PATTERNS {
            return None;
        }
        match first_braces(&pattern) {
            None => done.push(pattern),
            Some((before, parts, after)) => {
                let written = parts.iter().rev();
                open.extend(written.map(|part| format!("{before}{part}{after}")));
            }
        }
    }
    Some(done)
}

/// What is in front of the first braces that close, their parts, and what is behind them.
fn first_braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let start = pattern.find('{')?;
    let (before, inside) = (pattern.get(..start)?, pattern.get(start + 1..)?);
    let (mut depth, mut from, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                parts.push(inside.get(from..at)?);
                from = at + 1;
            }
            '}' => {
                parts.push(inside.get(from..at)?);
                return Some((before, parts, inside.get(at + 1..)?));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_alternatives_as_in_csh() {
        for (pattern, expected) in [
            ("a.conf", &["a.conf"][..]),
            (
                "{foo/{,cat,dog},bar}",
                &["foo/", "foo/cat", "foo/dog", "bar"],
            ),
            ("a{b,c}{d,e}", &["abd", "abe", "acd", "ace"]),
            ("a{b", &["a{b"]),
            ("a}b", &["a}b"]),
        ] {
            assert_eq!(alternatives(pattern).unwrap(), expected, "{pattern}");
        }
        assert_eq!(alternatives(&"{a,b}".repeat(20)), None);
    }

    #[test]
    fn no_pattern_walks_through_all_folders() {
        for (pattern, expected) in [("/**/x", "/*/x"), ("a***.conf", "a*.conf"), ("*/*", "*/*")] {
            assert_eq!(single(pattern), expected);
        }
    }
}

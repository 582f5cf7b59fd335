//! From a path to the text of a configuration, read once.
//! Nothing endless, nothing that blocks, nothing that a terminal or another YAML reader takes differently.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::diagnostics::{Place, Problem, Problems};

/// Bytes of the largest file: room for some million services.
pub const MAX_BYTES: u64 = 512 << 20;

/// The file's text.
pub(super) fn text(path: &Path) -> Result<String, Problem> {
    let bytes = bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Problem::unplaced(format!("line {line} is not UTF-8")).help("save the file as UTF-8 text")
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    let failed =
        |error: std::io::Error| Problem::unplaced(format!("cannot be read: {}", reason(&error)));
    // Before it is opened: opening a FIFO would wait for its writer.
    let kind = std::fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        return Err(Problem::unplaced("is a directory, not a file"));
    }
    if !kind.is_file() {
        return Err(Problem::unplaced("is not a regular file"));
    }
    let too_large = || Problem::unplaced("is larger than 512 MiB, which no configuration is");
    if kind.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(too_large());
    }
    Ok(bytes)
}

/// What the system says, without Rust's number behind it.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = plain.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// How many values a text of this length can hold if it is a configuration: even the shortest real
/// server takes more than eight bytes a value. Reading costs memory by the value, so this keeps
/// garbage from costing more than a valid file of its size.
pub(super) const fn max_values(bytes: usize) -> usize {
    1_000_000 + bytes / 8
}

/// Whether the text can be a configuration at all, before memory is spent on it.
pub(super) fn sparse(text: &str, problems: &mut Problems) -> bool {
    let marks = text
        .bytes()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'))
        .count();
    if marks > max_values(text.len()) {
        problems.add(Problem::unplaced(TOO_DENSE));
        return false;
    }
    true
}

/// What is said of garbage.
pub(super) const TOO_DENSE: &str = "has far more values than a configuration of its size";

/// Whether the text has no control characters. They are no YAML, can rewrite a terminal's screen, and
/// some are line breaks to YAML 1.1 and text to YAML 1.2.
pub(super) fn plain(text: &str, problems: &mut Problems) -> bool {
    let bad = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || matches!(c, '\u{2028}' | '\u{2029}')
    };
    // Nearly every configuration is printable ASCII, which is seen much faster.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    if text.bytes().all(is_plain) {
        return true;
    }
    let Some(at) = text.find(bad) else {
        return true;
    };
    let (before, after) = text.split_at(at);
    let line_start = before.rfind(['\n', '\r']).map_or(0, |at| at + 1);
    let lines = before.matches('\n').count() + 1;
    let column = before
        .get(line_start..)
        .map_or(0, |line| line.chars().count())
        + 1;
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let code = after.chars().next().map_or(0, u32::from);
    problems.add(
        Problem::new(
            Place {
                line: narrow(lines),
                column: narrow(column),
                length: 1,
            },
            format!("the control character U+{code:04X} cannot be in a configuration"),
        )
        .help("if a value needs it, write it as an escape in double quotes"),
    );
    false
}

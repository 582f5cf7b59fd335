//! The configuration: `Config` as written, `ValidConfig` as checked, and what is wrong in between.
//! Knows nothing of the machine it runs on and starts nothing; the same file is valid everywhere or nowhere.

pub mod diagnostics;
pub mod file;
pub mod leaf;
mod mapping;
mod read;
mod service_list;
pub(crate) mod suggest;
mod tree;
pub mod valid;
mod validate;
mod value;

use std::hash::Hasher as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use file::Config;
pub use read::MAX_BYTES;
pub use valid::{ReloadConfig, StartConfig, ValidConfig};
use validate::Gaps;

use diagnostics::{Problem, Problems};
use value::{Reader, Value as _};

/// A configuration that can be applied, and the very text it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to apply.
    pub valid: ValidConfig,
    /// What is odd about it; no errors.
    pub warnings: Diagnostics,
    /// The text that was checked.
    pub text: Arc<str>,
    /// The same for the same text, on every machine and in every version. Not a proof against forgery.
    pub fingerprint: u64,
}

/// Reads and checks a file; it is read once, so what was checked is what is applied.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    parse(&path.display().to_string(), text(path)?)
}

/// Reads a file that may be a configuration, without checking it.
///
/// # Errors
/// Why it cannot be read, or is no text.
pub fn text(path: &Path) -> Result<String, Diagnostics> {
    read::text(path).map_err(|problem| {
        let mut problems = Problems::default();
        problems.add(problem);
        problems.finish(&path.display().to_string(), "")
    })
}

/// What there is to say of a file that nobody could come to read, for a reason of this program's own.
pub(crate) fn unread(path: &Path, why: &dyn std::error::Error) -> Diagnostics {
    let mut problems = Problems::default();
    problems.add(Problem::unplaced(format!("cannot be read: {why}")));
    problems.finish(&path.display().to_string(), "")
}

/// Checks a configuration that was read from somewhere; `name` is what diagnostics call it.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(name: &str, text: impl Into<Arc<str>>) -> Result<Loaded, Diagnostics> {
    let text: Arc<str> = text.into();
    let mut problems = Problems::default();
    let is_text = is_text(&text, &mut problems);
    let valid = if is_text {
        check(&text, &mut problems)
    } else {
        None
    };
    if problems.errors() > 0 && !is_familiar(&text) {
        // What is said of no text, or of far too much, quotes nothing of it.
        let too_dense = |problem: &Problem| problem.message == read::TOO_DENSE;
        if !is_text || problems.kept().iter().any(too_dense) {
            return Err(problems.without_places().finish(name, &text));
        }
        let what = "a configuration: none of its first lines begins with a key such as `version:` or `services:`";
        problems = Problems::hidden(what);
    }
    let warnings = problems.finish(name, &text);
    match valid {
        Some(valid) if warnings.errors() == 0 => {
            let mut hasher = siphasher::sip::SipHasher24::new();
            hasher.write(text.as_bytes());
            Ok(Loaded {
                valid,
                warnings,
                fingerprint: hasher.finish(),
                text,
            })
        }
        _ => Err(warnings),
    }
}

/// All that is wrong or odd with a text, however much it is: for an import, which mends what it wrote itself.
pub(crate) fn problems(text: &str) -> Problems {
    let mut problems = Problems::unlimited();
    if is_text(text, &mut problems) {
        check(text, &mut problems);
    }
    problems
}

/// The readable services of a text that was found valid, or of one with services alone.
pub(crate) fn services(text: &str) -> Vec<file::Service> {
    let mut problems = Problems::default();
    tree::read(text, &mut problems)
        .and_then(|mut root| Reader::new(&mut problems).read(&mut root, None))
        .map_or_else(Vec::new, |config: Config| config.services)
}

/// The JSON Schema of what this version accepts, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = Config::schema();
    if let Some(schema) = schema.as_object_mut() {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        schema.insert("$schema".to_owned(), draft.into());
        schema.insert("title".to_owned(), "Plimsoll configuration".into());
    }
    schema
}

/// Whether one of the first lines begins with a section's key, so that mistakes may be shown with their lines.
fn is_familiar(text: &str) -> bool {
    static SECTIONS: OnceLock<Vec<String>> = OnceLock::new();
    let sections = SECTIONS.get_or_init(|| {
        let schema = Config::schema();
        let sections = schema
            .get("properties")
            .and_then(serde_json::Value::as_object);
        sections.map_or_else(Vec::new, |sections| sections.keys().cloned().collect())
    });
    diagnostics::begins_like(text, &['#'], |line| {
        let line = line.trim_start_matches(['{', '"', '\'', ' ', '?']);
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (key, rest) = line
            .split_at_checked(end.unwrap_or(line.len()))
            .unwrap_or((line, ""));
        let is_key = rest.trim_start_matches(['"', '\'', ' ']).starts_with(':');
        is_key && sections.iter().any(|section| section == key)
    })
}

/// Whether it can be YAML of ours at all.
fn is_text(text: &str, problems: &mut Problems) -> bool {
    read::plain(text, problems) && read::sparse(text, problems)
}

fn check(text: &str, problems: &mut Problems) -> Option<ValidConfig> {
    let mut root = tree::read(text, problems)?;
    let config: Config = Reader::new(problems).read(&mut root, None)?;
    // What is readable is checked all the same, so that all mistakes are shown at once.
    let gaps = Gaps {
        file: problems.errors() > 0,
        ports: problems.concern("dataplane.ports"),
        routes: problems.concern("network.routes"),
    };
    validate::validate(&config, &root, gaps, problems)
}

//! The configuration: `Config` as written, `ValidConfig` as checked, and what is wrong in between.
//! Knows nothing of the machine it runs on and starts nothing; the same file is valid everywhere or nowhere.

pub mod diagnostics;
pub mod file;
pub mod leaf;
mod read;
mod shape;
mod suggest;
pub(crate) mod supported;
mod tree;
pub mod valid;
mod validate;

use std::hash::Hasher as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use file::Config;
pub use valid::{ReloadConfig, StartConfig, ValidConfig};

use serde_yaml::Value as Yaml;

use diagnostics::{Problem, Problems};
use shape::Shape;

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
    let name = path.display().to_string();
    let text = read::text(path).map_err(|problem| {
        let mut problems = Problems::default();
        problems.add(problem);
        problems.finish(&name, "")
    })?;
    parse(&name, text)
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

/// The JSON Schema of what this version accepts, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = whole_schema();
    supported::trim(&mut schema);
    schema
}

/// Whether one of the first lines begins with a section's key, so that mistakes may be shown with their lines.
fn is_familiar(text: &str) -> bool {
    static SECTIONS: OnceLock<Vec<String>> = OnceLock::new();
    let sections = SECTIONS.get_or_init(|| {
        let schema = whole_schema();
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

fn whole_schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

/// Whether it can be YAML of ours at all.
fn is_text(text: &str, problems: &mut Problems) -> bool {
    read::plain(text, problems) && read::sparse(text, problems)
}

fn check(text: &str, problems: &mut Problems) -> Option<ValidConfig> {
    static SHAPE: OnceLock<Shape> = OnceLock::new();
    let mut root = tree::read(text, problems)?;
    let shape = SHAPE.get_or_init(|| Shape::of(&whole_schema()));
    shape.check(&mut root, problems);
    let gaps = if problems.errors() == 0 {
        validate::Gaps::default()
    } else {
        // What is readable is checked all the same, so that all mistakes are shown at once.
        validate::Gaps {
            file: true,
            ports: problems.concern("dataplane.ports"),
            routes: problems.concern("network.routes"),
        }
    };
    match config_of(shape, &root) {
        Ok(config) => validate::validate(&config, &root, gaps, problems),
        // Nothing that the shape lets through should get here; where something is missing, it was reported.
        Err(error) if problems.errors() == 0 => {
            problems.add(Problem::unplaced(error.to_string()));
            None
        }
        Err(_) => None,
    }
}

/// The good part of a tree. The text is not read a second time: two readers could differ on what it says.
fn config_of(shape: &Shape, root: &tree::Node<'_>) -> Result<Config, serde_yaml::Error> {
    const MANY: &str = "services";
    let mut value = shape.value_without(root, MANY);
    // What has to be there, in case that it was left out for a mistake.
    if let Yaml::Mapping(map) = &mut value {
        map.entry("version".into()).or_insert_with(|| 1.into());
        let dataplane = map
            .entry("dataplane".into())
            .or_insert_with(|| Yaml::Mapping(serde_yaml::Mapping::new()));
        if let Yaml::Mapping(dataplane) = dataplane {
            dataplane
                .entry("ports".into())
                .or_insert_with(|| Yaml::Sequence(Vec::new()));
        }
    }
    let mut config: Config = serde_yaml::from_value(value)?;
    // One by one, since a value takes many times the memory of what it becomes.
    config.services = shape
        .items(root, MANY)
        .map(serde_yaml::from_value)
        .collect::<Result<_, _>>()?;
    Ok(config)
}

//! The configuration: `Config` as written, `ValidConfig` as checked, and what is wrong in between.
//! Knows nothing of the machine it runs on and starts nothing; the same file is valid everywhere or nowhere.

pub mod diagnostics;
pub mod file;
pub mod leaf;
mod read;
mod shape;
mod suggest;
mod supported;
mod tree;
pub mod valid;
mod validate;

use std::hash::Hasher as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use file::Config;
pub use valid::{ReloadConfig, StartConfig, ValidConfig};

use diagnostics::{Place, Problem, Problems};
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

/// Checks a configuration that was read from somewhere; `name` is what diagnostics call it.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(name: &str, text: impl Into<Arc<str>>) -> Result<Loaded, Diagnostics> {
    let text: Arc<str> = text.into();
    let mut problems = Problems::default();
    let valid = check(&text, &mut problems);
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

/// The JSON Schema of what this version accepts, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = whole_schema();
    supported::trim(&mut schema);
    schema
}

fn whole_schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

fn check(text: &str, problems: &mut Problems) -> Option<ValidConfig> {
    static SHAPE: OnceLock<Shape> = OnceLock::new();
    if !read::plain(text, problems) || !read::sparse(text, problems) {
        return None;
    }
    let mut root = tree::read(text, problems)?;
    let shape = SHAPE.get_or_init(|| Shape::of(&whole_schema()));
    shape.check(&mut root, problems);
    if problems.errors() > 0 {
        check_rest(shape, &root, problems);
        return None;
    }
    // A byte order mark is not content.
    match serde_yaml::from_str::<Config>(text.trim_start_matches('\u{feff}')) {
        Ok(config) => validate::validate(&config, &root, validate::Gaps::default(), problems),
        Err(error) => {
            problems.add(foreign(&error));
            None
        }
    }
}

/// Checks what is readable of a file with mistakes, so that all of them are shown at once.
fn check_rest(shape: &Shape, root: &tree::Node<'_>, problems: &mut Problems) {
    let gaps = validate::Gaps {
        file: true,
        ports: problems.concern("dataplane.ports"),
        routes: problems.concern("network.routes"),
    };
    let mut value = shape.value(root);
    if let serde_yaml::Value::Mapping(map) = &mut value {
        map.entry("version".into()).or_insert_with(|| 1.into());
        let dataplane = map
            .entry("dataplane".into())
            .or_insert_with(|| serde_yaml::Mapping::new().into());
        if let serde_yaml::Value::Mapping(dataplane) = dataplane {
            dataplane
                .entry("ports".into())
                .or_insert_with(|| serde_yaml::Value::Sequence(Vec::new()));
        }
    }
    if let Ok(config) = serde_yaml::from_value::<Config>(value) {
        validate::validate(&config, root, gaps, problems);
    }
}

/// What serde found although the tree was good: the two readers disagree, so the file is not safe to use.
fn foreign(error: &serde_yaml::Error) -> Problem {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match error.location() {
        Some(at) => {
            let place = Place {
                line: narrow(at.line()),
                column: narrow(at.column()),
                length: 1,
            };
            Problem::new(place, error.to_string())
        }
        None => Problem::unplaced(error.to_string()),
    }
}

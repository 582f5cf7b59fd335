//! keepalived.conf (2.2.7) into Plimsoll's services: those that LVS has when keepalived has started and every
//! real server is up. Sees to virtual servers only; VRRP and all else is told as not carried over.

mod address;
mod health;
mod importer;
mod sequence;
mod server;
mod sources;
#[cfg(test)]
mod tests;
mod text;
mod tree;

use std::path::Path;

use super::{Base, Kind, Sysctls, yaml};
use crate::config::Diagnostics;
use crate::config::diagnostics::{Place, Problem, Problems};
use importer::Importer;
pub use sources::Files;

/// What came of reading a keepalived.conf.
#[derive(Debug)]
pub struct Imported {
    /// A configuration, or its services alone if there was no base. What could be read is in it even
    /// when something could not; comments say what was not carried over.
    pub yaml: String,
    /// By file. Errors are lines that could not be read, warnings what the configuration does not carry.
    pub diagnostics: Vec<Diagnostics>,
}

/// Makes a configuration of the file `path` with the text `text`, and of what it includes. `id` is
/// keepalived's `--config-id`; without it lines for one machine only (`@id`) are left out, and lines for
/// all but one (`@^id`) are read.
#[must_use]
pub fn import(
    path: &Path,
    text: &str,
    files: &dyn Files,
    id: Option<&str>,
    sysctls: Sysctls,
    base: Option<&Base>,
) -> Imported {
    let name = path.display().to_string();
    let mut reader = text::Reader::new(files, id);
    let whole = reader.file(path, &name, text);
    let text::Reader {
        sources,
        mut problems,
        tokens,
        ..
    } = reader;
    if !whole {
        problems.add(Problem::unplaced("this is more than can be read"));
    }
    let statements = tree::read(tokens, &mut problems);
    let mut importer = Importer::new(problems, sysctls);
    importer.all(&statements);
    let Importer {
        table,
        notes,
        mut problems,
        ..
    } = importer;
    let yaml = yaml::whole(&table, &name, Kind::Keepalived, base, &notes);
    super::not_carried(&table, &yaml, base.is_some(), &mut problems);
    let yaml = comments(&problems, &sources) + &yaml;
    Imported {
        yaml,
        diagnostics: sources.finish(problems),
    }
}

/// What was not carried over, for those who read the configuration later.
fn comments(problems: &Problems, sources: &sources::Sources) -> String {
    let mut lines: Vec<(Option<Place>, String)> = problems
        .kept()
        .iter()
        .map(|problem| {
            let place = problem
                .place
                .map_or_else(String::new, |place| sources.shown(place) + ": ");
            (problem.place, format!("#   {place}{}\n", problem.message))
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.sort();
    let lines = lines.into_iter().map(|(_, line)| line);
    let lines: String = lines.collect();
    format!("# What the import has told:\n{lines}")
}

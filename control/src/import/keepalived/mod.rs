//! keepalived.conf (2.2.7) into Plimsoll's services: those that LVS has when keepalived has started and every
//! real server is up. Sees to virtual servers only; VRRP and all else is told as not carried over.

mod address;
mod familiar;
mod health;
mod importer;
mod keywords;
mod sequence;
mod server;
mod sources;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod words;

use std::path::Path;

use super::carry;
use super::table::Table;
use super::yaml::{Base, Kind, Output};
use crate::config::Diagnostics;
use crate::config::diagnostics::{Problem, Problems};
use importer::Importer;
pub use sources::Files;

/// What came of reading a keepalived.conf.
#[derive(Debug)]
pub struct Imported {
    /// A valid configuration, or its services alone if there was no base. What could be read and carried is
    /// in it even when something could not; comments at the top say what was told.
    pub yaml: String,
    /// By file. Errors are what was lost, warnings differences that change nothing about where traffic goes
    /// while every real server is up.
    pub diagnostics: Vec<Diagnostics>,
}

/// Makes a configuration of the file `path` with the text `text`, and of what it includes, on top of what `table` has
/// already, such as sysctls and what marks mean. `id` is keepalived's `--config-id`; without it lines for one machine
/// only (`@id`) are left out, and lines for all but one (`@^id`) are read.
#[must_use]
pub fn import(
    table: Table,
    (path, text): (&Path, &str),
    files: &dyn Files,
    id: Option<&str>,
    base: Option<&Base>,
) -> Imported {
    let name = path.display().to_string();
    let mut reader = text::Reader::new(files, id);
    let is_familiar = familiar::is_familiar(text);
    let whole = reader.file(path, &name, if is_familiar { text } else { "" });
    let text::Reader {
        sources,
        mut problems,
        tokens,
        ..
    } = reader;
    if !is_familiar {
        let what = "keepalived.conf: none of its first lines begins with one of its keywords";
        problems = Problems::hidden(what);
    }
    if !whole {
        problems.add(Problem::unplaced("this is more than can be read"));
    }
    let statements = tree::read(tokens, &mut problems);
    let mut importer = Importer::new(problems, table);
    importer.all(&statements);
    let Importer {
        mut table,
        notes,
        mut problems,
        ..
    } = importer;
    let output = Output {
        name: &name,
        kind: Kind::Keepalived,
        base,
        notes: &notes,
    };
    let yaml = carry::carry(&mut table, &output, &mut problems);
    Imported {
        yaml: carry::comments(&problems, |place| sources.shown(place)) + &yaml,
        diagnostics: sources.finish(problems),
    }
}

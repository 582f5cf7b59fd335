//! Rules of `ipvsadm -S` and keepalived.conf into Plimsoll's services, and back to rules.
//! No daemon is asked, no name resolved, and no kernel's table touched.

pub mod keepalived;
mod line;
mod lines;
mod marks;
mod rule;
mod sysctl;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod written;
mod yaml;

use std::collections::{HashMap, HashSet};

use crate::config::diagnostics::{Place, Problem, Problems, Severity};
use crate::config::{self, Diagnostics, Loaded};

pub use lines::{Exported, export};
pub use marks::Marks;
pub use sysctl::{SysctlError, Sysctls};
pub use table::{Encapsulation, Key, Persistence, Real, Service, Table, Timeouts};
pub use yaml::{Base, services, timeouts};

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ipvsadm,
    Keepalived,
}

/// What came of reading rules.
#[derive(Debug)]
pub struct Imported {
    /// A configuration, or its services alone if there was no base. What could be read is in it even
    /// when something could not.
    pub yaml: String,
    /// Errors are lines that could not be read or applied, warnings what the configuration does not carry.
    pub diagnostics: Diagnostics,
}

/// Makes a configuration of the rules in `text`; `name` is what diagnostics call them.
#[must_use]
pub fn import(name: &str, text: &str, sysctls: Sysctls, base: Option<&Base>) -> Imported {
    let mut table = Table::default();
    table.sysctls = sysctls;
    import_onto(table, name, text, base)
}

/// The same on top of what `table` has already, such as sysctls and what marks mean.
#[must_use]
pub fn import_onto(mut table: Table, name: &str, text: &str, base: Option<&Base>) -> Imported {
    let mut problems = Problems::default();
    read(&mut table, text, &mut problems);
    engines(&table, &mut problems);
    let yaml = yaml::whole(&table, name, Kind::Ipvsadm, base, &HashMap::new());
    not_carried(&table, &yaml, base.is_some(), &mut problems);
    Imported {
        yaml,
        diagnostics: problems.finish(name, text),
    }
}

/// Applies the lines of `text` to a table in their order; returns what is wrong with them and what will
/// not be carried over. A line that is wrong changes nothing.
pub fn apply(table: &mut Table, name: &str, text: &str) -> Diagnostics {
    let mut problems = Problems::default();
    read(table, text, &mut problems);
    problems.finish(name, text)
}

fn read(table: &mut Table, text: &str, problems: &mut Problems) {
    for (number, text) in (1..).zip(text.lines()) {
        if let Some(rule) = rule::read(number, text, problems) {
            table.apply(rule, problems);
        }
    }
}

/// Tells of persistence engines, which the configuration has no key for.
fn engines(table: &Table, problems: &mut Problems) {
    for service in table.carried() {
        let persistence = service.persistence.as_ref();
        if let Some(engine) = persistence.and_then(|persistence| persistence.engine.as_ref()) {
            let engine = engine.escape_debug();
            let message = format!("the persistence engine `{engine}` is not carried over");
            let mut problem = Problem::new(service.place, message);
            problem.severity = Severity::Warning;
            problems.add(problem.help("clients are told apart by their addresses"));
        }
    }
}

/// Asks the configuration's own checks what of the result this version does not carry, and tells it at
/// the rules that want it.
fn not_carried(table: &Table, yaml: &str, whole: bool, problems: &mut Problems) {
    // Where ports are not even written, nothing is said about how real servers are reached.
    let text = if whole {
        yaml.to_owned()
    } else {
        format!("{yaml}version: 1\ndataplane: {{}}\n")
    };
    let diagnostics = match config::parse("", text) {
        Ok(Loaded { warnings, .. }) => warnings,
        Err(errors) => errors,
    };
    let told = diagnostics.items().len();
    let more = (diagnostics.errors() + diagnostics.warnings()).saturating_sub(told);
    if more > 0 {
        let mut problem = Problem::unplaced(format!("{more} more of what is not carried"));
        problem.severity = Severity::Warning;
        problems.add(problem.help("`plimsoll check` tells the rest when these are mended"));
    }
    let mut seen = HashSet::new();
    for item in diagnostics.items() {
        let place = place_of(table, &item.path);
        // One rule of keepalived may make many services.
        if !whole && place.is_none() || !seen.insert((place, &item.message)) {
            continue;
        }
        let mut problem = match place {
            Some(place) => Problem::new(place, item.message.clone()),
            None => Problem::unplaced(item.message.clone()),
        };
        problem.severity = Severity::Warning;
        problems.add(problem.path(&item.path));
    }
}

/// The rule behind `services[3].reals[1].upper`.
fn place_of(table: &Table, path: &str) -> Option<Place> {
    let index = |text: &str| -> Option<usize> { text.split(']').next()?.parse().ok() };
    let rest = path.strip_prefix("services[")?;
    let service = table.carried().nth(index(rest)?)?;
    let real = rest
        .split_once("].reals[")
        .and_then(|(_, rest)| service.reals.get(index(rest)?));
    Some(real.map_or(service.place, |real| real.place))
}

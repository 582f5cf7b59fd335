//! Rules of `ipvsadm -S` and keepalived.conf into Plimsoll's services, and back to rules.
//! No daemon is asked, no name resolved, and no kernel's table touched.

mod carry;
pub mod keepalived;
mod line;
mod lines;
mod marks;
mod rule;
mod scheduler;
mod sysctl;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod yaml;

use std::collections::HashMap;

use crate::config::Diagnostics;
use crate::config::diagnostics::{self, Place, Problem, Problems};
use yaml::{Kind, Output};

pub use lines::{Exported, export};
pub use marks::Marks;
pub use sysctl::{SysctlError, Sysctls};
pub use table::{Encapsulation, Method, Persistence, Real, Service, Table};
pub use yaml::{Base, services, timeouts};

/// What came of reading rules.
#[derive(Debug)]
pub struct Imported {
    /// A valid configuration, or its services alone if there was no base. What could be read and carried is
    /// in it even when something could not; comments at the top say what was told.
    pub yaml: String,
    /// Errors are what was lost: lines that could not be read or applied, services and real servers that the
    /// configuration cannot carry, whatever changes where traffic goes. Warnings are differences that do not.
    pub diagnostics: Diagnostics,
}

/// Makes a configuration of the rules in `text`, on top of what `table` has already, such as sysctls and what marks
/// mean; `name` is what diagnostics call them.
#[must_use]
pub fn import(mut table: Table, name: &str, text: &str, base: Option<&Base>) -> Imported {
    let mut problems = Problems::default();
    if line::is_familiar(text) {
        read(&mut table, text, &mut problems);
    } else {
        let what = "rules of ipvsadm: none of its first lines begins with an option such as -A";
        problems = Problems::hidden(what);
    }
    engines(&table, &mut problems);
    let output = Output {
        name,
        kind: Kind::Ipvsadm,
        base,
        notes: &HashMap::new(),
    };
    let yaml = carry::carry(&mut table, &output, &mut problems);
    let shown = |place: Place| format!("{}:{}", name.escape_debug(), place.line);
    Imported {
        yaml: carry::comments(&problems, shown) + &yaml,
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
    for service in table.services() {
        let persistence = service.persistence.as_ref();
        if let Some(engine) = persistence.and_then(|persistence| persistence.engine.as_ref()) {
            let engine = diagnostics::quoted(engine);
            let message = format!("the persistence engine `{engine}` is not carried over");
            let problem = Problem::new(service.place, message);
            problems.add(problem.help("clients are told apart by their addresses"));
        }
    }
}

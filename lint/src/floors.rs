//! The floors of a crate: a room, which is a module or folder directly under `src/`, imports only from rooms on floors below
//! its own. ARCHITECTURE.md's section "Floors" has a table for each crate, and for a large folder; which imports there are is
//! not found out here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::modules::Import;

/// The floor of what puts the rooms together and is in no table.
const ABOVE_ALL: usize = usize::MAX;

/// One crate's or folder's table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Floors {
    /// The folder that has the rooms.
    source: PathBuf,
    /// Each room's floor.
    floors: BTreeMap<String, usize>,
}

/// Reads the tables of the section "Floors". A table's second heading is the folder that it is about.
///
/// # Errors
///
/// No table, or a row that cannot be understood.
pub(crate) fn read(text: &str) -> Result<Vec<Floors>> {
    let lines = (1..).zip(text.lines());
    let section = lines
        .skip_while(|(_, line)| *line != "## Floors")
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "));
    let mut tables = Vec::new();
    let mut last = 0;
    for (number, line) in section.filter(|(_, line)| line.starts_with('|')) {
        add_row(&mut tables, &mut last, line).with_context(|| format!("line {number}: {line}"))?;
    }
    ensure!(!tables.is_empty(), "no section \"## Floors\" with a table");
    Ok(tables)
}

/// Reads a table's row, whose floor is the next one above `last`.
fn add_row(tables: &mut Vec<Floors>, last: &mut usize, line: &str) -> Result<()> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [floor, rooms, _] = cells[..] else {
        bail!("a row has three cells: the floor, its rooms, and what they hold");
    };
    if floor == "floor" {
        *last = 0;
        tables.push(Floors {
            source: PathBuf::from(rooms.trim_matches('`')),
            floors: BTreeMap::new(),
        });
        return Ok(());
    }
    if floor.starts_with('-') {
        return Ok(());
    }
    let table = tables
        .last_mut()
        .context("a table begins with | floor | `CRATE/src` | holds |")?;
    *last += 1;
    ensure!(
        floor.parse() == Ok(*last),
        "floors are counted from the ground up: this one is {last}"
    );
    for room in rooms.split(',').map(str::trim) {
        let name = room
            .strip_prefix('`')
            .and_then(|room| room.strip_suffix('`'));
        let name = name.with_context(|| format!("rooms are `a`, `b/`, but not {room}"))?;
        let name = name.trim_end_matches('/').to_owned();
        let former = table.floors.insert(name, *last);
        ensure!(former.is_none(), "{room} is on two floors");
    }
    Ok(())
}

impl Floors {
    /// What is to be mended in the crate, whose rooms are `rooms`: a text for each.
    pub(crate) fn findings(&self, rooms: &BTreeSet<String>, imports: &[Import]) -> Vec<String> {
        let source = self.source.display();
        let homeless = rooms.iter().filter(|room| !self.floors.contains_key(*room));
        let gone = self.floors.keys().filter(|room| !rooms.contains(*room));
        let mut findings: Vec<String> = homeless
            .map(|room| format!("{source}: `{room}` is on no floor of ARCHITECTURE.md"))
            .collect();
        findings.extend(gone.map(|room| {
            format!("{source}: there is no `{room}`, which has a floor in ARCHITECTURE.md")
        }));
        findings.extend(imports.iter().filter_map(|import| self.upward(import)));
        findings
    }

    /// What is wrong with `import`, if it does not go down.
    fn upward(&self, import: &Import) -> Option<String> {
        let (from, to) = (self.room(&import.from)?, self.room(&import.to)?);
        let (floor, other) = (self.floor(&from)?, self.floor(&to)?);
        if from == to || floor > other {
            return None;
        }
        let other = if other == ABOVE_ALL {
            "above all".to_owned()
        } else {
            format!("on floor {other}")
        };
        let Import { line, name, .. } = import;
        let (file, target) = (import.from.display(), import.to.display());
        Some(format!(
            "{file}:{line} imports {name} from {target}: `{from}` is on floor {floor}, `{to}` {other}"
        ))
    }

    /// The floor of a room; one without is told of already.
    fn floor(&self, room: &str) -> Option<usize> {
        if is_above_all(room) {
            return Some(ABOVE_ALL);
        }
        self.floors.get(room).copied()
    }

    /// The room of a file, if that is one of this crate.
    fn room(&self, file: &Path) -> Option<String> {
        let below = file.strip_prefix(&self.source).ok()?;
        let room = Path::new(below.iter().next()?).with_extension("");
        Some(room.to_string_lossy().into_owned())
    }

    /// The rooms that the crate has.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read.
    pub(crate) fn rooms(&self) -> Result<BTreeSet<String>> {
        let source = &self.source;
        let unread = || format!("cannot read {}, which has floors", source.display());
        let mut rooms = BTreeSet::new();
        for entry in fs::read_dir(source).with_context(unread)? {
            let path = entry.with_context(unread)?.path();
            if path.is_dir() || path.extension().is_some_and(|ending| ending == "rs") {
                rooms.extend(self.room(&path).filter(|room| !is_above_all(room)));
            }
        }
        Ok(rooms)
    }
}

/// Whether it is `lib.rs`, `main.rs`, `bin/` or a folder's `mod.rs`, which are above all floors.
fn is_above_all(room: &str) -> bool {
    ["lib", "main", "bin", "mod"].contains(&room)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# House\n| floor | other | x |\n## Floors\nText.\n\n| floor | `a/src` | holds |\n|---|---|---|\n\
        | 1 | `wire/`, `time` | bytes |\n| 2 | `spec` | words |\n## Next\n| 3 | `none` | |\n";

    /// What is found in a crate with these rooms and this import of `T`.
    fn findings(rooms: &[&str], import: Option<(&str, &str)>) -> Vec<String> {
        let import = import.map(|(from, to)| Import {
            from: PathBuf::from(from),
            to: PathBuf::from(to),
            line: 7,
            name: "T".to_owned(),
        });
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        read(TABLE).unwrap()[0].findings(&rooms, import.as_slice())
    }

    #[test]
    fn a_room_has_a_floor_and_a_floor_has_rooms() {
        let all = ["spec", "time", "wire"];
        assert_eq!(findings(&all, None), [""; 0]);
        let new = findings(&["new", "spec", "time", "wire"], None);
        assert_eq!(new, ["a/src: `new` is on no floor of ARCHITECTURE.md"]);
        let gone = findings(&["spec", "wire"], None);
        let expected = "a/src: there is no `time`, which has a floor in ARCHITECTURE.md";
        assert_eq!(gone, [expected]);
    }

    #[test]
    fn imports_go_down() {
        let import = |from, to| findings(&["spec", "time", "wire"], Some((from, to)));
        for (from, to) in [
            ("a/src/spec.rs", "a/src/wire/mod.rs"),
            ("a/src/wire/b.rs", "a/src/wire/mod.rs"),
            ("a/src/lib.rs", "a/src/spec.rs"),
            ("b/src/time.rs", "b/src/spec.rs"),
        ] {
            assert_eq!(import(from, to), [""; 0]);
        }
        let up = "a/src/wire/b.rs:7 imports T from a/src/spec/c.rs: `wire` is on floor 1, `spec` on floor 2";
        assert_eq!(import("a/src/wire/b.rs", "a/src/spec/c.rs"), [up]);
        let same = "a/src/time.rs:7 imports T from a/src/wire/b.rs: `time` is on floor 1, `wire` on floor 1";
        assert_eq!(import("a/src/time.rs", "a/src/wire/b.rs"), [same]);
        let root =
            "a/src/spec.rs:7 imports T from a/src/lib.rs: `spec` is on floor 2, `lib` above all";
        assert_eq!(import("a/src/spec.rs", "a/src/lib.rs"), [root]);
    }

    #[test]
    fn the_rooms_are_the_modules_and_folders_under_src() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["wire", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["lib.rs", "wire.rs", "time.rs", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let floors = Floors {
            source: folder.path().to_owned(),
            floors: BTreeMap::new(),
        };
        let rooms: Vec<String> = floors.rooms().unwrap().into_iter().collect();
        assert_eq!(rooms, ["time", "wire"]);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told_of_with_its_line() {
        for (wrong, expected) in [
            ("| 1 | `b` |", "line 4: | 1 | `b` |: a row has three cells"),
            ("| 2 | `b` | x |", "this one is 1"),
            ("| 1 | b | x |", "rooms are `a`, `b/`, but not b"),
            ("| 1 | `b`, `b/` | x |", "`b/` is on two floors"),
        ] {
            let text = format!("## Floors\n| floor | `a/src` | holds |\n|---|---|---|\n{wrong}\n");
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let headless = read("## Floors\n| 1 | `b` | x |\n").unwrap_err();
        assert!(format!("{headless:#}").contains("a table begins with"));
        let none = read("# House\n").unwrap_err();
        assert_eq!(none.to_string(), "no section \"## Floors\" with a table");
    }
}

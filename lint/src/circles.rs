//! Files that import each other in a circle: none of them can be read, tested or moved without the others.
//! Reads no file; which imports there are is `modules`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::modules::Import;

/// A text for each circle.
pub(crate) fn findings(imports: &[Import]) -> Vec<String> {
    let circles = circles(imports);
    let texts = circles.iter().map(|circle| describe(circle, imports));
    texts.collect()
}

/// The sets of files that import each other, directly or by way of others.
fn circles(imports: &[Import]) -> BTreeSet<BTreeSet<&Path>> {
    let mut arrows: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        arrows.entry(from).or_default().push(to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> = arrows
        .keys()
        .map(|file| (*file, below(file, &arrows)))
        .collect();
    let imports_itself = |(file, below): &(&&Path, &BTreeSet<&Path>)| below.contains(**file);
    reached
        .iter()
        .filter(imports_itself)
        .map(|(file, below)| {
            let both = |other: &&&Path| {
                reached
                    .get(**other)
                    .is_some_and(|below| below.contains(file))
            };
            below.iter().filter(both).copied().collect()
        })
        .collect()
}

/// All files that `file` imports, directly or by way of others.
fn below<'a>(file: &'a Path, arrows: &BTreeMap<&Path, Vec<&'a Path>>) -> BTreeSet<&'a Path> {
    let mut found = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        let imported = arrows.get(file).into_iter().flatten();
        open.extend(imported.copied().filter(|file| found.insert(*file)));
    }
    found
}

/// A circle with the imports that close it.
fn describe(circle: &BTreeSet<&Path>, imports: &[Import]) -> String {
    let mut text = format!("{} files import each other in a circle:", circle.len());
    for Import {
        from,
        to,
        line,
        name,
    } in imports
    {
        if circle.contains(&**from) && circle.contains(&**to) {
            let (from, to) = (from.display(), to.display());
            // A `String` takes everything.
            let _ = write!(text, "\n  {from}:{line} imports {name} from {to}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::modules::Modules;

    use super::*;

    /// The imports of a crate that has these files.
    fn imports(files: &[(&str, &str)]) -> Vec<Import> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let imports = Modules::read(&folder.path().join("lib.rs"))
            .unwrap()
            .imports();
        let relative = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_owned();
        imports
            .into_iter()
            .map(|import| Import {
                from: relative(&import.from),
                to: relative(&import.to),
                ..import
            })
            .collect()
    }

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        imports(files)
            .iter()
            .map(|Import { from, to, name, .. }| {
                format!("{} {} {name}", from.display(), to.display())
            })
            .collect()
    }

    #[test]
    fn every_way_of_naming_another_file_is_an_import() {
        let a = "use crate::b::{B, c::C as D}; use super::e; fn f() -> self::g::G { println!(\"{}\", crate::h::H) }
            macro_rules! m { () => { use crate::k::l::{L, M}; } } mod g;";
        let found = arrows(&[
            ("lib.rs", "mod a; mod b; mod e; mod h; mod k;"),
            ("a.rs", a),
            ("a/g.rs", "pub struct G;"),
            ("b/mod.rs", "pub mod c; pub struct B;"),
            ("b/c.rs", "pub struct C;"),
            ("e.rs", "mod f; fn g(f: u8) -> u8 { f }"),
            ("e/f.rs", ""),
            ("h.rs", "pub const H: u8 = 1;"),
            ("k/mod.rs", "pub mod l;"),
            ("k/l.rs", "pub struct L; pub struct M;"),
        ]);
        let expected = [
            "a.rs a/g.rs G",
            "a.rs b/c.rs C",
            "a.rs b/mod.rs B",
            "a.rs e.rs e",
            "a.rs h.rs H",
            "a.rs k/l.rs l",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_is_imported_from_the_file_that_defines_it() {
        let found = arrows(&[
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            ("a.rs", "mod inner; pub use inner::*; pub struct Own;"),
            ("a/inner.rs", "pub struct A;"),
            ("b.rs", "use crate::a::{A, Own}; use crate::A as Same;"),
        ]);
        assert_eq!(found, ["b.rs a/inner.rs A", "b.rs a.rs Own"]);
    }

    #[test]
    fn an_exported_macro_is_imported_from_the_file_that_has_it() {
        let found = arrows(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "crate::m! { pub(crate) struct A; }"),
            ("b.rs", "#[macro_export] macro_rules! m { () => {} }"),
        ]);
        assert_eq!(found, ["a.rs b.rs m"]);
    }

    #[test]
    fn what_tests_import_does_not_count() {
        let found = arrows(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "#[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] use crate::b::B; pub struct A;",
            ),
            (
                "b.rs",
                "pub struct B; impl B { #[cfg(test)] fn new(a: crate::a::A) -> Self { B } }",
            ),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_circle_is_found_with_the_imports_that_close_it() {
        let circle = imports(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "use crate::c::C; pub struct B(C);"),
            ("c.rs", "pub struct C(Box<crate::a::A>);"),
            ("d.rs", "use crate::a::A; struct D(A);"),
        ]);
        let expected = "3 files import each other in a circle:\n  a.rs:1 imports B from b.rs\n  b.rs:1 imports C from c.rs\n  \
            c.rs:1 imports A from a.rs";
        assert_eq!(findings(&circle), [expected]);
    }
}

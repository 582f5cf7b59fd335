//! What is said of broken configurations: each file in `diagnostics/` next to the report expected for it.
//! After a wanted change `UPDATE_EXPECTED=1 cargo test -p plimsoll-control` writes the reports anew.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_control::config;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

#[test]
fn every_broken_file_gets_the_expected_report() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 20);
    let mut different = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let valid = name == "warnings.yaml";
        let report = match config::parse(name, fs::read_to_string(&file).unwrap()) {
            Ok(loaded) if valid => loaded.warnings.report(false),
            Err(errors) if !valid => errors.report(false),
            _ => panic!("{name} is expected to be valid: {valid}"),
        };
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &report).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != report {
            different.push(format!("{name}:\n{report}"));
        }
    }
    assert!(
        different.is_empty(),
        "not the expected reports:\n{}",
        different.join("\n")
    );
}

#[test]
fn the_places_of_mistakes_are_exact() {
    let text =
        "version: 1\ndataplane:\n  ports: [{ name: wän, device: net_null0, mtu: 1 }]\nx: 1\n";
    let errors = config::parse("test", text).unwrap_err();
    let places: Vec<_> = errors
        .items()
        .iter()
        .map(|item| (item.line, item.column, item.length, item.path.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (Some(3), Some(19), Some(3), "dataplane.ports[0].name"),
            (Some(3), Some(48), Some(1), "dataplane.ports[0].mtu"),
            (Some(4), Some(1), Some(1), "x"),
        ]
    );
}

#[test]
fn far_more_mistakes_than_anybody_reads_are_counted_not_kept() {
    let mut text =
        "version: 1\ndataplane: { ports: [{ name: a, device: net_null0 }] }\nservices:\n"
            .to_owned();
    for _ in 0..2000 {
        text.push_str("  - { nam: x }\n");
    }
    let errors = config::parse("test", text).unwrap_err();
    // An unknown key, neither `vip` nor `match`, and the same name as the first.
    assert_eq!(errors.errors(), 3 * 2000 - 1);
    assert!(errors.items().len() <= 1000);
    assert!(errors.report(false).contains("more\n"));
}

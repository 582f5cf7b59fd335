//! Every target over its corpus, and over some changes of each file, without a fuzzer.
//! A fault that a fuzzer finds stays found: its input becomes a file of the corpus.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use plimsoll_dataplane::testing::Rng;
use plimsoll_fuzz_targets::TARGETS;

/// Changed inputs of each target.
const CHANGES: usize = 200;
/// The kept corpora together, in bytes: they are in everybody's copy of the repository.
const MOST_BYTES: u64 = 1 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut files: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Says which input it was, if the target panics.
struct Input {
    target: &'static str,
    name: String,
    bytes: Vec<u8>,
}

impl Drop for Input {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let bytes = self.bytes.escape_ascii();
            let mut err = io::stderr().lock();
            let _ = writeln!(err, "{} with {}: \"{bytes}\"", self.target, self.name);
        }
    }
}

fn run((target, function): (&'static str, fn(&[u8])), name: String, bytes: Vec<u8>) {
    let input = Input {
        target,
        name,
        bytes,
    };
    function(&input.bytes);
}

/// What a fuzzer would do to `bytes`.
fn change(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len().max(1));
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), u8::try_from(rng.below(256)).unwrap()),
            2 => {
                let piece = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend(&piece[..rng.below(64).min(piece.len())]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
}

#[test]
fn every_file_of_the_corpus_passes() {
    for target in TARGETS {
        for file in corpus(target.0) {
            run(
                *target,
                file.display().to_string(),
                fs::read(&file).unwrap(),
            );
        }
        run(*target, "nothing".to_owned(), Vec::new());
    }
}

#[test]
fn every_file_of_the_corpus_passes_with_some_changes() {
    for target in TARGETS {
        let files = corpus(target.0);
        let mut rng = Rng::new(1);
        for number in 0..CHANGES {
            let file = &files[rng.below(files.len())];
            let mut bytes = fs::read(file).unwrap();
            change(&mut bytes, &mut rng);
            run(
                *target,
                format!("{}, change {number}", file.display()),
                bytes,
            );
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus_that_is_small() {
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| stem(entry.unwrap().path())).collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let mut bytes = 0;
    for name in &names {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
        let files = corpus(name);
        assert!(!files.is_empty(), "{name}");
        bytes += files
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum::<u64>();
    }
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}

//! The files that make up one keepalived.conf, as one run of lines, and what is told about each.
//! Opens files by their patterns; what their text means is `text`'s.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Diagnostics;
use crate::config::diagnostics::{Place, Problem, Problems};

/// More than one configuration is spread over.
const MOST_FILES: usize = 10_000;
/// More bytes than all of them have.
const MOST_BYTES: usize = 256 << 20;

/// Where files are read from.
pub trait Files {
    /// The files that a pattern of `include` matches, in order; none is no error.
    ///
    /// # Errors
    /// When the pattern makes no sense.
    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;

    /// A file's text.
    ///
    /// # Errors
    /// When it cannot be read, or is no text.
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// A file that was read.
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
    /// Lines of all files in front of it.
    before: u32,
}

/// All files that were read. A [`Place`] in them counts the lines of all.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
    lines: u32,
    bytes: usize,
}

impl Sources {
    /// Adds a file; returns how many lines are in front of it, or nothing if there is too much.
    pub(super) fn add(&mut self, name: &str, text: &str) -> Option<u32> {
        let lines = u32::try_from(text.lines().count()).ok()?;
        let before = self.lines;
        let bytes = self.bytes.saturating_add(text.len());
        if self.files.len() == MOST_FILES || bytes > MOST_BYTES {
            return None;
        }
        self.bytes = bytes;
        // One more, so that the end of a file without a last newline is its own too.
        self.lines = before.checked_add(lines)?.checked_add(1)?;
        self.files.push(Source {
            name: name.to_owned(),
            text: text.to_owned(),
            before,
        });
        Some(before)
    }

    fn index(&self, line: u32) -> usize {
        let after = self.files.partition_point(|file| file.before < line);
        after.saturating_sub(1)
    }

    /// The file and its line, for people.
    pub(super) fn shown(&self, place: Place) -> String {
        match self.files.get(self.index(place.line)) {
            Some(file) => {
                let name = file.name.escape_debug();
                format!("{name}:{}", place.line - file.before)
            }
            None => place.line.to_string(),
        }
    }

    /// What is told, file by file. What is about no file in particular is told with the first.
    pub(super) fn finish(&self, problems: Problems) -> Vec<Diagnostics> {
        let mut parts: Vec<Problems> = self.files.iter().map(|_| Problems::default()).collect();
        let untold = problems.drain(|mut problem| {
            let index = problem.place.map_or(0, |place| self.index(place.line));
            let before = self.files.get(index).map_or(0, |file| file.before);
            let here = |place: Place| Place {
                line: place.line.saturating_sub(before),
                ..place
            };
            problem.place = problem.place.map(here);
            let related = std::mem::take(&mut problem.also);
            for (place, what) in related {
                if self.index(place.line) == index {
                    problem.also.push((here(place), what));
                } else {
                    problem.message =
                        format!("{} ({what}: {})", problem.message, self.shown(place));
                }
            }
            if let Some(part) = parts.get_mut(index) {
                part.add(problem);
            }
        });
        for (count, severity) in untold {
            if let Some(first) = parts.first_mut().filter(|_| count > 0) {
                let mut problem =
                    Problem::unplaced(format!("{count} more are not told one by one"));
                problem.severity = severity;
                first.add(problem);
            }
        }
        let finished = parts.into_iter().zip(&self.files);
        finished
            .map(|(part, file)| part.finish(&file.name, &file.text))
            .filter(|diagnostics| diagnostics.errors() + diagnostics.warnings() > 0)
            .collect()
    }
}

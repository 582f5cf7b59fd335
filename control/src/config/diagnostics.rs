//! What is wrong with a configuration, and where: kept as data, shown as a report or as JSON.
//! Keeps the lines around each place, not the file, and never says more than it can show.

mod report;

use saphyr_parser::{Marker, Span};
use serde::Serialize;

/// More than anybody reads; the rest is counted.
const MAX_KEPT: usize = 500;
/// How many places of one line are shown; longer lines are cut around the place.
const MAX_LINE: usize = 160;
/// Longer than any message of this program's own; what quotes more than that from a file is cut.
const MAX_MESSAGE: usize = 1000;
/// How much of a word from a file a message quotes, in characters.
const MAX_QUOTED: usize = 64;

/// A word from a file for a message: without control characters, and only the beginning of a long one.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default().escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

/// How many lines that say something are looked at to see what a file is.
const FIRST_LINES: usize = 20;

/// Whether a text is of the format whose lines `is_line` knows: one of the first that say something is. A file that is
/// something else altogether may be a secret to those who read the report, so nothing of it is quoted: not its lines,
/// nor words of them. `comment` is what comments begin with.
pub(crate) fn begins_like(text: &str, comment: &[char], is_line: impl FnMut(&str) -> bool) -> bool {
    let lines = text.lines().map(str::trim);
    let mut lines = lines
        .filter(|line| !line.is_empty() && !line.starts_with(comment))
        .take(FIRST_LINES)
        .peekable();
    lines.peek().is_none() || lines.any(is_line)
}

/// Cuts a message whatever was put into it.
fn bound(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push_str("...");
    }
}

/// Whether a configuration can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// A stretch of one line. Lines and columns count from 1, columns and length in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) length: u32,
}

impl Place {
    pub(crate) fn at(marker: &Marker, length: usize) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: narrow(marker.line()),
            column: narrow(marker.col() + 1),
            length: narrow(length),
        }
    }

    pub(crate) fn of(span: &Span) -> Self {
        let same_line = span.start.line() == span.end.line();
        let length = if same_line {
            span.end.col().saturating_sub(span.start.col())
        } else {
            1
        };
        Self::at(&span.start, length.max(1))
    }

    pub(crate) fn limit(self, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX).max(1);
        Self {
            length: self.length.min(length),
            ..self
        }
    }
}

/// One mistake, before the text around it is looked up.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) place: Option<Place>,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) also: Vec<(Place, String)>,
}

impl Problem {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            ..Self::unplaced(message)
        }
    }

    /// About the file as a whole.
    pub(crate) fn unplaced(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: None,
            path: String::new(),
            message: message.into(),
            help: None,
            also: Vec::new(),
        }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = self.help.or(help);
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Not an error.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Another place that has to do with it.
    pub(crate) fn also(mut self, place: Place, what: impl Into<String>) -> Self {
        self.also.push((place, what.into()));
        self
    }
}

/// The mistakes found so far; keeps the first few hundred and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    kept: Vec<Problem>,
    errors: usize,
    warnings: usize,
    /// Whether all are kept.
    unlimited: bool,
}

impl Problems {
    /// Keeps all of them, for a program that mends what it wrote itself.
    pub(crate) fn unlimited() -> Self {
        Self {
            unlimited: true,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, mut problem: Problem) {
        match problem.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        if self.unlimited || self.kept.len() < MAX_KEPT {
            bound(&mut problem.message);
            bound(&mut problem.path);
            problem.help.iter_mut().for_each(bound);
            problem.also.iter_mut().for_each(|(_, what)| bound(what));
            self.kept.push(problem);
        }
    }

    pub(crate) const fn errors(&self) -> usize {
        self.errors
    }

    /// Whether some mistake is in one of these parts of the file, in what holds them, or in the file as a whole.
    pub(crate) fn concern(&self, part: &str) -> bool {
        let concerns = |problem: &Problem| {
            problem.path.is_empty()
                || problem.path.starts_with(part)
                || part
                    .strip_prefix(&problem.path)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        self.kept.iter().any(concerns) || (!self.unlimited && self.kept.len() == MAX_KEPT)
    }

    /// The same without the lines that they are about.
    pub(crate) fn without_places(mut self) -> Self {
        for problem in &mut self.kept {
            problem.place = None;
            problem.also.clear();
        }
        self
    }

    /// One mistake in place of all, which quotes nothing: the text is no `what`, such as "a configuration: ...".
    pub(crate) fn hidden(what: &str) -> Self {
        let mut problems = Self::default();
        let message = format!("this does not look like {what}");
        let help = "nothing of it is shown, as it may not be meant to be read";
        problems.add(Problem::unplaced(message).help(help));
        problems
    }

    /// Hands out the mistakes that were kept; returns how many others there are of each severity.
    pub(crate) fn drain(self, mut take: impl FnMut(Problem)) -> [(usize, Severity); 2] {
        let (mut errors, mut warnings) = (self.errors, self.warnings);
        for problem in self.kept {
            match problem.severity {
                Severity::Error => errors -= 1,
                Severity::Warning => warnings -= 1,
            }
            take(problem);
        }
        [(errors, Severity::Error), (warnings, Severity::Warning)]
    }

    /// The mistakes that were kept.
    pub(crate) fn kept(&self) -> &[Problem] {
        &self.kept
    }

    /// Looks up the lines around each mistake.
    pub(crate) fn finish(mut self, name: &str, text: &str) -> Diagnostics {
        self.kept.sort_by_key(|problem| problem.place);
        let lines = if self.kept.is_empty() {
            Lines::default()
        } else {
            Lines::of(text)
        };
        let item = |problem: Problem| Diagnostic {
            severity: problem.severity,
            line: problem.place.map(|place| place.line),
            column: problem.place.map(|place| place.column),
            length: problem.place.map(|place| place.length),
            path: problem.path,
            message: problem.message,
            help: problem.help,
            related: problem
                .also
                .into_iter()
                .map(|(place, message)| Related {
                    line: place.line,
                    column: place.column,
                    message,
                    excerpt: lines.excerpt(name, place),
                })
                .collect(),
            excerpt: problem.place.map(|place| lines.excerpt(name, place)),
        };
        Diagnostics {
            name: name.to_owned(),
            items: self.kept.into_iter().map(item).collect(),
            errors: self.errors,
            warnings: self.warnings,
        }
    }
}

/// All that is wrong with one configuration, in the order of its lines.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{name}: {errors} errors, {warnings} warnings")]
pub struct Diagnostics {
    name: String,
    items: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// The first few hundred mistakes in the order of their places.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// The name of the file that they are about.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many errors there are, kept or not.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are, kept or not.
    #[must_use]
    pub const fn warnings(&self) -> usize {
        self.warnings
    }
}

/// One mistake.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its line from 1 on, unless it is about the whole file.
    pub line: Option<u32>,
    /// Its column from 1 on, in characters.
    pub column: Option<u32>,
    /// How many characters from there on are meant.
    pub length: Option<u32>,
    /// The keys that lead there: `services[0].reals[2].weight`. Empty for the file as a whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// A place that has to do with a mistake elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct Related {
    /// Its line from 1 on.
    pub line: u32,
    /// Its column from 1 on, in characters.
    pub column: u32,
    /// What is there.
    pub message: String,
    #[serde(skip)]
    excerpt: Excerpt,
}

/// A few lines of the file, and the stretch of them that is meant, in bytes.
#[derive(Debug, Clone)]
struct Excerpt {
    name: String,
    text: String,
    /// Lines of the file in front of `text`.
    first_line: usize,
    /// Characters of the line in front of `text`, when the line was cut.
    first_column: usize,
    start: usize,
    length: usize,
}

/// Where the lines of a text begin.
#[derive(Debug, Default)]
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            // A lone CR ends a line in YAML too.
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                starts.push(at + 1);
            }
        }
        Self { text, starts }
    }

    /// A line from 0 on, without its end.
    fn line(&self, line: usize) -> Option<&'t str> {
        let start = *self.starts.get(line)?;
        let end = self
            .starts
            .get(line + 1)
            .copied()
            .unwrap_or(self.text.len());
        Some(self.text.get(start..end)?.trim_end_matches(['\n', '\r']))
    }

    fn excerpt(&self, name: &str, place: Place) -> Excerpt {
        let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let (line, column) = (
            index(place.line).saturating_sub(1),
            index(place.column).saturating_sub(1),
        );
        let own = self.line(line).unwrap_or_default();
        let bytes = |text: &str, chars: usize| {
            text.char_indices()
                .nth(chars)
                .map_or(text.len(), |(at, _)| at)
        };
        // Only the beginning of a line can be looked at for free.
        if own.len() > MAX_LINE {
            let first_column = column.saturating_sub(MAX_LINE / 2);
            let text: String = own.chars().skip(first_column).take(MAX_LINE).collect();
            let start = bytes(&text, column - first_column);
            let length = bytes(text.get(start..).unwrap_or_default(), index(place.length));
            return Excerpt {
                name: name.to_owned(),
                text,
                first_line: line,
                first_column,
                start,
                length,
            };
        }
        let short = |line: &&str| line.len() <= MAX_LINE;
        let before = line.checked_sub(1).and_then(|n| self.line(n)).filter(short);
        let after = self.line(line + 1).filter(short);
        let start = before.map_or(0, |text| text.len() + 1) + bytes(own, column);
        let length = bytes(
            own.get(bytes(own, column)..).unwrap_or_default(),
            index(place.length),
        );
        let text = [before, Some(own), after]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n");
        let first_line = if before.is_some() {
            line.saturating_sub(1)
        } else {
            line
        };
        Excerpt {
            name: name.to_owned(),
            text,
            first_line,
            first_column: 0,
            start,
            length,
        }
    }
}

//! The text of keepalived.conf as words and braces: `include`, `@id` lines, parameters and `~SEQ`/`~LST` blocks
//! are dealt with here, in keepalived 2.2.7's order. What any other keyword means is not known.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::familiar;
use super::keywords::{DPVS_GROUPS, INCLUDES, LOST_OF_FILE};
use super::sequence;
use super::sources::{Files, Sources};
use super::words::{Line, Token, definition, is_name, narrow, split, without_comment, words};
use crate::config::diagnostics::{Place, Problem, Problems, quoted};

/// Files within files.
const DEEPEST_FILE: usize = 32;
/// Parameters of one line, with those within their values.
const DEEPEST_LINE: usize = 256;
/// More bytes than any configuration has once its parameters are replaced, each step counted.
const MOST_BYTES: usize = 1 << 28;
/// What a word takes beside its bytes.
const WORD_BYTES: usize = 64;
/// Longer than any line is once its parameters are replaced.
const LONGEST: usize = 1 << 16;

/// Reads texts.
pub(super) struct Reader<'a> {
    files: &'a dyn Files,
    /// keepalived's `--config-id`; without one no `@id` line is for this machine.
    id: Option<&'a str>,
    pub(super) sources: Sources,
    pub(super) problems: Problems,
    pub(super) tokens: Vec<Token>,
    /// Their values as lines.
    parameters: HashMap<String, Vec<String>>,
    folders: Vec<PathBuf>,
    bytes: usize,
    /// How many blocks are open, and the keyword of the outermost.
    depth: usize,
    outermost: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn Files, id: Option<&'a str>) -> Self {
        Self {
            files,
            id,
            sources: Sources::default(),
            problems: Problems::default(),
            tokens: Vec::new(),
            parameters: HashMap::new(),
            folders: Vec::new(),
            bytes: 0,
            depth: 0,
            outermost: String::new(),
        }
    }

    fn warn(&mut self, problem: Problem) {
        self.problems.add(problem.warning());
    }

    /// Reads a file and all that it includes. False if there is too much of it.
    pub(super) fn file(&mut self, path: &Path, name: &str, text: &str) -> bool {
        let Some(before) = self.sources.add(name, text) else {
            return false;
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        self.folders.push(folder);
        let mut lines = (before + 1..).zip(text.lines());
        while let Some((number, whole)) = lines.next() {
            let text = without_comment(whole);
            let place = Place {
                line: number,
                column: 1 + narrow(text.chars().take_while(|c| c.is_whitespace()).count()),
                length: narrow(text.trim().chars().count()).max(1),
            };
            let text = text.trim();
            let (guard, body) = match text.strip_prefix('@') {
                Some(condition) => {
                    let (id, rest) = split(condition);
                    (Some(id), rest)
                }
                None => (None, text),
            };
            let Some((name, value)) = definition(body).filter(|(_, value)| value.ends_with('\\'))
            else {
                let line = Line {
                    text,
                    place,
                    exact: true,
                };
                self.line(line, 0);
                continue;
            };
            // A definition of several lines: all but the last end in a backslash.
            let mut value = vec![value.trim_end_matches('\\').trim().to_owned()];
            for (_, line) in lines.by_ref() {
                let line = without_comment(line).trim();
                value.push(line.trim_end_matches('\\').trim().to_owned());
                if !line.ends_with('\\') {
                    break;
                }
            }
            value.retain(|line| !line.is_empty());
            if guard.is_none_or(|id| self.applies(id)) {
                self.parameters.insert(name.to_owned(), value);
            }
        }
        self.folders.pop();
        true
    }

    /// Whether lines that begin with `@` and this are read.
    fn applies(&self, id: &str) -> bool {
        match id.strip_prefix('^') {
            Some(id) => self.id != Some(id),
            None => self.id == Some(id),
        }
    }

    /// Whether the line is an `include`, which then is done. Its conditions and parameters are dealt with before, as in
    /// keepalived (`include ${_PWD}/conf.d/*.conf`, `@id include FILE`).
    fn include(&mut self, line: Line<'_>, text: &str) -> bool {
        let (keyword, pattern) = split(text);
        if !INCLUDES.contains(&keyword) {
            return false;
        }
        // A part of a block that is not carried over, which is told of the whole block.
        if self.depth > 0 && self.is_lost() {
            return true;
        }
        let wrong = |message: String| Problem::new(line.place, message);
        let pattern = pattern.trim_matches(['"', '\'']);
        let shown = quoted(pattern);
        if pattern.is_empty() {
            let problem = wrong(format!("`{keyword}` lacks its file"));
            self.problems
                .add(problem.help("expected a path or a pattern"));
            return true;
        }
        if self.folders.len() >= DEEPEST_FILE {
            let problem = wrong(format!("`{shown}` is included too deep"));
            self.problems
                .add(problem.help("expected no file that includes itself"));
            return true;
        }
        let folder = self.folders.last().cloned().unwrap_or_default();
        let paths = match self.files.matching(&folder.join(pattern)) {
            Ok(paths) => paths,
            Err(error) => {
                let problem = wrong(format!("`{shown}` is no pattern of files: {error}"));
                self.problems.add(problem);
                return true;
            }
        };
        if paths.is_empty() {
            let problem = wrong(format!("no file matches `{shown}`"));
            let problem =
                problem.help("paths are relative to the folder of the file that includes");
            // keepalived goes on without; here a file that has a name is probably on another machine.
            if keyword == "include" && pattern.contains(['*', '?', '[', '{']) {
                self.warn(problem);
            } else {
                self.problems.add(problem);
            }
        }
        for path in paths {
            let name = path.display().to_string();
            let problem = match self.files.read(&path) {
                Ok(text) if !familiar::is_familiar(&text) => {
                    let name = name.escape_debug();
                    let what = "does not look like a part of keepalived.conf: nothing of it is read or shown";
                    wrong(format!("`{name}` {what}"))
                }
                Ok(text) if self.file(&path, &name, &text) => continue,
                Ok(_) => wrong(format!("`{}` is too much to read", name.escape_debug())),
                Err(error) => {
                    let name = name.escape_debug();
                    wrong(format!("`{name}` cannot be read: {error}"))
                }
            };
            self.problems.add(problem);
        }
        true
    }

    /// A line whose comment is gone.
    fn line(&mut self, line: Line<'_>, depth: usize) {
        let text = line.text.trim();
        if text.is_empty() {
            return;
        }
        if self.bytes > MOST_BYTES {
            return;
        }
        self.bytes += text.len();
        if depth > DEEPEST_LINE || self.bytes > MOST_BYTES || text.len() > LONGEST {
            let problem = Problem::new(line.place, "parameters make too much of this line");
            self.problems
                .add(problem.help("expected none whose value has the parameter itself in it"));
            return;
        }
        if let Some(condition) = text.strip_prefix('@') {
            let (id, rest) = split(condition);
            if self.applies(id) {
                let line = Line {
                    text: rest,
                    place: line.place,
                    exact: false,
                };
                return self.line(line, depth + 1);
            }
            if self.id.is_none() {
                let id = quoted(id);
                let problem = Problem::new(line.place, format!("only read for `{id}`: left out"));
                self.warn(problem.help("`--config-id ID` says which machine's lines to read"));
            }
            return;
        }
        if let Some((name, value)) = definition(text) {
            let value = vec![value.trim_end_matches('\\').trim().to_owned()];
            self.parameters.insert(name.to_owned(), value);
            return;
        }
        if text.starts_with("~SEQ") || text.starts_with("~LST") {
            match sequence::read(text) {
                Ok((rounds, rest)) => {
                    for round in rounds {
                        for (name, value) in round {
                            self.parameters.insert(name, vec![value]);
                        }
                        let line = Line {
                            text: rest,
                            place: line.place,
                            exact: false,
                        };
                        self.line(line, depth + 1);
                    }
                }
                Err(message) => self.problems.add(
                    Problem::new(line.place, message)
                        .help("expected ~SEQ(NAME, first, step, last) or ~LST(NAME, value, ...)"),
                ),
            }
            return;
        }
        if let Some((before, value, after)) = self.replacement(text) {
            let value = value.join("\n");
            let whole = format!("{before}{value}{after}");
            for text in whole.split('\n') {
                let line = Line {
                    text,
                    place: line.place,
                    exact: false,
                };
                self.line(line, depth + 1);
            }
            return;
        }
        if self.include(line, text) {
            return;
        }
        let before = self.tokens.len();
        if let Err(problem) = words(line, &mut self.tokens) {
            self.problems.add(problem);
        }
        self.tokens.push(Token::End);
        self.follow(before);
        self.bytes += WORD_BYTES * (self.tokens.len() - before);
    }

    /// Keeps count of the blocks that the tokens from here on open and close.
    fn follow(&mut self, from: usize) {
        let mut begins = true;
        for token in self.tokens.get(from..).unwrap_or_default() {
            match token {
                Token::Word(word) => {
                    if begins && self.depth == 0 {
                        self.outermost.clone_from(&word.text);
                    }
                    begins = false;
                }
                Token::Open(_) => {
                    self.depth += 1;
                    begins = true;
                }
                Token::Close(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    begins = true;
                }
                Token::End => begins = true,
            }
        }
    }

    /// Whether the block around all others is not carried over.
    fn is_lost(&self) -> bool {
        let outermost = self.outermost.as_str();
        LOST_OF_FILE.contains(&outermost) || DPVS_GROUPS.contains(&outermost)
    }

    /// The first parameter of a line that has a value: what is in front of it, the value, what follows.
    fn replacement<'t>(&self, text: &'t str) -> Option<(&'t str, Vec<String>, &'t str)> {
        let mut from = 0;
        while let Some(at) = text.get(from..)?.find('$') {
            let dollar = from + at;
            from = dollar + 1;
            let (before, rest) = (text.get(..dollar)?, text.get(from..)?);
            let (name, after) = match rest.strip_prefix('{') {
                Some(braced) => match braced.split_once('}') {
                    Some(parts) => parts,
                    None => continue,
                },
                None => {
                    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
                    rest.split_at_checked(end)?
                }
            };
            let value = match name {
                "_PWD" => self.folders.last().map(|folder| {
                    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
                    vec![folder.display().to_string()]
                }),
                "_INSTANCE" => self.id.map(|id| vec![id.to_owned()]),
                _ => self.parameters.get(name).cloned(),
            };
            if let Some(value) = value {
                return Some((before, value, after));
            }
        }
        None
    }
}

//! The text of a firewall as words and signs, each with its place: lines that go on, quotes and comments.
//! What a word means is not known here.

use crate::config::diagnostics::{Place, Problem, quoted};

/// What came of reading something.
pub(super) type Read<T> = Result<T, Box<Problem>>;

/// A word, or one of the signs that stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) text: &'t str,
    pub(super) place: Place,
}

impl Token<'_> {
    pub(super) fn problem(self, message: impl Into<String>) -> Box<Problem> {
        Box::new(Problem::new(self.place, message))
    }

    pub(super) fn shown(self) -> String {
        quoted(self.text)
    }

    /// Whether it is nft's name, by which a shell runs it.
    pub(super) fn is_nft(self) -> bool {
        self.text.rsplit('/').next() == Some("nft")
    }
}

/// The lines of a text.
pub(super) struct Lines<'t> {
    /// What is still to be read.
    pub(super) rest: &'t str,
    /// Where that begins, from 1 on.
    line: u32,
    column: u32,
}

impl<'t> Lines<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self {
            rest: text,
            line: 1,
            column: 1,
        }
    }

    pub(super) const fn is_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Passes over so many bytes.
    fn take(&mut self, bytes: usize) -> Token<'t> {
        let (text, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let length = narrow(text.chars().count());
        let place = Place {
            line: self.line,
            column: self.column,
            length: length.max(1),
        };
        self.column = self.column.saturating_add(length);
        if let Some((before, last)) = text.rsplit_once('\n') {
            let lines = before.matches('\n').count() + 1;
            self.line = self.line.saturating_add(narrow(lines));
            self.column = narrow(last.chars().count()).saturating_add(1);
        }
        Token { text, place }
    }

    /// Splits the next line, with those in which it goes on after a `\`, into words; braces, commas, semicolons and `!`
    /// stand alone, a text in quotes is one word. A shell's quotes around a command are passed over.
    pub(super) fn tokens(&mut self) -> Vec<Token<'t>> {
        let mut found: Vec<Token<'_>> = Vec::new();
        // Whether a shell's quote is open.
        let mut shell = false;
        while let Some(letter) = self.rest.chars().next() {
            let length = letter.len_utf8();
            if letter == '\''
                && let Some(value) = value(&found, self.rest)
            {
                self.take(length);
                found.push(self.take(value.len()));
                self.take(length);
                continue;
            }
            match letter {
                '\n' => {
                    self.take(length);
                    break;
                }
                '#' => {
                    self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
                }
                '"' if shell || found.last().is_some_and(|last| last.is_nft()) => {
                    self.take(length);
                    shell = !shell;
                }
                '"' => {
                    self.take(length);
                    let mut escaped = false;
                    let end = self.rest.find(|letter| {
                        let ends = !escaped && matches!(letter, '"' | '\n');
                        // Also in front of a line's end of two letters.
                        escaped = if letter == '\r' {
                            escaped
                        } else {
                            letter == '\\' && !escaped
                        };
                        ends
                    });
                    found.push(self.take(end.unwrap_or(self.rest.len())));
                    self.take(usize::from(self.rest.starts_with('"')));
                }
                _ if ALONE.contains(&letter) => found.push(self.take(length)),
                _ => match between(self.rest) {
                    0 => found.push(self.take(word(self.rest))),
                    bytes => {
                        self.take(bytes);
                    }
                },
            }
        }
        found
    }
}

/// What a shell's quotes have at the beginning of this text, if it is a value of iptables that would be several words
/// without them.
fn value<'t>(words: &[Token<'_>], text: &'t str) -> Option<&'t str> {
    let mut command = words.iter().rev().take_while(|word| word.text != ";");
    if !words.last()?.text.starts_with('-') || command.any(|word| word.is_nft()) {
        return None;
    }
    let (value, _) = text.strip_prefix('\'')?.split_once('\'')?;
    let ends = |letter: char| letter.is_whitespace() || "#;{}".contains(letter);
    (value.contains(ends) && !value.contains('\n')).then_some(value)
}

/// Signs that are words.
const ALONE: &[char] = &['{', '}', ',', ';', '!'];

/// How many bytes at the beginning are between words: white space, a shell's quote, or the `\` by which a line goes on
/// or by which a shell is kept from a sign.
fn between(text: &str) -> usize {
    if let Some(behind) = text.strip_prefix('\\') {
        match behind.strip_prefix('\r').unwrap_or(behind) {
            line if line.starts_with('\n') => text.len() - line.len() + 1,
            _ if behind.starts_with(ALONE) => 1,
            _ => 0,
        }
    } else {
        let is = |letter: &char| *letter == '\'' || letter.is_whitespace();
        text.chars().next().filter(is).map_or(0, char::len_utf8)
    }
}

/// How many bytes the word at the beginning has.
fn word(text: &str) -> usize {
    let ends = |at: &usize| {
        let behind = text.get(*at..).unwrap_or("");
        behind.starts_with(ALONE) || behind.starts_with('"') || between(behind) > 0
    };
    let mut places = text.char_indices().map(|(at, _)| at);
    places.find(ends).unwrap_or(text.len())
}

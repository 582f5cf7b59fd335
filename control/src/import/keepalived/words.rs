//! Words and braces of keepalived.conf's lines: comments and quotes are dealt with here.
//! Knows no keyword, and what `$` and `@` do is `text`'s.

use crate::config::diagnostics::{Place, Problem, quoted};

/// A word.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Word {
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.place, message)
    }

    /// For a message.
    pub(super) fn shown(&self) -> String {
        quoted(&self.text)
    }
}

/// What a text is made of.
#[derive(Debug)]
pub(super) enum Token {
    Word(Word),
    Open(Place),
    Close(Place),
    /// A line ends.
    End,
}

/// A line on its way to words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) text: &'t str,
    /// Where it begins; the whole of it if parameters were replaced, as columns no longer fit.
    pub(super) place: Place,
    pub(super) exact: bool,
}

pub(super) const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$NAME=value`.
pub(super) fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let good = !name.is_empty() && name.chars().all(is_name);
    good.then_some((name, value.trim()))
}

/// The first word and the rest.
pub(super) fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

/// What is in front of `#` and `!`, which double quotes and a backslash protect.
pub(super) fn without_comment(text: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '#' | '!' if !quoted => return text.get(..at).unwrap_or(text),
            _ => {}
        }
    }
    text
}

/// Takes a line apart.
pub(super) fn words(line: Line<'_>, tokens: &mut Vec<Token>) -> Result<(), Problem> {
    let mut chars = line.text.chars().zip(0_u32..).peekable();
    let place = |from: u32, to: u32| {
        if line.exact {
            Place {
                line: line.place.line,
                column: line.place.column + from,
                length: (to - from).max(1),
            }
        } else {
            line.place
        }
    };
    while let Some(&(c, from)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        let mut raw: Vec<(char, bool)> = Vec::new();
        let (mut quote, mut to) = (None, from);
        while let Some(&(c, at)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() {
                break;
            }
            chars.next();
            to = at + 1;
            match (c, quote) {
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('\\', Some(_)) => raw.extend(chars.next().map(|(c, _)| (c, true))),
                (c, quote) => raw.push((c, quote.is_some())),
            }
        }
        if quote.is_some() {
            let problem = Problem::new(place(from, to), "this quote is not closed");
            return Err(problem.help("expected it to end on its line"));
        }
        braces(&raw, place(from, to), tokens);
    }
    Ok(())
}

/// A word, without the braces at its ends that are not of its own.
fn braces(raw: &[(char, bool)], place: Place, tokens: &mut Vec<Token>) {
    let brace = |one: Option<&(char, bool)>| match one {
        Some(('{', false)) => Some(Token::Open(place)),
        Some(('}', false)) => Some(Token::Close(place)),
        _ => None,
    };
    let mut middle = raw;
    while let Some(token) = brace(middle.first()) {
        tokens.push(token);
        middle = middle.get(1..).unwrap_or_default();
    }
    let mut behind = Vec::new();
    while let Some(token) = brace(middle.last()) {
        let own = middle.iter().filter(|one| **one == ('{', false)).count();
        if matches!(token, Token::Close(_)) && own > 0 {
            break;
        }
        behind.push(token);
        middle = middle.get(..middle.len() - 1).unwrap_or_default();
    }
    // `""` is a word too; braces alone are none.
    if !middle.is_empty() || raw.is_empty() {
        tokens.push(Token::Word(Word {
            text: middle.iter().map(|(c, _)| *c).collect(),
            place,
        }));
    }
    tokens.extend(behind.into_iter().rev());
}

pub(super) fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

//! Words and braces as statements with blocks.
//! Knows no keyword.

use super::words::{Token, Word};
use crate::config::diagnostics::{Place, Problem, Problems};

/// More blocks within blocks than keepalived has.
const DEEPEST: usize = 32;

/// A line with its block, if it has one. There is always a first word.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) keyword: Word,
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Statement>>,
}

/// A block that is being read.
#[derive(Default)]
struct Open {
    statements: Vec<Statement>,
    /// The line that is being read.
    words: Vec<Word>,
    /// Where it began.
    place: Option<Place>,
}

impl Open {
    /// The line ends.
    fn end(&mut self) {
        let mut words = std::mem::take(&mut self.words).into_iter();
        if let Some(keyword) = words.next() {
            self.statements.push(Statement {
                keyword,
                words: words.collect(),
                block: None,
            });
        }
    }
}

/// The statements that are outside of every block.
pub(super) fn read(tokens: Vec<Token>, problems: &mut Problems) -> Vec<Statement> {
    let mut outer: Vec<Open> = Vec::new();
    let mut open = Open::default();
    for token in tokens {
        match token {
            Token::Word(word) => open.words.push(word),
            Token::End => open.end(),
            Token::Open(place) => {
                open.end();
                let headless = open
                    .statements
                    .last()
                    .is_none_or(|statement| statement.block.is_some());
                if headless {
                    let problem = Problem::new(place, "this block belongs to nothing");
                    problems.add(problem.help("expected a keyword in front of `{`"));
                }
                if outer.len() == DEEPEST {
                    let problem = Problem::new(place, "blocks are nested too deep");
                    problems.add(problem.help("nothing is read from here on"));
                    break;
                }
                let inner = Open {
                    place: Some(place),
                    ..Open::default()
                };
                outer.push(std::mem::replace(&mut open, inner));
            }
            Token::Close(place) => {
                open.end();
                let Some(parent) = outer.pop() else {
                    let problem = Problem::new(place, "this `}` closes nothing");
                    problems.add(problem.help("expected no more `}` than `{`"));
                    continue;
                };
                close(&mut open, parent);
            }
        }
    }
    open.end();
    while let Some(parent) = outer.pop() {
        if let Some(place) = open.place {
            let problem = Problem::new(place, "this block is not closed");
            problems.add(problem.help("expected a `}` for this `{`"));
        }
        close(&mut open, parent);
    }
    open.statements
}

/// Gives a block to the statement in front of it, and goes on behind it.
fn close(open: &mut Open, parent: Open) {
    let inner = std::mem::replace(open, parent);
    if let Some(owner) = open.statements.last_mut()
        && owner.block.is_none()
    {
        owner.block = Some(inner.statements);
    }
}

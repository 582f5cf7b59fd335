//! The file as a tree whose every node knows its line and column. Bounded in depth and in nodes.
//! Nothing here knows which keys exist; the tree is for finding and placing mistakes.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::diagnostics::{Place, Problem, Problems};
use super::read::{TOO_DENSE, max_values};

/// Deeper nesting than any valid file has; keeps every walk over the tree off the stack's end.
const MAX_DEPTH: usize = 32;
/// What aliases may copy in all; a handful of them can otherwise stand for billions of nodes.
const MAX_COPIED_NODES: usize = 1_000_000;

/// One value of the file.
#[derive(Debug, Clone)]
pub(super) struct Node<'t> {
    pub(super) place: Place,
    /// Something about it was reported already, so it is left out of what is checked further.
    pub(super) bad: bool,
    pub(super) body: Body<'t>,
}

#[derive(Debug, Clone)]
pub(super) enum Body<'t> {
    /// `plain` is without quotes.
    Scalar {
        text: Cow<'t, str>,
        plain: bool,
    },
    List(Vec<Node<'t>>),
    Map(Vec<Entry<'t>>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry<'t> {
    pub(super) key: Cow<'t, str>,
    pub(super) place: Place,
    pub(super) value: Node<'t>,
}

impl Node<'_> {
    /// Nothing was written, or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.body, Body::Scalar { text, plain: true }
            if matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for "found ...".
    pub(super) fn found(&self) -> String {
        match &self.body {
            _ if self.is_null() => "nothing".to_owned(),
            Body::Scalar { text, plain: true } => format!("`{}`", shorten(text)),
            Body::Scalar { text, .. } => format!("\"{}\"", shorten(text)),
            Body::List(_) => "a list".to_owned(),
            Body::Map(_) => "a mapping".to_owned(),
        }
    }

    fn count(&self) -> usize {
        match &self.body {
            Body::Scalar { .. } => 1,
            Body::List(items) => items.iter().fold(1, |sum, item| sum + item.count()),
            Body::Map(entries) => entries
                .iter()
                .fold(1, |sum, entry| sum + entry.value.count()),
        }
    }
}

/// A text for a message: on one line, not endless, and without control characters.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short.replace("\\'", "'").replace("\\\"", "\"")
}

/// A list or mapping that is not closed yet.
struct Open<'t> {
    node: Node<'t>,
    anchor: usize,
    key: Option<(Cow<'t, str>, Place)>,
}

struct Builder<'t, 'p> {
    open: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    copied: usize,
    values_left: usize,
    problems: &'p mut Problems,
}

/// Reads `text` into a tree. `None` when it cannot be read to its end; `problems` says why.
pub(super) fn read<'t>(text: &'t str, problems: &mut Problems) -> Option<Node<'t>> {
    let mut parser = Parser::new(StrInput::new(text));
    let mut builder = Builder {
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        copied: 0,
        values_left: max_values(text.len()),
        problems,
    };
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let place = Place::at(error.marker(), 1);
                let message = format!("this is not YAML: {}", error.info());
                let line = text.lines().nth(error.marker().line().saturating_sub(1));
                let tip = line.and_then(tip).map(str::to_owned);
                builder
                    .problems
                    .add(Problem::new(place, message).maybe_help(tip));
                return None;
            }
        }
    }
    let root = builder.root.filter(|root| !root.is_null());
    if root.is_none() {
        problems.add(
            Problem::unplaced("the file holds no configuration")
                .help("a configuration begins with `version: 1`"),
        );
    }
    root
}

/// The usual slip behind a line that is not YAML.
fn tip(line: &str) -> Option<&'static str> {
    let indent = line.len() - line.trim_start().len();
    if line.get(..indent)?.contains('\t') {
        return Some("YAML is indented with blanks, never with tabs");
    }
    let (before, rest) = line.split_once('[')?;
    let (inside, after) = rest.split_once(']')?;
    let address = inside.parse::<std::net::Ipv6Addr>().is_ok() && after.starts_with(':');
    (address && !before.ends_with('"'))
        .then_some("put quotes around an IPv6 address in brackets: \"[2001:db8::1]:80\"")
}

impl<'t> Builder<'t, '_> {
    /// `None` ends the reading.
    fn take(&mut self, event: Event<'t>, span: Span) -> Option<()> {
        let place = Place::of(&span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.is_some(), place);
                let plain = style == ScalarStyle::Plain;
                let place = if plain {
                    place.limit(text.chars().count())
                } else {
                    place
                };
                let node = Node {
                    place,
                    bad: false,
                    body: Body::Scalar { text, plain },
                };
                self.remember(anchor, &node)?;
                self.put(node)
            }
            Event::SequenceStart(anchor, tag) => {
                self.enter(anchor, tag.is_some(), place, Body::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.enter(anchor, tag.is_some(), place, Body::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open {
                    mut node, anchor, ..
                } = self.open.pop()?;
                self.duplicate_keys(&mut node);
                self.remember(anchor, &node)?;
                self.put(node)
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    self.problems.add(Problem::new(
                        place,
                        "this alias stands inside its own anchor",
                    ));
                    return None;
                };
                self.copied += node.count();
                if self.copied > MAX_COPIED_NODES {
                    self.problems.add(Problem::new(
                        place,
                        "the aliases of this file stand for too much",
                    ));
                    return None;
                }
                if matches!(node.body, Body::Scalar { .. }) {
                    node.place = place;
                }
                self.put(node)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.problems.add(
                    Problem::new(place.limit(3), "a second document begins here")
                        .help("a file holds one configuration; remove the `---`"),
                );
                None
            }
            _ => Some(()),
        }
    }

    fn tag(&mut self, tagged: bool, place: Place) {
        if tagged {
            self.problems
                .add(Problem::new(place, "a tag (`!...`) has no meaning here").help("remove it"));
        }
    }

    fn enter(&mut self, anchor: usize, tagged: bool, place: Place, body: Body<'t>) -> Option<()> {
        let place = place.limit(1);
        self.tag(tagged, place);
        if self.open.len() >= MAX_DEPTH {
            let message = format!("lists and mappings are nested more than {MAX_DEPTH} deep");
            self.problems.add(Problem::new(place, message));
            return None;
        }
        self.open.push(Open {
            node: Node {
                place,
                bad: false,
                body,
            },
            anchor,
            key: None,
        });
        Some(())
    }

    /// Keeps an anchored node for its aliases.
    fn remember(&mut self, anchor: usize, node: &Node<'t>) -> Option<()> {
        if anchor == 0 {
            return Some(());
        }
        self.copied += node.count();
        if self.copied > MAX_COPIED_NODES {
            self.problems.add(Problem::new(
                node.place,
                "the anchors of this file stand for too much",
            ));
            return None;
        }
        self.anchors.insert(anchor, node.clone());
        Some(())
    }

    fn put(&mut self, node: Node<'t>) -> Option<()> {
        let Some(left) = self.values_left.checked_sub(1) else {
            self.problems.add(Problem::unplaced(TOO_DENSE));
            return None;
        };
        self.values_left = left;
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match &mut parent.node.body {
            Body::Scalar { .. } => {}
            Body::List(items) => items.push(node),
            Body::Map(entries) => match parent.key.take() {
                Some((key, place)) => entries.push(Entry {
                    key,
                    place,
                    value: node,
                }),
                None => match node.body {
                    Body::Scalar { text, .. } => parent.key = Some((text, node.place)),
                    Body::List(_) | Body::Map(_) => {
                        self.problems.add(
                            Problem::new(
                                node.place,
                                format!("expected a key, found {}", node.found()),
                            )
                            .help("quote values that begin with `[` or `{`"),
                        );
                        return None;
                    }
                },
            },
        }
        Some(())
    }

    fn duplicate_keys(&mut self, node: &mut Node<'t>) {
        let Body::Map(entries) = &mut node.body else {
            return;
        };
        let mut order: Vec<usize> = (0..entries.len()).collect();
        let key = |at: &usize| entries.get(*at).map(|entry| entry.key.as_ref());
        order.sort_by(|a, b| key(a).cmp(&key(b)).then(a.cmp(b)));
        let mut repeated = Vec::new();
        let mut first: Option<(&Cow<'t, str>, Place)> = None;
        for at in order {
            let Some(entry) = entries.get(at) else {
                continue;
            };
            match first {
                Some((key, place)) if *key == entry.key => {
                    let message = format!("the key `{}` is here twice", shorten(key));
                    self.problems
                        .add(Problem::new(entry.place, message).also(place, "it is here first"));
                    repeated.push(at);
                }
                _ => first = Some((&entry.key, entry.place)),
            }
        }
        for at in repeated {
            if let Some(entry) = entries.get_mut(at) {
                entry.value.bad = true;
            }
        }
    }
}

/// A step from a mapping or list to one of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Item(usize),
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

impl Node<'_> {
    /// Whether the file has what `steps` lead to, even if it could not be read.
    pub(super) fn has(&self, steps: &[Step]) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            return true;
        };
        let next = match (step, &self.body) {
            (Step::Key(key), Body::Map(entries)) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| &entry.value),
            (Step::Item(item), Body::List(items)) => {
                items.iter().filter(|node| !node.bad).nth(*item)
            }
            _ => None,
        };
        next.is_some_and(|node| node.has(rest))
    }

    /// The place of what `steps` lead to, or of the last thing on the way that is written down,
    /// and the path as a reader of the file counts. Items that were left out do not count in `steps`.
    pub(super) fn locate(&self, steps: &[Step]) -> (Place, String) {
        let (mut node, mut place, mut path, mut lost) = (self, self.place, String::new(), false);
        for step in steps {
            let mut next = None;
            match (step, &node.body) {
                (Step::Key(key), body) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                    if let Body::Map(entries) = body {
                        next = entries
                            .iter()
                            .find(|entry| entry.key == *key && !entry.value.bad);
                    }
                    if let Some(entry) = next.filter(|_| !lost) {
                        node = &entry.value;
                        // A block's own place is its first key, which says little: show the key above it.
                        place = if matches!(node.body, Body::Scalar { .. }) {
                            node.place
                        } else {
                            entry.place
                        };
                    }
                    lost |= next.is_none();
                }
                (Step::Item(item), Body::List(items)) if !lost => {
                    let mut kept = items.iter().enumerate().filter(|(_, node)| !node.bad);
                    match kept.nth(*item) {
                        Some((at, found)) => {
                            path.push_str(&format!("[{at}]"));
                            (node, place) = (found, found.place);
                        }
                        None => lost = true,
                    }
                }
                (Step::Item(item), _) => {
                    path.push_str(&format!("[{item}]"));
                    lost = true;
                }
            }
        }
        (place, path)
    }
}

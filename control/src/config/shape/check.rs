//! The walk that compares a tree with its shape and reports every difference.
//! After a mistake it reads on as if the file said what was most likely meant, so that one slip is one report.

use super::super::diagnostics::{Place, Problem, Problems};
use super::super::suggest::nearest;
use super::super::tree::{Body, Entry, Node, shorten};
use super::{Field, Shape};

/// Checks `node`, which `key` names in the file, and what is in it.
pub(super) fn value(
    shape: &Shape,
    node: &mut Node<'_>,
    key: Option<Place>,
    path: &mut String,
    problems: &mut Problems,
) {
    // Where only a block's first key is known, its name above says more.
    let place = match &node.body {
        Body::Scalar { text, .. } if text.is_empty() => key.unwrap_or(node.place),
        Body::Scalar { .. } => node.place,
        Body::List(_) | Body::Map(_) => key.unwrap_or(node.place),
    };
    if node.is_null() {
        let mut problem = Problem::new(
            place,
            format!("expected {}, found nothing", shape.expected()),
        );
        problem = match shape {
            Shape::List(_) => problem.help("write `[]` for an empty list, or remove the key"),
            Shape::Map(_) => problem.help("write `{}` for an empty mapping, or remove the key"),
            _ => problem.help("give it a value, or remove the key"),
        };
        problems.add(problem.path(path));
        node.bad = true;
        return;
    }
    let wrong = match (shape, &mut node.body) {
        (Shape::Map(fields), Body::Map(_)) => {
            return mapping(fields, node, place, path, problems);
        }
        (Shape::List(shape), Body::List(items)) => {
            for (at, item) in items.iter_mut().enumerate() {
                let len = path.len();
                path.push_str(&format!("[{at}]"));
                value(shape, item, None, path, problems);
                path.truncate(len);
            }
            return;
        }
        (Shape::Choice { names, offered }, Body::Scalar { text, .. }) => {
            if names.iter().any(|name| name == text) {
                return;
            }
            let meant = nearest(text, offered).or_else(|| nearest(text, names));
            let message = format!("expected {}, found {}", shape.expected(), node.found());
            let problem = Problem::new(place, message);
            if let Some(name) = meant {
                problems.add(problem.help(format!("did you mean `{name}`?")).path(path));
                node.body = Body::Scalar {
                    text: name.to_owned().into(),
                    plain: true,
                };
                return;
            }
            problem
        }
        (Shape::Integer { min, max }, Body::Scalar { text, plain }) => match integer(text) {
            Some(number) if *plain && (*min..=*max).contains(&number) => return,
            number => Problem::new(
                place,
                format!("expected {}, found {}", shape.expected(), node.found()),
            )
            .maybe_help(
                number
                    .filter(|_| !is_plain(node))
                    .map(|n| format!("write {n} without quotes")),
            ),
        },
        (Shape::Boolean, Body::Scalar { text, plain }) => {
            if *plain && matches!(text.as_ref(), "true" | "false") {
                return;
            }
            let meant = match text.to_lowercase().as_str() {
                "true" | "yes" | "on" | "y" | "1" => Some("write `true`".to_owned()),
                "false" | "no" | "off" | "n" | "0" => Some("write `false`".to_owned()),
                _ => None,
            };
            Problem::new(
                place,
                format!("expected true or false, found {}", node.found()),
            )
            .maybe_help(meant)
        }
        (Shape::Text, Body::Scalar { .. }) => return,
        (Shape::Leaf(leaf), Body::Scalar { text, .. }) => match (leaf.check)(text) {
            Ok(()) => return,
            Err(error) => {
                let known = error.help.is_some();
                Problem::new(place, error.message)
                    .maybe_help(error.help)
                    .maybe_help((!known).then(|| format!("expected {}", shape.expected())))
            }
        },
        (_, _) => {
            let found = node.found();
            let help = match (shape, &node.body) {
                (Shape::List(_), Body::Scalar { .. } | Body::Map(_)) => {
                    Some("put `- ` in front of each item, or the items in `[ ]`".to_owned())
                }
                (Shape::Leaf(_) | Shape::Text, Body::List(_)) => {
                    Some("an address in brackets needs quotes".to_owned())
                }
                (Shape::Map(fields), Body::Scalar { text, .. })
                    if fields
                        .iter()
                        .any(|field| field.name == "address" && field.required) =>
                {
                    Some(format!("write {{ address: {} }}", shorten(text)))
                }
                _ => None,
            };
            Problem::new(
                place,
                format!("expected {}, found {found}", shape.expected()),
            )
            .maybe_help(help)
        }
    };
    problems.add(wrong.path(path));
    node.bad = true;
}

fn mapping(
    fields: &[Field],
    node: &mut Node<'_>,
    place: Place,
    path: &mut String,
    problems: &mut Problems,
) {
    let Body::Map(entries) = &mut node.body else {
        return;
    };
    let known = |entry: &Entry<'_>| fields.iter().any(|field| field.name == entry.key);
    if !entries.iter().all(known) {
        unknown_keys(fields, entries, path, problems);
    }
    let mut incomplete = false;
    for entry in entries.iter_mut().filter(|entry| !entry.value.bad) {
        let Some(field) = fields.iter().find(|field| field.name == entry.key) else {
            continue;
        };
        let len = descend(path, &field.name);
        value(
            &field.shape,
            &mut entry.value,
            Some(entry.place),
            path,
            problems,
        );
        path.truncate(len);
        // A choice that cannot be guessed has no safe default, nor has what must be given.
        incomplete |=
            entry.value.bad && (field.required || matches!(field.shape, Shape::Choice { .. }));
    }
    let missing: Vec<String> = fields
        .iter()
        .filter(|field| field.required && !entries.iter().any(|entry| entry.key == field.name))
        .map(|field| format!("`{}`", field.name))
        .collect();
    if !missing.is_empty() {
        let noun = if missing.len() == 1 {
            "the key"
        } else {
            "the keys"
        };
        let message = format!("{noun} {} must be given here", missing.join(" and "));
        problems.add(Problem::new(place, message).path(path));
    }
    // Without a required value the whole mapping cannot be read.
    node.bad |= incomplete || !missing.is_empty();
}

/// Reports the keys that are none, and takes each for the one that was probably meant.
fn unknown_keys(
    fields: &[Field],
    entries: &mut [Entry<'_>],
    path: &mut String,
    problems: &mut Problems,
) {
    let mut free: Vec<&Field> = fields
        .iter()
        .filter(|field| !entries.iter().any(|entry| entry.key == field.name))
        .collect();
    for entry in entries.iter_mut().filter(|entry| !entry.value.bad) {
        if fields.iter().any(|field| field.name == entry.key) {
            continue;
        }
        let names: Vec<&str> = free.iter().map(|field| field.name.as_str()).collect();
        let problem = Problem::new(
            entry.place,
            format!("unknown key `{}`", shorten(&entry.key)),
        );
        let len = descend(path, &shorten(&entry.key));
        let meant = nearest(&entry.key, &names);
        let problem =
            match meant {
                Some(name) => problem.help(format!("did you mean `{name}`?")),
                None if entry.key == "<<" => {
                    problem.help("merge keys are not part of the format; an alias (`*name`) is")
                }
                None => {
                    let offered: Vec<&str> = free
                        .iter()
                        .filter(|field| field.offered)
                        .map(|field| field.name.as_str())
                        .collect();
                    problem.maybe_help((!offered.is_empty()).then(|| {
                        format!("the keys that can stand here are {}", offered.join(", "))
                    }))
                }
            };
        problems.add(problem.path(path));
        path.truncate(len);
        match meant {
            Some(name) => {
                entry.key = name.to_owned().into();
                free.retain(|field| entry.key != field.name);
            }
            None => entry.value.bad = true,
        }
    }
}

/// Appends a key to a path and gives the length to go back to.
fn descend(path: &mut String, key: &str) -> usize {
    let len = path.len();
    if len > 0 {
        path.push('.');
    }
    path.push_str(key);
    len
}

fn is_plain(node: &Node<'_>) -> bool {
    matches!(node.body, Body::Scalar { plain: true, .. })
}

/// A decimal number as both YAML 1.1 and 1.2 read it: no leading zero, no -0, no
/// underscore, no fraction.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && text != "-0" && digits.bytes().all(|b| b.is_ascii_digit());
    if decimal && (digits.len() == 1 || !digits.starts_with('0')) {
        text.parse().ok()
    } else {
        None
    }
}

//! The shape of a valid file, taken from the JSON Schema of `Config`, so that the types are the only list of keys.
//! Checks a tree against it and reports every mistake; values that fit together or not are `validate`'s.

use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

use super::diagnostics::{Place, Problem, Problems};
use super::leaf::{LEAVES, LeafKind};
use super::suggest::nearest;
use super::tree::{Body, Node, shorten};

/// What may stand at one place of the file.
#[derive(Debug)]
pub(super) enum Shape {
    Map(Vec<Field>),
    List(Box<Shape>),
    Choice(Vec<String>),
    Integer { min: i128, max: i128 },
    Boolean,
    Text,
    Leaf(&'static LeafKind),
}

#[derive(Debug)]
pub(super) struct Field {
    name: String,
    required: bool,
    shape: Shape,
}

impl Shape {
    /// Reads the schema that schemars makes. What it does not know it takes for free text.
    pub(super) fn of(schema: &Json) -> Self {
        Self::compile(schema, schema)
    }

    fn compile(schema: &Json, root: &Json) -> Self {
        if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
            let pointer = target.trim_start_matches('#');
            return root
                .pointer(pointer)
                .map_or(Self::Text, |schema| Self::compile(schema, root));
        }
        if let Some(choices) = choices(schema) {
            return Self::Choice(choices);
        }
        // An optional value of a type of its own: that type or null.
        let options = schema.get("anyOf").and_then(Json::as_array);
        if let Some(some) = options.and_then(|all| all.iter().find(|s| !is_type(s, "null"))) {
            return Self::compile(some, root);
        }
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Json::as_array)
                .map(|names| names.iter().filter_map(Json::as_str).collect())
                .unwrap_or_default();
            let field = |(name, schema): (&String, &Json)| Field {
                name: name.clone(),
                required: required.contains(&name.as_str()),
                shape: Self::compile(schema, root),
            };
            return Self::Map(properties.iter().map(field).collect());
        }
        if let Some(items) = schema.get("items") {
            return Self::List(Box::new(Self::compile(items, root)));
        }
        let format = schema
            .get("format")
            .and_then(Json::as_str)
            .unwrap_or_default();
        if is_type(schema, "boolean") {
            return Self::Boolean;
        }
        if is_type(schema, "integer") {
            let bound = |name| {
                schema
                    .get(name)
                    .and_then(|n: &Json| n.as_i64().map(i128::from))
            };
            let widest = match format {
                "uint8" => u8::MAX.into(),
                "uint16" => u16::MAX.into(),
                "uint32" => u32::MAX.into(),
                _ => i128::from(u64::MAX),
            };
            return Self::Integer {
                min: bound("minimum").unwrap_or(0),
                max: bound("maximum").unwrap_or(widest),
            };
        }
        LEAVES
            .iter()
            .find(|leaf| leaf.format == format)
            .map_or(Self::Text, Self::Leaf)
    }

    /// What it is, for "expected ...".
    fn expected(&self) -> String {
        match self {
            Self::Map(_) => "a mapping (`key: value` lines)".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Choice(names) => match names.as_slice() {
                [only] => format!("`{only}`"),
                names => format!("one of {}", names.join(", ")),
            },
            Self::Integer { min, max } if min == max => min.to_string(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Leaf(leaf) => format!("{} such as `{}`", leaf.expected, leaf.example),
        }
    }

    /// Reports all that is wrong in `node`, and marks it so that [`Shape::value`] leaves it out.
    pub(super) fn check(&self, node: &mut Node<'_>, problems: &mut Problems) {
        self.check_at(node, None, &mut String::new(), problems);
    }

    fn check_at(
        &self,
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
                format!("expected {}, found nothing", self.expected()),
            );
            problem = match self {
                Self::List(_) => problem.help("write `[]` for an empty list, or remove the key"),
                Self::Map(_) => problem.help("write `{}` for an empty mapping, or remove the key"),
                _ => problem.help("give it a value, or remove the key"),
            };
            problems.add(problem.path(path));
            node.bad = true;
            return;
        }
        let wrong = match (self, &mut node.body) {
            (Self::Map(fields), Body::Map(_)) => {
                return check_map(fields, node, place, path, problems);
            }
            (Self::List(shape), Body::List(items)) => {
                for (at, item) in items.iter_mut().enumerate() {
                    let len = path.len();
                    path.push_str(&format!("[{at}]"));
                    shape.check_at(item, None, path, problems);
                    path.truncate(len);
                }
                return;
            }
            (Self::Choice(names), Body::Scalar { text, .. }) => {
                if names.iter().any(|name| name == text) {
                    return;
                }
                Problem::new(
                    place,
                    format!("expected {}, found {}", self.expected(), node.found()),
                )
                .maybe_help(
                    nearest(text_of(node), names).map(|name| format!("did you mean `{name}`?")),
                )
            }
            (Self::Integer { min, max }, Body::Scalar { text, plain }) => match integer(text) {
                Some(number) if *plain && (*min..=*max).contains(&number) => return,
                number => Problem::new(
                    place,
                    format!("expected {}, found {}", self.expected(), node.found()),
                )
                .maybe_help(
                    number
                        .filter(|_| !is_plain(node))
                        .map(|n| format!("write {n} without quotes")),
                ),
            },
            (Self::Boolean, Body::Scalar { text, plain }) => {
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
            (Self::Text, Body::Scalar { .. }) => return,
            (Self::Leaf(leaf), Body::Scalar { text, .. }) => match (leaf.check)(text) {
                Ok(()) => return,
                Err(error) => {
                    let known = error.help.is_some();
                    Problem::new(place, error.message)
                        .maybe_help(error.help)
                        .maybe_help((!known).then(|| format!("expected {}", self.expected())))
                }
            },
            (_, _) => {
                let found = node.found();
                let help = match (self, &node.body) {
                    (Self::List(_), Body::Scalar { .. } | Body::Map(_)) => {
                        Some("put `- ` in front of each item, or the items in `[ ]`".to_owned())
                    }
                    (Self::Leaf(_) | Self::Text, Body::List(_)) => {
                        Some("an address in brackets needs quotes".to_owned())
                    }
                    _ => None,
                };
                Problem::new(
                    place,
                    format!("expected {}, found {found}", self.expected()),
                )
                .maybe_help(help)
            }
        };
        problems.add(wrong.path(path));
        node.bad = true;
    }

    /// The good part of `node` as a value that serde can read.
    pub(super) fn value(&self, node: &Node<'_>) -> Yaml {
        match (self, &node.body) {
            (Self::Map(fields), Body::Map(entries)) => Yaml::Mapping(
                entries
                    .iter()
                    .filter(|entry| !entry.value.bad)
                    .filter_map(|entry| {
                        let field = fields.iter().find(|field| field.name == entry.key)?;
                        Some((
                            Yaml::String(field.name.clone()),
                            field.shape.value(&entry.value),
                        ))
                    })
                    .collect(),
            ),
            (Self::List(shape), Body::List(items)) => Yaml::Sequence(
                items
                    .iter()
                    .filter(|item| !item.bad)
                    .map(|item| shape.value(item))
                    .collect(),
            ),
            (Self::Integer { .. }, Body::Scalar { text, .. }) => text
                .parse::<u64>()
                .map_or(Yaml::Null, |number| Yaml::Number(number.into())),
            (Self::Boolean, Body::Scalar { text, .. }) => Yaml::Bool(text == "true"),
            (_, Body::Scalar { text, .. }) => Yaml::String(text.clone().into_owned()),
            (_, Body::List(_) | Body::Map(_)) => Yaml::Null,
        }
    }
}

fn check_map(
    fields: &[Field],
    node: &mut Node<'_>,
    place: Place,
    path: &mut String,
    problems: &mut Problems,
) {
    let Body::Map(entries) = &mut node.body else {
        return;
    };
    let mut missing: Vec<&str> = Vec::new();
    let mut incomplete = false;
    for field in fields.iter().filter(|field| field.required) {
        if !entries.iter().any(|entry| entry.key == field.name) {
            missing.push(&field.name);
        }
    }
    let present: Vec<String> = entries
        .iter()
        .map(|entry| entry.key.clone().into_owned())
        .take(64)
        .collect();
    for entry in entries.iter_mut() {
        let len = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&entry.key);
        match fields.iter().find(|field| field.name == entry.key) {
            Some(field) => {
                if !entry.value.bad {
                    field
                        .shape
                        .check_at(&mut entry.value, Some(entry.place), path, problems);
                    incomplete |= entry.value.bad && field.required;
                }
            }
            None if !entry.value.bad => {
                let free: Vec<&str> = fields
                    .iter()
                    .map(|f| f.name.as_str())
                    .filter(|name| !present.iter().any(|p| p == name))
                    .collect();
                let problem = Problem::new(
                    entry.place,
                    format!("unknown key `{}`", shorten(&entry.key)),
                );
                let problem = match nearest(&entry.key, &free) {
                    Some(name) => {
                        // The one that was meant is not missing as well.
                        incomplete |= missing.iter().any(|m| *m == name);
                        missing.retain(|m| *m != name);
                        problem.help(format!("did you mean `{name}`?"))
                    }
                    None if entry.key == "<<" => {
                        problem.help("merge keys are not part of the format; an alias (`*name`) is")
                    }
                    None if free.is_empty() => problem,
                    None => problem.help(format!(
                        "the keys that can stand here are {}",
                        free.join(", ")
                    )),
                };
                problems.add(problem.path(path));
                entry.value.bad = true;
            }
            None => {}
        }
        path.truncate(len);
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        let noun = if names.len() == 1 {
            "the key"
        } else {
            "the keys"
        };
        problems.add(
            Problem::new(
                place,
                format!("{noun} {} must be given here", names.join(" and ")),
            )
            .path(path),
        );
    }
    // Without a required value the whole mapping cannot be read.
    node.bad |= incomplete || !missing.is_empty();
}

fn text_of<'n>(node: &'n Node<'_>) -> &'n str {
    if let Body::Scalar { text, .. } = &node.body {
        text
    } else {
        ""
    }
}

fn is_plain(node: &Node<'_>) -> bool {
    matches!(node.body, Body::Scalar { plain: true, .. })
}

/// A decimal number as both YAML 1.1 and 1.2 read it: no leading zero, no underscore, no fraction.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if decimal && (digits.len() == 1 || !digits.starts_with('0')) {
        text.parse().ok()
    } else {
        None
    }
}

fn is_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(only)) => only == name,
        Some(Json::Array(types)) => types.iter().any(|t| t == name),
        _ => false,
    }
}

/// The names of an enumeration: `enum`, `const`, or a `oneOf` of these.
fn choices(schema: &Json) -> Option<Vec<String>> {
    let texts = |values: &Vec<Json>| {
        values
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return Some(texts(values));
    }
    if let Some(value) = schema.get("const").and_then(Json::as_str) {
        return Some(vec![value.to_owned()]);
    }
    let parts = schema.get("oneOf")?.as_array()?;
    let names: Vec<Vec<String>> = parts.iter().filter_map(choices).collect();
    Some(names.concat())
}

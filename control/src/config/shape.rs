//! The shape of a valid file, taken from the JSON Schema of `Config`, so that the types are the only list of keys.
//! Checks a tree against it and reports every mistake; values that fit together or not are `validate`'s.

mod check;

use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

use super::diagnostics::Problems;
use super::leaf::{LEAVES, LeafKind};
use super::supported;
use super::tree::{Body, Node};

/// What may stand at one place of the file.
#[derive(Debug)]
pub(super) enum Shape {
    Map(Vec<Field>),
    List(Box<Shape>),
    Choice {
        names: Vec<String>,
        /// Those that this version carries, for messages.
        offered: Vec<String>,
    },
    Integer {
        min: i128,
        max: i128,
    },
    Boolean,
    Text,
    Leaf(&'static LeafKind),
}

#[derive(Debug)]
pub(super) struct Field {
    name: String,
    required: bool,
    /// This version carries it.
    offered: bool,
    shape: Shape,
}

impl Shape {
    /// Reads the schema that schemars makes. What it does not know it takes for free text.
    pub(super) fn of(schema: &Json) -> Self {
        Self::compile(schema, schema, "")
    }

    /// `definition` is the name of what `schema` defines.
    fn compile(schema: &Json, root: &Json, definition: &str) -> Self {
        if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
            let pointer = target.trim_start_matches('#');
            let definition = pointer.rsplit('/').next().unwrap_or_default();
            return root
                .pointer(pointer)
                .map_or(Self::Text, |schema| Self::compile(schema, root, definition));
        }
        if let Some(names) = choices(schema) {
            let offered = supported::names(definition).map_or_else(
                || names.clone(),
                |offered| offered.into_iter().map(str::to_owned).collect(),
            );
            return Self::Choice { names, offered };
        }
        // An optional value of a type of its own: that type or null.
        let options = schema.get("anyOf").and_then(Json::as_array);
        if let Some(some) = options.and_then(|all| all.iter().find(|s| !is_type(s, "null"))) {
            return Self::compile(some, root, "");
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
                offered: supported::key(definition, name),
                shape: Self::compile(schema, root, ""),
            };
            return Self::Map(properties.iter().map(field).collect());
        }
        if let Some(items) = schema.get("items") {
            return Self::List(Box::new(Self::compile(items, root, "")));
        }
        let format = schema
            .get("format")
            .and_then(Json::as_str)
            .unwrap_or_default();
        if let Some(leaf) = LEAVES.iter().find(|leaf| leaf.format == format) {
            return Self::Leaf(leaf);
        }
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
        Self::Text
    }

    /// What it is, for "expected ...".
    fn expected(&self) -> String {
        match self {
            Self::Map(_) => "a mapping (`key: value` lines)".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Choice { offered, .. } => match offered.as_slice() {
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
        check::value(self, node, None, &mut String::new(), problems);
    }

    /// The good part of a mapping as a value that serde can read, without one of its keys.
    pub(super) fn value_without(&self, node: &Node<'_>, left_out: &str) -> Yaml {
        match (self, &node.body) {
            (Self::Map(fields), Body::Map(entries)) => Yaml::Mapping(
                entries
                    .iter()
                    .filter(|entry| !entry.value.bad && entry.key != left_out)
                    .filter_map(|entry| {
                        let field = fields.iter().find(|field| field.name == entry.key)?;
                        Some((
                            Yaml::String(field.name.clone()),
                            field.shape.value(&entry.value),
                        ))
                    })
                    .collect(),
            ),
            _ => Yaml::Null,
        }
    }

    /// The good items of the list at one key of a mapping, as values that serde can read.
    pub(super) fn items<'n>(
        &'n self,
        node: &'n Node<'_>,
        key: &str,
    ) -> impl Iterator<Item = Yaml> + 'n {
        let shape = match self {
            Self::Map(fields) => fields
                .iter()
                .find(|field| field.name == key)
                .map(|field| &field.shape),
            _ => None,
        };
        let list = match &node.body {
            Body::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == key && !entry.value.bad),
            _ => None,
        };
        let (shape, items) = match (shape, list.map(|entry| &entry.value.body)) {
            (Some(Self::List(shape)), Some(Body::List(items))) => {
                (shape.as_ref(), items.as_slice())
            }
            _ => (self, [].as_slice()),
        };
        items
            .iter()
            .filter(|item| !item.bad)
            .map(|item| shape.value(item))
    }

    /// The good part of `node` as a value that serde can read.
    fn value(&self, node: &Node<'_>) -> Yaml {
        match (self, &node.body) {
            (Self::Map(_), Body::Map(_)) => self.value_without(node, ""),
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

//! A mapping of the file as a struct: one field per key, declared once with its type, meaning and default.
//! Which keys there are is said where `mapping!` is used.

use serde_json::{Map, Value as Json, json};

use super::diagnostics::{Place, Problem};
use super::suggest;
use super::tree::{Body, Entry, Node, shorten};
use super::value::{Reader, Value};

/// Declares a struct for a mapping. A key without `= default` must be given.
macro_rules! mapping {
    // Where every key has a default, the mapping has one.
    ($(#[doc = $doc:literal])* pub struct $name:ident {
        $($(#[doc = $about:literal])* $field:ident: $type:ty = $default:expr,)+
    }) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        $crate::config::mapping::mapping! {
            @declare $(#[doc = $doc])* $name { $($(#[doc = $about])* $field: $type = $default,)+ }
        }
    };
    ($(#[doc = $doc:literal])* pub struct $name:ident {
        $($(#[doc = $about:literal])* $field:ident: $type:ty $(= $default:expr)?,)+
    }) => {
        $crate::config::mapping::mapping! {
            @declare $(#[doc = $doc])* $name { $($(#[doc = $about])* $field: $type $(= $default)?,)+ }
        }
    };
    (@declare $(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $about:literal])* $field:ident: $type:ty $(= $default:expr)?,)+
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $about])* pub $field: $type,)+
        }

        impl $name {
            /// The keys whose values are not what they are if omitted.
            #[must_use]
            pub fn own_keys(&self) -> Vec<&'static str> {
                use $crate::config::mapping::default;
                $crate::config::mapping::own_keys([$((
                    stringify!($field),
                    default!($type, $($default)?).is_none_or(|default| default() != self.$field),
                ),)+])
            }
        }

        $crate::config::mapping::mapping! {
            @value $(#[doc = $doc])* $name { $($(#[doc = $about])* $field: $type $(= $default)?,)+ }
        }
    };
    // The same for a struct that is declared elsewhere.
    (@value $(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $about:literal])* $field:ident: $type:ty $(= $default:expr)?,)+
    }) => {
        impl $crate::config::value::Value for $name {
            const WHEN_EMPTY: &'static str = $crate::config::mapping::WHEN_EMPTY;

            fn expected() -> String {
                $crate::config::mapping::EXPECTED.to_owned()
            }

            fn schema() -> serde_json::Value {
                $crate::config::mapping::schema(&[$($doc),*], [$((
                    $crate::config::mapping::Key::new(
                        stringify!($field),
                        $crate::config::mapping::is_required!($($default)?),
                    ),
                    &[$($about),*] as &[&str],
                    <$type as $crate::config::value::Value>::schema(),
                    $crate::config::mapping::default!($type, $($default)?)
                        .map(|default| $crate::config::value::Value::json(&default())),
                ),)+])
            }

            fn json(&self) -> serde_json::Value {
                $crate::config::mapping::json([$((
                    stringify!($field),
                    $crate::config::value::Value::json(&self.$field),
                ),)+])
            }

            fn fallback() -> Option<Self> {
                use $crate::config::mapping::{default, or_fallback};
                Some(Self { $($field: or_fallback::<$type>(default!($type, $($default)?))?,)+ })
            }

            fn read(
                node: &mut $crate::config::tree::Node<'_>,
                place: $crate::config::diagnostics::Place,
                reader: &mut $crate::config::value::Reader<'_>,
            ) -> Option<Self> {
                use $crate::config::mapping::{Fields, Key, default, is_required};
                let keys = [$(Key::new(
                    stringify!($field),
                    is_required!($($default)?),
                ),)+];
                let mut fields = Fields::of::<Self>(node, place, &keys, reader)?;
                $(let $field = fields.take::<$type>(
                    stringify!($field),
                    default!($type, $($default)?),
                );)+
                fields.is_complete().then_some(())?;
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}
pub(super) use mapping;

/// What makes a key's default, if it has one.
macro_rules! default {
    ($type:ty,) => {
        None::<fn() -> $type>
    };
    ($type:ty, $default:expr) => {
        Some((|| $default) as fn() -> $type)
    };
}
pub(super) use default;

/// Whether a key without this default must be given.
macro_rules! is_required {
    () => {
        true
    };
    ($default:expr) => {
        false
    };
}
pub(super) use is_required;

pub(super) const EXPECTED: &str = "a mapping (`key: value` lines)";
pub(super) const WHEN_EMPTY: &str = "write `{}` for an empty mapping, or remove the key";

/// A key that a mapping can have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    name: &'static str,
    required: bool,
}

impl Key {
    /// `field` is the field's name, raw where the key is a word of Rust.
    pub(super) fn new(field: &'static str, required: bool) -> Self {
        let name = field.strip_prefix("r#").unwrap_or(field);
        Self { name, required }
    }
}

/// The names of those fields that have a value of their own.
pub(super) fn own_keys<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    let own = fields.into_iter().filter(|(_, own)| *own);
    own.map(|(field, _)| Key::new(field, false).name).collect()
}

/// A mapping in JSON, of its fields; what is `null` has no place there.
pub(super) fn json<const N: usize>(fields: [(&'static str, Json); N]) -> Json {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    fields
        .map(|(field, value)| (Key::new(field, false).name.to_owned(), value))
        .collect()
}

/// A mapping's JSON Schema, of the keys' meanings, schemas and defaults.
pub(super) fn schema<const N: usize>(
    about: &[&str],
    fields: [(Key, &[&str], Json, Option<Json>); N],
) -> Json {
    let text = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (mut required, mut properties) = (Vec::new(), Map::new());
    for (key, about, mut schema, default) in fields {
        if key.required {
            required.push(key.name);
        }
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), text(about).into());
            if let Some(default) = default.filter(|default| !default.is_null()) {
                schema.insert("default".to_owned(), default);
            }
        }
        properties.insert(key.name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "description": text(about),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The fields of a mapping while they are read.
pub(super) struct Fields<'n, 't, 'r, 'p> {
    entries: &'n mut [Entry<'t>],
    reader: &'r mut Reader<'p>,
    complete: bool,
}

impl<'n, 't, 'r, 'p> Fields<'n, 't, 'r, 'p> {
    /// Those of `node`, once keys that are none and keys that lack were reported.
    pub(super) fn of<T: Value>(
        node: &'n mut Node<'t>,
        place: Place,
        keys: &[Key],
        reader: &'r mut Reader<'p>,
    ) -> Option<Self> {
        let Body::Map(_) = &node.body else {
            // A real server that is an address alone.
            let needs_address = keys.iter().any(|key| key.required && key.name == "address");
            let help = match &node.body {
                Body::Scalar { text, .. } if needs_address => {
                    Some(format!("write {{ address: {} }}", shorten(text)))
                }
                _ => None,
            };
            reader.unexpected::<T>(node, place, help);
            return None;
        };
        let Body::Map(entries) = &mut node.body else {
            return None;
        };
        let known = |entry: &Entry<'_>| keys.iter().any(|key| key.name == entry.key);
        if !entries.iter().all(known) {
            unknown_keys(keys, entries, reader);
        }
        let lacks = |key: &&Key| key.required && !entries.iter().any(|entry| entry.key == key.name);
        let missing: Vec<String> = keys
            .iter()
            .filter(lacks)
            .map(|key| format!("`{}`", key.name))
            .collect();
        if !missing.is_empty() {
            let noun = if missing.len() == 1 {
                "the key"
            } else {
                "the keys"
            };
            let message = format!("{noun} {} must be given here", missing.join(" and "));
            reader.wrong(Problem::new(place, message));
        }
        Some(Self {
            entries,
            complete: true,
            reader,
        })
    }

    /// The value of a field; where it lacks or is wrong, what stands for it if something can.
    pub(super) fn take<T: Value>(
        &mut self,
        field: &'static str,
        default: Option<fn() -> T>,
    ) -> Option<T> {
        let name = Key::new(field, false).name;
        let mut good = self.entries.iter_mut().filter(|entry| !entry.value.bad);
        if let Some(entry) = good.find(|entry| entry.key == name) {
            let (node, key) = (&mut entry.value, entry.place);
            let read = |reader: &mut Reader<'_>| reader.read(node, Some(key));
            if let Some(value) = self.reader.below(name, read) {
                return Some(value);
            }
            self.complete &= !T::DECIDES;
        }
        or_fallback(default)
    }

    /// Whether the mapping is to be read in spite of what was wrong.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }
}

/// What stands for a value that lacks or is wrong.
pub(super) fn or_fallback<T: Value>(default: Option<fn() -> T>) -> Option<T> {
    default.map_or_else(T::fallback, |default| Some(default()))
}

/// Reports the keys that are none, and takes each for the one that was probably meant.
fn unknown_keys(keys: &[Key], entries: &mut [Entry<'_>], reader: &mut Reader<'_>) {
    let mut free: Vec<&'static str> = keys
        .iter()
        .map(|key| key.name)
        .filter(|name| !entries.iter().any(|entry| entry.key == *name))
        .collect();
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    for entry in entries.iter_mut().filter(|entry| !entry.value.bad) {
        if keys.iter().any(|key| key.name == entry.key) {
            continue;
        }
        let shown = shorten(&entry.key);
        let meant = suggest::nearest(&entry.key, &free);
        let later = suggest::later(&entry.key, &names);
        let problem = match (meant, later) {
            (None, Some((what, _))) => {
                let message = format!("{what} is not supported by this version");
                Problem::new(entry.place, message).help("remove the key")
            }
            _ => Problem::new(entry.place, format!("unknown key `{shown}`")),
        };
        let problem = match meant {
            Some(name) => problem.help(format!("did you mean `{name}`?")),
            None if entry.key == "<<" => {
                problem.help("merge keys are not part of the format; an alias (`*name`) is")
            }
            None if later.is_some() || free.is_empty() => problem,
            None => problem.help(format!(
                "the keys that can stand here are {}",
                free.join(", ")
            )),
        };
        reader.below(&shown, |reader| reader.wrong(problem));
        match meant {
            Some(name) => {
                entry.key = name.to_owned().into();
                free.retain(|free| *free != name);
            }
            None => entry.value.bad = true,
        }
    }
}

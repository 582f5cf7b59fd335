//! Values that are one string in the file and have a type of their own: durations, sizes, addresses.
//! Each is parsed here from its text alone; what fits together is `validate`'s.

mod address;
mod mss;
mod ports;
mod quantity;
mod ttl;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use address::{HashKey, HttpAddr, MacAddr, RealAddr, Vip};
pub use mss::MssClamp;
pub use ports::Ports;
pub(crate) use quantity::print_duration;
pub use quantity::{ByteSize, Count};
pub use ttl::TunnelTtl;

/// Why a text is not a value: what is wrong with it, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafError {
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl LeafError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A type that is written as one string.
pub trait Leaf: Sized {
    /// Its `format` in the JSON Schema.
    const FORMAT: &'static str;
    /// What it is, for "expected ...".
    const EXPECTED: &'static str;
    /// How one looks.
    const EXAMPLE: &'static str;
    /// Whether it may also be written as a plain number.
    const IS_NUMBER_TOO: bool = false;
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with `text`.
    fn parse(text: &str) -> Result<Self, LeafError>;
    /// Writes one so that [`Leaf::parse`] gives it back.
    fn print(&self) -> String;
}

/// A value with a string form of its own, which is also how it is serialised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Written<T>(pub T);

impl<T: Leaf> fmt::Display for Written<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.print())
    }
}

impl<T: Leaf> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Leaf> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<T: Leaf> de::Visitor<'_> for Visitor<T> {
            type Value = Written<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::parse(text)
                    .map(Written)
                    .map_err(|e| E::custom(e.message))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

impl<T: Leaf> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::FORMAT.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        if T::IS_NUMBER_TOO {
            let types = ["string", "integer"];
            return json_schema!({ "type": types, "format": T::FORMAT, "examples": [T::EXAMPLE] });
        }
        json_schema!({ "type": "string", "format": T::FORMAT, "examples": [T::EXAMPLE] })
    }
}

/// What the checker of the file's structure knows of a [`Leaf`].
#[derive(Debug, Clone, Copy)]
pub(super) struct LeafKind {
    pub(super) format: &'static str,
    pub(super) expected: &'static str,
    pub(super) example: &'static str,
    pub(super) check: fn(&str) -> Result<(), LeafError>,
}

const fn kind<T: Leaf>() -> LeafKind {
    LeafKind {
        format: T::FORMAT,
        expected: T::EXPECTED,
        example: T::EXAMPLE,
        check: |text| T::parse(text).map(|_| ()),
    }
}

/// Every leaf that a schema can name by its `format`.
pub(super) const LEAVES: &[LeafKind] = &[
    kind::<std::time::Duration>(),
    kind::<ByteSize>(),
    kind::<Count>(),
    kind::<std::net::IpAddr>(),
    kind::<HttpAddr>(),
    kind::<ipnet::IpNet>(),
    kind::<MacAddr>(),
    kind::<HashKey>(),
    kind::<Vip>(),
    kind::<RealAddr>(),
    kind::<MssClamp>(),
    kind::<Ports>(),
    kind::<TunnelTtl>(),
];

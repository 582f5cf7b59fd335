//! How large TCP's segments may be: `auto`, or a number of bytes.
//! A number stands as one in the file, unlike other leaves, so it is no `Written`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Leaf, LeafError};

/// The least that every end takes (RFC 9293 section 3.7.1).
const LEAST: u16 = 536;
/// What fits into the largest packet.
const MOST: u16 = u16::MAX - 40;

/// `services[].mss_clamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MssClamp {
    /// As large as fits into one packet on the way.
    Auto,
    /// So many bytes.
    Bytes(u16),
}

impl Leaf for MssClamp {
    const FORMAT: &'static str = "plimsoll-mss";
    const EXPECTED: &'static str = "auto or a number of bytes";
    const EXAMPLE: &'static str = "auto";

    fn parse(text: &str) -> Result<Self, LeafError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(bytes) if (LEAST..=MOST).contains(&bytes) => Ok(Self::Bytes(bytes)),
            _ => {
                let message = format!("`{}` is not a segment size", text.escape_debug());
                let help = format!("write auto, or bytes from {LEAST} to {MOST}");
                Err(LeafError::new(message).help(help))
            }
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Bytes(bytes) => bytes.to_string(),
        }
    }
}

impl fmt::Display for MssClamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print())
    }
}

impl Serialize for MssClamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Bytes(bytes) => serializer.serialize_u16(*bytes),
        }
    }
}

impl<'de> Deserialize<'de> for MssClamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = MssClamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MssClamp::EXPECTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<MssClamp, E> {
                MssClamp::parse(text).map_err(|error| E::custom(error.message))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<MssClamp, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for MssClamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Self::FORMAT.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "format": Self::FORMAT, "examples": ["auto", 1360] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_or_a_size_that_tcp_can_have() {
        for (text, value) in [
            ("auto", Some(MssClamp::Auto)),
            ("536", Some(MssClamp::Bytes(536))),
            ("65495", Some(MssClamp::Bytes(65_495))),
            ("535", None),
            ("65496", None),
            ("Auto", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(MssClamp::parse(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in [MssClamp::Auto, MssClamp::Bytes(1360)] {
            let text = serde_yaml::to_string(&value).unwrap();
            assert_eq!(serde_yaml::from_str::<MssClamp>(&text).unwrap(), value);
            assert_eq!(MssClamp::parse(&value.print()).unwrap(), value);
        }
    }
}

//! A recording's file as data.
//! Nothing is interpreted here but hexadecimal digits.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::ReplayError;

/// What was recorded from one kernel.
#[derive(Debug, Deserialize)]
pub(super) struct Recording {
    /// Lines as `ipvsadm -R` reads them.
    #[serde(default)]
    pub(super) rules: Vec<String>,
    #[serde(default)]
    pub(super) sysctl: BTreeMap<String, serde_json::Value>,
    /// Commands before the first step.
    #[serde(default)]
    pub(super) setup: Vec<String>,
    #[serde(default)]
    pub(super) steps: Vec<Step>,
    /// What commands printed at the end.
    #[serde(default)]
    pub(super) after: BTreeMap<String, String>,
}

/// Frames in, a command, or time that passes; frames come out of the first and the last.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    #[serde(default, rename = "in")]
    pub(super) input: Vec<Frame>,
    #[serde(default)]
    pub(super) out: Vec<Frame>,
    #[serde(default)]
    pub(super) cmd: Option<String>,
    /// What the command printed.
    #[serde(default)]
    pub(super) output: String,
    /// Seconds.
    #[serde(default)]
    pub(super) sleep: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Frame {
    pub(super) dev: String,
    /// The owner of the destination MAC: an address, or a name.
    #[serde(default)]
    pub(super) to: String,
    #[serde(rename = "hex", deserialize_with = "bytes")]
    pub(super) bytes: Vec<u8>,
    /// For people.
    #[serde(default)]
    pub(super) sum: String,
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok();
            let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            byte.ok_or_else(|| D::Error::custom("expected pairs of hexadecimal digits"))
        })
        .collect()
}

impl Recording {
    pub(super) fn read(path: &Path) -> Result<Self, ReplayError> {
        let text = std::fs::read_to_string(path).map_err(ReplayError::file(path))?;
        serde_json::from_str(&text).map_err(|error| ReplayError::Malformed {
            path: path.to_owned(),
            what: error.to_string(),
        })
    }
}

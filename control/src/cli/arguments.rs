//! How values of the commands' arguments are written: as in the file.
//! No argument is declared here.

use std::time::Duration;

use crate::config::leaf::Leaf as _;

/// A duration with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    Duration::parse(text).map_err(|error| match error.help {
        Some(help) => format!("{}; {help}", error.message),
        None => error.message,
    })
}

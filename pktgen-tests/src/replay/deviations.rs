//! The table of documented deviations, as `docs/DEVIATIONS.md` has it.
//! Only which recordings it names; what it says is for people.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::ReplayError;

/// The recordings that are known to deviate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deviations(BTreeSet<String>);

impl Deviations {
    /// Reads the table.
    ///
    /// # Errors
    /// When the file cannot be read or has no table with a column `Recordings`.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let text = std::fs::read_to_string(path).map_err(ReplayError::file(path))?;
        Self::parse(&text).ok_or_else(|| ReplayError::Malformed {
            path: path.to_owned(),
            what: "expected a table with a column `Recordings`".to_owned(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rows = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
            .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        let column = rows.find_map(|row| row.iter().position(|cell| *cell == "Recordings"))?;
        let cells = rows.filter_map(|row| row.get(column).copied());
        let names = cells.flat_map(|cell| cell.split(','));
        // The line under the header, and cells that name none, are of dashes.
        let names = names
            .map(|name| name.trim().trim_matches('`'))
            .filter(|name| name.chars().any(char::is_alphanumeric));
        Some(Self(names.map(str::to_owned).collect()))
    }

    /// Whether the table has this recording.
    #[must_use]
    pub fn names(&self, recording: &str) -> bool {
        self.0.contains(recording)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_names_recordings() {
        let text = "# Deviations\n\nText | with a bar.\n\n\
                    | Behaviour | LVS | Recordings |\n|---|---|---|\n\
                    | one | a | `dr-rr`, nat-rr |\n| two | b | - |\n";
        let known = Deviations::parse(text).unwrap();
        assert!(known.names("dr-rr") && known.names("nat-rr"));
        assert_eq!(known.0.len(), 2);
        assert_eq!(Deviations::parse("no table"), None);
    }
}

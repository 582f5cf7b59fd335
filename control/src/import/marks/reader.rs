//! What the lines of a firewall's text have said so far, to which both programs' rules add.
//! Reads nothing itself.

use super::firewall::Firewall;
use crate::config::diagnostics::Problems;

/// Where in the text of nft a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// Its family and name.
    Table(String, String),
    /// A chain of the table around it.
    Chain(String, String, String),
    /// Sets and the like.
    Other,
}

/// The chains so far, and where in the text a line is.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) firewall: Firewall,
    pub(super) problems: Problems,
    /// The table of iptables that lines are in, and its family if it is said.
    pub(super) table: Option<String>,
    pub(super) v6: Option<bool>,
    pub(super) blocks: Vec<Block>,
}

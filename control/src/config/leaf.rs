//! Values that are one string in the file and have a type of their own: durations, sizes, addresses.
//! Each is parsed here from its text alone; what fits together is `validate`'s.

mod address;
mod mss;
mod ports;
mod quantity;
mod ttl;

pub use address::{HashKey, HttpAddr, RealAddr};
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

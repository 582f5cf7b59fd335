//! Values on their way into a request's query.
//! It knows no URL path.

use std::fmt::Write as _;

/// A value as it stands in a URL (RFC 3986 section 2.1).
pub(super) fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_url_is_escaped() {
        assert_eq!(escape("web-1.a_b~"), "web-1.a_b~");
        assert_eq!(escape("a b&c=d/é%"), "a%20b%26c%3Dd%2F%C3%A9%25");
    }
}

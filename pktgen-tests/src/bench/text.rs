//! Figures as people read them.
//!
//! Must not compute anything but the rounding.

use super::unit::Unit;

/// A figure with its unit, three or four digits of it.
#[must_use]
pub fn figure(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::NsPerPacket | Unit::Ns => format!("{} ns", digits(figure)),
        Unit::Us => format!("{} us", digits(figure)),
        Unit::Ms => format!("{} ms", digits(figure)),
        Unit::PacketsPerSecond => format!("{} Mpps", digits(figure / 1e6)),
        Unit::SessionsPerSecond => format!("{} M/s", digits(figure / 1e6)),
        Unit::Bytes => format!("{} B", digits(figure)),
        Unit::GigabytesPerSecond => format!("{} GB/s", digits(figure)),
        Unit::Ratio => format!("{figure:.2}"),
    }
}

/// Fewer decimals the larger it is.
#[must_use]
pub fn digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// A count as 1, 10 k or 1 M.
#[must_use]
pub fn count(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{} k", trimmed(count as f64 / 1e3)),
        _ => format!("{} M", trimmed(count as f64 / 1e6)),
    }
}

fn trimmed(figure: f64) -> String {
    let text = format!("{figure:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_as_many_digits_as_they_are_worth() {
        for (value, unit, text) in [
            (28.04, Unit::NsPerPacket, "28.0 ns"),
            (5_123_000.0, Unit::SessionsPerSecond, "5.12 M/s"),
            (14.5e6, Unit::PacketsPerSecond, "14.5 Mpps"),
            (3000.0, Unit::Ms, "3000 ms"),
            (0.8549, Unit::Ratio, "0.85"),
        ] {
            assert_eq!(figure(value, unit), text);
        }
        for (value, text) in [
            (1, "1"),
            (1000, "1 k"),
            (65_536, "65.54 k"),
            (10_000_000, "10 M"),
        ] {
            assert_eq!(count(value), text);
        }
    }
}

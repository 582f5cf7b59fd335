//! The plot of nanoseconds per packet over sessions, as SVG.
//!
//! Must not choose what is shown. It is written by hand, for the want of a plotting crate that can put names beside
//! the ends of lines, where they cannot lie over data; two logarithmic axes are not much code.

use std::fmt::Write as _;

use super::text;

const WIDTH: f64 = 1010.0;
const HEIGHT: f64 = 600.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 500.0;
/// Between two names.
const LINE_HEIGHT: f64 = 17.0;
/// The axes, in sessions and nanoseconds.
const SESSIONS: (f64, f64) = (1.0, 1e7);
const NANOSECONDS: (f64, f64) = (10.0, 2000.0);
const TICKS: [f64; 8] = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];
const COLOURS: [&str; 5] = ["#0b5fa5", "#c2410c", "#15803d", "#7e22ce", "#be123c"];

/// One line, or a single point.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is called beside its end.
    pub name: String,
    /// `(sessions, nanoseconds per packet)`, fewest sessions first.
    pub points: Vec<(f64, f64)>,
    /// Whether it is Plimsoll's, and drawn in a colour; all others are grey and dashed.
    pub own: bool,
}

/// The whole picture.
#[must_use]
pub fn svg(series: &[Series], title: &str, caption: &[&str]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, series, title, caption);
    out
}

fn write(out: &mut String, series: &[Series], title: &str, caption: &[&str]) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">"
    )?;
    writeln!(
        out,
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"
    )?;
    writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"32\" font-size=\"17\" font-weight=\"bold\">{}</text>",
        escape(title)
    )?;
    axes(out)?;
    let mut colours = COLOURS.iter().cycle();
    let mut names = Vec::new();
    for one in series {
        let colour = if one.own {
            colours.next().copied().unwrap_or("#000")
        } else {
            "#777"
        };
        line(out, one, colour)?;
        match one.points.as_slice() {
            [] => {}
            // A name at the far end would need a line across everything.
            [point] if x(point.0) < f64::midpoint(LEFT, RIGHT) => {
                name(out, one, colour, x(point.0) + 9.0, y(point.1) + 4.0)?;
            }
            [.., last] => names.push((y(last.1), one, colour, *last)),
        }
    }
    for (place, (_, one, colour, last)) in spread(names) {
        writeln!(
            out,
            "<path d=\"M{:.1} {:.1}L{} {place:.1}\" stroke=\"{colour}\" stroke-width=\"0.7\" stroke-opacity=\"0.6\" \
             stroke-dasharray=\"1 3\" fill=\"none\"/>",
            x(last.0) + 5.0,
            y(last.1),
            RIGHT + 14.0
        )?;
        name(out, one, colour, RIGHT + 18.0, place + 4.0)?;
    }
    for (number, text) in (0_u8..).zip(caption) {
        writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{}\" font-size=\"11\" fill=\"#555\">{}</text>",
            BOTTOM + 62.0 + 15.0 * f64::from(number),
            escape(text)
        )?;
    }
    writeln!(out, "</svg>")
}

fn axes(out: &mut String) -> std::fmt::Result {
    for exponent in 0..=7 {
        let sessions = 10_u64.pow(exponent);
        let at = x(sessions as f64);
        writeln!(
            out,
            "<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#e5e5e5\"/>\n\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 19.0,
            text::count(sessions)
        )?;
    }
    for tick in TICKS {
        let at = y(tick);
        writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#e5e5e5\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick} ns \
             <tspan fill=\"#888\">({} Mpps)</tspan></text>",
            LEFT - 8.0,
            at + 4.5,
            1000.0 / tick
        )?;
    }
    writeln!(
        out,
        "<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" stroke=\"#444\" fill=\"none\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">sessions in the table, packets in random order</text>\n\
         <text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">time per packet on one core</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 40.0,
        f64::midpoint(TOP, BOTTOM)
    )
}

fn line(out: &mut String, one: &Series, colour: &str) -> std::fmt::Result {
    let places: Vec<String> = one
        .points
        .iter()
        .map(|(sessions, ns)| format!("{:.1} {:.1}", x(*sessions), y(*ns)))
        .collect();
    let (width, dashes) = if one.own {
        (2.5, "")
    } else {
        (1.5, " stroke-dasharray=\"6 4\"")
    };
    writeln!(
        out,
        "<path d=\"M{}\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes} fill=\"none\"/>",
        places.join("L")
    )?;
    for (sessions, ns) in &one.points {
        writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
            x(*sessions),
            y(*ns)
        )?;
    }
    Ok(())
}

fn name(out: &mut String, one: &Series, colour: &str, x: f64, y: f64) -> std::fmt::Result {
    let weight = if one.own { "bold" } else { "normal" };
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" font-weight=\"{weight}\">{}</text>",
        escape(&one.name)
    )
}

type Name<'s> = (f64, &'s Series, &'static str, (f64, f64));

/// Heights for names, in the order of their lines' ends, and so that none lies over another.
fn spread(mut names: Vec<Name<'_>>) -> Vec<(f64, Name<'_>)> {
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = TOP;
    let mut placed: Vec<(f64, Name<'_>)> = Vec::new();
    for name in names {
        let place = name.0.max(free);
        free = place + LINE_HEIGHT;
        placed.push((place, name));
    }
    // Those that were pushed beyond the end go back up.
    let mut limit = BOTTOM;
    for (place, _) in placed.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - LINE_HEIGHT;
    }
    placed
}

fn x(sessions: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * share(sessions, SESSIONS)
}

fn y(ns: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * share(ns, NANOSECONDS)
}

/// How far along a logarithmic axis, from 0 to 1; what lies outside is drawn at the end.
fn share(value: f64, (from, to): (f64, f64)) -> f64 {
    ((value / from).ln() / (to / from).ln()).clamp(0.0, 1.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.to_owned(),
            points: points.to_vec(),
            own: true,
        }
    }

    #[test]
    fn names_keep_their_order_and_a_distance() {
        let series: Vec<Series> = (0..6).map(|n| series(&n.to_string(), &[])).collect();
        let ends = [100.0, 101.0, 99.0, 499.0, 500.0, 300.0];
        let names = series.iter().zip(ends);
        let names = names.map(|(one, end)| (end, one, "#000", (1.0, 1.0)));
        let placed = spread(names.collect());
        let order: String = placed
            .iter()
            .map(|(_, name)| name.1.name.as_str())
            .collect();
        assert_eq!(order, "201534");
        for pair in placed.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= LINE_HEIGHT - 1e-9);
        }
        assert!(
            placed
                .iter()
                .all(|(place, _)| (TOP..=BOTTOM).contains(place))
        );
    }

    #[test]
    fn what_is_outside_the_axes_is_drawn_at_their_ends() {
        assert_eq!(y(1.0), BOTTOM);
        assert_eq!(y(1e9), TOP);
        assert_eq!((x(1.0), x(1e7)), (LEFT, RIGHT));
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let text = svg(
            &[series("a <b> & c", &[(1.0, 20.0), (1e6, 40.0)])],
            "t",
            &[],
        );
        assert!(text.contains("a &lt;b&gt; &amp; c"), "{text}");
    }
}

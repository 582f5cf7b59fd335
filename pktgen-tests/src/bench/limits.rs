//! What this machine's memory can do: latency of dependent loads, throughput of independent ones, bandwidth.
//!
//! Must not touch the data plane: these figures say how much of its time nobody could have saved.

use std::hint::black_box;
use std::time::Instant;

use memmap2::{Advice, MmapMut};
use plimsoll_dataplane::prefetch::prefetch;

use super::model::{LeftOut, Part, Row};
use super::plan::Plan;
use super::unit::Unit;

/// Bytes of one cache line.
const LINE: usize = 64;
const MIB: usize = 1 << 20;
/// Knuth's multiplier and increment (MMIX): a full period for every power of two, so that each line is
/// visited once before any is visited again, and far jumps that no prefetcher foresees.
const MULTIPLIER: usize = 6_364_136_223_846_793_005;
const INCREMENT: usize = 1_442_695_040_888_963_407;
/// Independent loads that are under way at once: as many as a burst has frames.
const AHEAD: usize = 32;

/// A region of memory and its pages.
struct Region {
    map: MmapMut,
    title: String,
    slug: String,
}

impl Region {
    /// Memory of `mib` MiB, every line of which holds the number of the next one to visit.
    fn new(mib: usize, huge: bool) -> std::io::Result<Self> {
        let mut map = MmapMut::map_anon(mib * MIB)?;
        map.advise(if huge {
            Advice::HugePage
        } else {
            Advice::NoHugePage
        })?;
        let lines = mib * MIB / LINE;
        for (number, line) in map.chunks_exact_mut(LINE).enumerate() {
            let next = follow(number, lines);
            if let Some(place) = line.first_chunk_mut() {
                *place = next.to_ne_bytes();
            }
        }
        let pages = if huge { "huge pages" } else { "4 KiB pages" };
        let short = if huge { "huge" } else { "small" };
        Ok(Self {
            map,
            title: format!("{mib} MiB, {pages}"),
            slug: format!("{mib}-{short}"),
        })
    }

    /// Nanoseconds per load, each of which needs the one before.
    fn chase(&self, loads: usize) -> f64 {
        let mut line = 0;
        let begun = Instant::now();
        for _ in 0..loads {
            line = self.next(line);
        }
        let spent = begun.elapsed();
        black_box(line);
        per(spent.as_secs_f64() * 1e9, loads)
    }

    /// Nanoseconds per line that was asked for a burst ahead.
    fn gather(&self, loads: usize) -> f64 {
        let lines = self.map.len() / LINE;
        let (mut place, mut sum) = (0, 0_usize);
        let mut burst = [0; AHEAD];
        let begun = Instant::now();
        for _ in 0..loads / AHEAD {
            for wanted in &mut burst {
                place = follow(place, lines);
                *wanted = place;
                prefetch(&self.map, place * LINE);
            }
            for wanted in burst {
                sum = sum.wrapping_add(self.next(wanted));
            }
        }
        let spent = begun.elapsed();
        black_box(sum);
        per(spent.as_secs_f64() * 1e9, loads / AHEAD * AHEAD)
    }

    /// Gigabytes read per second, one after another.
    fn stream(&self) -> f64 {
        let begun = Instant::now();
        let sum = self.map.as_chunks::<8>().0.iter().fold(0_u64, |sum, word| {
            sum.wrapping_add(u64::from_ne_bytes(*word))
        });
        let spent = begun.elapsed();
        black_box(sum);
        per(self.map.len() as f64 / 1e9, 1) / spent.as_secs_f64()
    }

    #[inline(always)]
    fn next(&self, line: usize) -> usize {
        let word = self.map.get(line * LINE..line * LINE + size_of::<usize>());
        let word = word.and_then(|word| word.first_chunk());
        usize::from_ne_bytes(word.copied().unwrap_or_default())
    }
}

#[inline(always)]
fn follow(line: usize, lines: usize) -> usize {
    // The low bits of such a sequence have short periods, so the high half is mixed in by taking the state modulo
    // a power of two only at the end of the step: `lines` is one.
    line.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & (lines - 1)
}

fn per(whole: f64, count: usize) -> f64 {
    whole / count.max(1) as f64
}

/// Measures the machine.
///
/// # Errors
/// When the memory cannot be had.
pub fn run(plan: &Plan, rows: &mut Vec<Row>, left_out: &mut Vec<LeftOut>) -> anyhow::Result<()> {
    let loads = if plan.quick { 1 << 18 } else { 1 << 21 };
    let sizes: &[usize] = if plan.quick { &[64] } else { &[64, 1024] };
    if plan.quick {
        left_out.push(LeftOut::quick("limits of memory over 1 GiB"));
    }
    for &mib in sizes {
        for huge in [false, true] {
            let before = huge_bytes();
            let region = Region::new(mib, huge)?;
            // The kernel may have none to give; the figure would then be that of small pages.
            if huge && huge_bytes().saturating_sub(before) < mib * MIB / 10 * 9 {
                left_out.push(LeftOut {
                    what: format!("limits of {}", region.title),
                    why: "the kernel gave no transparent huge pages".into(),
                });
                continue;
            }
            let mut row = |kind: &str, what: &str, unit, figure: &dyn Fn() -> f64| {
                figure();
                rows.push(Row {
                    rounds: (0..plan.rounds).map(|_| figure()).collect(),
                    ..Row::new(
                        Part::Limits,
                        &format!("{kind}/{}", region.slug),
                        &format!("{what}, {}", region.title),
                        unit,
                    )
                });
            };
            row("chase", "dependent load", Unit::Ns, &|| region.chase(loads));
            row(
                "gather",
                "independent load, asked for 32 ahead",
                Unit::Ns,
                &|| region.gather(loads * 4),
            );
            row(
                "stream",
                "sequential read",
                Unit::GigabytesPerSecond,
                &|| region.stream(),
            );
        }
    }
    Ok(())
}

/// Bytes of this process in transparent huge pages.
fn huge_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chase_visits_every_line_once() {
        let region = Region::new(1, false).unwrap();
        let lines = MIB / LINE;
        let mut seen = vec![false; lines];
        let mut line = 0;
        for _ in 0..lines {
            assert!(!std::mem::replace(&mut seen[line], true));
            line = region.next(line);
        }
        assert_eq!(line, 0);
    }
}

//! What is sent when: which frame next, and what follows from one that came back.
//!
//! Must not touch a frame: loads name flows and segments.

use super::check::{Good, Seen};
use super::fault::Fault;
use super::flows::Flows;
use super::segment::Segment;

/// What follows from a good frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reaction {
    /// Its real server answers through the balancer.
    pub answer: bool,
    /// What its client sends, in order.
    pub client: [Option<Segment>; 2],
}

/// A source of traffic. Times are ticks of one clock.
pub trait Load {
    /// A frame that is due, if one is.
    fn next(&mut self, now: u64) -> Option<(Segment, u32)>;

    /// What follows from a frame that came back.
    ///
    /// # Errors
    /// A [`Fault`] if it cannot have been sent.
    fn react(&mut self, seen: &Seen, now: u64) -> Result<Reaction, Fault>;
}

/// Says how many frames are due.
#[derive(Debug, Clone)]
pub struct Pacer {
    start: u64,
    /// `None` is as many as can be sent.
    per_tick: Option<f64>,
    /// Frames that may be made up for after a delay.
    most_behind: f64,
    given: f64,
}

impl Pacer {
    /// `per_second` frames from `now` on, or as many as there is room for; the clock has `hz` ticks per second.
    ///
    /// What was missed for more than a millisecond is not made up for.
    #[expect(
        clippy::cast_precision_loss,
        reason = "rates and frequencies are far below 2^53"
    )]
    #[must_use]
    pub fn new(per_second: Option<u64>, now: u64, hz: u64) -> Self {
        Self {
            start: now,
            per_tick: per_second.map(|rate| rate as f64 / hz.max(1) as f64),
            most_behind: 1.0 + per_second.unwrap_or(0) as f64 / 1000.0,
            given: 0.0,
        }
    }

    /// Takes one frame off what is due, if any is.
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 ticks are a month at 3 GHz"
    )]
    #[inline]
    pub fn take(&mut self, now: u64) -> bool {
        let Some(per_tick) = self.per_tick else {
            return true;
        };
        let due = now.wrapping_sub(self.start) as f64 * per_tick;
        if self.given + 1.0 > due {
            return false;
        }
        self.given = (self.given + 1.0).max(due - self.most_behind);
        true
    }
}

/// Frames of flows that exist, for as long as it lasts.
#[derive(Debug, Clone)]
pub struct Stream {
    flows: Flows,
    pacer: Pacer,
    segment: Segment,
    answers: bool,
    stopped: bool,
}

impl Stream {
    /// Datagrams, or segments with data, at the pacer's rate; `answers` has real servers answer through the balancer.
    #[must_use]
    pub const fn new(flows: Flows, pacer: Pacer, segment: Segment, answers: bool) -> Self {
        Self {
            flows,
            pacer,
            segment,
            answers,
            stopped: false,
        }
    }

    /// Sends nothing more.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }
}

impl Load for Stream {
    #[inline]
    fn next(&mut self, now: u64) -> Option<(Segment, u32)> {
        (!self.stopped && self.pacer.take(now)).then(|| (self.segment, self.flows.advance()))
    }

    #[inline]
    fn react(&mut self, seen: &Seen, _now: u64) -> Result<Reaction, Fault> {
        Ok(Reaction {
            answer: self.answers && matches!(seen.good, Good::Forwarded { .. }),
            client: [None; 2],
        })
    }
}

/// The first frame of each of some flows, at most a few underway at a time, so that none gets lost on the way.
#[derive(Debug)]
pub struct Opening<I> {
    flows: I,
    segment: Segment,
    answers: bool,
    /// Frames that may still be sent before one comes back.
    room: u32,
    /// How many came back.
    pub returned: u32,
    /// Whether all were sent.
    pub done: bool,
}

impl<I: Iterator<Item = u32>> Opening<I> {
    /// Frames underway at a time: fewer than any queue on the way has places.
    const WINDOW: u32 = 128;

    /// Opens these flows with this segment.
    #[must_use]
    pub const fn new(flows: I, segment: Segment, answers: bool) -> Self {
        Self {
            flows,
            segment,
            answers,
            room: Self::WINDOW,
            returned: 0,
            done: false,
        }
    }

    /// Forgets about frames underway, none of which came back for a while.
    pub const fn give_up_waiting(&mut self) {
        self.room = Self::WINDOW;
    }
}

impl<I: Iterator<Item = u32>> Load for Opening<I> {
    fn next(&mut self, _now: u64) -> Option<(Segment, u32)> {
        if self.room == 0 {
            return None;
        }
        let Some(flow) = self.flows.next() else {
            self.done = true;
            return None;
        };
        self.room -= 1;
        Some((self.segment, flow))
    }

    fn react(&mut self, seen: &Seen, _now: u64) -> Result<Reaction, Fault> {
        let is_first = !matches!(seen.good, Good::Replied);
        if is_first {
            self.returned += 1;
            self.room = (self.room + 1).min(Self::WINDOW);
        }
        Ok(Reaction {
            answer: self.answers && is_first,
            client: [None; 2],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pacer_gives_what_is_due_and_makes_up_for_little() {
        let mut pacer = Pacer::new(Some(1000), 100, 1_000_000);
        let count = |pacer: &mut Pacer, now| (0..10_000).take_while(|_| pacer.take(now)).count();
        assert_eq!(count(&mut pacer, 100), 0);
        assert_eq!(count(&mut pacer, 1_100), 1);
        assert_eq!(count(&mut pacer, 3_100), 2);
        assert!(count(&mut pacer, 1_000_100) <= 3, "a second was missed");
        assert_eq!(count(&mut pacer, 1_001_100), 1);
        let mut flat_out = Pacer::new(None, 0, 1);
        assert_eq!(count(&mut flat_out, 0), 10_000);
    }

    #[test]
    fn an_opening_never_has_more_underway_than_fits() {
        let mut opening = Opening::new(0..1000, Segment::Syn, false);
        let sent = std::iter::from_fn(|| opening.next(0)).count();
        assert_eq!(sent, 128);
        opening.give_up_waiting();
        assert_eq!(opening.next(0), Some((Segment::Syn, 128)));
        let seen = Seen {
            good: Good::Forwarded { real: 0 },
            segment: Segment::Syn,
            flow: 0,
            stamp: None,
            number: None,
        };
        opening.react(&seen, 0).unwrap();
        assert_eq!((opening.returned, opening.done), (1, false));
    }
}

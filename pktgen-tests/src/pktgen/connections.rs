//! Ever new TCP connections, from SYN to the last acknowledgement, a bounded number at a time.
//!
//! Must not send anything again: what gets lost is counted, and its place is used anew.

use super::check::{Good, Seen};
use super::fault::Fault;
use super::load::{Load, Pacer, Reaction};
use super::scenario::Method;
use super::segment::Segment;

/// One frame that comes back, and what its receiver sends then.
#[derive(Clone, Copy, Debug)]
struct Step {
    replied: bool,
    segment: Segment,
    reaction: Reaction,
}

/// How connections went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Connected {
    /// Begun.
    pub begun: u64,
    /// From the first to the last segment.
    pub complete: u64,
    /// Given up, since nothing came for a second.
    pub lost: u64,
    /// Segments of connections that had been given up.
    pub late: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    flow: u32,
    /// The step that is waited for.
    step: u8,
    busy: bool,
    /// When it last got on.
    since: u64,
}

/// Connections side by side. Place `p` of `n` has flows `p`, `p + n`, `p + 2 n`, ...
#[derive(Debug)]
pub struct Connections {
    steps: Vec<Step>,
    places: Vec<Place>,
    free: Vec<u32>,
    pacer: Pacer,
    /// Flows from here on are not used.
    end: u32,
    patience: u64,
    next_search: u64,
    stopped: bool,
    /// How they went.
    pub figures: Connected,
}

impl Connections {
    /// `most` connections at a time, each on a flow of its own of `flows`; one that does not get on for `patience`
    /// ticks is lost. `data` has each side send a segment.
    #[must_use]
    pub fn new(
        method: Method,
        data: bool,
        most: u32,
        flows: u32,
        pacer: Pacer,
        patience: u64,
    ) -> Self {
        let most = most.clamp(1, flows.max(1));
        Self {
            steps: steps(method, data),
            places: (0..most)
                .map(|flow| Place {
                    flow,
                    step: 0,
                    busy: false,
                    since: 0,
                })
                .collect(),
            free: (0..most).rev().collect(),
            pacer,
            end: flows.max(1) / most * most,
            patience,
            next_search: 0,
            stopped: false,
            figures: Connected::default(),
        }
    }

    /// Begins no more.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Connections that have begun and not ended.
    #[must_use]
    pub fn underway(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn len(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Gives up those that do not get on. Looks at all of them, so it is done only now and then.
    fn search(&mut self, now: u64) {
        if now < self.next_search {
            return;
        }
        self.next_search = now + self.patience / 8;
        for (index, place) in (0..).zip(&mut self.places) {
            if place.busy && now.saturating_sub(place.since) > self.patience {
                place.busy = false;
                self.free.push(index);
                self.figures.lost += 1;
            }
        }
    }
}

/// What comes back of a connection, in order. With NAT the server's segments come by too; with the others they go
/// straight to the client, which is taken to have them as soon as the server has sent them.
fn steps(method: Method, data: bool) -> Vec<Step> {
    let nat = method == Method::Nat;
    let mut steps = Vec::new();
    let mut exchange = |segment, answer, client: [Option<Segment>; 2]| {
        steps.push(Step {
            replied: false,
            segment,
            reaction: Reaction {
                answer: nat,
                client: if nat { [None; 2] } else { client },
            },
        });
        if nat {
            steps.push(Step {
                replied: true,
                segment: answer,
                reaction: Reaction {
                    answer: false,
                    client,
                },
            });
        }
    };
    let second = if data { Segment::Data } else { Segment::Fin };
    exchange(
        Segment::Syn,
        Segment::SynAck,
        [Some(Segment::Ack), Some(second)],
    );
    if data {
        exchange(Segment::Data, Segment::Data, [Some(Segment::Fin), None]);
    }
    exchange(Segment::Fin, Segment::Fin, [Some(Segment::Last), None]);
    let silent = |segment| Step {
        replied: false,
        segment,
        reaction: Reaction::default(),
    };
    steps.insert(if nat { 2 } else { 1 }, silent(Segment::Ack));
    steps.push(silent(Segment::Last));
    steps
}

impl Load for Connections {
    fn next(&mut self, now: u64) -> Option<(Segment, u32)> {
        if self.stopped {
            return None;
        }
        if self.free.is_empty() {
            self.search(now);
        }
        let index = *self.free.last()?;
        if !self.pacer.take(now) {
            return None;
        }
        self.free.pop();
        let (most, end) = (self.len(), self.end);
        let place = self.places.get_mut(usize::try_from(index).ok()?)?;
        place.flow = match place.flow.checked_add(most) {
            Some(flow) if flow < end => flow,
            _ => index,
        };
        place.step = 0;
        place.busy = true;
        place.since = now;
        self.figures.begun += 1;
        Some((Segment::Syn, place.flow))
    }

    fn react(&mut self, seen: &Seen, now: u64) -> Result<Reaction, Fault> {
        let index = seen.flow % self.len();
        let place = usize::try_from(index)
            .ok()
            .and_then(|index| self.places.get_mut(index));
        let Some(place) = place.filter(|place| place.busy && place.flow == seen.flow) else {
            self.figures.late += 1;
            return Ok(Reaction::default());
        };
        let replied = matches!(seen.good, Good::Replied);
        let is_this = |step: &Step| step.replied == replied && step.segment == seen.segment;
        // A step that is skipped got lost; one that comes again cannot be.
        let behind = self.steps.iter().skip(usize::from(place.step));
        let (skipped, step) = (0_u8..)
            .zip(behind)
            .find(|(_, step)| is_this(step))
            .ok_or(Fault::Unexpected)?;
        place.step += skipped + 1;
        place.since = now;
        if usize::from(place.step) == self.steps.len() {
            place.busy = false;
            self.free.push(index);
            self.figures.complete += 1;
        }
        Ok(step.reaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(method: Method, data: bool) -> Connections {
        Connections::new(method, data, 4, 11, Pacer::new(None, 0, 1), 100)
    }

    fn seen(replied: bool, segment: Segment, flow: u32) -> Seen {
        Seen {
            good: if replied {
                Good::Replied
            } else {
                Good::Forwarded { real: 1 }
            },
            segment,
            flow,
            stamp: None,
            number: None,
        }
    }

    /// Plays a connection, the server answering each request that it should; the frames that went by.
    fn play(connections: &mut Connections) -> usize {
        let (first, flow) = connections.next(0).unwrap();
        let mut underway = vec![(false, first)];
        let mut count = 0;
        while !underway.is_empty() {
            let (replied, segment) = underway.remove(0);
            count += 1;
            let reaction = connections.react(&seen(replied, segment, flow), 0).unwrap();
            if reaction.answer && segment != Segment::Ack {
                let answer = match segment {
                    Segment::Syn => Segment::SynAck,
                    other => other,
                };
                underway.push((true, answer));
            }
            underway.extend(
                reaction
                    .client
                    .into_iter()
                    .flatten()
                    .map(|one| (false, one)),
            );
        }
        count
    }

    #[test]
    fn connections_are_complete_after_as_many_segments_as_the_method_shows() {
        for (method, data, segments) in [
            (Method::Dr, false, 4),
            (Method::Dr, true, 5),
            (Method::Tunnel, true, 5),
            (Method::Nat, false, 6),
            (Method::Nat, true, 8),
        ] {
            let mut connections = connections(method, data);
            for complete in 1..20 {
                assert_eq!(play(&mut connections), segments, "{method:?} {data}");
                assert_eq!(connections.figures.complete, complete);
                assert_eq!(connections.underway(), 0);
            }
        }
    }

    #[test]
    fn what_is_lost_frees_its_place_and_what_comes_twice_is_a_fault() {
        let mut connections = connections(Method::Dr, true);
        let flows: Vec<u32> = std::iter::from_fn(|| connections.next(1))
            .map(|(_, flow)| flow)
            .collect();
        assert_eq!(flows.len(), 4);
        assert!(connections.next(50).is_none());
        connections
            .react(&seen(false, Segment::Syn, flows[0]), 90)
            .unwrap();
        let again = connections.react(&seen(false, Segment::Syn, flows[0]), 90);
        assert_eq!(again, Err(Fault::Unexpected));
        // Three of four have been silent for too long.
        assert!(connections.next(150).is_some());
        assert_eq!((connections.figures.lost, connections.underway()), (3, 2));
        let late = connections.react(&seen(false, Segment::Ack, flows[1]), 151);
        assert_eq!(late, Ok(Reaction::default()));
        assert_eq!(connections.figures.late, 1);
        // The acknowledgement got lost, the data did not.
        let skipped = connections.react(&seen(false, Segment::Data, flows[0]), 152);
        assert_eq!(skipped.unwrap().client, [Some(Segment::Fin), None]);
    }

    #[test]
    fn no_two_connections_have_a_flow_at_the_same_time() {
        let mut connections = connections(Method::Dr, false);
        let mut used = Vec::new();
        for _ in 0..40 {
            let (_, flow) = connections.next(0).unwrap();
            assert!(flow < 8, "a whole number of rounds fits: {flow}");
            used.push(flow);
            if connections.underway() == 4 {
                let mut four = used.split_off(used.len() - 4);
                four.sort_unstable();
                four.dedup();
                assert_eq!(four.len(), 4);
                for flow in four {
                    for segment in [Segment::Syn, Segment::Ack, Segment::Fin, Segment::Last] {
                        connections.react(&seen(false, segment, flow), 0).unwrap();
                    }
                }
            }
        }
    }
}

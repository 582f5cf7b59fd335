//! A network that loses, damages, repeats and reorders frames, the same way for the same seed.
//! It knows nothing of what the frames mean.

use super::rng::Rng;

/// How often each fault happens, in percent of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The frame is lost.
    pub lose: u8,
    /// The frame's end is cut off.
    pub truncate: u8,
    /// One bit is wrong.
    pub flip: u8,
    /// The frame arrives twice.
    pub duplicate: u8,
    /// The frame arrives behind the next one.
    pub reorder: u8,
}

/// Does to frames what a bad network does.
#[derive(Debug, Clone)]
pub struct FaultInjector {
    faults: Faults,
    rng: Rng,
    /// A frame that the next one overtakes.
    held: Option<Vec<u8>>,
}

impl FaultInjector {
    /// A network whose faults follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults,
            rng: Rng::new(seed),
            held: None,
        }
    }

    /// What arrives when `frame` is sent.
    pub fn pass(&mut self, mut frame: Vec<u8>) -> Vec<Vec<u8>> {
        let mut arrived = Vec::new();
        if !self.rng.chance(self.faults.lose) {
            if self.rng.chance(self.faults.truncate) {
                frame.truncate(self.rng.below(frame.len()));
            }
            if self.rng.chance(self.faults.flip) {
                let at = self.rng.below(frame.len());
                let bit = self.rng.below(8);
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            if self.rng.chance(self.faults.duplicate) {
                arrived.push(frame.clone());
            }
            if self.held.is_none() && self.rng.chance(self.faults.reorder) {
                self.held = Some(frame);
                return arrived;
            }
            arrived.push(frame);
        }
        arrived.extend(self.held.take());
        arrived
    }

    /// What arrives when `frames` are sent and then no more.
    pub fn pass_all(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
        let mut arrived: Vec<_> = frames
            .into_iter()
            .flat_map(|frame| self.pass(frame))
            .collect();
        arrived.extend(self.held.take());
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Vec<u8>> {
        (0..100_u8).map(|n| vec![n; 64]).collect()
    }

    #[test]
    fn a_good_network_changes_nothing() {
        let mut network = FaultInjector::new(1, Faults::default());
        assert_eq!(network.pass_all(frames()), frames());
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let faults = Faults {
            lose: 10,
            truncate: 10,
            flip: 10,
            duplicate: 10,
            reorder: 10,
        };
        let pass = |seed| FaultInjector::new(seed, faults).pass_all(frames());
        assert_eq!(pass(7), pass(7));
        assert_ne!(pass(7), pass(8));
        assert_ne!(pass(7), frames());
    }

    #[test]
    fn reordering_and_repeating_lose_nothing() {
        let faults = Faults {
            duplicate: 30,
            reorder: 30,
            ..Faults::default()
        };
        let mut arrived = FaultInjector::new(3, faults).pass_all(frames());
        assert!(!arrived.is_sorted());
        arrived.sort();
        arrived.dedup();
        assert_eq!(arrived, frames());
    }
}

//! What a worker does when its polls find nothing (`dataplane.idle`): poll, pause, or wait for an interrupt.
//! It only decides; it reads no clock, does not sleep, and knows no device.

use std::time::Duration;

/// Empty polls in a row after which another thread on the CPU gets its turn.
const POLITE: u32 = 64;
/// Empty polls in a row after which the CPU is given back: 20 to 50 us, so that a worker with traffic never sleeps.
const PATIENT: u32 = 512;
/// The first pause. What is shorter costs as much CPU as polling would.
const SHORTEST: Duration = Duration::from_micros(10);
/// The longest pause, which is what a frame, a message, a command or a timer may wait. A NIC's ring of 512
/// frames takes 5 million a second meanwhile.
pub(super) const LONGEST: Duration = Duration::from_micros(100);
/// The longest wait for an interrupt, where all that it holds up are commands and timers.
pub(super) const LONGEST_ALONE: Duration = Duration::from_millis(1);

/// How a worker spends its idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It polls on.
    Poll,
    /// It pauses, the longer the longer nothing comes.
    Pause,
    /// It waits for its ports' receive interrupts, for this long at most.
    Interrupt(Duration),
}

/// What comes before the next poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Poll,
    /// Another thread's turn, if one wants the CPU.
    Yield,
    /// Sleep, for so long.
    Pause(Duration),
    /// The queues are told to interrupt. The poll after this sees what came before.
    Arm,
    /// Wait for an interrupt, no longer than this.
    Wait(Duration),
    /// The queues are told not to interrupt any more.
    Disarm,
}

/// The state of one worker's idleness.
#[derive(Debug)]
pub(super) struct Idle {
    manner: Manner,
    /// Polls in a row that found nothing.
    empty: u32,
    /// The next pause.
    pause: Duration,
    interrupts: Interrupts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupts {
    Off,
    /// Switched on just now.
    Armed,
    /// Still on after a wait.
    WaitedFor,
}

impl Idle {
    pub(super) const fn new(manner: Manner) -> Self {
        Self {
            manner,
            empty: 0,
            pause: SHORTEST,
            interrupts: Interrupts::Off,
        }
    }

    /// After a poll; `found` says whether there was work, and `more`, asked only before a rest, whether some is
    /// left to do at once all the same.
    pub(super) fn after(&mut self, found: bool, more: impl FnOnce() -> bool) -> Step {
        if found {
            return self.work();
        }
        // It begins anew after minutes, and then once polls for a little longer.
        self.empty = self.empty.wrapping_add(1);
        if self.manner == Manner::Poll || self.empty < PATIENT {
            return if self.empty.is_multiple_of(POLITE) {
                Step::Yield
            } else {
                Step::Poll
            };
        }
        if more() {
            return self.work();
        }
        match self.manner {
            Manner::Poll => Step::Poll,
            Manner::Pause => {
                let pause = self.pause;
                self.pause = LONGEST.min(pause * 2);
                Step::Pause(pause)
            }
            Manner::Interrupt(limit) if self.interrupts == Interrupts::Armed => {
                self.interrupts = Interrupts::WaitedFor;
                Step::Wait(limit)
            }
            Manner::Interrupt(_) => {
                // Anew for each wait: a peer that has connected meanwhile knows nothing of the last time.
                self.interrupts = Interrupts::Armed;
                Step::Arm
            }
        }
    }

    fn work(&mut self) -> Step {
        self.empty = 0;
        self.pause = SHORTEST;
        match std::mem::replace(&mut self.interrupts, Interrupts::Off) {
            Interrupts::Off => Step::Poll,
            Interrupts::Armed | Interrupts::WaitedFor => Step::Disarm,
        }
    }

    /// A wait was ended by an interrupt. What it told of may take a moment to arrive (a TAP's frames do), so
    /// there is some polling before the next.
    pub(super) fn interrupted(&mut self) {
        self.empty = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes after so many polls that find nothing.
    fn silence(idle: &mut Idle, polls: u32) -> Vec<Step> {
        (0..polls).map(|_| idle.after(false, || false)).collect()
    }

    /// The pauses and waits among them.
    fn rests(steps: &[Step]) -> Vec<Duration> {
        let rest = |step: &Step| match *step {
            Step::Pause(time) | Step::Wait(time) => Some(time),
            Step::Poll | Step::Yield | Step::Arm | Step::Disarm => None,
        };
        steps.iter().filter_map(rest).collect()
    }

    #[test]
    fn a_polling_worker_never_rests_but_is_polite() {
        let mut idle = Idle::new(Manner::Poll);
        let steps = silence(&mut idle, 100 * PATIENT);
        let yields = steps.iter().filter(|step| **step == Step::Yield).count();
        assert_eq!(yields, usize::try_from(100 * PATIENT / POLITE).unwrap());
        assert!(
            steps
                .iter()
                .all(|step| matches!(step, Step::Poll | Step::Yield))
        );
    }

    #[test]
    fn pauses_grow_up_to_their_bound_and_no_further() {
        let mut idle = Idle::new(Manner::Pause);
        let rests = rests(&silence(&mut idle, PATIENT + 1000));
        assert_eq!(rests.first(), Some(&SHORTEST));
        assert!(rests.is_sorted());
        assert_eq!(rests.last(), Some(&LONGEST));
        assert!(rests.iter().filter(|rest| **rest < LONGEST).count() < 8);
    }

    #[test]
    fn any_work_goes_back_to_polling_at_once() {
        for manner in [Manner::Pause, Manner::Interrupt(LONGEST_ALONE)] {
            for polls in 0..4 * PATIENT {
                let mut idle = Idle::new(manner);
                silence(&mut idle, polls);
                let step = idle.after(true, || false);
                assert!(matches!(step, Step::Poll | Step::Disarm), "{step:?}");
                assert_eq!(idle.after(true, || false), Step::Poll);
                assert_eq!(rests(&silence(&mut idle, PATIENT - 1)), []);
                let first = rests(&silence(&mut idle, 2));
                assert_eq!(
                    first.first(),
                    Some(&match manner {
                        Manner::Interrupt(limit) => limit,
                        Manner::Poll | Manner::Pause => SHORTEST,
                    })
                );
            }
        }
    }

    #[test]
    fn between_arming_and_waiting_there_is_a_poll_and_after_work_the_queues_are_disarmed() {
        let mut idle = Idle::new(Manner::Interrupt(LONGEST));
        let steps = silence(&mut idle, PATIENT + 3);
        assert_eq!(
            steps[steps.len() - 4..],
            [
                Step::Arm,
                Step::Wait(LONGEST),
                Step::Arm,
                Step::Wait(LONGEST)
            ]
        );
        assert_eq!(idle.after(true, || false), Step::Disarm);
        // A frame between arming and waiting.
        assert_eq!(silence(&mut idle, PATIENT).last(), Some(&Step::Arm));
        assert_eq!(idle.after(true, || false), Step::Disarm);
    }

    #[test]
    fn what_is_left_to_do_keeps_from_resting() {
        for manner in [Manner::Pause, Manner::Interrupt(LONGEST)] {
            let mut idle = Idle::new(manner);
            silence(&mut idle, 2 * PATIENT);
            let steps: Vec<Step> = (0..2 * PATIENT)
                .map(|_| idle.after(false, || true))
                .collect();
            assert_eq!(rests(&steps), []);
            assert!(!steps.contains(&Step::Arm));
        }
    }

    #[test]
    fn an_interrupt_is_followed_by_polling() {
        let mut idle = Idle::new(Manner::Interrupt(LONGEST));
        assert_eq!(
            silence(&mut idle, PATIENT + 1).last(),
            Some(&Step::Wait(LONGEST))
        );
        idle.interrupted();
        assert_eq!(rests(&silence(&mut idle, PATIENT)), []);
        assert_eq!(idle.after(true, || false), Step::Disarm);
    }
}

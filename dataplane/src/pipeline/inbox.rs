//! One worker's inbox: the rings by which other workers hand it what they cannot handle alone.
//! What travels on them is `message.rs`'s; who hands what to whom is decided elsewhere.

use crate::sync::{ArrayQueue, AtomicUsize, Ordering};

/// What may hold frames, each of which holds a buffer.
pub trait Frames {
    /// How many.
    fn frames(&self) -> usize;
}

/// Why a worker is given a packet that it did not receive. Each has a ring of its own, so that whoever makes
/// up packets that must be looked for fills only the rings of searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It is the owner of the packet's flow.
    Owner,
    /// It may have the packet's session.
    Search,
}

/// One worker's inbox: many writers, one reader.
#[derive(Debug)]
pub struct Inbox<M> {
    owned: Ring<M>,
    searches: Ring<M>,
}

/// A bounded, lock-free ring.
#[derive(Debug)]
struct Ring<M> {
    messages: ArrayQueue<M>,
    /// Frames in the messages.
    frames: AtomicUsize,
}

impl<M: Frames> Ring<M> {
    fn new(most: usize) -> Self {
        Self {
            messages: ArrayQueue::new(most),
            frames: AtomicUsize::new(0),
        }
    }

    /// Gives the message back if there is no room for it.
    fn push(&self, message: M) -> Result<(), M> {
        let frames = message.frames();
        // Counted before it can be taken out again, so that the number never falls below 0.
        let before = self.frames.fetch_add(frames, Ordering::Relaxed);
        let pushed = if frames > 0 && before + frames > self.messages.capacity() {
            Err(message)
        } else {
            self.messages.push(message)
        };
        if pushed.is_err() {
            self.frames.fetch_sub(frames, Ordering::Relaxed);
        }
        pushed
    }

    fn pop(&self) -> Option<M> {
        let message = self.messages.pop()?;
        self.frames.fetch_sub(message.frames(), Ordering::Relaxed);
        Some(message)
    }
}

impl<M: Frames> Inbox<M> {
    /// An empty one, with room for so many messages, and frames in them, about what the worker owns, and for so many
    /// searches.
    pub(crate) fn new(owned: usize, searches: usize) -> Self {
        Self {
            owned: Ring::new(owned),
            searches: Ring::new(searches),
        }
    }

    /// Gives the message back if there is no room for it.
    pub(crate) fn push(&self, lane: Lane, message: M) -> Result<(), M> {
        match lane {
            Lane::Owner => self.owned.push(message),
            Lane::Search => self.searches.push(message),
        }
    }

    /// The oldest message about what the worker owns.
    pub(crate) fn pop(&self) -> Option<M> {
        self.owned.pop()
    }

    /// The oldest search.
    pub(crate) fn pop_search(&self) -> Option<M> {
        self.searches.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owned.messages.is_empty() && self.searches.messages.is_empty()
    }
}

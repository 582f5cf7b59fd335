//! A list of slots in the order they were entered, from any place of which one can go at once.
//! What is in the slots is not known here.

/// The slots before and behind one in its list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    before: Option<usize>,
    behind: Option<usize>,
}

/// Slots that hold links.
pub(super) trait Linked {
    type Item;
    /// What is in the slot.
    fn item(&mut self, place: usize) -> Option<&mut Self::Item>;
}

/// The ends of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chain {
    first: Option<usize>,
    last: Option<usize>,
}

impl Chain {
    /// The slot that was entered before all others.
    pub(super) const fn first(&self) -> Option<usize> {
        self.first
    }

    /// Adds a slot that is in no list of this kind; `link` finds its link.
    pub(super) fn push<S: Linked>(
        &mut self,
        slots: &mut S,
        place: usize,
        link: fn(&mut S::Item) -> &mut Link,
    ) {
        let before = self.last.replace(place);
        if let Some(item) = slots.item(place) {
            *link(item) = Link {
                before,
                behind: None,
            };
        }
        match before.and_then(|before| slots.item(before)) {
            Some(item) => link(item).behind = Some(place),
            None => self.first = Some(place),
        }
    }

    /// Takes a slot out.
    pub(super) fn unlink<S: Linked>(
        &mut self,
        slots: &mut S,
        place: usize,
        link: fn(&mut S::Item) -> &mut Link,
    ) {
        let Some(item) = slots.item(place) else {
            return;
        };
        let Link { before, behind } = *link(item);
        match before.and_then(|before| slots.item(before)) {
            Some(item) => link(item).behind = behind,
            None => self.first = behind,
        }
        match behind.and_then(|behind| slots.item(behind)) {
            Some(item) => link(item).before = before,
            None => self.last = before,
        }
    }
}

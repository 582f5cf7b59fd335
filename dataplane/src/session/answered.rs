//! Which of the sessions that look alike to a NAT real server gets its replies.
//! Where their keys are filed is `reply.rs`'s.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries"
)]

use super::entry::{Flags, HOME, NONE};
use super::table::SessionTable;
use super::tags::Home;
use super::terms::TableFull;
use crate::flow::{Address, ReplyKey};
use crate::time::Time;

impl<A: Address> SessionTable<A> {
    /// The slot of the session that replies with this key belong to.
    #[inline(never)]
    pub(super) fn answered_slot(&self, home: Home, key: &ReplyKey<A>) -> Option<u32> {
        let gets_replies = |&slot: &u32| self.entries[slot as usize].gets_replies(key);
        let at_home = self.tags.at_home(home).find(gets_replies);
        if at_home.is_some() || !self.tags.has_strays(home) {
            return at_home;
        }
        self.replies
            .find(&self.entries, self.hasher.reply_place(key), key)
    }

    /// Replies with this key are from now on those of the session that `slot` will hold. Returns what its
    /// `reply_slot` shall be.
    ///
    /// Two sessions have the same reply key if one client asks two virtual servers from one port and both
    /// choose the same real server: to that server they are one connection. The newer gets the replies, as
    /// IPVS finds the newer first; when it ends, `give_back` has them go to an older one again.
    #[inline]
    pub(super) fn take_replies(
        &mut self,
        slot: u32,
        home: Home,
        key: &ReplyKey<A>,
    ) -> Result<u32, TableFull> {
        let is_at_home = self.tags.is_at_home(slot, home);
        let older = self.answered_slot(home, key);
        if is_at_home && older.is_none() {
            return Ok(HOME);
        }
        let reply_slot = if is_at_home {
            HOME
        } else {
            self.index_replies(slot, key)?
        };
        if let Some(older) = older {
            let entry = &mut self.entries[older as usize];
            entry.flags = entry.flags.with(Flags::SHADOWED);
            self.shadowed += 1;
        }
        Ok(reply_slot)
    }

    /// Names the session that `slot` will hold in the index of replies. Where that has no room, an older one with
    /// the same key makes some, and gets no replies any more.
    fn index_replies(&mut self, slot: u32, key: &ReplyKey<A>) -> Result<u32, TableFull> {
        let place = self.hasher.reply_place(key);
        if !self.replies.has_room(place) {
            let mut older = None;
            self.replies
                .each(&self.entries, place, key, |index, session| {
                    older = Some((index, session));
                });
            let (index, session) = older.ok_or(TableFull)?;
            self.replies.remove(index, place);
            self.entries[session as usize].reply_slot = NONE;
        }
        Ok(self.replies.insert(place, slot))
    }

    /// The session in `leaver`, to which replies with this key belonged, leaves: they go to the one with the same
    /// key that lasts longest, which is probably the one that was last used.
    #[cold]
    fn give_back(&mut self, leaver: u32, home: Home, key: &ReplyKey<A>) {
        let mut heir: Option<(Time, u32)> = None;
        let mut consider = |slot: u32| {
            let entry = &self.entries[slot as usize];
            if slot != leaver && entry.is_shadowed_for(key) {
                heir = heir.max(Some((entry.deadline, slot)));
            }
        };
        self.tags.at_home(home).for_each(&mut consider);
        if self.tags.has_strays(home) {
            let place = self.hasher.reply_place(key);
            self.replies
                .each(&self.entries, place, key, |_, session| consider(session));
        }
        if let Some((_, slot)) = heir {
            let entry = &mut self.entries[slot as usize];
            entry.flags = entry.flags.without(Flags::SHADOWED);
            self.shadowed -= 1;
        }
    }

    /// The session in `slot` leaves a table where some get no replies.
    #[cold]
    pub(super) fn leave_replies(&mut self, slot: u32, home: Home) {
        let entry = &self.entries[slot as usize];
        if entry.flags.contains(Flags::SHADOWED) {
            self.shadowed -= 1;
        } else if let Some(key) = entry.reply_key() {
            self.give_back(slot, home, &key);
        }
    }
}

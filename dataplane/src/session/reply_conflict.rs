//! Which session receives a reply if several NAT sessions have the same reply key.
//! The index of replies itself is in `reply.rs`.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries"
)]

use super::entry::Flags;
use super::table::SessionTable;
use super::tags::{Home, Place};
use super::terms::TableFull;
use crate::flow::{Address, ReplyKey};
use crate::spec::forward::ForwardMethod;
use crate::time::Time;

impl<A: Address> SessionTable<A> {
    /// The slot of the session that replies with this key belong to.
    #[inline(never)]
    pub(super) fn slot_of_reply(&self, home: Home, key: &ReplyKey<A>) -> Option<u32> {
        let gets_replies = |&slot: &u32| self.entries[slot as usize].gets_replies(key);
        let at_home = self.tags.at_home(home).find(gets_replies);
        if at_home.is_some() || !self.tags.has_overflow(home) {
            return at_home;
        }
        self.replies
            .find(&self.entries, self.hasher.reply_place(key), key)
    }

    /// Assigns replies with this key to the session that `slot` will hold, whose own key has the `place`. Says
    /// whether they find it by the index of replies. They need no index if the session is at the home of their key.
    ///
    /// Two sessions have the same reply key if one client uses one port for two virtual servers, and both choose the
    /// same real server: for that server they are one connection. The newer session receives the replies, as in
    /// IPVS, which finds the newer one first. When it is removed, `promote_shadowed` assigns them to an older one.
    #[inline]
    pub(super) fn claim_replies(
        &mut self,
        slot: u32,
        place: Place,
        method: ForwardMethod,
        key: &ReplyKey<A>,
    ) -> Result<bool, TableFull> {
        let own = place.home();
        let home = if method.replies_name_client() {
            own
        } else {
            self.hasher.reply(key).0
        };
        debug_assert_eq!(home, self.hasher.reply(key).0, "of {method:?}");
        let is_at_home = home == own && self.tags.is_at_home(slot, home);
        let older = self.slot_of_reply(home, key);
        if !is_at_home {
            self.index_replies(slot, own, key)?;
        }
        if let Some(older) = older {
            let entry = &mut self.entries[older as usize];
            entry.flags = entry.flags.with(Flags::SHADOWED);
            self.shadowed += 1;
        }
        Ok(!is_at_home)
    }

    /// Adds the session that `slot` will hold, whose own key has this home, to the index of replies. If the index has
    /// no room, an older session with the same key is removed from it and receives no replies any more.
    fn index_replies(&mut self, slot: u32, own: Home, key: &ReplyKey<A>) -> Result<(), TableFull> {
        let place = self.hasher.reply_place(key);
        if self.replies.insert(place, slot) {
            // With the same home the session's own key is counted there already.
            let home = self.hasher.reply(key).0;
            if home != own {
                self.tags.count_away(home);
            }
            return Ok(());
        }
        let mut older = None;
        self.replies
            .each(&self.entries, place, key, |session| older = Some(session));
        let older = older.ok_or(TableFull)?;
        self.replies.remove(place, older);
        let entry = &mut self.entries[older as usize];
        entry.flags = entry.flags.without(Flags::INDEXED);
        self.replies.insert(place, slot);
        Ok(())
    }

    /// Removes the session in `slot` from the index of replies.
    #[inline(never)]
    pub(super) fn unindex_replies(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        if let Some(key) = entry.reply_key() {
            self.replies.remove(self.hasher.reply_place(&key), slot);
            let home = self.hasher.reply(&key).0;
            if home != self.hasher.home(&entry.key()) {
                self.tags.uncount_away(home);
            }
        }
    }

    /// The session in `leaving`, which received replies with this key, is removed. Of the shadowed sessions with the
    /// same key, the one with the latest deadline receives them: it is probably the one used last.
    #[cold]
    fn promote_shadowed(&mut self, leaving: u32, key: &ReplyKey<A>) {
        let home = self.hasher.reply(key).0;
        let mut successor: Option<(Time, u32)> = None;
        let mut consider = |slot: u32| {
            let entry = &self.entries[slot as usize];
            if slot != leaving && entry.is_shadowed_for(key) {
                successor = successor.max(Some((entry.deadline, slot)));
            }
        };
        self.tags.at_home(home).for_each(&mut consider);
        if self.tags.has_overflow(home) {
            let place = self.hasher.reply_place(key);
            self.replies.each(&self.entries, place, key, consider);
        }
        if let Some((_, slot)) = successor {
            let entry = &mut self.entries[slot as usize];
            entry.flags = entry.flags.without(Flags::SHADOWED);
            self.shadowed -= 1;
        }
    }

    /// The session in `slot` is removed, and the table has shadowed sessions.
    #[cold]
    pub(super) fn release_replies(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        if entry.flags.contains(Flags::SHADOWED) {
            self.shadowed -= 1;
        } else if let Some(key) = entry.reply_key() {
            self.promote_shadowed(slot, &key);
        }
    }
}

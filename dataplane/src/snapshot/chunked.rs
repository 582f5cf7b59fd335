//! Arrays and maps that share their unchanged parts between snapshots.
//! A copy costs one pointer, and the first change after it a pointer a chunk and one chunk.

use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

/// Elements that change together. A power of two, so that an index splits by shift and mask.
const CHUNK: usize = 256;

/// A growing array in shared chunks.
///
/// The list of chunks is shared too, and lies behind the same one pointer as a `Vec`'s would: a lookup
/// is as quick, and a copy that nobody changes need not count a reference to each chunk.
#[derive(Debug)]
pub struct Chunked<T> {
    chunks: Arc<[Arc<[T]>]>,
    len: usize,
}

impl<T> Clone for Chunked<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
            len: self.len,
        }
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

impl<T> Chunked<T> {
    /// The element at `index`, if the array is that long.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    /// How many elements were asked for; the last chunk may hold more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .take(self.len)
    }

    /// Makes room for `len` elements; new ones come from `fresh`.
    pub fn grow(&mut self, len: usize, fresh: impl FnMut() -> T) {
        if self.chunks.len() * CHUNK < len {
            // The list of chunks is copied, so a long one grows by several at once.
            self.reserve(len + self.len / 16, fresh);
        }
        self.len = self.len.max(len);
    }

    /// Makes room for `len` elements without their being there yet.
    pub fn reserve(&mut self, len: usize, mut fresh: impl FnMut() -> T) {
        let wanted = len.div_ceil(CHUNK);
        if wanted > self.chunks.len() {
            let present = self.chunks.iter().map(Arc::clone);
            let chunk = || (0..CHUNK).map(|_| fresh()).collect();
            let chunks = present.chain(std::iter::repeat_with(chunk));
            self.chunks = chunks.take(wanted).collect();
        }
    }
}

impl<T: Clone> Chunked<T> {
    /// The element at `index`, to be changed; its chunk is copied if another snapshot shares it.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        let chunks = Arc::make_mut(&mut self.chunks);
        Arc::make_mut(chunks.get_mut(index / CHUNK)?).get_mut(index % CHUNK)
    }
}

/// Maps that a sharded map consists of: a change in a map of a million entries copies about a
/// thousand of them.
const SHARDS: usize = 1024;

/// A hash map in shared shards.
#[derive(Debug, Clone)]
pub struct Sharded<K, V> {
    shards: Arc<[Shard<K, V>]>,
    hasher: RandomState,
    len: usize,
}

/// A map without a hasher: a key is hashed once, for its shard and its place therein.
type Shard<K, V> = Option<Arc<HashTable<(K, V)>>>;

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    /// An empty map whose places are keyed by `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| None).collect(),
            hasher,
            len: 0,
        }
    }

    /// The value of `key`.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let shard = self.shards.get(place(hash))?.as_ref()?;
        let (_, value) = shard.find(hash, |(other, _)| other == key)?;
        Some(value)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the value of `key`; returns the former one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(&key);
        let shard = Arc::make_mut(&mut self.shards).get_mut(place(hash))?;
        let shard = Arc::make_mut(shard.get_or_insert_default());
        if let Some((_, place)) = shard.find_mut(hash, |(other, _)| *other == key) {
            return Some(std::mem::replace(place, value));
        }
        shard.insert_unique(hash, (key, value), |(key, _)| self.hasher.hash_one(key));
        self.len += 1;
        None
    }

    /// Removes `key`; returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(&mut self.shards).get_mut(place(hash))?;
        let shard = Arc::make_mut(shard.as_mut()?);
        let entry = shard.find_entry(hash, |(other, _)| other == key).ok()?;
        let ((_, value), _) = entry.remove();
        self.len -= 1;
        Some(value)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.shards.iter().flatten().flat_map(|shard| shard.iter());
        entries.map(|(key, value)| (key, value))
    }
}

/// The shard of a hash. The low and the high bits choose inside a shard, so it takes the middle ones.
const fn place(hash: u64) -> usize {
    ((hash >> 32) % SHARDS as u64) as usize
}

impl<K: Hash + Eq + Clone> Sharded<K, u32> {
    /// Counts one more user of `key`.
    pub fn retain_key(&mut self, key: K) {
        let users = self.get(&key).copied().unwrap_or(0);
        self.insert(key, users + 1);
    }

    /// Counts one user of `key` less; the last one removes it.
    pub fn release_key(&mut self, key: &K) {
        match self.get(key).copied() {
            Some(users) if users > 1 => {
                self.insert(key.clone(), users - 1);
            }
            _ => {
                self.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_copies_one_chunk_and_leaves_the_older_copy_as_it_was() {
        let mut old = Chunked::default();
        old.grow(1000, || 0);
        let mut new = old.clone();
        *new.get_mut(300).unwrap() = 7;
        assert_eq!((old.get(300), new.get(300)), (Some(&0), Some(&7)));
        let shared = old
            .chunks
            .iter()
            .zip(new.chunks.iter())
            .filter(|(a, b)| Arc::ptr_eq(a, b))
            .count();
        assert_eq!(shared, old.chunks.len() - 1);
        assert_eq!(new.iter().count(), 1000);
        assert_eq!(new.get(5000), None);
    }

    #[test]
    fn a_copy_that_is_not_changed_shares_even_the_list_of_chunks() {
        let mut old = Chunked::default();
        old.grow(1000, || 0);
        let new = old.clone();
        assert!(Arc::ptr_eq(&old.chunks, &new.chunks));
        old.grow(1001, || 0);
        assert!(Arc::ptr_eq(&old.chunks, &new.chunks), "there was room");
        assert_eq!((old.len(), new.len()), (1001, 1000));
        old.grow(1025, || 0);
        assert!(Arc::ptr_eq(&old.chunks[3], &new.chunks[3]));
    }

    #[test]
    fn room_that_is_reserved_holds_nothing_yet() {
        let mut array = Chunked::default();
        array.reserve(300, || 7);
        assert!(array.is_empty() && array.iter().next().is_none());
        array.grow(300, || 8);
        assert!(array.iter().all(|value| *value == 7));
        assert_eq!(array.chunks.len(), 2);
    }

    #[test]
    fn a_sharded_map_is_a_map() {
        let mut map = Sharded::new(RandomState::with_seeds(1, 2, 3, 4));
        for key in 0..5000_u32 {
            assert_eq!(map.insert(key, key * 2), None);
        }
        let older = map.clone();
        assert_eq!(map.remove(&17), Some(34));
        assert_eq!(map.remove(&17), None);
        assert_eq!((map.get(&17), older.get(&17)), (None, Some(&34)));
        assert_eq!(
            (map.len(), older.len(), map.iter().count()),
            (4999, 5000, 4999)
        );
    }

    #[test]
    fn a_key_stays_until_its_last_user_goes() {
        let mut map: Sharded<u8, u32> = Sharded::new(RandomState::with_seeds(1, 2, 3, 4));
        map.retain_key(9);
        map.retain_key(9);
        map.release_key(&9);
        assert!(map.get(&9).is_some());
        map.release_key(&9);
        assert!(map.get(&9).is_none());
    }
}

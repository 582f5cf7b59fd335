//! Arrays and maps that share their unchanged parts between snapshots.
//! A copy costs one pointer a chunk; a change copies one chunk.

use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;

/// Elements that change together. A power of two, so that an index splits by shift and mask.
const CHUNK: usize = 256;

/// A growing array in shared chunks.
#[derive(Debug)]
pub struct Chunked<T> {
    chunks: Vec<Arc<[T]>>,
    len: usize,
}

impl<T> Clone for Chunked<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
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
    pub fn grow(&mut self, len: usize, mut fresh: impl FnMut() -> T) {
        while self.chunks.len() * CHUNK < len {
            self.chunks.push((0..CHUNK).map(|_| fresh()).collect());
        }
        self.len = self.len.max(len);
    }
}

impl<T: Clone> Chunked<T> {
    /// The element at `index`, to be changed; its chunk is copied if another snapshot shares it.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        Arc::make_mut(self.chunks.get_mut(index / CHUNK)?).get_mut(index % CHUNK)
    }
}

/// Maps that a sharded map consists of: a change in a map of a million entries copies about a
/// thousand of them.
const SHARDS: usize = 1024;

/// A hash map in shared shards.
#[derive(Debug, Clone)]
pub struct Sharded<K, V> {
    shards: Vec<Option<Arc<HashMap<K, V, RandomState>>>>,
    hasher: RandomState,
    len: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    /// An empty map whose places are keyed by `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self {
            shards: vec![None; SHARDS],
            hasher,
            len: 0,
        }
    }

    fn shard(&self, key: &K) -> usize {
        // The low bits choose inside a shard, so the shard takes the middle ones.
        usize::try_from((self.hasher.hash_one(key) >> 32) % SHARDS as u64).unwrap_or(0)
    }

    /// The value of `key`.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        if self.len == 0 {
            return None;
        }
        self.shards.get(self.shard(key))?.as_ref()?.get(key)
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
        let index = self.shard(&key);
        let hasher = self.hasher.clone();
        let former = self.shards.get_mut(index).and_then(|shard| {
            let map = shard.get_or_insert_with(|| Arc::new(HashMap::with_hasher(hasher)));
            Arc::make_mut(map).insert(key, value)
        });
        if former.is_none() {
            self.len += 1;
        }
        former
    }

    /// Removes `key`; returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.shard(key);
        let shard = self.shards.get_mut(index)?.as_mut()?;
        let former = if shard.contains_key(key) {
            Arc::make_mut(shard).remove(key)
        } else {
            None
        };
        if former.is_some() {
            self.len -= 1;
        }
        former
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flatten().flat_map(|map| map.iter())
    }
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
            .zip(&new.chunks)
            .filter(|(a, b)| Arc::ptr_eq(a, b))
            .count();
        assert_eq!(shared, old.chunks.len() - 1);
        assert_eq!(new.iter().count(), 1000);
        assert_eq!(new.get(5000), None);
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

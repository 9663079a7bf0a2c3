//! The literal ends of a pattern: what a topic must begin and end with to match. Knows nothing of what is between.

use std::hash::{Hash, Hasher};

use indexmap::Equivalent;

/// What a topic must begin and end with to match a pattern.
#[derive(Hash, PartialEq, Eq, Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) suffix: &'a [u8],
}

impl<'a> Ends<'a> {
    /// The literal text before the first wildcard and behind the last.
    pub(super) fn of(pattern: &'a str) -> Self {
        let first = pattern.find(['*', '?']).unwrap_or(pattern.len());
        let behind = pattern.rfind(['*', '?']).map_or(pattern.len(), |last| last + 1);
        Self { prefix: &pattern.as_bytes()[..first], suffix: &pattern.as_bytes()[behind..] }
    }

    /// How long they are, in bytes.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.prefix.len(), self.suffix.len())
    }

    /// As a group keeps them.
    pub(super) fn to_key(self) -> Key {
        Key { prefix: self.prefix.into(), suffix: self.suffix.into() }
    }
}

/// The ends as a group keeps them.
#[derive(PartialEq, Eq)]
pub(super) struct Key {
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Ends { prefix: &self.prefix, suffix: &self.suffix }.hash(state);
    }
}

impl Equivalent<Key> for Ends<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.prefix == *key.prefix && *self.suffix == *key.suffix
    }
}

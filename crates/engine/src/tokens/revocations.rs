//! Tokens that are not believed any more although they are valid: a bounded list by user, by token or by both. An entry is
//! forgotten when every token it could match has expired, and never before: a list that is full takes no further one.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use indexmap::{Equivalent, IndexMap};
use parking_lot::RwLock;

/// Which tokens are revoked: those of this user, with this id, or both; at least one of the two is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    /// The `sub` of the tokens.
    pub sub: Option<String>,
    /// The `jti` of the token.
    pub jti: Option<String>,
    /// Tokens issued later than this are not meant, Unix seconds; `None`: all are.
    pub before: Option<u64>,
}

impl Revocation {
    /// Whether it matches this token.
    pub(crate) fn matches(&self, token: &Named<'_>) -> bool {
        let meant = |wanted: &Option<String>, has: Option<&str>| wanted.as_deref().is_none_or(|name| has == Some(name));
        (self.sub.is_some() || self.jti.is_some())
            && meant(&self.sub, Some(token.sub))
            && meant(&self.jti, token.jti)
            && token.iat <= self.before.unwrap_or(u64::MAX)
    }
}

/// The list has as many entries as it may: nothing was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many tokens and users are revoked as may be ({0})")]
pub struct RevocationsFull(pub usize);

/// A token as revocations look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) sub: &'a str,
    pub(crate) jti: Option<&'a str>,
    /// When it was issued, Unix seconds; 0: it does not say, and counts as older than all that do.
    pub(crate) iat: u64,
}

/// The list of one engine.
pub(crate) struct Revocations {
    max: usize,
    /// The longest any token lives, leeway included, seconds; `None`: that is not known, and nothing is ever forgotten.
    lifetime: Option<u64>,
    /// Entries, readable without the lock.
    len: AtomicUsize,
    entries: RwLock<IndexMap<Key, Entry, foldhash::quality::RandomState>>,
}

/// What an entry is about.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    sub: Option<Box<str>>,
    jti: Option<Box<str>>,
}

struct Entry {
    /// Tokens issued later are not meant, Unix seconds.
    before: u64,
    /// When no token it matches is valid any more, Unix seconds.
    until: u64,
}

impl Revocations {
    /// `max` entries; `lifetime`: see [`Revocations`].
    pub(crate) fn new(max: usize, lifetime: Option<u64>) -> Self {
        Self { max, lifetime, len: AtomicUsize::new(0), entries: RwLock::default() }
    }

    /// Entries, those included that could be forgotten.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// The most there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Adds one; one that is there already is extended. `now`: Unix seconds.
    ///
    /// # Errors
    /// There is no room, and nothing was added.
    pub(crate) fn add(&self, revocation: &Revocation, now: u64) -> Result<(), RevocationsFull> {
        let Revocation { sub, jti, before } = revocation;
        let until = self.lifetime.map_or(u64::MAX, |lifetime| {
            // Who may have any time of issue has been issued by now.
            before.map_or(now, |before| before).saturating_add(lifetime)
        });
        let before = before.unwrap_or(u64::MAX);
        let parts = Parts(sub.as_deref(), jti.as_deref());
        let mut entries = self.entries.write();
        if let Some(entry) = entries.get_mut(&parts) {
            entry.before = entry.before.max(before);
            entry.until = entry.until.max(until);
            return Ok(());
        }
        if entries.len() >= self.max {
            entries.retain(|_, entry| entry.until > now);
            self.len.store(entries.len(), Relaxed);
        }
        if entries.len() >= self.max {
            return Err(RevocationsFull(self.max));
        }
        let key = Key { sub: sub.as_deref().map(Into::into), jti: jti.as_deref().map(Into::into) };
        entries.insert(key, Entry { before, until });
        self.len.store(entries.len(), Relaxed);
        Ok(())
    }

    /// Whether a token is revoked.
    pub(crate) fn contain(&self, token: &Named<'_>) -> bool {
        let entries = self.entries.read();
        if entries.is_empty() {
            return false;
        }
        let revoked = |parts: Parts<'_>| entries.get(&parts).is_some_and(|entry| token.iat <= entry.before);
        revoked(Parts(Some(token.sub), None))
            || token
                .jti
                .is_some_and(|jti| revoked(Parts(None, Some(jti))) || revoked(Parts(Some(token.sub), Some(jti))))
    }
}

/// A [`Key`] of texts that are somebody else's.
struct Parts<'a>(Option<&'a str>, Option<&'a str>);

impl Hash for Parts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1).hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Parts(self.sub.as_deref(), self.jti.as_deref()).hash(state);
    }
}

impl Equivalent<Key> for Parts<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.sub.as_deref() && self.1 == key.jti.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn revocation(sub: Option<&str>, jti: Option<&str>, before: Option<u64>) -> Revocation {
        Revocation { sub: sub.map(str::to_owned), jti: jti.map(str::to_owned), before }
    }

    fn token<'a>(sub: &'a str, jti: Option<&'a str>, iat: u64) -> Named<'a> {
        Named { sub, jti, iat }
    }

    #[test]
    fn the_list_and_a_single_revocation_agree() {
        for (sub, jti, before) in [
            (Some("a"), None, Some(NOW)),
            (None, Some("1"), None),
            (Some("a"), Some("1"), Some(NOW)),
            (Some(""), None, None),
            (None, None, None),
        ] {
            let list = Revocations::new(10, None);
            let revocation = revocation(sub, jti, before);
            list.add(&revocation, NOW).unwrap();
            for token in [
                token("a", None, 0),
                token("a", Some("1"), NOW),
                token("a", Some("1"), NOW + 1),
                token("b", Some("1"), NOW),
                token("a", Some("2"), NOW),
                token("", None, 5),
                token("1", Some("a"), 5),
            ] {
                assert_eq!(list.contain(&token), revocation.matches(&token), "{revocation:?} {token:?}");
            }
        }
        assert!(!revocation(None, None, None).matches(&token("a", None, 0)), "it names nobody");
    }

    #[test]
    fn a_full_list_forgets_only_what_can_match_nothing() {
        let list = Revocations::new(3, Some(100));
        let user = |name: &str, before| revocation(Some(name), None, Some(before));
        for (name, before) in [("a", NOW), ("b", NOW + 50), ("c", NOW)] {
            list.add(&user(name, before), NOW).unwrap();
        }
        assert_eq!(list.add(&user("d", NOW), NOW), Err(RevocationsFull(3)));
        assert_eq!(list.len(), 3);
        // One that is there is no further one, and is never weakened.
        list.add(&user("c", NOW + 200), NOW).unwrap();
        list.add(&user("c", NOW), NOW).unwrap();
        assert!(list.contain(&token("c", None, NOW + 200)));
        list.add(&user("d", NOW), NOW + 100).unwrap();
        assert_eq!(list.len(), 3);
        assert!(!list.contain(&token("a", None, NOW)), "expired long before");
        assert!(list.contain(&token("b", None, NOW)) && list.contain(&token("d", None, NOW)));
        let endless = Revocations::new(1, None);
        endless.add(&revocation(None, Some("1"), None), NOW).unwrap();
        assert!(endless.add(&revocation(None, Some("2"), None), u64::MAX - 1).is_err());
        assert_eq!(Revocations::new(0, None).add(&user("a", 1), NOW), Err(RevocationsFull(0)));
    }
}

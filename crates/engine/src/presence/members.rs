//! The members of one topic: each user once, however many connections they have there. Says what has become of a change; who
//! is told is its caller's.

use std::collections::HashMap;
use std::sync::Arc;

use super::record::{Record, Versions, same};

/// Bytes of memory a member takes beside its user's name and its data: its place in the map where that is filled least, and the heads
/// of both texts.
const MEMBER_BYTES: usize = 192;

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Members of one topic; 0 = no limit.
    pub(crate) members: usize,
}

/// What a topic's members come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) members: usize,
    /// Members without a connection, who have their grace.
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
}

/// What one more connection of a user has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// They were not there before.
    New,
    /// They were there, or had their grace, and have other data now.
    Updated,
    /// They were there, or had their grace, with these data.
    Silent,
    /// There are as many members as there may be: nothing was changed.
    Full,
}

/// What one connection less of a user has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// It was the last: they are gone, with these data.
    Gone(Arc<str>),
    /// It was the last: they have their grace, and somebody has to look at its end.
    Waits,
    /// Others are left, or somebody looks already.
    Silent,
}

/// What the end of a grace has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Nobody came back: they are gone, with these data.
    Gone(Arc<str>),
    /// They came back and went again: look again then.
    Waits(u64),
    /// They are back.
    Silent,
}

/// One user on a topic.
#[derive(Debug)]
struct Member {
    record: Record,
    connections: u32,
    /// Somebody looks at the end of its grace.
    watched: bool,
    /// That end, milliseconds of the engine's uptime; of a member without connections.
    until: u64,
}

/// The members of one topic, by user.
#[derive(Debug, Default)]
pub(crate) struct Members {
    members: HashMap<Arc<str>, Member, foldhash::fast::RandomState>,
    connections: usize,
    waiting: usize,
    bytes: usize,
}

impl Members {
    /// One more connection of `user`, with the data that count from now on.
    pub(crate) fn join(&mut self, user: &Arc<str>, data: &Arc<str>, limits: Limits, versions: &Versions) -> Joined {
        let Some(member) = self.members.get_mut(user) else {
            if limits.members != 0 && self.members.len() >= limits.members {
                return Joined::Full;
            }
            let record = Record { version: versions.next(), data: Arc::clone(data) };
            self.bytes += cost(user, data);
            self.connections += 1;
            let member = Member { record, connections: 1, watched: false, until: 0 };
            self.members.insert(Arc::clone(user), member);
            return Joined::New;
        };
        let returns = member.connections == 0;
        member.connections += 1;
        self.connections += 1;
        self.waiting -= usize::from(returns);
        let changes = !same(&member.record.data, data);
        self.set(user, data, versions);
        if changes { Joined::Updated } else { Joined::Silent }
    }

    /// Whether `user` is there with these data.
    pub(crate) fn has(&self, user: &str, data: &Arc<str>) -> bool {
        self.members.get(user).is_some_and(|member| same(&member.record.data, data))
    }

    /// Other data of a user who is there; false: they are not.
    pub(crate) fn set(&mut self, user: &str, data: &Arc<str>, versions: &Versions) -> bool {
        let Some(member) = self.members.get_mut(user) else { return false };
        self.bytes = self.bytes + data.len() - member.record.data.len();
        member.record.merge(Record { version: versions.next(), data: Arc::clone(data) })
    }

    /// One connection of `user` less. `until`: where it was their last, they have a grace that ends then.
    pub(crate) fn leave(&mut self, user: &str, until: Option<u64>) -> Left {
        let Some(member) = self.members.get_mut(user).filter(|member| member.connections > 0) else {
            return Left::Silent;
        };
        member.connections -= 1;
        self.connections -= 1;
        if member.connections > 0 {
            return Left::Silent;
        }
        self.waiting += 1;
        match until {
            None => self.remove(user).map_or(Left::Silent, Left::Gone),
            Some(until) => {
                member.until = until;
                if std::mem::replace(&mut member.watched, true) { Left::Silent } else { Left::Waits }
            }
        }
    }

    /// Looks at `user` because a grace of theirs was to end by `now`.
    pub(crate) fn expire(&mut self, user: &str, now: u64) -> Expired {
        let Some(member) = self.members.get_mut(user) else { return Expired::Silent };
        if member.connections > 0 {
            member.watched = false;
            return Expired::Silent;
        }
        if member.until > now {
            return Expired::Waits(member.until);
        }
        self.remove(user).map_or(Expired::Silent, Expired::Gone)
    }

    /// Takes out a member without connections; its data.
    fn remove(&mut self, user: &str) -> Option<Arc<str>> {
        let (user, member) = self.members.remove_entry(user)?;
        let data = member.record.data;
        self.waiting -= 1;
        self.bytes -= cost(&user, &data);
        Some(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Users and connections, without a walk.
    pub(crate) fn stats(&self) -> (usize, usize) {
        (self.members.len(), self.connections)
    }

    pub(crate) fn size(&self) -> Size {
        Size { members: self.members.len(), waiting: self.waiting, bytes: self.bytes }
    }

    /// Users, their data and how many connections they have, in no order.
    pub(crate) fn list(&self) -> Vec<(Arc<str>, Arc<str>, u32)> {
        let list = self.members.iter();
        list.map(|(user, member)| (Arc::clone(user), Arc::clone(&member.record.data), member.connections)).collect()
    }
}

fn cost(user: &str, data: &str) -> usize {
    MEMBER_BYTES + user.len() + data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: Limits = Limits { members: 0 };

    struct Topic {
        members: Members,
        versions: Versions,
    }

    impl Topic {
        fn new() -> Self {
            Self { members: Members::default(), versions: Versions::new() }
        }

        fn join(&mut self, user: &str, data: &str) -> Joined {
            self.members.join(&user.into(), &data.into(), UNLIMITED, &self.versions)
        }
    }

    fn left(data: &str) -> Left {
        Left::Gone(data.into())
    }

    #[test]
    fn several_connections_are_one_member() {
        let mut topic = Topic::new();
        assert_eq!((topic.join("a", "1"), topic.join("a", "2"), topic.join("b", "3")), {
            (Joined::New, Joined::Updated, Joined::New)
        });
        assert_eq!(topic.members.stats(), (2, 3));
        let has = |user: &str, data: &str| topic.members.has(user, &data.into());
        assert!(has("a", "2") && !has("a", "1") && !has("c", "2"));
        assert_eq!((topic.join("a", "2"), topic.members.leave("a", None)), (Joined::Silent, Left::Silent));
        assert_eq!(topic.members.leave("a", None), Left::Silent);
        assert_eq!(topic.members.leave("a", None), left("2"), "with the last data");
        assert_eq!(topic.members.leave("a", None), Left::Silent, "nobody is there twice");
        assert!(
            topic.members.set("b", &"4".into(), &topic.versions)
                && !topic.members.set("a", &"5".into(), &topic.versions)
        );
        assert_eq!(topic.members.leave("b", None), left("4"));
        assert_eq!((topic.members.size(), topic.members.stats()), (Size::default(), (0, 0)));
        assert!(topic.members.is_empty());
    }

    #[test]
    fn who_comes_back_in_time_neither_leaves_nor_joins() {
        let mut topic = Topic::new();
        topic.join("a", "1");
        assert_eq!(topic.members.leave("a", Some(100)), Left::Waits);
        assert_eq!(topic.members.size().waiting, 1);
        assert_eq!((topic.join("a", "1"), topic.members.stats()), (Joined::Silent, (1, 1)));
        // Away and back and away again: one look is enough.
        assert_eq!(topic.members.leave("a", Some(150)), Left::Silent);
        assert_eq!(topic.members.expire("a", 100), Expired::Waits(150));
        assert_eq!(topic.join("a", "2"), Joined::Updated);
        assert_eq!(topic.members.expire("a", 150), Expired::Silent);
        assert_eq!(topic.members.leave("a", Some(300)), Left::Waits, "nobody looks any more");
        assert_eq!(topic.members.expire("a", 300), Expired::Gone("2".into()));
        assert_eq!(topic.members.size(), Size::default());
        assert_eq!(topic.members.expire("a", 300), Expired::Silent);
    }

    #[test]
    fn a_full_topic_takes_only_those_it_has() {
        let mut topic = Topic::new();
        let limits = Limits { members: 1 };
        let mut join = |user: &str| topic.members.join(&user.into(), &"{}".into(), limits, &topic.versions);
        assert_eq!((join("a"), join("b"), join("a")), (Joined::New, Joined::Full, Joined::Silent));
        assert_eq!(topic.members.stats(), (1, 2));
    }
}

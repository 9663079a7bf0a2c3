//! Which connections a verified user has. Knows ids only, and each of them once; a user without connections is forgotten.

use std::sync::Arc;

use dashmap::{DashMap, Entry};
use indexmap::IndexSet;

use crate::id::ConnId;

type Set = IndexSet<ConnId, foldhash::fast::RandomState>;

/// The connections of one user. Nearly everybody has one; who has thousands leaves them one by one.
enum Connections {
    One(ConnId),
    Many(Box<Set>),
}

/// User id -> connections.
#[derive(Default)]
pub(super) struct Users(DashMap<Arc<str>, Connections, foldhash::fast::RandomState>);

impl Users {
    /// Adds a connection of `user`; the user's name as all its connections share it.
    pub(super) fn add(&self, user: &str, id: ConnId) -> Arc<str> {
        match self.0.entry(user.into()) {
            Entry::Vacant(place) => Arc::clone(place.insert(Connections::One(id)).key()),
            Entry::Occupied(mut entry) => {
                match entry.get_mut() {
                    Connections::Many(ids) => {
                        ids.insert(id);
                    }
                    Connections::One(first) => {
                        let ids = Set::from_iter([*first, id]);
                        entry.insert(Connections::Many(Box::new(ids)));
                    }
                }
                Arc::clone(entry.key())
            }
        }
    }

    /// Removes a connection of `user`.
    pub(super) fn remove(&self, user: &str, id: ConnId) {
        self.0.remove_if_mut(user, |_, connections| match connections {
            Connections::One(only) => *only == id,
            Connections::Many(ids) => {
                ids.swap_remove(&id);
                ids.is_empty()
            }
        });
    }

    /// The connections of `user`, in no order.
    pub(super) fn of(&self, user: &str) -> Vec<ConnId> {
        match self.0.get(user).as_deref() {
            None => Vec::new(),
            Some(Connections::One(id)) => vec![*id],
            Some(Connections::Many(ids)) => ids.iter().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_from_the_first_connection_to_the_last() {
        let users = Users::default();
        let ids: Vec<ConnId> = (1..=5).map(ConnId::from_u64).collect();
        assert!(users.of("ada").is_empty());
        let names: Vec<Arc<str>> = ids.iter().map(|id| users.add("ada", *id)).collect();
        assert!(names.iter().all(|name| Arc::ptr_eq(name, &names[0])), "one name for all");
        users.add("bob", ConnId::from_u64(9));
        users.remove("bob", ids[0]);
        assert_eq!((users.of("ada"), users.of("bob")), (ids.clone(), vec![ConnId::from_u64(9)]));
        for id in ids {
            users.remove("ada", id);
            assert!(!users.of("ada").contains(&id));
        }
        users.remove("ada", ConnId::from_u64(1));
        users.remove("bob", ConnId::from_u64(9));
        assert!(users.0.is_empty());
    }
}

//! Queue groups of one topic: each publication goes to one member of each group, in turn. Membership is shared by all
//! shards, because "one member" means one per server.

use indexmap::{IndexMap, IndexSet};

use crate::id::ConnId;

/// Whether a member may be given work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Gone, closing, or not allowed.
    Never,
    /// Behind: only if nobody else is ready.
    Busy,
    Ready,
}

/// The groups of a topic; almost always empty. Both levels are indexed by hash: a mass disconnect takes every member out of
/// its group under the topic's lock, so each has to be found without a walk.
#[derive(Default)]
pub(crate) struct Groups(IndexMap<Box<str>, Group, foldhash::fast::RandomState>);

#[derive(Default)]
struct Group {
    members: IndexSet<ConnId, foldhash::fast::RandomState>,
    /// The place of whoever is next.
    next: usize,
}

impl Groups {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a member; false when it was one already.
    pub(crate) fn join(&mut self, group: &str, member: ConnId) -> bool {
        match self.0.get_mut(group) {
            Some(known) => known.members.insert(member),
            None => self.0.entry(group.into()).or_default().members.insert(member),
        }
    }

    /// Removes a member; false when it was none. The last member takes its place, so the turn may pass over one once.
    pub(crate) fn leave(&mut self, group: &str, member: ConnId) -> bool {
        let Some(known) = self.0.get_mut(group) else { return false };
        let left = known.members.swap_remove(&member);
        if known.members.is_empty() {
            self.0.swap_remove(group);
        }
        left
    }

    /// Picks one member per group for the next publication, in turn: the next that is ready, else the next that is merely
    /// busy (its own budget then decides). Returns the number of groups in which nobody may have it.
    pub(crate) fn pick(&mut self, readiness: impl Fn(ConnId) -> Readiness, mut deliver: impl FnMut(ConnId)) -> u64 {
        let mut unserved = 0;
        for group in self.0.values_mut() {
            let count = group.members.len();
            let first = group.next % count;
            let mut chosen = None;
            for index in (0..count).map(|step| (first + step) % count) {
                match readiness(group.members[index]) {
                    Readiness::Never => {}
                    Readiness::Busy => chosen = chosen.or(Some(index)),
                    Readiness::Ready => {
                        chosen = Some(index);
                        break;
                    }
                }
            }
            match chosen {
                Some(index) => {
                    group.next = index + 1;
                    deliver(group.members[index]);
                }
                None => unserved += 1,
            }
        }
        unserved
    }

    /// Group name and number of members.
    pub(crate) fn info(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(name, group)| (&**name, group.members.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_turns_and_skips_the_busy() {
        let ids: Vec<_> = (0..3).map(|slot| ConnId::new(0, slot, 1)).collect();
        let mut groups = Groups::default();
        for id in &ids {
            assert!(groups.join("g", *id) && !groups.join("g", *id));
        }
        let mut got = Vec::new();
        for _ in 0..4 {
            groups.pick(|id| if id == ids[1] { Readiness::Busy } else { Readiness::Ready }, |id| got.push(id));
        }
        assert_eq!(got, [ids[0], ids[2], ids[0], ids[2]]);
        assert_eq!(groups.pick(|_| Readiness::Busy, |id| got.push(id)), 0);
        assert_eq!(got.len(), 5, "all are busy: still delivered once");
        assert_eq!(groups.pick(|_| Readiness::Never, |id| got.push(id)), 1);
        assert_eq!(got.len(), 5, "nobody may have it");
        assert!(ids.iter().all(|id| groups.leave("g", *id)) && groups.is_empty());
    }
    /// Members that leave in the order they joined: found by a walk, 200,000 of them are 10^10 steps and take minutes.
    #[test]
    fn very_many_members_come_and_go() {
        let ids: Vec<_> = (0..200_000).map(|slot| ConnId::new(0, slot, 1)).collect();
        let mut groups = Groups::default();
        let started = std::time::Instant::now();
        assert!(ids.iter().all(|id| groups.join("g", *id)));
        assert!(ids.iter().rev().all(|id| !groups.join("g", *id)), "once each");
        assert!(ids.iter().all(|id| groups.leave("g", *id)) && groups.is_empty());
        assert!(started.elapsed().as_secs() < 40, "{:?}", started.elapsed());
    }
}

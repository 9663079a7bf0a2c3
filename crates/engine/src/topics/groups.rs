//! Queue groups of one topic: each publication goes to one member of each group, in turn. Membership is shared by all
//! shards, because "one member" means one per server.

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

/// The groups of a topic; almost always empty.
#[derive(Default)]
pub(crate) struct Groups(Vec<Group>);

struct Group {
    name: Box<str>,
    members: Vec<ConnId>,
    next: usize,
}

impl Groups {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a member; false when it was one already.
    pub(crate) fn join(&mut self, group: &str, member: ConnId) -> bool {
        let index = self.0.iter().position(|known| &*known.name == group).unwrap_or_else(|| {
            self.0.push(Group { name: group.into(), members: Vec::new(), next: 0 });
            self.0.len() - 1
        });
        let members = &mut self.0[index].members;
        let new = !members.contains(&member);
        if new {
            members.push(member);
        }
        new
    }

    /// Removes a member; false when it was none.
    pub(crate) fn leave(&mut self, group: &str, member: ConnId) -> bool {
        let Some(index) = self.0.iter().position(|known| &*known.name == group) else { return false };
        let members = &mut self.0[index].members;
        let Some(place) = members.iter().position(|known| *known == member) else { return false };
        members.remove(place);
        if members.is_empty() {
            self.0.remove(index);
        }
        true
    }

    /// Picks one member per group for the next publication, in turn: the next that is ready, else the next that is merely
    /// busy (its own budget then decides). Returns the number of groups in which nobody may have it.
    pub(crate) fn pick(&mut self, readiness: impl Fn(ConnId) -> Readiness, mut deliver: impl FnMut(ConnId)) -> u64 {
        let mut unserved = 0;
        for group in &mut self.0 {
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
        self.0.iter().map(|group| (&*group.name, group.members.len()))
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
}

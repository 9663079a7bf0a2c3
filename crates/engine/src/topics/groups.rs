//! Queue groups of one topic: each publication goes to one member of each group, in turn. Membership is shared by all
//! shards, because "one member" means one per server.

use crate::id::ConnId;

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

    /// Picks one member per group for the next publication, skipping those `ready` refuses. A group whose members all
    /// refuse gets its next member all the same: the connection's own budget then decides.
    pub(crate) fn pick(&mut self, ready: impl Fn(ConnId) -> bool, mut deliver: impl FnMut(ConnId)) {
        for group in &mut self.0 {
            let count = group.members.len();
            let first = group.next % count;
            let chosen = (0..count).map(|step| (first + step) % count).find(|index| ready(group.members[*index]));
            let chosen = chosen.unwrap_or(first);
            group.next = chosen + 1;
            deliver(group.members[chosen]);
        }
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
            groups.pick(|id| id != ids[1], |id| got.push(id));
        }
        assert_eq!(got, [ids[0], ids[2], ids[0], ids[2]]);
        groups.pick(|_| false, |id| got.push(id));
        assert_eq!(got.len(), 5, "nobody is ready: still delivered once");
        assert!(ids.iter().all(|id| groups.leave("g", *id)) && groups.is_empty());
    }
}

//! Memory of one shard: who receives the topics that only patterns match. Bounded; what is asked for again and again stays,
//! however many other topics come by once.

use indexmap::IndexMap;

/// Most topics one generation remembers.
const TOPICS: usize = 4096;
/// Most bytes one generation remembers, names and slots together; a single topic may be above.
const BYTES: usize = 4 * 1024 * 1024;

/// Who receives a topic when patterns or changed ACLs have a say, as found in `epoch`.
pub(super) struct Resolved {
    pub(super) epoch: u64,
    pub(super) slots: Vec<u32>,
    /// Subscribers left out because of their ACL.
    pub(super) denied: u64,
}

impl Resolved {
    /// Bytes of its list.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u32>()
    }
}

/// Two generations: what is asked for moves into the young one. When that is full it becomes the old one, and what was not
/// asked for since the time before is forgotten.
#[derive(Default)]
pub(super) struct Matches {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    known: IndexMap<Box<str>, Resolved, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Generation {
    fn is_full(&self) -> bool {
        self.known.len() >= TOPICS || self.bytes >= BYTES
    }

    fn take(&mut self, name: &str) -> Option<Resolved> {
        let known = self.known.swap_remove(name)?;
        self.bytes -= size(name, &known);
        Some(known)
    }
}

impl Matches {
    /// What is known of `name` in `epoch`, found out by `resolve` if it is not.
    pub(super) fn of(&mut self, name: &str, epoch: u64, resolve: impl FnOnce() -> Resolved) -> &Resolved {
        let Self { young, old } = self;
        let index = young.known.get_index_of(name).unwrap_or_else(|| {
            if young.is_full() {
                *old = std::mem::take(young);
            }
            let known = old.take(name).unwrap_or(Resolved { epoch: 0, slots: Vec::new(), denied: 0 });
            young.bytes += size(name, &known);
            young.known.insert_full(name.into(), known).0
        });
        let known = &mut young.known[index];
        if known.epoch != epoch {
            young.bytes -= size(name, known);
            *known = resolve();
            young.bytes += size(name, known);
        }
        known
    }
}

fn size(name: &str, resolved: &Resolved) -> usize {
    name.len() + resolved.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for `name`; counts in `resolved` when it was not known.
    fn ask(matches: &mut Matches, name: &str, slots: usize, resolved: &mut usize) {
        let known = matches.of(name, 1, || {
            *resolved += 1;
            Resolved { epoch: 1, slots: vec![7; slots], denied: 0 }
        });
        assert_eq!(known.slots.len(), slots, "{name}");
    }

    #[test]
    fn topics_in_use_stay_known_while_others_come_by_once() {
        let mut matches = Matches::default();
        let (mut hot, mut cold) = (0, 0);
        for n in 0..100_000 {
            ask(&mut matches, &format!("hot:{}", n % 100), 1, &mut hot);
            ask(&mut matches, &format!("cold:{n}"), 0, &mut cold);
        }
        assert_eq!((hot, cold), (100, 100_000));
    }

    #[test]
    fn its_memory_is_bounded_and_counted() {
        let mut matches = Matches::default();
        let mut resolved = 0;
        for n in 0..3000 {
            ask(&mut matches, &format!("{n}:{}", "x".repeat(4096)), n % 5 * 1000, &mut resolved);
            for generation in [&matches.young, &matches.old] {
                let bytes: usize = generation.known.iter().map(|(name, known)| size(name, known)).sum();
                assert_eq!(generation.bytes, bytes);
                assert!(bytes < BYTES + 32 * 1024 && generation.known.len() <= TOPICS);
            }
        }
    }

    #[test]
    fn an_older_epoch_is_found_out_again() {
        let mut matches = Matches::default();
        for epoch in [1, 2, 3] {
            for _ in 0..2 {
                let known = matches.of("a", epoch, || Resolved { epoch, slots: vec![], denied: epoch });
                assert_eq!(known.denied, epoch);
            }
        }
    }
}

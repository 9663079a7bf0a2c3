//! Who may be sent to, one word per slot: hosts read it as plain memory instead of asking for every message. Written only by
//! the shard that owns the slot; an answer is as old as any answer from another thread.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::id::ConnId;

/// Words of one table at most, four bytes each. Connections beyond it are asked for.
const MAX_WORDS: usize = 1 << 20;

/// For each slot the generation of its open connection, or 0.
#[derive(Debug)]
pub struct Liveness {
    words: Box<[AtomicU32]>,
    per_shard: usize,
}

impl Liveness {
    pub(crate) fn new(shards: usize, max_connections: usize) -> Self {
        let per_shard = max_connections.min(MAX_WORDS / shards.max(1));
        Self { words: (0..shards * per_shard).map(|_| AtomicU32::new(0)).collect(), per_shard }
    }

    /// The table: slots of the first shard, of the second, and so on.
    pub fn words(&self) -> &[AtomicU32] {
        &self.words
    }

    /// Words of one shard: higher slots are not in the table.
    pub fn per_shard(&self) -> usize {
        self.per_shard
    }

    /// The connection may be sent to.
    pub(crate) fn open(&self, id: ConnId) {
        self.set(id, id.generation());
    }

    /// Nothing reaches the connection any more.
    pub(crate) fn close(&self, id: ConnId) {
        self.set(id, 0);
    }

    fn set(&self, id: ConnId, generation: u32) {
        let slot = id.slot() as usize;
        if slot < self.per_shard
            && let Some(word) = self.words.get(id.shard() * self.per_shard + slot)
        {
            word.store(generation, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_generation_of_who_is_open_and_forgets_who_closed() {
        let liveness = Liveness::new(2, 3);
        let word = |at: usize| liveness.words()[at].load(Relaxed);
        liveness.open(ConnId::new(1, 2, 77));
        assert_eq!(word(5), 77);
        liveness.close(ConnId::new(1, 2, 77));
        assert_eq!(word(5), 0);
        // Beyond the table: the neighbour is not touched.
        liveness.open(ConnId::new(0, 3, 9));
        assert_eq!(word(3), 0);
    }
}

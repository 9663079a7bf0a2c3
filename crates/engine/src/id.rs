//! The integer a host knows a connection by: shard, slot and generation in 53 bits, so that JavaScript holds it exactly.
//! A slot is used again with the next generation, hence a stale id finds nothing.

/// Most shards an id can name.
pub const MAX_SHARDS: usize = 1 << SHARD_BITS;
/// Most connections of one shard.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS;
/// The last generation of a slot; after it the slot is retired.
pub(crate) const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;

const SLOT_BITS: u32 = 21;
const SHARD_BITS: u32 = 6;
const GENERATION_BITS: u32 = 26;

/// A connection as the host sees it: an integer from 1 to 2^53 − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// The id nobody has.
    pub(crate) const NOBODY: Self = Self(0);

    /// Packs the three parts. Generations start at 1, so no id is 0.
    pub(crate) fn new(shard: usize, slot: u32, generation: u32) -> Self {
        debug_assert!(shard < MAX_SHARDS && (slot as usize) < MAX_SLOTS && (1..=MAX_GENERATION).contains(&generation));
        Self(u64::from(generation) << (SLOT_BITS + SHARD_BITS) | (shard as u64) << SLOT_BITS | u64::from(slot))
    }

    /// Reads an id that came from outside. Any integer is accepted; one that names nothing finds nothing.
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    /// The integer.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Which shard owns the connection.
    pub(crate) const fn shard(self) -> usize {
        (self.0 >> SLOT_BITS) as usize & (MAX_SHARDS - 1)
    }

    /// Which of the slot's connections it is.
    #[expect(clippy::cast_possible_truncation, reason = "26 bits, or an id from outside that names nobody")]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> (SLOT_BITS + SHARD_BITS)) as u32
    }

    /// The shard's slot.
    #[expect(clippy::cast_possible_truncation, reason = "masked to 21 bits")]
    pub(crate) const fn slot(self) -> u32 {
        (self.0 & (MAX_SLOTS as u64 - 1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_and_stay_below_2_53() {
        let last = u32::try_from(MAX_SLOTS - 1).unwrap();
        let id = ConnId::new(MAX_SHARDS - 1, last, MAX_GENERATION);
        assert_eq!((id.shard(), id.slot()), (MAX_SHARDS - 1, last));
        assert_eq!(id.generation(), MAX_GENERATION);
        assert!(id.as_u64() < 1 << 53);
        assert_ne!(ConnId::new(3, 9, 1), ConnId::new(3, 9, 2));
    }
}

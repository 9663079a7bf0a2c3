//! The slab a shard keeps its connections in: slot and generation, oldest free slot first, so that a stale id stays stale
//! for as long as possible. Knows nothing of what it keeps.

use std::collections::VecDeque;

use crate::id::{MAX_GENERATION, MAX_SLOTS};

/// Values in slots, each slot with a generation.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
    occupied: usize,
}

struct Slot<T> {
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: VecDeque::new(), occupied: 0 }
    }
}

impl<T> Slab<T> {
    /// Stores what `make` builds from the slot and generation it gets. `None`: every slot is taken.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32, u32) -> T) -> Option<u32> {
        let slot = match self.free.pop_front() {
            Some(slot) => slot,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push(Slot { generation: 0, value: None });
                u32::try_from(self.slots.len() - 1).ok()?
            }
            None => return None,
        };
        let place = &mut self.slots[slot as usize];
        place.generation += 1;
        place.value = Some(Box::new(make(slot, place.generation)));
        self.occupied += 1;
        Some(slot)
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.value.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.value.as_deref_mut()
    }

    /// Empties a slot. A slot that has used up its generations is never filled again.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Box<T>> {
        let place = self.slots.get_mut(slot as usize)?;
        let value = place.value.take()?;
        if place.generation < MAX_GENERATION {
            self.free.push_back(slot);
        }
        self.occupied -= 1;
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.occupied
    }

    /// Every occupied slot now.
    pub(crate) fn occupied(&self) -> Vec<u32> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.value.is_some()).map(|(index, _)| index).collect()
    }

    /// Calls `each` with every value and its slot.
    pub(crate) fn for_each_mut(&mut self, mut each: impl FnMut(u32, &mut T)) {
        for (index, slot) in (0..).zip(&mut self.slots) {
            if let Some(value) = slot.value.as_deref_mut() {
                each(index, value);
            }
        }
    }
}

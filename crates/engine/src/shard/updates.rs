//! `subscription_update`s that wait for their connection's next turn. Nothing is read from it meanwhile, so what waits came with
//! one read.

use std::collections::{HashMap, VecDeque};

/// Payloads, in order, by the slot of their connection.
#[derive(Default)]
pub(super) struct Updates(HashMap<u32, VecDeque<Box<[u8]>>, foldhash::fast::RandomState>);

impl Updates {
    /// Whether some wait for the connection in `slot`.
    pub(super) fn wait_for(&self, slot: u32) -> bool {
        self.0.contains_key(&slot)
    }

    /// Adds payloads behind those that wait; returns their bytes.
    pub(super) fn keep(&mut self, slot: u32, payloads: Vec<Box<[u8]>>) -> usize {
        let bytes = payloads.iter().map(|payload| payload.len()).sum();
        if !payloads.is_empty() {
            self.0.entry(slot).or_default().extend(payloads);
        }
        bytes
    }

    /// Takes the next.
    pub(super) fn next(&mut self, slot: u32) -> Option<Box<[u8]>> {
        let waiting = self.0.get_mut(&slot)?;
        let payload = waiting.pop_front();
        if waiting.is_empty() {
            self.0.remove(&slot);
        }
        payload
    }

    /// Drops all that wait for the connection in `slot`; returns their bytes.
    pub(super) fn forget(&mut self, slot: u32) -> usize {
        self.0.remove(&slot).into_iter().flatten().map(|payload| payload.len()).sum()
    }
}

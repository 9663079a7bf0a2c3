//! What one connection holds of topics, and what it may: numbers only, because host threads ask before its shard knows.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use wse_protocol::topic::is_pattern;

use super::Refusal;
use super::cost::cost;

/// What a connection may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Subscriptions, patterns and groups included; 0 = no limit.
    pub(crate) subscriptions: u32,
    /// Patterns among them; 0 = no limit.
    pub(crate) patterns: u32,
    /// Bytes, each subscription counted as if nobody shared its topic; 0 = no limit.
    pub(crate) bytes: usize,
}

/// What a connection holds, those on their way to its shard included.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    subscriptions: AtomicU32,
    patterns: AtomicU32,
    bytes: AtomicUsize,
}

impl Holdings {
    /// Subscriptions held, patterns and groups included.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.subscriptions.load(Relaxed)
    }

    /// Adds a subscription of `name`.
    ///
    /// # Errors
    /// The [`Refusal`] when the allowance is used up; nothing was added then.
    pub(crate) fn add(&self, name: &str, allowance: Allowance) -> Result<(), Refusal> {
        let Allowance { subscriptions, patterns, bytes } = allowance;
        let one_more = |held: &AtomicU32, limit: u32| {
            held.fetch_update(Relaxed, Relaxed, |held| (limit == 0 || held < limit).then_some(held + 1)).is_ok()
        };
        if bytes != 0 && self.bytes.load(Relaxed) + cost(name) > bytes {
            return Err(Refusal::ServerLimit);
        }
        if !one_more(&self.subscriptions, subscriptions) {
            return Err(Refusal::Subscriptions);
        }
        if is_pattern(name) && !one_more(&self.patterns, patterns) {
            self.subscriptions.fetch_sub(1, Relaxed);
            return Err(Refusal::Patterns);
        }
        self.bytes.fetch_add(cost(name), Relaxed);
        Ok(())
    }

    /// Takes a subscription of `name` back.
    pub(crate) fn remove(&self, name: &str) {
        self.subscriptions.fetch_sub(1, Relaxed);
        if is_pattern(name) {
            self.patterns.fetch_sub(1, Relaxed);
        }
        self.bytes.fetch_sub(cost(name), Relaxed);
    }
}

//! Recovery with values that suit tests.

use wse_engine::config::{Recovery, RingPolicy};

/// Rings of 128 messages that do not age, for every topic, and rates that slow nobody down; tests change what they are about.
pub fn recovery() -> Recovery {
    Recovery {
        rules: Vec::new(),
        ring: Some(RingPolicy { size: 128, ttl: None }),
        memory_budget: 64 << 20,
        max_messages: 500,
        replay_rate: 1 << 30,
        connection_replay_rate: 1 << 30,
        last_values: Vec::new(),
    }
}

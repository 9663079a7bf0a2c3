//! Which topics can be recovered, how much of them is kept, and how fast it is replayed.

use std::time::Duration;

use wse_protocol::topic::Pattern;

/// What is kept of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingPolicy {
    /// Frames that are kept, at least 1; up to a quarter more are.
    pub size: u32,
    /// Time after the last publication for which they are kept; `None` = as long as there is memory.
    pub ttl: Option<Duration>,
}

/// A pattern and what is kept of the topics it matches.
#[derive(Debug, Clone)]
pub struct RecoveryRule {
    /// Matched against the whole name.
    pub topics: Pattern,
    /// `None`: they cannot be recovered.
    pub ring: Option<RingPolicy>,
}

/// What can be recovered.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The first that matches a topic counts.
    pub rules: Vec<RecoveryRule>,
    /// For topics none of them matches. `None`: they cannot be recovered.
    pub ring: Option<RingPolicy>,
    /// Bytes all rings may take together, with what goes with them.
    pub memory_budget: usize,
    /// Frames one topic's replay may have; with more missing it is declared not recovered.
    pub max_messages: u32,
    /// Bytes replayed per second, to all connections and to each one. Who comes when they are used up waits.
    pub replay_rate: u64,
    /// Bytes replayed per second to one connection.
    pub connection_replay_rate: u64,
    /// The last value of these topics, kept for whoever subscribes; it does not age. Empty: of none.
    pub last_values: Vec<Pattern>,
}

impl Recovery {
    /// What is kept of `topic`, and the number of the rule that says so: 0 for none of them.
    pub(crate) fn policy(&self, topic: &str) -> Option<(RingPolicy, usize)> {
        let rule = self.rules.iter().position(|rule| rule.topics.matches(topic));
        let (ring, number) = rule.map_or((self.ring, 0), |at| (self.rules[at].ring, at + 1));
        ring.map(|ring| (ring, number))
    }

    /// Whether whoever subscribes to `topic` gets its last value.
    pub(crate) fn keeps_last(&self, topic: &str) -> bool {
        self.last_values.iter().any(|pattern| pattern.matches(topic))
    }
}

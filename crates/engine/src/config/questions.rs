//! What the host is asked about connections, and the bounds of asking. Asks nothing itself.

use std::sync::Arc;
use std::time::Duration;

use wse_protocol::topic::Pattern;

/// The bounds of one kind of question.
#[derive(Debug, Clone, Copy)]
pub struct Questions {
    /// Time the host has for an answer.
    pub timeout: Duration,
    /// Connections that may wait for one at the same time.
    pub max_waiting: usize,
}

/// Where the current state of topics comes from.
#[derive(Debug, Clone)]
pub enum Snapshots {
    /// The host says it.
    Host(SnapshotProvider),
    /// The last publication is it.
    Last,
}

/// A host that knows the state of topics.
#[derive(Debug, Clone)]
pub struct SnapshotProvider {
    /// Of which: those that one of these matches.
    pub topics: Arc<[Pattern]>,
    /// The bounds of asking for it.
    pub questions: Questions,
}

impl Snapshots {
    /// Whether there may be a state of this topic.
    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.provider().is_none_or(|provider| provider.knows(topic))
    }

    /// The host that knows the state of topics, if that is where it comes from.
    pub(crate) fn provider(&self) -> Option<&SnapshotProvider> {
        match self {
            Self::Host(provider) => Some(provider),
            Self::Last => None,
        }
    }
}

impl SnapshotProvider {
    /// Whether it knows this topic.
    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }
}

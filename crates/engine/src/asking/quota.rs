//! How many questions about open connections may wait, and how long they may be, by what is asked. Knows no question.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::{Config, Questions};

/// Bytes of the questions of one kind that wait at the same time: so many of the longest would be a gigabyte.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Which of the topics it may have.
    Authorize,
    /// The state of the topics.
    Snapshot,
}

impl Subject {
    /// As the host is told.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Snapshot => "snapshot",
        }
    }
}

/// How many questions of one kind wait, and how many may.
pub(super) struct Quota {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    bytes: usize,
}

impl Quota {
    pub(super) fn new(questions: Option<&Questions>) -> Arc<Self> {
        Arc::new(Self { max: questions.map_or(0, |questions| questions.max_waiting), taken: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let mut taken = self.taken.lock();
        if taken.count >= self.max || taken.bytes.saturating_add(bytes) > MAX_BYTES {
            return None;
        }
        taken.count += 1;
        taken.bytes += bytes;
        Some(Share { quota: Arc::clone(self), bytes })
    }

    pub(super) fn count(&self) -> usize {
        self.taken.lock().count
    }
}

/// A part of a quota; given back when dropped.
pub(super) struct Share {
    quota: Arc<Quota>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.quota.taken.lock();
        taken.count -= 1;
        taken.bytes -= self.bytes;
    }
}

/// The quotas of an engine.
pub(super) struct Quotas {
    authorize: Arc<Quota>,
    snapshots: Arc<Quota>,
}

impl Quotas {
    /// What `config` says about them.
    pub(super) fn new(config: &Config) -> Self {
        let provider = config.snapshots.as_ref().and_then(|snapshots| snapshots.provider());
        Self {
            authorize: Quota::new(config.authorize.as_ref()),
            snapshots: Quota::new(provider.map(|provider| &provider.questions)),
        }
    }

    pub(super) fn of(&self, subject: Subject) -> &Arc<Quota> {
        match subject {
            Subject::Authorize => &self.authorize,
            Subject::Snapshot => &self.snapshots,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quota_counts_questions_and_their_bytes_and_gets_both_back() {
        let quota = Quota::new(Some(&Questions { timeout: Duration::ZERO, max_waiting: 3 }));
        let small: Vec<Share> = std::iter::from_fn(|| quota.take(10)).take(9).collect();
        assert_eq!((small.len(), quota.count()), (3, 3));
        drop(small);
        let large = quota.take(MAX_BYTES).unwrap();
        assert!(quota.take(1).is_none() && quota.take(usize::MAX).is_none());
        drop(large);
        assert!(quota.take(MAX_BYTES).is_some());
        assert_eq!(quota.count(), 0);
        assert!(Quota::new(None).take(0).is_none(), "who does not ask has no places");
    }
}

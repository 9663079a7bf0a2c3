//! What is asked of recovery and what came of it: the words that host, shared parts and shards have in common. Owns no ring and no queue.

use std::sync::Arc;

use crate::frames::RingSlice;
use crate::id::ConnId;
use crate::topics::{Missed, Position, TopicEntry};

/// One topic somebody subscribes to, or asks to have replayed.
pub(crate) struct Asked {
    pub(crate) entry: Arc<TopicEntry>,
    /// Interest is registered for it, and charged to the connection.
    pub(crate) registered: bool,
    /// It is held through a pattern: what is missed is replayed, and nothing is subscribed.
    pub(crate) covered: bool,
    pub(crate) wish: Wish,
}

/// What is wanted of a topic's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing: it is held already.
    Nothing,
    /// Its last value, where one is kept for whoever comes.
    Last,
    /// The same though it is held already.
    LastAgain,
    /// Everything that was published behind this, and that is told; else its last value.
    Missed(Position),
    /// The same, behind the reply: the client is told the state of the topic as it was there.
    Behind(Position),
}

impl Wish {
    /// Whether something may have to be replayed.
    pub(crate) fn replays(self) -> bool {
        matches!(self, Self::Missed(_) | Self::Behind(_))
    }
}

/// A request, on its way to where offsets are given.
pub(crate) struct Request {
    pub(crate) to: ConnId,
    pub(crate) topics: Vec<Asked>,
    pub(crate) answer: Answer,
}

/// A topic of a request, and what its line said.
pub(crate) struct Found {
    pub(crate) asked: Asked,
    /// Where the topic was then: what is published later comes live.
    pub(crate) at: Option<Position>,
    /// What was missed, if that was asked.
    pub(crate) missed: Option<Missed>,
    /// Its last value, for whoever has missed more, or asks for nothing.
    pub(crate) last: Option<Vec<RingSlice>>,
}

/// A request that has been to its topics' lines: all of it goes into the mailbox as one.
pub(crate) struct Recover {
    pub(crate) to: ConnId,
    pub(crate) topics: Vec<Found>,
    pub(crate) answer: Answer,
    /// It has waited for its turn: its connection may have ended some of it meanwhile.
    pub(crate) waited: bool,
    /// Bytes it has used of what may be replayed: what is not replayed of them is given back.
    pub(crate) spent: usize,
}

/// Who is told.
pub(crate) enum Answer {
    /// The host.
    Host(Settle),
    /// The client: its shard knows what.
    Client,
}

/// What became of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicOutcome {
    /// The topic's position: what is published later comes live. `None`: it cannot be recovered.
    pub position: Option<Position>,
    /// Everything behind the position that was named has been queued.
    pub recovered: bool,
    /// How many frames that were.
    pub count: u32,
}

/// What became of a request: its topics, in no order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Name and what became of it.
    pub topics: Vec<(Box<str>, TopicOutcome)>,
}

impl Outcome {
    /// Whether nothing is missing: of every topic all that was asked for has been queued.
    pub fn recovered(&self) -> bool {
        self.topics.iter().all(|(_, topic)| topic.recovered)
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    /// The connection is gone, or was before its turn came.
    Gone,
    /// As many requests wait for their turn as may.
    Busy,
}

type Tell = Box<dyn FnOnce(Result<Outcome, Unsettled>) + Send>;

/// Tells the host what became of its request: once, whatever happens.
pub struct Settle(Option<Tell>);

impl Settle {
    /// `tell` is called from any thread, under no lock.
    pub fn new(tell: impl FnOnce(Result<Outcome, Unsettled>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    pub(crate) fn settle(mut self, outcome: Result<Outcome, Unsettled>) {
        if let Some(tell) = self.0.take() {
            tell(outcome);
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(Unsettled::Gone));
        }
    }
}

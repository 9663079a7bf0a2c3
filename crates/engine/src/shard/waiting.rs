//! Requests to recover that wait until something may be replayed again, and what their connections have ended meanwhile: an
//! unsubscription must not be overtaken by what was asked before it. Bounded; knows no rate.

use std::collections::{HashMap, VecDeque};

use crate::id::ConnId;
use crate::recovery::{Asked, Request};

/// Requests that may wait for their turn.
const MAX_WAITING: usize = 65_536;
/// Topics they may name together.
const MAX_TOPICS: usize = 262_144;

/// Names of topics; `None`: all.
type Names = Option<Box<[Box<str>]>>;

/// Those that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting {
    /// Whose turn it is, once for each request.
    order: VecDeque<ConnId>,
    of: HashMap<ConnId, Line, foldhash::fast::RandomState>,
    /// Topics they name.
    topics: usize,
}

/// The requests of one connection.
#[derive(Default)]
struct Line {
    requests: VecDeque<Request>,
    /// How many have had their turn, and how many of them have come back from their topics' lines.
    sent: u64,
    back: u64,
    /// Subscriptions that were ended while some were on that way: how many had had their turn then, and which (`None`: all).
    ended: Vec<(u64, Names)>,
}

/// Topics that a connection has left.
pub(super) struct Left(Vec<Names>);

impl Left {
    /// Whether this is one of them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|names| is_among(names.as_deref(), name))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_among(names: Option<&[Box<str>]>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|ended| **ended == *name))
}

impl Waiting {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Has one more wait.
    ///
    /// # Errors
    /// As many wait as may: here it is again.
    pub(super) fn add(&mut self, request: Request) -> Result<(), Request> {
        if self.order.len() >= MAX_WAITING || self.topics + request.topics.len() > MAX_TOPICS {
            return Err(request);
        }
        self.order.push_back(request.to);
        self.topics += request.topics.len();
        self.of.entry(request.to).or_default().requests.push_back(request);
        Ok(())
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Request> {
        let to = self.order.pop_front()?;
        let request = self.of.get_mut(&to)?.requests.pop_front()?;
        self.topics -= request.topics.len();
        Some(request)
    }

    /// Its turn has not come: its connection's has again after the others, and then it is the first.
    pub(super) fn put_back(&mut self, request: Request) {
        self.order.push_back(request.to);
        self.topics += request.topics.len();
        self.of.entry(request.to).or_default().requests.push_front(request);
    }

    /// One has its turn and comes back through the mailbox.
    pub(super) fn send(&mut self, to: ConnId) {
        self.of.entry(to).or_default().sent += 1;
    }

    /// It is back. Returns what its connection has left meanwhile.
    pub(super) fn come_back(&mut self, to: ConnId) -> Left {
        let Some(line) = self.of.get_mut(&to) else { return Left(Vec::new()) };
        line.back += 1;
        let later = line.ended.iter().filter(|(sent, _)| *sent >= line.back);
        let left = Left(later.map(|(_, names)| names.clone()).collect());
        line.ended.retain(|(sent, _)| *sent > line.back);
        self.forget(to);
        left
    }

    /// The connection ends these subscriptions, or all. Returns those that waited.
    pub(super) fn end(&mut self, to: ConnId, names: Option<&[Box<str>]>) -> Vec<Asked> {
        let mut ended = Vec::new();
        let Some(line) = self.of.get_mut(&to) else { return ended };
        for request in &mut line.requests {
            ended.extend(request.topics.extract_if(.., |asked| is_among(names, &asked.entry.name)));
        }
        self.topics -= ended.len();
        if line.sent > line.back {
            line.ended.push((line.sent, names.map(Into::into)));
        }
        ended
    }

    /// The connection has nothing waiting, perhaps: then nothing is known of it.
    pub(super) fn forget(&mut self, to: ConnId) {
        if self.of.get(&to).is_some_and(|line| line.requests.is_empty() && line.sent == line.back) {
            self.of.remove(&to);
        }
    }
}

//! What clients have asked of the shard, in line: the requests of one connection wait for its next turn, and for the answer to a
//! question the one before them has put. Nobody else waits. A line that is long while a question waits stops its connection from
//! being read; until then pings are answered. Knows no connection.

use std::collections::{HashMap, VecDeque};

use super::applying::Applying;
use super::update::Update;
use crate::asking::{Answer, Inquiry};
use crate::clock::Millis;
use crate::conn::Request;

/// Requests behind one that waits for an answer; with more the connection is not read.
const MAX_WAITING: usize = 16;
/// Their bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The lines, by the slots of their connections.
#[derive(Default)]
pub(super) struct Updates {
    lines: HashMap<u32, Line, foldhash::fast::RandomState>,
    /// Lines whose first request waits for an answer, or is on its way.
    asking: usize,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Request>,
    /// Bytes of those.
    bytes: usize,
    pending: Option<Box<Pending>>,
    /// What has come of that.
    outcome: Option<Outcome>,
    /// The request before them is on its way through the mailbox.
    applying: Option<Box<Applying>>,
}

impl Line {
    /// Whether something has to come before the next is looked at.
    fn is_held(&self) -> bool {
        self.pending.is_some() || self.applying.is_some()
    }
}

/// A request that waits for an answer.
pub(super) struct Pending {
    pub(super) inquiry: Inquiry,
    /// When the host is late.
    pub(super) until: Millis,
    /// The topics of the question, in its order.
    pub(super) asked: Vec<Box<str>>,
    pub(super) purpose: Purpose,
    /// Bytes of the request.
    pub(super) bytes: usize,
}

/// What the answer is for.
pub(super) enum Purpose {
    /// Which topics of an update are allowed.
    Authorize(Update),
    /// What subscribers are told of topics, once the update is applied.
    Subscribe(Update),
    /// What a `sync_request` asks for.
    Sync,
}

/// What has come of a question.
pub(super) enum Outcome {
    Said(Answer),
    /// Nothing in time.
    Late,
}

/// What is next for a connection.
pub(super) enum Next {
    Nothing,
    /// An answer.
    Wait,
    Request(Request),
    Answered(Box<Pending>, Outcome),
}

impl Updates {
    /// Whether something is in line for the connection in `slot`.
    pub(super) fn wait_for(&self, slot: u32) -> bool {
        self.lines.contains_key(&slot)
    }

    /// Whether so much waits behind a question that nothing more is to be read from the connection in `slot`.
    pub(super) fn is_full(&self, slot: u32) -> bool {
        self.asking > 0
            && self
                .lines
                .get(&slot)
                .is_some_and(|line| line.is_held() && (line.waiting.len() >= MAX_WAITING || line.bytes >= MAX_BYTES))
    }

    /// Adds requests to the line; returns their bytes.
    pub(super) fn keep(&mut self, slot: u32, requests: Vec<Request>) -> usize {
        let bytes = requests.iter().map(Request::len).sum();
        if !requests.is_empty() {
            let line = self.lines.entry(slot).or_default();
            line.bytes += bytes;
            line.waiting.extend(requests);
        }
        bytes
    }

    /// Takes what is next.
    pub(super) fn next(&mut self, slot: u32) -> Next {
        let Some(line) = self.lines.get_mut(&slot) else { return Next::Nothing };
        if line.applying.is_some() {
            return Next::Wait;
        }
        let next = match (line.pending.take(), line.outcome.take()) {
            (Some(pending), Some(outcome)) => {
                self.asking -= 1;
                Next::Answered(pending, outcome)
            }
            (Some(pending), None) => {
                line.pending = Some(pending);
                return Next::Wait;
            }
            (None, _) => line.waiting.pop_front().map_or(Next::Nothing, Next::Request),
        };
        if let Next::Request(request) = &next {
            line.bytes -= request.len();
        }
        if line.waiting.is_empty() {
            self.lines.remove(&slot);
        }
        next
    }

    /// Those behind it wait for the answer from here on.
    pub(super) fn ask(&mut self, slot: u32, pending: Pending) {
        let line = self.lines.entry(slot).or_default();
        debug_assert!(!line.is_held(), "one at a time");
        line.pending = Some(Box::new(pending));
        self.asking += 1;
    }

    /// The request is on its way through the mailbox: those behind it wait.
    pub(super) fn apply(&mut self, slot: u32, applying: Applying) {
        let line = self.lines.entry(slot).or_default();
        debug_assert!(!line.is_held(), "one at a time");
        line.applying = Some(Box::new(applying));
        self.asking += 1;
    }

    /// It has arrived.
    pub(super) fn applied(&mut self, slot: u32) -> Option<Box<Applying>> {
        let line = self.lines.get_mut(&slot)?;
        let applying = line.applying.take()?;
        self.asking -= 1;
        if line.waiting.is_empty() {
            self.lines.remove(&slot);
        }
        Some(applying)
    }

    /// The answer to a question of the connection in `slot`; false when it waits for no such.
    pub(super) fn settle(&mut self, slot: u32, number: u64, answer: Answer) -> bool {
        let Some(line) = self.lines.get_mut(&slot) else { return false };
        let waits = line.pending.as_ref().is_some_and(|pending| pending.inquiry.number() == number);
        if waits && line.outcome.is_none() {
            line.outcome = Some(Outcome::Said(answer));
        }
        waits
    }

    /// Gives up the questions the host has not answered in time; returns whose they are.
    pub(super) fn expire(&mut self, now: Millis) -> Vec<u32> {
        if self.asking == 0 {
            return Vec::new();
        }
        // As many wait as may in all, and few lines have none.
        let late = self.lines.iter_mut().filter_map(|(slot, line)| {
            let due = line.pending.as_ref().is_some_and(|pending| now.has_reached(pending.until));
            (due && line.outcome.is_none()).then(|| {
                line.outcome = Some(Outcome::Late);
                *slot
            })
        });
        late.collect()
    }

    /// Drops the line of the connection in `slot`; returns its bytes.
    pub(super) fn forget(&mut self, slot: u32) -> usize {
        let Some(line) = self.lines.remove(&slot) else { return 0 };
        self.asking -= usize::from(line.is_held());
        line.bytes + line.pending.map_or(0, |pending| pending.bytes)
    }
}

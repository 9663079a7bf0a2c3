//! Calls about what is kept of topics: recovery, positions, history.

use wse_protocol::frame::parse_header;

use super::{Engine, Subscribed};
use crate::id::ConnId;
use crate::recovery::{Answer, Asked, Request, Settle, Wish};
use crate::topics::{Position, Refusal};

/// What a host wants to know of a topic's past.
#[derive(Debug, Clone, Copy)]
pub struct HistoryQuery {
    /// Only what was published after this offset.
    pub since: u64,
    /// At most so many.
    pub limit: usize,
    /// The newest of them, newest first; else the oldest, oldest first.
    pub reverse: bool,
}

/// What is kept of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Where the topic is.
    pub position: Position,
    /// Nothing is missing between the offset that was named and the messages that are kept.
    pub complete: bool,
    /// Offset and text, stamps included.
    pub messages: Vec<(u64, String)>,
}

impl Engine {
    /// Subscribes a connection and has it replayed what it has missed behind the positions it names, as one sequence with what is
    /// published later. `settle` is told by the connection's shard, once: only it knows that everything was queued. A topic that is
    /// held already, or through a pattern, is replayed and subscribed no second time. The answer tells how many topics were accepted,
    /// and which were not and why; without any, `settle` hears of none.
    pub fn subscribe_with_recovery(
        &self,
        to: ConnId,
        topics: &[(String, Option<Position>)],
        settle: Settle,
    ) -> (Subscribed, Vec<(String, &'static str)>) {
        let Some(peer) = self.shared.registry.get(to) else { return (Subscribed::UnknownConnection, Vec::new()) };
        let (mut asked, mut refused) = (Vec::with_capacity(topics.len()), Vec::new());
        let mut full = false;
        for (name, from) in topics {
            match self.shared.admit(&peer, name) {
                Ok(entry) => {
                    let wish = from.map_or(Wish::Last, Wish::Missed);
                    asked.push(Asked { entry, registered: true, covered: false, wish });
                }
                Err(refusal) => {
                    full |= refusal == Refusal::Subscriptions;
                    refused.push((name.clone(), refusal.as_str()));
                }
            }
        }
        if asked.is_empty() && full {
            return (Subscribed::NoBudget, refused);
        }
        let accepted = asked.len();
        self.shared.recover(Request { to, topics: asked, answer: Answer::Host(settle) });
        (Subscribed::Accepted(accepted), refused)
    }

    /// Where a topic is: its epoch, and the offset of the last publication. `None`: it cannot be recovered, or nobody has published or
    /// subscribed to it for as long as anything is kept.
    pub fn topic_position(&self, topic: &str) -> Option<Position> {
        self.shared.position(topic)
    }

    /// Where a topic is from here on: as [`Self::topic_position`], and where nothing is known of a topic that can be recovered its offsets
    /// begin now. `None`: it cannot be recovered, or [`crate::config::Recovery::memory_budget`] is used up.
    pub fn begin_topic(&self, topic: &str) -> Option<Position> {
        self.shared.begin(topic)
    }

    /// What is kept of a topic. `None`: as [`Self::topic_position`].
    pub fn history(&self, topic: &str, query: HistoryQuery) -> Option<History> {
        let entry = self.shared.topics.get(topic)?;
        let line = entry.line.as_ref()?;
        let (position, oldest, slices) = {
            let mut state = line.lock();
            let stream = state.live()?;
            stream.look(line, self.shared.clock.elapsed_ms());
            let (oldest, slices) = stream.kept(query.since.saturating_add(1));
            (stream.position(), oldest, slices)
        };
        let count: u64 = slices.iter().map(|slice| u64::from(slice.run().count())).sum();
        let skipped = if query.reverse { count.saturating_sub(query.limit as u64) } else { 0 };
        let payloads = slices.iter().flat_map(|slice| Payloads(slice.bytes()));
        let texts = payloads.skip(usize::try_from(skipped).unwrap_or(usize::MAX)).take(query.limit);
        let mut messages: Vec<(u64, String)> = (oldest + skipped..)
            .zip(texts)
            .map(|(offset, payload)| (offset, String::from_utf8_lossy(payload).into_owned()))
            .collect();
        if query.reverse {
            messages.reverse();
        }
        Some(History { position, complete: oldest <= query.since.saturating_add(1), messages })
    }
}

/// The payloads of whole frames.
struct Payloads<'a>(&'a [u8]);

impl<'a> Iterator for Payloads<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let header = parse_header(self.0).ok()??;
        let (payload, rest) = self.0.get(header.size..)?.split_at_checked(usize::try_from(header.payload).ok()?)?;
        self.0 = rest;
        Some(payload)
    }
}

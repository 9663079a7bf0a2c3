//! A batch of commands, in order: publications to their subscribers, frames to one connection or all, and the rest. Nothing
//! is written here; connections that owe something new are listed and flushed once at the end of the batch.

use std::ops::Range;
use std::sync::Arc;

use super::inbox::{Command, Mark};
use super::state::Unflushed;
use super::{Context, Shard};
use crate::config::SlowConsumer;
use crate::conn::{Connection, Dropped, Queued, reached};
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::topics::{Segment, TopicEntry};
use wse_protocol::close_code::CloseCode;

/// A run of at most this many bytes …
const COPY_BYTES: usize = 1024;
/// … to at most this many subscribers of the shard is copied instead of shared.
const COPY_RECIPIENTS: usize = 64;

/// One or more whole frames in the arena.
#[derive(Clone, Copy)]
struct Frames<'a> {
    bytes: &'a [u8],
    count: u32,
}

/// Where queues find the bytes of a distribution.
enum Source {
    /// In a segment.
    Shared { segment: Segment, place: Range<u32> },
    /// Each in its own copy.
    Copied,
}

impl Source {
    fn shared(segment: Segment, frames: Frames<'_>) -> Self {
        let place = segment.append(frames.bytes);
        Self::Shared { segment, place }
    }
}

/// What one distribution did.
#[derive(Default)]
struct Tally {
    /// Frames taken, over all queues.
    taken: u64,
    /// Bytes by which the queues have grown.
    grown: usize,
    operations: usize,
    /// Frames for queues that are closed.
    too_late: u64,
    /// Queues that did not take everything.
    full: Vec<(u32, Queued)>,
}

impl Tally {
    #[inline]
    fn queue(&mut self, connection: &mut Connection, slot: u32, frames: Frames<'_>, source: &Source, budget: usize) {
        let before = connection.out.weight();
        let queued = match source {
            Source::Shared { segment, place } => {
                connection.out.share(segment, place.start, place.end, frames.count, budget)
            }
            Source::Copied => connection.out.own(frames.bytes, frames.count, budget),
        };
        self.grown += connection.out.weight() - before;
        self.operations += 1;
        match queued {
            Queued::All => self.taken += u64::from(frames.count),
            Queued::Dropped { frames: lost, .. } => {
                self.taken += u64::from(frames.count - lost);
                self.full.push((slot, queued));
            }
            Queued::Closed => self.too_late += u64::from(frames.count),
        }
    }
}

impl Shard {
    /// Applies one command. Sockets and the end of the shard are the loop's.
    pub(crate) fn apply(&mut self, command: Command, arena: &[u8]) {
        let frames = |start: Mark, end: Mark, count| Frames { bytes: &arena[start as usize..end as usize], count };
        match command {
            Command::Publish { topic, start, end, count } => self.publish(&topic, frames(start, end, count)),
            Command::Send { to, start, end, count } => self.send(to, frames(start, end, count)),
            Command::SendAll { start, end, count } => self.send_all(frames(start, end, count)),
            Command::Subscribe { to, topics } => self.subscribe(to, topics),
            Command::Unsubscribe { to, topics } => self.unsubscribe(to, topics.as_deref()),
            Command::AclChanged => self.topics.acl_changed(),
            Command::Close { to, code, reason } => {
                let now = self.context.now();
                if let Some(connection) = self.find(to) {
                    connection.close_after(code, &reason, now);
                    self.touch(to.slot());
                }
            }
            Command::CloseAll { code, reason } => {
                let now = self.context.now();
                for slot in self.connections.occupied() {
                    if let Some(connection) = self.connections.get_mut(slot) {
                        connection.close_after(code, &reason, now);
                    }
                    self.touch(slot);
                }
            }
            Command::Resume => self.resume(),
            Command::Accept(_) | Command::Stop => {}
        }
    }

    /// Lists a connection for the flush and lets the wheel see its new deadlines.
    fn touch(&mut self, slot: u32) {
        self.rearm(slot);
        if let Some(connection) = self.connections.get_mut(slot) {
            mark_dirty(connection, slot, &mut self.dirty);
        }
    }

    fn publish(&mut self, topic: &Arc<TopicEntry>, frames: Frames<'_>) {
        let Self { topics, pool, connections, context, dirty, .. } = self;
        let mut route = topics.route(topic, |slot, name| {
            let connection = connections.get(slot);
            connection.is_none_or(|connection| connection.peer.allows(name))
        });
        // A short run to few is copied into each queue, where it joins with what other topics put there; anything else
        // exists once, in the topic's segment.
        let copied = frames.bytes.len() <= COPY_BYTES && route.recipients.len() <= COPY_RECIPIENTS;
        let source =
            if copied { Source::Copied } else { Source::shared(route.segment(frames.bytes.len(), pool), frames) };
        let mut tally = Tally::default();
        let budget = context.shared.config.max_outbound_bytes;
        route.recipients.for_each(|slot| {
            if let Some(connection) = connections.get_mut(slot) {
                tally.queue(connection, slot, frames, &source, budget);
                mark_dirty(connection, slot, dirty);
            }
        });
        context.cells.acl_denied.add(route.recipients.denied() * u64::from(frames.count));
        // Topics without exact subscribers have no segment of their own; theirs is dropped when everybody has sent it.
        if !copied && topic.id != 0 {
            self.unsettled.push(topic.id);
        }
        self.account(tally, frames);
    }

    fn send_all(&mut self, frames: Frames<'_>) {
        let Self { connections, context, dirty, .. } = self;
        let source = Source::shared(Segment::default(), frames);
        let mut tally = Tally::default();
        let budget = context.shared.config.max_outbound_bytes;
        connections.for_each_mut(|slot, connection| {
            tally.queue(connection, slot, frames, &source, budget);
            mark_dirty(connection, slot, dirty);
        });
        self.account(tally, frames);
    }

    /// Adds what a distribution did to the counters, and deals with the queues it found full.
    fn account(&mut self, tally: Tally, frames: Frames<'_>) {
        let cells = &self.context.cells;
        cells.messages_sent.add(tally.taken);
        cells.too_late.add(tally.too_late);
        cells.outbound_bytes.shift(0, tally.grown);
        self.unflushed.bytes += tally.grown;
        self.unflushed.operations += tally.operations;
        self.unflushed.connections = self.dirty.len();
        for (slot, queued) in tally.full {
            self.overflow(slot, queued, frames.bytes);
        }
    }

    fn send(&mut self, to: ConnId, frames: Frames<'_>) {
        if self.find(to).is_some() {
            self.own(to.slot(), frames);
        }
    }

    fn own(&mut self, slot: u32, frames: Frames<'_>) {
        let budget = self.context.shared.config.max_outbound_bytes;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let before = connection.out.weight();
        let queued = connection.out.own(frames.bytes, frames.count, budget);
        self.context.cells.outbound_bytes.shift(before, connection.out.weight());
        self.unflushed.bytes += connection.out.weight() - before;
        self.unflushed.operations += 1;
        mark_dirty(connection, slot, &mut self.dirty);
        match queued {
            Queued::All => self.context.cells.messages_sent.add(u64::from(frames.count)),
            Queued::Dropped { frames: lost, .. } => {
                self.context.cells.messages_sent.add(u64::from(frames.count - lost));
                self.overflow(slot, queued, frames.bytes);
            }
            Queued::Closed => self.context.cells.too_late.add(u64::from(frames.count)),
        }
    }

    /// The end of `frames` did not fit a connection's budget. A socket that has not been tried since the last flush may
    /// take what is queued: only a connection that stays full is slow.
    #[cold]
    fn overflow(&mut self, slot: u32, mut queued: Queued, frames: &[u8]) {
        let budget = self.context.shared.config.max_outbound_bytes;
        while let Queued::Dropped { frames: count, bytes } = queued {
            if self.connections.get(slot).is_none_or(|connection| connection.blocked) {
                break;
            }
            if !self.flush(slot) {
                return;
            }
            let Some(connection) = self.connections.get_mut(slot) else { return };
            let before = connection.out.weight();
            queued = connection.out.own(&frames[frames.len() - bytes..], count, budget);
            self.context.cells.outbound_bytes.shift(before, connection.out.weight());
            self.unflushed.bytes += connection.out.weight() - before;
            self.unflushed.operations += 1;
            let left = if let Queued::Dropped { frames, .. } = queued { frames } else { 0 };
            self.context.cells.messages_sent.add(u64::from(count - left));
            if left == count {
                break;
            }
        }
        self.slow(slot, queued);
    }

    /// A connection's budget is used up: counts, reports, and closes it if that is the policy.
    #[cold]
    fn slow(&mut self, slot: u32, queued: Queued) {
        let Queued::Dropped { frames, bytes } = queued else { return };
        let now = self.context.now();
        let policy = self.context.shared.config.slow_consumer;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        self.context.cells.slow_consumer_drops.add(u64::from(frames));
        Dropped::note(&mut connection.dropped, frames, bytes);
        let close = policy == SlowConsumer::Close;
        let due = connection.dropped.as_ref().and_then(|dropped| dropped.due(now)).unwrap_or(now);
        if close || reached(now, due) {
            tell_dropped(&mut self.context, connection, close, close);
        } else if !reached(due, connection.timer) {
            self.rearm(slot);
        }
        if close {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            connection.close_now(CloseCode::RECONNECT, "slow consumer", now);
            self.touch(slot);
        }
    }

    /// Writes what the batch queued, then takes back the segments nobody owes any more.
    pub(crate) fn flush_dirty(&mut self) {
        self.unflushed = Unflushed::default();
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            connection.dirty = false;
            // A blocked socket is flushed by its own task when it takes more.
            if connection.blocked {
                let crossed =
                    connection.update_congestion(self.context.shared.config.max_outbound_bytes, || self.context.now());
                self.count_congestion(slot, crossed);
            } else {
                self.flush(slot);
            }
        }
        self.dirty = dirty;
        let mut unsettled = std::mem::take(&mut self.unsettled);
        for topic in unsettled.drain(..) {
            self.topics.settle(topic, &mut self.pool);
        }
        self.unsettled = unsettled;
    }
}

#[inline]
fn mark_dirty(connection: &mut Connection, slot: u32, dirty: &mut Vec<u32>) {
    if !std::mem::replace(&mut connection.dirty, true) {
        dirty.push(slot);
    }
}

/// Tells the host what a connection has lost since it was told last, if anything. `last`: it is about to go.
pub(super) fn tell_dropped(context: &mut Context, connection: &mut Connection, close: bool, last: bool) {
    // Reports are no more exempt from the host's limits than messages: while it is behind they add up and wait.
    if !last && context.lane_is_over(connection.lane) {
        return;
    }
    let Some(dropped) = connection.dropped.as_mut().filter(|dropped| dropped.frames > 0) else { return };
    let report = format!(
        r#"{{"policy":"{}","queuedBytes":{},"droppedMessages":{},"droppedBytes":{}}}"#,
        if close { "close" } else { "drop" },
        connection.out.weight(),
        dropped.frames,
        dropped.bytes
    );
    **dropped = Dropped { told: Some(context.now()), ..Dropped::default() };
    context.event(connection.lane, Kind::SlowConsumer, connection.peer.id, report.as_bytes());
}

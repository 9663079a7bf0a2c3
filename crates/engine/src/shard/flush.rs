//! The end of a batch: what is staged goes straight from the arena to each socket that owes nothing, and into the queue of
//! any other; then the queues are written. Deals with connections whose budget is used up.

use std::rc::Rc;

use super::fanout::mark_dirty;
use super::staging::Place;
use super::state::Unflushed;
use super::{Context, Shard};
use crate::config::SlowConsumer;
use crate::conn::{Connection, Dropped, Queued, WroteThrough, reached};
use crate::inbound::Kind;
use wse_protocol::close_code::CloseCode;

/// Staged places are joined into writes of about this size.
const JOIN_BYTES: usize = 64 * 1024;
/// A run of places that stand side by side in the arena is written from there from this size on.
const IN_PLACE_BYTES: usize = 16 * 1024;

/// Places of one connection as contiguous bytes, piece by piece.
struct Pieces<'a> {
    arena: &'a [u8],
    places: &'a [Place],
    joined: &'a mut Vec<u8>,
}

impl<'a> Pieces<'a> {
    /// The next piece and its frames; `None` after the last.
    fn next(&mut self) -> Option<(&[u8], u32)> {
        let (first, rest) = self.run()?;
        self.places = rest;
        if rest.is_empty() || size(first) >= IN_PLACE_BYTES {
            return Some((self.bytes(first), first.count));
        }
        self.joined.clear();
        self.joined.extend_from_slice(&self.arena[first.start as usize..first.end as usize]);
        let mut count = first.count;
        while self.joined.len() < JOIN_BYTES
            && let Some((run, rest)) = self.run()
            && size(run) < IN_PLACE_BYTES
        {
            self.joined.extend_from_slice(&self.arena[run.start as usize..run.end as usize]);
            count += run.count;
            self.places = rest;
        }
        Some((self.joined, count))
    }

    fn bytes(&self, run: Place) -> &[u8] {
        &self.arena[run.start as usize..run.end as usize]
    }

    /// The places in front that stand side by side, as one, and those behind.
    fn run(&self) -> Option<(Place, &'a [Place])> {
        let (first, mut rest) = self.places.split_first()?;
        let mut run = *first;
        while let Some((next, after)) = rest.split_first()
            && next.start == run.end
        {
            run.end = next.end;
            run.count += next.count;
            rest = after;
        }
        Some((run, rest))
    }
}

fn size(place: Place) -> usize {
    (place.end - place.start) as usize
}

impl Shard {
    /// Whether something waits for [`Self::flush_some`].
    pub(crate) fn has_unflushed(&self) -> bool {
        !self.staging.is_empty() || !self.dirty.is_empty()
    }

    /// Writes what the batch left for up to `limit` connections.
    pub(crate) fn flush_some(&mut self, limit: usize) {
        self.unflushed = Unflushed::default();
        for _ in 0..limit {
            if !self.staging.is_empty() {
                self.settle_next(true);
                continue;
            }
            let Some(slot) = self.dirty.pop_front() else { break };
            self.flush_dirty(slot);
        }
        if !self.has_unflushed() {
            // Takes back the segments nobody owes any more.
            for place in self.unsettled.drain(..) {
                self.topics.settle(place, &mut self.pool);
            }
        }
    }

    fn flush_dirty(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.dirty = false;
        self.serving = Some(slot);
        // A blocked socket is flushed by its own task when it takes more.
        if connection.blocked {
            let budget = self.context.shared.config.max_outbound_bytes;
            let crossed = connection.update_congestion(budget, || self.context.now());
            self.count_congestion(slot, crossed);
        } else {
            self.flush(slot);
        }
        self.serving = None;
    }

    /// Moves everything staged into the queues, because something that must not overtake it comes next.
    pub(super) fn unstage(&mut self) {
        while !self.staging.is_empty() {
            self.settle_next(false);
        }
    }

    /// Settles what is staged for the next connection.
    fn settle_next(&mut self, write: bool) {
        let mut places = std::mem::take(&mut self.places);
        if let Some(slot) = self.staging.next(&mut places) {
            self.settle(slot, &places, write);
        }
        self.places = places;
    }

    /// Settles what is staged for one connection out of its turn: something is about to happen that comes after it.
    pub(crate) fn settle_now(&mut self, slot: u32) {
        let mut places = std::mem::take(&mut self.places);
        if self.staging.take(slot, &mut places) {
            self.settle(slot, &places, true);
        }
        self.places = places;
    }

    /// Writes places to a connection if nothing stands in the way and that is wanted, else queues them.
    fn settle(&mut self, slot: u32, places: &[Place], write: bool) {
        self.serving = Some(slot);
        let arena = Rc::clone(&self.arena);
        let mut joined = std::mem::take(&mut self.context.scratch);
        let mut pieces = Pieces { arena: &arena, places, joined: &mut joined };
        while let Some((frames, count)) = pieces.next() {
            if !(write && self.write_through(slot, frames, count)) {
                self.own(slot, frames, count);
            }
        }
        if joined.capacity() > 4 * JOIN_BYTES {
            joined = Vec::new();
        }
        self.context.scratch = joined;
        self.serving = None;
    }

    /// Writes frames to a connection that owes nothing; what its socket does not take it owes. False: nothing was done.
    fn write_through(&mut self, slot: u32, frames: &[u8], count: u32) -> bool {
        let budget = self.context.shared.config.max_outbound_bytes;
        let Some(connection) = self.connections.get_mut(slot) else { return true };
        let queued = match connection.write_through(frames, count, budget, &self.context.cells) {
            WroteThrough::Not => return false,
            WroteThrough::All => {
                self.context.cells.messages_sent.add(u64::from(count));
                return true;
            }
            WroteThrough::Over => {
                let id = connection.peer.id;
                self.context.cells.too_late.add(u64::from(count));
                self.remove(id);
                return true;
            }
            WroteThrough::Part(queued) => queued,
        };
        self.staging.block(slot, true);
        let crossed = connection.update_congestion(budget, || self.context.now());
        self.count_congestion(slot, crossed);
        self.count(slot, queued, frames, count);
        true
    }

    /// Puts frames into a connection's own queue.
    pub(super) fn own(&mut self, slot: u32, frames: &[u8], count: u32) {
        let budget = self.context.shared.config.max_outbound_bytes;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let before = connection.out.weight();
        let queued = connection.out.own(frames, count, budget);
        self.context.cells.outbound_bytes.shift(before, connection.out.weight());
        mark_dirty(connection, slot, &mut self.dirty);
        self.count(slot, queued, frames, count);
    }

    /// Counts what became of `count` frames, and deals with a queue that was full.
    fn count(&mut self, slot: u32, queued: Queued, frames: &[u8], count: u32) {
        let cells = &self.context.cells;
        match queued {
            Queued::All => cells.messages_sent.add(u64::from(count)),
            Queued::Dropped { frames: lost, .. } => {
                cells.messages_sent.add(u64::from(count - lost));
                self.overflow(slot, queued, frames);
            }
            Queued::Closed => cells.too_late.add(u64::from(count)),
        }
    }

    /// The end of `frames` did not fit a connection's budget. A socket that has not been tried since the last flush may
    /// take what is queued: only a connection that stays full is slow.
    #[cold]
    pub(super) fn overflow(&mut self, slot: u32, mut queued: Queued, frames: &[u8]) {
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

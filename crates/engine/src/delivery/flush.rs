//! The end of a batch: what is staged goes straight from the arena to each socket that owes nothing, and into the queue of
//! any other; then the queues are written.

use std::rc::Rc;

use super::pieces::{Pieces, is_oversized};
use super::{Delivery, Floor, Unflushed};
use crate::conn::{Connection, Loss, Offer, WroteThrough};
use crate::frames::{Run, skip_frames};

impl Delivery {
    /// Writes what the batch left for up to `limit` connections.
    pub(crate) fn flush_some(&mut self, floor: &mut Floor<'_>, limit: usize) {
        self.unflushed = Unflushed::default();
        for _ in 0..limit {
            if !self.staging.is_empty() {
                self.settle_next(floor, Settle::Write);
                continue;
            }
            let Some(slot) = self.listed.pop_front() else { break };
            self.flush_listed(floor, slot);
        }
        self.flushing = self.is_unflushed();
        if !self.flushing {
            // Closes the segments this batch has filled.
            for place in self.unsettled.drain(..) {
                floor.topics.settle(place, &mut self.pool);
            }
        }
    }

    fn flush_listed(&mut self, floor: &mut Floor<'_>, slot: u32) {
        let Some(connection) = floor.connections.get_mut(slot) else { return };
        connection.unlist();
        self.serving = Some(slot);
        // A blocked socket is flushed in its connection's own turn, once it takes more.
        if connection.is_blocked() {
            connection.settle(floor.context);
        } else {
            self.flush(floor, slot);
        }
        self.serving = None;
    }

    /// Writes what a connection is owed; false when that ended it.
    pub(crate) fn flush(&mut self, floor: &mut Floor<'_>, slot: u32) -> bool {
        let Some(connection) = floor.connections.get_mut(slot) else { return false };
        let blocked = connection.is_blocked();
        let alive = connection.flush(floor.context);
        if !alive {
            self.over.push(connection.id());
        } else if connection.is_blocked() != blocked {
            self.staging.block(slot, connection.needs_queue());
        }
        alive
    }

    /// Moves everything staged into the queues, because something that must not overtake it comes next.
    pub(crate) fn unstage(&mut self, floor: &mut Floor<'_>) {
        while !self.staging.is_empty() {
            self.settle_next(floor, Settle::Queue);
        }
    }

    /// The same, if something is staged for this connection.
    pub(crate) fn unstage_for(&mut self, floor: &mut Floor<'_>, slot: u32) {
        if self.staging.has(slot) {
            self.unstage(floor);
        }
    }

    /// Settles what is staged for the next connection.
    fn settle_next(&mut self, floor: &mut Floor<'_>, how: Settle) {
        let mut runs = std::mem::take(&mut self.runs);
        if let Some(slot) = self.staging.next(&mut runs) {
            self.settle(floor, slot, &runs, how);
        }
        self.runs = runs;
    }

    /// Settles what is staged for one connection out of its turn: something is about to happen that comes after it.
    pub(crate) fn settle_now(&mut self, floor: &mut Floor<'_>, slot: u32) {
        let mut runs = std::mem::take(&mut self.runs);
        if self.staging.take(slot, &mut runs) {
            self.settle(floor, slot, &runs, Settle::Write);
        }
        self.runs = runs;
    }

    /// Writes runs to a connection if nothing stands in the way and that is wanted, else queues them.
    fn settle(&mut self, floor: &mut Floor<'_>, slot: u32, runs: &[Run], how: Settle) {
        self.serving = Some(slot);
        let arena = Rc::clone(&self.arena);
        let mut joined = std::mem::take(&mut floor.context.scratch);
        let mut pieces = Pieces::new(&arena, runs, &mut joined);
        while let Some((frames, count)) = pieces.next() {
            if !(how == Settle::Write && self.write_through(floor, slot, frames, count)) {
                self.own(floor, slot, frames, count);
            }
        }
        if is_oversized(&joined) {
            joined = Vec::new();
        }
        floor.context.scratch = joined;
        self.serving = None;
    }

    /// Writes frames to a connection that owes nothing; what its socket does not take it owes. False: nothing was done.
    fn write_through(&mut self, floor: &mut Floor<'_>, slot: u32, frames: &[u8], count: u32) -> bool {
        let Some(connection) = floor.connections.get_mut(slot) else { return true };
        match connection.write_through(frames, count, floor.context) {
            WroteThrough::Not => return false,
            WroteThrough::All => {}
            WroteThrough::Over => self.over.push(connection.id()),
            WroteThrough::Part(loss) => {
                self.staging.block(slot, true);
                if !loss.is_none() {
                    self.lose(floor, slot, loss);
                }
            }
        }
        true
    }

    /// Puts frames into a connection's own queue.
    pub(super) fn own(&mut self, floor: &mut Floor<'_>, slot: u32, frames: &[u8], count: u32) {
        let Some(connection) = floor.connections.get_mut(slot) else { return };
        let loss = connection.offer(Offer::Copied { frames, count }, floor.context);
        self.list(slot, connection);
        if !loss.is_none() {
            self.retry(floor, slot, loss, frames, count);
        }
    }

    /// The end of `frames` did not fit a connection's budget. A socket that has not been tried since the last flush may
    /// take what is queued: only a connection that stays full is slow.
    #[cold]
    pub(super) fn retry(&mut self, floor: &mut Floor<'_>, slot: u32, mut loss: Loss, frames: &[u8], count: u32) {
        while !loss.is_none() {
            if floor.connections.get(slot).is_none_or(Connection::is_blocked) {
                break;
            }
            if !self.flush(floor, slot) {
                floor.context.counters.too_late.add(u64::from(loss.frames));
                return;
            }
            let Some(connection) = floor.connections.get_mut(slot) else { return };
            let left = &frames[skip_frames(frames, count - loss.frames)..];
            let before = loss.frames;
            loss = connection.offer(Offer::Copied { frames: left, count: before }, floor.context);
            if loss.frames == before {
                break;
            }
        }
        if !loss.is_none() {
            self.lose(floor, slot, loss);
        }
    }

    #[cold]
    fn lose(&mut self, floor: &mut Floor<'_>, slot: u32, loss: Loss) {
        let Some(connection) = floor.connections.get_mut(slot) else { return };
        connection.lose(loss, floor.context);
        self.list(slot, connection);
    }
}

/// How staged runs are settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settle {
    /// Written where nothing is owed, else queued.
    Write,
    /// Queued.
    Queue,
}

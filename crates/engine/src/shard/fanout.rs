//! A batch of commands, in order: publications to their subscribers, frames to one connection or all, and the rest. Short
//! runs are staged; long ones, and what sockets that are blocked will have to wait for, go into a shared segment and the
//! queues. Nothing is written here: that is `flush`'s.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Shard;
use super::inbox::Command;
use super::staging::Place;
use crate::conn::{Connection, Queued};
use crate::id::ConnId;
use crate::topics::{Route, Segment, Target};

/// A run of at most this many bytes is staged; a longer one would be copied for every socket that does not take all of it.
const STAGE_BYTES: usize = 1024;
/// At most this many blocked connections get a copy of a short run; for more it is shared.
const COPIES: usize = 64;

/// One or more whole frames in the arena.
#[derive(Clone, Copy)]
struct Frames<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Frames<'a> {
    fn at(place: Place, arena: &'a [u8]) -> Self {
        Self { bytes: &arena[place.start as usize..place.end as usize], count: place.count }
    }
}

/// Where queues find the frames of a distribution.
struct Slice {
    segment: Segment,
    start: u32,
    end: u32,
    count: u32,
}

impl Slice {
    fn new(segment: Segment, frames: Frames<'_>) -> Self {
        let place = segment.append(frames.bytes);
        Self { segment, start: place.start, end: place.end, count: frames.count }
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
    fn queue(&mut self, connection: &mut Connection, slot: u32, slice: &Slice, budget: usize) {
        let before = connection.out.weight();
        let Slice { segment, start, end, count } = slice;
        let queued = connection.out.share(segment, *start, *end, *count, budget);
        self.grown += connection.out.weight() - before;
        self.operations += 1;
        match queued {
            Queued::All => self.taken += u64::from(*count),
            Queued::Dropped { frames: lost, .. } => {
                self.taken += u64::from(count - lost);
                self.full.push((slot, queued));
            }
            Queued::Closed => self.too_late += u64::from(*count),
        }
    }
}

impl Shard {
    /// Applies one command. Sockets and the end of the shard are the loop's.
    pub(crate) fn apply(&mut self, command: Command) {
        match command {
            Command::Publish { topic, start, end, count } => self.publish(&topic, Place { start, end, count }),
            Command::Send { to, start, end, count } => self.send(to, Place { start, end, count }),
            Command::SendAll { start, end, count } => self.send_all(Place { start, end, count }),
            Command::Subscribe { to, topics } => self.subscribe(to, topics),
            Command::Unsubscribe { to, topics } => self.unsubscribe(to, topics.as_deref()),
            Command::AclChanged => self.topics.acl_changed(),
            Command::Close { to, code, reason } => {
                self.unstage();
                let now = self.context.now();
                if let Some(connection) = self.find(to) {
                    connection.close_after(code, &reason, now);
                    self.touch(to.slot());
                }
            }
            Command::CloseAll { code, reason } => {
                self.unstage();
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
    pub(super) fn touch(&mut self, slot: u32) {
        self.rearm(slot);
        if let Some(connection) = self.connections.get_mut(slot) {
            mark_dirty(connection, slot, &mut self.dirty);
        }
    }

    /// Counts a short run towards the next flush, wherever it goes.
    fn count_run(&mut self, recipients: usize, place: Place) {
        self.unflushed.bytes += recipients * (place.end - place.start) as usize;
        self.unflushed.operations += recipients;
        self.unflushed.connections = self.dirty.len() + self.staging.connections();
    }

    fn send(&mut self, to: ConnId, place: Place) {
        if self.find(to).is_none() {
            return;
        }
        if !self.staging.push(to.slot(), place) {
            let arena = Rc::clone(&self.arena);
            let Frames { bytes, count } = Frames::at(place, &arena);
            self.own(to.slot(), bytes, count);
        }
        self.count_run(1, place);
    }

    fn publish(&mut self, topic: &Target, place: Place) {
        let arena = Rc::clone(&self.arena);
        let frames = Frames::at(place, &arena);
        let Self { topics, connections, staging, context, .. } = self;
        let allows = |slot, name: &str| connections.get(slot).is_none_or(|connection| connection.peer.allows(name));
        let Route { recipients, .. } = topics.route(topic, allows);
        context.cells.acl_denied.add(recipients.denied() * u64::from(frames.count));
        let total = recipients.len();
        if total == 0 {
            return;
        }
        if frames.bytes.len() > STAGE_BYTES {
            // What is staged came first.
            self.unstage();
            self.share(topic, frames, None);
            return;
        }
        let mut behind = Vec::new();
        recipients.for_each(|slot| {
            if !staging.push(slot, place) {
                behind.push(slot);
            }
        });
        if behind.len() > COPIES {
            self.share(topic, frames, Some(&behind));
        } else {
            behind.into_iter().for_each(|slot| self.own(slot, frames.bytes, frames.count));
        }
        self.count_run(total, place);
    }

    /// Hands frames to many, of all recipients or those named: the bytes exist once, in the topic's segment.
    fn share(&mut self, topic: &Target, frames: Frames<'_>, only: Option<&[u32]>) {
        let Self { topics, pool, connections, context, dirty, .. } = self;
        let allows = |slot, name: &str| connections.get(slot).is_none_or(|connection| connection.peer.allows(name));
        let mut route = topics.route(topic, allows);
        let slice = Slice::new(route.segment(frames.bytes.len(), pool), frames);
        let mut tally = Tally::default();
        let budget = context.shared.config.max_outbound_bytes;
        let each = |slot| {
            if let Some(connection) = connections.get_mut(slot) {
                tally.queue(connection, slot, &slice, budget);
                mark_dirty(connection, slot, dirty);
            }
        };
        match only {
            None => route.recipients.for_each(each),
            Some(slots) => slots.iter().copied().for_each(each),
        }
        // Topics without exact subscribers have no segment of their own; theirs is dropped when everybody has sent it.
        self.unsettled.extend(route.place);
        self.account(tally, frames);
    }

    fn send_all(&mut self, place: Place) {
        self.unstage();
        let arena = Rc::clone(&self.arena);
        let frames = Frames::at(place, &arena);
        let Self { connections, context, dirty, .. } = self;
        let slice = Slice::new(Segment::default(), frames);
        let mut tally = Tally::default();
        let budget = context.shared.config.max_outbound_bytes;
        connections.for_each_mut(|slot, connection| {
            tally.queue(connection, slot, &slice, budget);
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
        self.unflushed.connections = self.dirty.len() + self.staging.connections();
        for (slot, queued) in tally.full {
            self.overflow(slot, queued, frames.bytes);
        }
    }
}

#[inline]
pub(super) fn mark_dirty(connection: &mut Connection, slot: u32, dirty: &mut VecDeque<u32>) {
    if !std::mem::replace(&mut connection.dirty, true) {
        dirty.push_back(slot);
    }
}

//! A batch of commands, in order: publications to their subscribers, frames to one connection or all, and the rest. Nothing
//! is written here; connections that owe something new are listed and flushed once at the end of the batch.

use std::sync::Arc;

use super::inbox::{Command, Mark};
use super::{Context, Shard};
use crate::config::SlowConsumer;
use crate::conn::{Connection, Dropped, Queued, reached};
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::topics::TopicEntry;
use wse_protocol::close_code::CloseCode;

/// One or more whole frames in the arena.
#[derive(Clone, Copy)]
struct Frames<'a> {
    bytes: &'a [u8],
    count: u32,
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
            Command::SetAcl { to, acl } => {
                if let Some(connection) = self.find(to) {
                    connection.peer.rare.lock().acl = acl;
                    self.topics.acl_changed();
                }
            }
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
        let segment = topics.segment(topic, frames.bytes.len(), pool);
        let place = segment.append(frames.bytes);
        let budget = context.shared.config.max_outbound_bytes;
        let recipients = topics.recipients(topic, |slot, name| {
            let connection = connections.get(slot);
            connection.is_none_or(|connection| connection.peer.acl().is_none_or(|acl| acl.allows(name)))
        });
        let (mut taken, mut grown, mut slow) = (0_u64, 0_usize, Vec::new());
        recipients.for_each(|slot| {
            let Some(connection) = connections.get_mut(slot) else { return };
            let before = connection.out.weight();
            let queued = connection.out.share(&segment, place.start, place.end, frames.count, budget);
            grown += connection.out.weight() - before;
            match queued {
                Queued::All => taken += u64::from(frames.count),
                Queued::Dropped { frames: lost, .. } => {
                    taken += u64::from(frames.count - lost);
                    slow.push((slot, queued));
                }
                Queued::Closed => {}
            }
            mark_dirty(connection, slot, dirty);
        });
        context.cells.acl_denied.add(recipients.denied() * u64::from(frames.count));
        context.cells.messages_sent.add(taken);
        context.cells.outbound_bytes.shift(0, grown);
        let id = topic.id;
        // Topics without exact subscribers have no segment of their own; this one is dropped when everybody has sent it.
        if id != 0 {
            self.unsettled.push(id);
        }
        for (slot, queued) in slow {
            self.slow(slot, queued);
        }
    }

    fn send(&mut self, to: ConnId, frames: Frames<'_>) {
        if self.find(to).is_some() {
            self.own(to.slot(), frames);
        }
    }

    fn send_all(&mut self, frames: Frames<'_>) {
        for slot in self.connections.occupied() {
            self.own(slot, frames);
        }
    }

    fn own(&mut self, slot: u32, frames: Frames<'_>) {
        let budget = self.context.shared.config.max_outbound_bytes;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let before = connection.out.weight();
        let queued = connection.out.own(frames.bytes, frames.count, budget);
        self.context.cells.outbound_bytes.shift(before, connection.out.weight());
        mark_dirty(connection, slot, &mut self.dirty);
        match queued {
            Queued::All => self.context.cells.messages_sent.add(u64::from(frames.count)),
            Queued::Dropped { frames: lost, .. } => {
                self.context.cells.messages_sent.add(u64::from(frames.count - lost));
                self.slow(slot, queued);
            }
            Queued::Closed => {}
        }
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
            tell_dropped(&mut self.context, connection, close);
        } else if !reached(due, connection.timer) {
            self.rearm(slot);
        }
        if close {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            let abandoned = connection.close_now(CloseCode::RECONNECT, "slow consumer", now);
            self.context.cells.abandoned_bytes.add(abandoned as u64);
            self.touch(slot);
        }
    }

    /// Writes what the batch queued, then takes back the segments nobody owes any more.
    pub(crate) fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            connection.dirty = false;
            // A blocked socket is flushed by its own task when it takes more.
            if connection.blocked {
                let moved = connection.update_congestion(self.context.shared.config.max_outbound_bytes);
                self.count_congestion(moved);
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

/// Tells the host what a connection has lost since it was told last, if anything.
pub(super) fn tell_dropped(context: &mut Context, connection: &mut Connection, close: bool) {
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

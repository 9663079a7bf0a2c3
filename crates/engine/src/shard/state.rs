//! What a shard owns, and the two ways a connection changes there: its socket became ready, or it leaves. All of it is
//! touched by the shard's thread only.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{self, Poll};

use super::context::Context;
use super::flush::tell_dropped;
use super::slots::Slots;
use super::staging::{Place, Staging};
use super::wheel::{Entry, TICK_MS, Wheel};
use crate::clock::Clock;
use crate::conn::{Connection, Crossed, Flushed, Phase, Read, reached};
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::shared::Shared;
use crate::topics::{LocalTopics, SegmentPool};

/// Reads of one connection in a row before the others get their turn.
const READS_IN_A_ROW: usize = 4;

/// A wheel that was not moved for longer than this stood still with its shard, and nobody's silence counts.
const STALL_MS: u32 = 1000;

/// A shard, shared between its loop and its connections' tasks on one thread.
pub(crate) type SharedShard = Rc<RefCell<Shard>>;

/// Everything one shard owns.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) connections: Slots<Connection>,
    pub(crate) topics: LocalTopics,
    pub(crate) pool: SegmentPool,
    pub(crate) wheel: Wheel,
    pub(crate) context: Context,
    /// Connections to flush at the end of the batch.
    pub(crate) dirty: VecDeque<u32>,
    /// Connections not read while the host does not drain.
    pub(crate) paused: Vec<u32>,
    /// Places of topics published in this batch, whose segments may be free after the flush.
    pub(crate) unsettled: Vec<u32>,
    /// What the batch holds for single connections.
    pub(crate) staging: Staging,
    /// The staged places of one connection.
    pub(crate) places: Vec<Place>,
    /// The bytes of the batch in work.
    pub(crate) arena: Rc<Vec<u8>>,
    /// The connection a step of the loop is serving: after a panic, the one that goes.
    pub(crate) serving: Option<u32>,
    pub(crate) unflushed: Unflushed,
    due: Vec<Entry>,
    /// When the wheel was last moved.
    ticked: u32,
}

/// What was queued since the last flush.
#[derive(Default)]
pub(crate) struct Unflushed {
    pub(crate) bytes: usize,
    /// Times something was staged or put into a queue.
    pub(crate) operations: usize,
    /// Connections that owe some of it, those that are both staged for and queued for twice.
    pub(crate) connections: usize,
}

impl Unflushed {
    /// Whether the connections owe `bytes` each, or `operations` have come together.
    #[inline]
    pub(crate) const fn is_due(&self, bytes: usize, operations: usize) -> bool {
        self.operations >= operations || (self.bytes >= bytes && self.bytes / bytes >= self.connections)
    }
}

impl Shard {
    pub(crate) fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self {
            index,
            connections: Slots::default(),
            topics: LocalTopics::new(index),
            pool: SegmentPool::default(),
            wheel: Wheel::new(shared.clock.now()),
            dirty: VecDeque::new(),
            paused: Vec::new(),
            unsettled: Vec::new(),
            staging: Staging::default(),
            places: Vec::new(),
            arena: Rc::default(),
            serving: None,
            unflushed: Unflushed::default(),
            due: Vec::new(),
            ticked: shared.clock.now(),
            context: Context::new(shared, index),
        }
    }

    /// The connection an id names, if it is still that one.
    pub(crate) fn find(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot()).filter(|connection| connection.peer.id == id)
    }

    /// The body of a connection's task. A panic in it ends this connection and nothing else.
    pub(crate) fn poll(&mut self, cx: &mut task::Context<'_>, id: ConnId) -> Poll<()> {
        match catch_unwind(AssertUnwindSafe(|| self.serve(cx, id))) {
            Ok(poll) => poll,
            Err(_) => {
                self.recover();
                self.remove(id);
                Poll::Ready(())
            }
        }
    }

    /// After a panic: counts it and mends what it may have left half done.
    pub(crate) fn recover(&mut self) {
        self.context.cells.panics.add(1);
        self.context.restore();
        let dirty = &mut self.dirty;
        dirty.clear();
        self.connections.for_each_mut(|slot, connection| {
            if connection.dirty {
                dirty.push_back(slot);
            }
        });
        // Its stream may have stopped within a frame.
        let served = self.serving.take().and_then(|slot| self.connections.get(slot));
        if let Some(id) = served.map(|connection| connection.peer.id) {
            self.remove(id);
        }
    }

    fn serve(&mut self, cx: &mut task::Context<'_>, id: ConnId) -> Poll<()> {
        let slot = id.slot();
        let Some(connection) = self.find(id) else { return Poll::Ready(()) };
        if !connection.waker.will_wake(cx.waker()) {
            connection.waker.clone_from(cx.waker());
        }
        let phase = connection.phase;
        if connection.blocked && !self.flush(slot) {
            return Poll::Ready(());
        }
        for _ in 0..READS_IN_A_ROW {
            let Some(connection) = self.connections.get_mut(slot) else { return Poll::Ready(()) };
            // A closing connection is read all the same: what counts is its Close.
            if connection.phase == Phase::Open && self.context.must_pause(connection.lane) {
                if !std::mem::replace(&mut connection.paused, true) {
                    self.paused.push(slot);
                    self.context.cells.read_pauses.add(1);
                }
                return Poll::Pending;
            }
            match connection.read(cx, &mut self.context) {
                Read::Pending => return Poll::Pending,
                Read::Over => {
                    self.remove(id);
                    return Poll::Ready(());
                }
                Read::More { subscription_updates } => {
                    if !subscription_updates.is_empty() {
                        // What was published before is delivered before the answer.
                        self.settle_now(slot);
                    }
                    for payload in subscription_updates {
                        self.answer_subscription_update(slot, &payload);
                    }
                    if !self.flush(slot) {
                        return Poll::Ready(());
                    }
                }
            }
            if self.connections.get(slot).is_some_and(|connection| connection.phase != phase) {
                self.rearm(slot);
            }
        }
        // More may be waiting: after the others.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what a connection is owed; false when that ended it.
    pub(crate) fn flush(&mut self, slot: u32) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if connection.out.is_empty() && !connection.blocked {
            return true;
        }
        let (phase, blocked) = (connection.phase, connection.blocked);
        let clock = self.context.shared.clock;
        match connection.flush(&mut self.context.scratch, &self.context.cells, || clock.now()) {
            Flushed::Over => {
                let id = connection.peer.id;
                self.remove(id);
                return false;
            }
            flushed => connection.blocked = flushed == Flushed::Blocked,
        }
        if connection.blocked != blocked {
            self.staging.block(slot, connection.blocked || !connection.transport.is_plain());
        }
        let crossed = connection.update_congestion(self.context.shared.config.max_outbound_bytes, || clock.now());
        let phase_moved = connection.phase != phase;
        self.count_congestion(slot, crossed);
        if phase_moved {
            self.rearm(slot);
        }
        true
    }

    /// Keeps the number of congested connections; the last one to recover relieves publishers.
    pub(crate) fn count_congestion(&mut self, slot: u32, crossed: Crossed) {
        match crossed {
            Crossed::No => {}
            Crossed::Up => {
                self.context.cells.congested.add(1);
                self.context.cells.pressing.add(1);
                self.rearm(slot);
            }
            Crossed::Down { pressed } => {
                self.context.cells.congested.shift(1, 0);
                if pressed {
                    self.release_pressure();
                }
            }
        }
    }

    /// One connection less that slows publishers down.
    fn release_pressure(&self) {
        self.context.cells.pressing.shift(1, 0);
        self.context.shared.relieve();
    }

    /// Enters the connection's next visit into the wheel.
    pub(crate) fn rearm(&mut self, slot: u32) {
        let now = self.context.now();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.timer = connection.next_timer(&self.context.shared.config, now);
        self.wheel.insert(slot, connection.timer);
    }

    /// Visits every connection whose time has come, at most once per [`TICK_MS`].
    pub(crate) fn tick(&mut self) {
        let now = self.context.now();
        let passed = Clock::since(now, self.ticked);
        if passed < TICK_MS {
            return;
        }
        self.ticked = now;
        let stalled = passed > STALL_MS;
        self.wheel.advance(now, &mut self.due);
        let shared = Arc::clone(&self.context.shared);
        while let Some(Entry { slot, due }) = self.due.pop() {
            // It may be about to close.
            self.settle_now(slot);
            let Some(connection) = self.connections.get_mut(slot).filter(|connection| connection.timer == due) else {
                continue;
            };
            self.serving = Some(slot);
            let id = connection.peer.id;
            let before = connection.out.weight();
            if !connection.on_timer(&shared.config, &self.context.cells, now, stalled) {
                self.remove(id);
                continue;
            }
            self.context.cells.outbound_bytes.shift(before, connection.out.weight());
            if connection.dropped.as_ref().and_then(|dropped| dropped.due(now)).is_some_and(|due| reached(now, due)) {
                tell_dropped(&mut self.context, connection, false, false);
            }
            if connection.pressing_until().is_some_and(|until| reached(now, until)) {
                connection.pressing = false;
                self.release_pressure();
            }
            if self.flush(slot) {
                self.rearm(slot);
            }
        }
        self.serving = None;
    }

    /// Lets paused connections read again once the host has drained enough.
    pub(crate) fn resume(&mut self) {
        let now = self.context.now();
        let paused = std::mem::take(&mut self.paused);
        for slot in paused {
            if let Some(connection) = self.connections.get_mut(slot)
                && std::mem::take(&mut connection.paused)
            {
                // Its silence was ours: the idle time begins now.
                connection.last_data = now;
                connection.waker.wake_by_ref();
            }
        }
    }

    /// Takes a connection out: subscriptions, memberships, the shared maps, and exactly one `disconnect` event.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if self.find(id).is_none() {
            return;
        }
        let Some(mut connection) = self.connections.remove(id.slot()) else { return };
        self.staging.forget(id.slot());
        let shared = Arc::clone(&self.context.shared);
        shared.registry.remove(id);
        self.forget_subscriptions(&mut connection, id);
        self.context.hold(connection.held(), 0);
        let owed = connection.out.weight();
        self.context.cells.outbound_bytes.shift(owed, 0);
        self.context.cells.abandoned_bytes.add(owed as u64);
        if connection.congested {
            self.count_congestion(id.slot(), Crossed::Down { pressed: connection.pressing });
        }
        tell_dropped(&mut self.context, &mut connection, false, true);
        self.context.event(connection.lane, Kind::Disconnect, id, b"");
        self.context.leave_lane(connection.lane);
        shared.ports[self.index].load.fetch_sub(1, Relaxed);
        shared.leave();
        // Its task finds the slot empty and ends.
        connection.waker.wake();
    }
}

//! Delivery: from the commands of a batch to the sockets of one shard. `fan_out` finds who receives what, `staging` holds what
//! single connections are sent, `flush` writes it. Owns everything on that way (the batch's arena, the pool of segments, the
//! lists of who has something to write); never takes a connection out and never reads one.

mod fan_out;
mod flush;
mod pieces;
mod staging;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;

use crate::conn::{Connection, Context};
use crate::frames::{Run, SegmentPool};
use crate::id::ConnId;
use crate::slab::Slab;
use crate::topics::Subscribers;
use staging::Staging;

/// A batch is flushed in parts, however much waits: when the connections owe this much each, on average, bytes.
const FLUSH_BYTES: usize = 256 * 1024;
/// A batch is also flushed after this many deliveries, a few milliseconds of them. Counted, not timed: a thread that was
/// preempted would flush too early, and every frame before the flush deepens the join of the sends.
const FLUSH_OPERATIONS: usize = 128 * 1024;

/// What delivering touches of its shard.
pub(super) struct Floor<'a> {
    pub(super) connections: &'a mut Slab<Connection>,
    pub(super) topics: &'a mut Subscribers,
    pub(super) context: &'a mut Context,
}

impl Floor<'_> {
    /// The connection an id names, if it is still that one.
    fn find(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot()).filter(|connection| connection.id() == id)
    }
}

/// The way of a batch to the sockets.
#[derive(Default)]
pub(super) struct Delivery {
    /// What the batch holds for single connections.
    staging: Staging,
    /// The staged runs of one connection, while they are settled.
    runs: Vec<Run>,
    /// The bytes of the batch in work. One more per class of frames, made when the first of the class needs it.
    arena: Rc<Vec<u8>>,
    /// Connections with something in their queues, to be flushed at the end of the batch.
    listed: VecDeque<u32>,
    /// Places of topics published since the last flush, whose segments are closed by it.
    unsettled: Vec<u32>,
    pool: SegmentPool,
    unflushed: Unflushed,
    /// A flush has begun and not everything is out: nothing is staged until it is.
    flushing: bool,
    /// The connection that is being served: after a panic, the one that goes.
    serving: Option<u32>,
    /// Connections whose sockets have ended or failed. The shard takes them out.
    over: Vec<ConnId>,
}

/// What was queued since the last flush.
#[derive(Default)]
struct Unflushed {
    bytes: usize,
    /// Times something was staged or put into a queue, and other work in the same measure: what reaches nobody takes its time
    /// too, and sockets and the wheel must not wait for it.
    operations: usize,
    /// Connections that owe some of it, those that are both staged for and queued for twice.
    connections: usize,
}

impl Delivery {
    /// Begins a batch whose runs stand in `arena`.
    pub(super) fn begin(&mut self, arena: Vec<u8>) {
        self.arena = Rc::new(arena);
    }

    /// The batch is flushed; gives its arena back.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        Rc::try_unwrap(std::mem::take(&mut self.arena)).unwrap_or_default()
    }

    /// Whether a flush has begun and is not through, or the connections owe enough for one.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let Unflushed { bytes, operations, connections } = self.unflushed;
        self.flushing || operations >= FLUSH_OPERATIONS || (bytes >= FLUSH_BYTES && bytes / FLUSH_BYTES >= connections)
    }

    /// Whether something waits for a flush.
    pub(super) fn is_unflushed(&self) -> bool {
        !self.staging.is_empty() || !self.listed.is_empty()
    }

    /// Where topics' segments come from and go back to.
    pub(super) fn pool(&mut self) -> &mut SegmentPool {
        &mut self.pool
    }

    /// A connection was opened in `slot`.
    pub(super) fn opened(&mut self, slot: u32, connection: &Connection) {
        self.staging.block(slot, connection.needs_queue());
    }

    /// The connection in `slot` is gone; another may take its place.
    pub(super) fn forget(&mut self, slot: u32) {
        self.staging.forget(slot);
    }

    /// The connections that ended while they were written to.
    pub(super) fn take_over(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.over)
    }

    /// Notes which connection a step serves outside of delivery, or none.
    pub(super) fn serve(&mut self, slot: Option<u32>) {
        self.serving = slot;
    }

    /// After a panic: mends what it may have left half done, and names the connection it met: its stream may have stopped
    /// within a frame.
    pub(super) fn recover(&mut self, connections: &mut Slab<Connection>) -> Option<u32> {
        self.listed.clear();
        let listed = &mut self.listed;
        connections.for_each_mut(|slot, connection| {
            if connection.is_listed() {
                listed.push_back(slot);
            }
        });
        // What is half settled is settled before anything else is staged.
        self.flushing = self.is_unflushed();
        self.serving.take()
    }

    /// Counts work that left nothing to flush towards the end of the turn, in deliveries.
    pub(crate) fn worked(&mut self, operations: usize) {
        self.unflushed.operations += operations;
    }

    /// Lists a connection for the flush.
    pub(crate) fn list(&mut self, slot: u32, connection: &mut Connection) {
        list(&mut self.listed, slot, connection);
    }

    /// Counts what the last distribution has left towards the next flush.
    fn count(&mut self, operations: usize, bytes: usize) {
        self.unflushed.bytes += bytes;
        self.unflushed.operations += operations;
        self.unflushed.connections = self.listed.len() + self.staging.connections();
    }
}

#[inline]
fn list(listed: &mut VecDeque<u32>, slot: u32, connection: &mut Connection) {
    if connection.list() {
        listed.push_back(slot);
    }
}

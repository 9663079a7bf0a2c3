//! What a shard lends to the connection it is serving: the shared parts, its buffers, and the open batches of events, one
//! *lane* per consumer. Never the other connections.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crate::config::InboundOverflow;
use crate::id::ConnId;
use crate::inbound::{Batch, Consumer, Delivered, Kind, Shapes};
use crate::metrics::ShardCells;
use crate::shared::Shared;

/// Bytes read from a socket at once, into the shard's one buffer.
const READ_BYTES: usize = 64 * 1024;
/// An open batch is delivered early above this many bytes.
const BATCH_BYTES: usize = 128 * 1024;
/// Or with this many events.
const BATCH_EVENTS: usize = 4096;

/// The parts of a shard a connection may use while it is being served.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cells: Arc<ShardCells>,
    pub(crate) read_buffer: Vec<u8>,
    /// Joins small entries of a queue into one write.
    pub(crate) scratch: Vec<u8>,
    pub(crate) shapes: Shapes,
    lanes: Vec<Lane>,
    index: usize,
}

/// The open batch for one consumer.
struct Lane {
    consumer: Arc<Consumer>,
    batch: Batch,
    connections: usize,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, index: usize) -> Self {
        let cells = Arc::clone(&shared.ports[index].cells);
        Self {
            shared,
            cells,
            read_buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            shapes: Shapes::new(),
            lanes: Vec::new(),
            index,
        }
    }

    /// A panic may have cost the buffer.
    pub(crate) fn restore(&mut self) {
        if self.read_buffer.is_empty() {
            self.read_buffer = vec![0; READ_BYTES];
        }
    }

    pub(crate) fn now(&self) -> u32 {
        self.shared.clock.now()
    }

    /// Appends an event to a lane's batch. The loop delivers it at the end of the turn.
    #[inline]
    pub(crate) fn event(&mut self, lane: u16, kind: Kind, connection: ConnId, payload: &[u8]) {
        self.lanes[lane as usize].batch.push(kind, connection, payload);
        self.settle(lane);
    }

    /// Appends the message whose shape was found last, as [`Self::event`] does.
    #[inline]
    pub(crate) fn shaped_event(&mut self, lane: u16, connection: ConnId, text: &[u8]) {
        let batch = &mut self.lanes[lane as usize].batch;
        match self.shapes.found() {
            Some((shape, cells)) => batch.push_shaped(connection, text, shape, cells),
            None => batch.push(Kind::Message, connection, text),
        }
        self.settle(lane);
    }

    /// Sees to it that what was appended is delivered in time.
    #[inline]
    fn settle(&mut self, lane: u16) {
        let lane = &mut self.lanes[lane as usize];
        if lane.batch.bytes() > BATCH_BYTES || lane.batch.len() >= BATCH_EVENTS {
            lane.deliver();
        } else if lane.batch.len() == 1 {
            // The loop is asleep or busy with this very turn: either way it delivers when the turn ends.
            self.shared.ports[self.index].inbox.nudge();
        }
    }

    /// Events of all lanes that have not been delivered.
    pub(crate) fn open_events(&self) -> usize {
        self.lanes.iter().map(|lane| lane.batch.len()).sum()
    }

    pub(crate) fn lane_is_over(&self, lane: u16) -> bool {
        self.lanes[lane as usize].consumer.is_over()
    }

    /// Whether the host is so far behind that nothing may be read for this lane.
    pub(crate) fn must_pause(&self, lane: u16) -> bool {
        let config = &self.shared.config;
        let over = || self.lane_is_over(lane);
        if config.inbound_overflow != InboundOverflow::Pause || !over() {
            return false;
        }
        // Raise the flag, then look again: the host may have drained, and looked for the flag, in between.
        self.shared.ports[self.index].paused.store(true, SeqCst);
        over()
    }

    /// Delivers what the turn produced.
    pub(crate) fn deliver(&mut self) {
        for lane in &mut self.lanes {
            if !lane.batch.is_empty() {
                lane.deliver();
            }
        }
    }

    /// The lane of a new connection.
    pub(crate) fn join_lane(&mut self) -> u16 {
        let consumer = self.shared.inbound.assign();
        let index = self.lanes.iter().position(|lane| Arc::ptr_eq(&lane.consumer, &consumer)).or_else(|| {
            // A lane nobody uses any more may serve another consumer.
            let idle = self.lanes.iter().position(|lane| lane.connections == 0 && lane.batch.is_empty())?;
            self.lanes[idle].consumer = Arc::clone(&consumer);
            Some(idle)
        });
        let index = index.unwrap_or_else(|| {
            self.lanes.push(Lane { consumer, batch: Batch::default(), connections: 0 });
            self.lanes.len() - 1
        });
        self.lanes[index].connections += 1;
        // One lane per living consumer: a few at most.
        u16::try_from(index).unwrap_or(0)
    }

    /// A connection of the lane is gone.
    pub(crate) fn leave_lane(&mut self, lane: u16) {
        self.lanes[lane as usize].connections -= 1;
    }

    /// Accounts for bytes of incomplete messages.
    pub(crate) fn hold(&self, before: usize, after: usize) {
        self.cells.reassembly_bytes.shift(before, after);
    }

    /// Whether a connection that holds `held` bytes may not grow further. While the budget is exceeded, those below their
    /// fair share of it still may: some who fill it must not lock the others out.
    pub(crate) fn reassembly_exhausted(&self, held: usize) -> bool {
        let budget = self.shared.config.max_reassembly_bytes;
        let connections = self.lanes.iter().map(|lane| lane.connections).sum::<usize>().max(1);
        self.cells.reassembly_bytes.get() > budget as u64 && held > budget / connections
    }
}

impl Lane {
    fn deliver(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let Delivered { spare, heir } = self.consumer.deliver(batch);
        self.batch = spare;
        if let Some(heir) = heir {
            self.consumer = heir;
        }
    }
}

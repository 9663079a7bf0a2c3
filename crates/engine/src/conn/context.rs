//! What a shard lends to the connection it is serving: the shared parts, its buffers, its timers, and the open batches of
//! events, one *event stream* per reader. Never the other connections.

use std::sync::Arc;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::time::Instant;

use super::convoy::{Census, Convoy};
use super::ending::{By, Ending, Endings};
use super::outboxes::Outboxes;
use crate::clock::{Millis, millis};
use crate::config::InboundOverflow;
use crate::id::ConnId;
use crate::inbound::{Batch, Consumer, Event, Kind, Parted, Shapes};
use crate::metrics::ShardCounters;
use crate::shared::Shared;
use crate::wheel::Wheel;

/// Bytes read from a socket at once, into the shard's one buffer.
const READ_BYTES: usize = 64 * 1024;
/// Bytes decoded in one turn of a connection. One message more may go beyond it: some milliseconds at `maxMessageSize` 1 MiB.
const DECODED_BYTES: usize = 256 * 1024;
/// An open batch is delivered early above this many bytes: its text becomes one string of the host, and V8 gives strings of
/// 128 KiB and more pages of their own, mapped and unmapped for each.
const BATCH_BYTES: usize = 48 * 1024;
/// Or with this many events.
const BATCH_EVENTS: usize = 4096;

/// The parts of a shard a connection may use while it is being served.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<ShardCounters>,
    /// What a socket is read into.
    pub(super) read_buffer: Vec<u8>,
    /// Joins small pieces into one write.
    pub(crate) scratch: Vec<u8>,
    pub(super) shapes: Shapes,
    /// Whose messages have numbers.
    pub(crate) outboxes: Outboxes,
    /// When connections are visited next.
    pub(crate) wheel: Wheel,
    /// The connections beside each other, as publishers see them.
    pub(super) convoy: Convoy,
    /// The delay publishers are held to, milliseconds.
    pub(super) target_delay: u32,
    streams: Vec<EventStream>,
    /// The consumer of streams nobody uses.
    nobody: Arc<Consumer>,
    /// Events are counted and thrown away.
    discards: bool,
    /// Connections whose Close waits for the host to come back.
    parting: Vec<u32>,
    /// Who ends, and how.
    endings: Endings,
    /// Bytes decoded for one connection since its turn began.
    decoded: usize,
    /// The token a connection has sent in its turn, to be exchanged for its own; an empty one is none.
    refresh: Option<Box<str>>,
    /// Batches of commands taken from the mailbox so far.
    batch: u64,
    /// When the driver last read the clock, and the moment that is.
    time: Instant,
    now: Millis,
    pub(super) index: usize,
}

/// The open batch for one reader.
struct EventStream {
    consumer: Arc<Consumer>,
    batch: Batch,
    connections: usize,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, index: usize) -> Self {
        let counters = Arc::clone(&shared.shards[index].counters);
        let time = Instant::now();
        let now = shared.clock.at(time);
        let (wheel, convoy) = (Wheel::new(now), Convoy::new(now));
        let target_delay = millis(shared.config.target_delay);
        let (nobody, discards) = (shared.inbound.nobody(), shared.config.discard_inbound);
        Self {
            nobody,
            discards,
            shared,
            counters,
            read_buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            shapes: Shapes::new(),
            outboxes: Outboxes::new(index),
            wheel,
            convoy,
            target_delay,
            streams: Vec::new(),
            parting: Vec::new(),
            endings: Endings::default(),
            decoded: 0,
            refresh: None,
            batch: 0,
            time,
            now,
            index,
        }
    }

    /// A panic may have cost the buffer.
    pub(crate) fn restore(&mut self) {
        if self.read_buffer.is_empty() {
            self.read_buffer = vec![0; READ_BYTES];
        }
    }

    /// Connections to look at again, and whether a window ends with this look.
    pub(crate) fn begin_look(&mut self) -> (Vec<ConnId>, bool) {
        let (sent, pressing) = (self.counters.bytes_sent.get(), self.counters.pressing.get() > 0);
        self.convoy.begin_look(sent, pressing, self.now())
    }

    /// Ends the window: so many were of the slowest.
    pub(crate) fn end_window(&mut self, slowest: u32) -> Census {
        self.convoy.end_window(slowest)
    }

    /// Connections to look at next time.
    pub(crate) fn keep_lagging(&mut self, ids: Vec<ConnId>) {
        self.convoy.keep(ids);
    }

    /// The shard stood still until now.
    pub(crate) fn begin_anew(&mut self) {
        self.convoy.begin_anew(self.now());
    }

    /// Connections of which the young may have to let publishers go, if those that are behind have just become few.
    pub(crate) fn take_thinned(&mut self) -> Option<Vec<ConnId>> {
        self.convoy.take_thinned().then(|| self.convoy.lagging().to_vec())
    }

    /// Keeps the time for what is done from here on. Who drives the shard reads the clock, once for all that a look at the sockets
    /// brings: reading it for each would cost a tenth of a short message.
    pub(crate) fn keep_time(&mut self, time: Instant) {
        (self.time, self.now) = (time, self.shared.clock.at(time));
    }

    /// When the driver last read the clock: less than the budget of its call ago, or one costly turn.
    pub(crate) fn time(&self) -> Instant {
        self.time
    }

    /// The same moment in milliseconds.
    pub(crate) fn now(&self) -> Millis {
        self.now
    }

    /// Appends an event to a stream's batch. The loop delivers it at the end of the turn.
    #[inline]
    pub(crate) fn event(&mut self, stream: u16, kind: Kind, connection: ConnId, payload: &[u8]) {
        if self.discards {
            return self.counters.inbound_discarded.add(1);
        }
        self.streams[stream as usize].batch.push(kind, connection, payload);
        self.settle(stream);
    }

    /// Appends the last event of a connection, with what is known of it.
    pub(super) fn farewell(&mut self, stream: u16, connection: ConnId, payload: &[u8], known: Parted) {
        if !self.discards {
            self.streams[stream as usize].batch.part(connection, known);
        }
        self.event(stream, Kind::Disconnect, connection, payload);
    }

    /// Appends an event that waited for another reader; `known`: of the connection, if it is its last.
    pub(crate) fn repeat(&mut self, stream: u16, event: &Event<'_>, known: Option<Parted>) {
        let batch = &mut self.streams[stream as usize].batch;
        if let Some(known) = known {
            batch.part(event.connection, known);
        }
        batch.repeat(event);
        self.settle(stream);
    }

    /// Appends a message if it is of a known shape, and then it is valid and not the engine's own; false when it is of none.
    /// One that is not to be kept is looked at and left out.
    #[inline]
    pub(super) fn shaped_event(
        &mut self,
        stream: u16,
        connection: ConnId,
        text: &[u8],
        depth: u32,
        keep: bool,
    ) -> bool {
        let Some(found) = self.shapes.find(text, depth) else { return false };
        if keep && self.discards {
            self.counters.inbound_discarded.add(1);
        } else if keep {
            self.streams[stream as usize].batch.push_shaped(connection, text, found.shape, found.ends);
            self.settle(stream);
        }
        true
    }

    /// Sees to it that what was appended is delivered in time.
    #[inline]
    fn settle(&mut self, stream: u16) {
        let stream = &mut self.streams[stream as usize];
        if stream.batch.bytes() > BATCH_BYTES || stream.batch.len() >= BATCH_EVENTS {
            stream.deliver();
        } else if stream.batch.len() == 1 {
            // The loop is asleep or busy with this very turn: either way it delivers when the turn ends.
            self.shared.shards[self.index].mailbox.nudge();
        }
    }

    /// Events of all streams that have not been delivered.
    pub(crate) fn open_events(&self) -> usize {
        self.streams.iter().map(|stream| stream.batch.len()).sum()
    }

    pub(crate) fn stream_is_over(&self, stream: u16) -> bool {
        self.streams[stream as usize].consumer.is_over()
    }

    /// Whether the host is so far behind that nothing may be read for this stream.
    pub(super) fn must_pause(&self, stream: u16) -> bool {
        if self.shared.config.inbound_overflow != InboundOverflow::Pause {
            return false;
        }
        let consumer = &self.streams[stream as usize].consumer;
        // Once one waits all do, until the host has caught up: whoever was read on meanwhile could keep it busy for ever, and those
        // that wait would never be read.
        let behind = || consumer.is_over() || consumer.is_noted(self.index) && !consumer.is_relieved();
        if !behind() {
            return false;
        }
        // Leave a note, then look again: the host may have read, and looked for the note, in between.
        consumer.note_paused(self.index);
        behind()
    }

    /// Whether who was paused for this stream stays so: its reader has not caught up, and tells the shard when it has.
    pub(super) fn stays_paused(&self, stream: u16) -> bool {
        let consumer = &self.streams[stream as usize].consumer;
        if consumer.is_relieved() {
            return false;
        }
        // As in `must_pause`.
        consumer.note_paused(self.index);
        !consumer.is_relieved()
    }

    /// A connection's turn begins.
    pub(crate) fn begin_turn(&mut self) {
        self.decoded = 0;
        // A panic may have left one.
        self.refresh = None;
    }

    /// A connection has sent a token: looking at it ends its turn, and what is behind it is read when it is done.
    pub(super) fn note_refresh(&mut self, token: &str) {
        self.refresh = Some(token.into());
        self.decoded = DECODED_BYTES;
    }

    /// The token that is to be looked at.
    pub(crate) fn take_refresh(&mut self) -> Option<Box<str>> {
        self.refresh.take()
    }

    /// Charges bytes that were decoded to the turn of the connection.
    pub(super) fn charge_decoded(&mut self, bytes: usize) {
        self.decoded += bytes;
        self.counters.decoded_bytes.add(bytes as u64);
    }

    /// Whether the turn of the connection has cost what one may: the others have theirs first.
    pub(crate) fn is_spent(&self) -> bool {
        self.decoded >= DECODED_BYTES
    }

    /// The number of the batch of commands in work, or worked through last.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    /// A batch of commands begins.
    pub(crate) fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// Has the shard look at a connection after each batch, and when a reader comes back. Delivers the stream's events; returns
    /// its reader, and how many events that is done with once it is done with all of these.
    pub(super) fn await_host(&mut self, slot: u32, stream: u16) -> (Arc<Consumer>, u64) {
        self.parting.push(slot);
        self.mark_host(stream)
    }

    /// The same for a connection the shard looks at already.
    pub(super) fn mark_host(&mut self, stream: u16) -> (Arc<Consumer>, u64) {
        let stream = &mut self.streams[stream as usize];
        if !stream.batch.is_empty() {
            stream.deliver();
        }
        self.shared.shards[self.index].mailbox.nudge();
        (Arc::clone(&stream.consumer), stream.consumer.unheard())
    }

    /// Whether no command waits.
    pub(super) fn mailbox_is_empty(&self) -> bool {
        self.shared.shards[self.index].mailbox.is_empty()
    }

    /// Those that wait for the host, to be asked whether they still do. From now on a reader that comes back wakes the shard.
    pub(crate) fn take_parting(&mut self) -> Vec<u32> {
        if !self.parting.is_empty() {
            self.shared.shards[self.index].parting.store(true, SeqCst);
            // Pairs with the fence in `Engine::resume_reading`: one of the two sees the other.
            fence(SeqCst);
        }
        std::mem::take(&mut self.parting)
    }

    /// Those that still wait.
    pub(crate) fn keep_parting(&mut self, slots: Vec<u32>) {
        debug_assert!(self.parting.is_empty(), "nobody parts while the others are asked");
        self.parting = slots;
    }

    /// Notes the payload of the Close that ends the connection in `slot`; only its first counts.
    pub(crate) fn note_end(&mut self, slot: u32, by: By, close: &[u8]) {
        self.endings.note(slot, by, close);
    }

    /// How the connection in `slot` has ended.
    pub(super) fn take_end(&mut self, slot: u32) -> Ending {
        self.endings.take(slot)
    }

    /// Delivers what the turn produced.
    pub(crate) fn deliver(&mut self) {
        self.streams.iter_mut().filter(|stream| !stream.batch.is_empty()).for_each(EventStream::deliver);
    }

    /// The stream of a new connection.
    pub(crate) fn join_stream(&mut self) -> u16 {
        let consumer = self.shared.inbound.assign();
        let index = self.streams.iter().position(|stream| Arc::ptr_eq(&stream.consumer, &consumer)).or_else(|| {
            // A stream nobody uses any more may serve another consumer.
            let idle = self.streams.iter().position(|stream| stream.connections == 0 && stream.batch.is_empty())?;
            self.streams[idle].consumer = Arc::clone(&consumer);
            Some(idle)
        });
        let index = index.unwrap_or_else(|| {
            self.streams.push(EventStream { consumer, batch: Batch::default(), connections: 0 });
            self.streams.len() - 1
        });
        self.streams[index].connections += 1;
        // One stream per living reader: a few at most.
        u16::try_from(index).unwrap_or(0)
    }

    /// A connection of the stream is gone.
    pub(crate) fn leave_stream(&mut self, stream: u16) {
        let stream = &mut self.streams[stream as usize];
        stream.connections -= 1;
        stream.consumer.exit(1);
    }

    /// The stream whose events go to `consumer`. What it holds is delivered.
    pub(crate) fn close_stream(&mut self, consumer: &Arc<Consumer>) -> Option<u16> {
        let index = self.streams.iter().position(|stream| Arc::ptr_eq(&stream.consumer, consumer))?;
        if !self.streams[index].batch.is_empty() {
            self.streams[index].deliver();
        }
        u16::try_from(index).ok()
    }

    /// Forgets the consumer of a stream, if nobody uses it any more.
    pub(crate) fn vacate_stream(&mut self, stream: u16) {
        let stream = &mut self.streams[stream as usize];
        if stream.connections == 0 && stream.batch.is_empty() {
            stream.consumer = Arc::clone(&self.nobody);
        }
    }

    /// Accounts for bytes of incomplete messages.
    pub(crate) fn hold(&self, before: usize, after: usize) {
        self.counters.reassembly_bytes.shift(before, after);
    }

    /// Whether a connection that holds `held` bytes may not grow further. While the budget is exceeded, those below their
    /// fair share of it still may: some who fill it must not lock the others out.
    pub(super) fn reassembly_exhausted(&self, held: usize) -> bool {
        let budget = self.shared.config.max_reassembly_bytes;
        let connections = self.streams.iter().map(|stream| stream.connections).sum::<usize>().max(1);
        self.counters.reassembly_bytes.get() > budget as u64 && held > budget / connections
    }
}

impl EventStream {
    fn deliver(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.batch = self.consumer.deliver(batch);
    }
}

/// A shard that a panic has left behind counts for nobody.
impl Drop for EventStream {
    fn drop(&mut self) {
        self.consumer.exit(self.connections);
    }
}

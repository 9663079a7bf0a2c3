//! The bounded way into a shard. Publishers append frames to one arena under a short lock; consecutive frames of a topic
//! become one run, so a flood costs the shard one command per 128 KiB and the arena is joined before anyone looks at it.
//! A sleeping shard is woken once, an awake one not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, push_frame};

use crate::engine::Outgoing;
use crate::id::ConnId;
use crate::net::Permit;
use crate::topics::{Target, TopicEntry};

/// A run takes no more frames above this many bytes: what one distribution hands to each subscriber.
const RUN_BYTES: usize = 128 * 1024;
/// What a command weighs in the inbox beside its bytes.
const COMMAND_COST: usize = 64;
/// Buffers above this capacity are not used again.
const KEEP_CAPACITY: usize = 1024 * 1024;

/// A position in the arena.
pub(crate) type Mark = u32;

/// What a shard is asked to do, in order.
pub(crate) enum Command {
    /// Frames `start..end` of the arena, `count` of them, to everybody who receives `topic`.
    Publish { topic: Target, start: Mark, end: Mark, count: u32 },
    /// Frames to one connection.
    Send { to: ConnId, start: Mark, end: Mark, count: u32 },
    /// Frames to all connections.
    SendAll { start: Mark, end: Mark, count: u32 },
    /// Adds subscriptions whose interest is registered already.
    Subscribe { to: ConnId, topics: Vec<Arc<TopicEntry>> },
    /// Removes these subscriptions (`None` = all).
    Unsubscribe { to: ConnId, topics: Option<Vec<Box<str>>> },
    /// Some connection's ACL is another one now.
    AclChanged,
    /// Closes one connection after what is queued for it.
    Close { to: ConnId, code: CloseCode, reason: Box<str> },
    /// Closes all connections after what is queued for them.
    CloseAll { code: CloseCode, reason: Box<str> },
    /// A socket to serve.
    Accept(Box<Incoming>),
    /// The host has drained: read again.
    Resume,
    /// Ends the thread; connections still open are dropped.
    Stop,
}

/// An accepted socket on its way to a shard.
pub(crate) struct Incoming {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) accepted: Instant,
    pub(crate) permit: Permit,
}

/// Commands and the bytes they point into.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) commands: Vec<Command>,
    pub(crate) arena: Vec<u8>,
    /// When the first command came in.
    pub(crate) since: Option<Instant>,
    weight: usize,
}

/// Where the inbox stands after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pushed {
    /// Below the high-water mark.
    Fine,
    /// Taken, but the publisher should wait.
    Pressure,
}

/// The inbox of one shard.
pub(crate) struct Inbox {
    waiting: Mutex<Batch>,
    notify: Notify,
    /// Weight of what waits plus what the shard is working on.
    weight: AtomicUsize,
    /// Messages published but not distributed yet.
    high_water: usize,
    hard_limit: usize,
}

impl Inbox {
    pub(crate) fn new(high_water: usize, hard_limit: usize) -> Self {
        Self { waiting: Mutex::default(), notify: Notify::new(), weight: AtomicUsize::new(0), high_water, hard_limit }
    }

    /// Bytes waiting and in work.
    pub(crate) fn weight(&self) -> usize {
        self.weight.load(Relaxed)
    }

    pub(crate) fn above_high_water(&self) -> bool {
        self.weight() > self.high_water
    }

    /// Whether `more` bytes would break the hard limit. An empty inbox takes any single message.
    pub(crate) fn refuses(&self, more: usize) -> bool {
        let weight = self.weight();
        weight != 0 && weight + more > self.hard_limit
    }

    /// Bytes that may still be pushed; `None` while nothing waits.
    pub(crate) fn room(&self) -> Option<usize> {
        let weight = self.weight();
        (weight != 0).then(|| self.hard_limit.saturating_sub(weight))
    }

    /// Appends `count` whole frames for the subscribers of `topic`.
    pub(crate) fn publish(&self, topic: Target, frames: &[u8], frames_count: u32) -> Pushed {
        self.push(
            |arena| arena.extend_from_slice(frames),
            |commands, start, end| {
                if let Some(Command::Publish { topic: last, start: from, end: to, count }) = commands.last_mut()
                    && last.same(&topic)
                    && (end - *from) as usize <= RUN_BYTES
                {
                    *to = end;
                    *count += frames_count;
                    return 0;
                }
                commands.push(Command::Publish { topic, start, end, count: frames_count });
                COMMAND_COST
            },
        )
    }

    /// Appends one frame for one connection.
    pub(crate) fn send(&self, to: ConnId, opcode: Opcode, payload: &[u8]) -> Pushed {
        self.send_many(std::iter::once(&Outgoing { to, opcode, payload }))
    }

    /// Appends one frame each for single connections.
    pub(crate) fn send_many<'a>(&self, sends: impl Iterator<Item = &'a Outgoing<'a>>) -> Pushed {
        let mut batch = self.waiting.lock();
        let first = batch.commands.is_empty();
        let mut cost = 0;
        for &Outgoing { to, opcode, payload } in sends {
            let start = batch.arena.len();
            push_frame(&mut batch.arena, opcode, payload);
            let end = batch.arena.len();
            cost += end - start;
            cost += note_send(&mut batch.commands, to, mark(start), mark(end));
        }
        self.pushed(batch, first, cost)
    }

    /// Appends one frame for all connections.
    pub(crate) fn send_all(&self, opcode: Opcode, payload: &[u8]) -> Pushed {
        self.push(
            |arena| push_frame(arena, opcode, payload),
            |commands, start, end| {
                if let Some(Command::SendAll { start: from, end: until, count }) = commands.last_mut()
                    && (end - *from) as usize <= RUN_BYTES
                {
                    *until = end;
                    *count += 1;
                    return 0;
                }
                commands.push(Command::SendAll { start, end, count: 1 });
                COMMAND_COST
            },
        )
    }

    /// Appends any other command. These are never refused: they end or bound work.
    pub(crate) fn command(&self, command: Command) {
        let mut batch = self.waiting.lock();
        let first = batch.commands.is_empty();
        batch.commands.push(command);
        self.weigh(&mut batch, COMMAND_COST);
        drop(batch);
        if first {
            self.notify.notify_one();
        }
    }

    /// Makes the loop go round once more: events wait to be delivered.
    pub(crate) fn nudge(&self) {
        self.notify.notify_one();
    }

    /// Waits until there is something to do.
    pub(crate) async fn ready(&self) {
        self.notify.notified().await;
    }

    /// Swaps everything that waits with `empty`. The weight stays until [`Self::done`].
    pub(crate) fn take(&self, empty: Batch) -> Batch {
        std::mem::replace(&mut *self.waiting.lock(), empty)
    }

    /// The batch was worked through; gives its buffers back for use. Returns whether the weight fell below the mark.
    pub(crate) fn done(&self, mut batch: Batch) -> (Batch, bool) {
        let before = self.weight.fetch_sub(batch.weight, Relaxed);
        let relieved = before > self.high_water && before - batch.weight <= self.high_water;
        batch.commands.clear();
        batch.arena.clear();
        if batch.arena.capacity() > KEEP_CAPACITY {
            batch.arena = Vec::new();
        }
        if batch.commands.capacity() > 16 * 1024 {
            batch.commands = Vec::new();
        }
        (Batch { commands: batch.commands, arena: batch.arena, since: None, weight: 0 }, relieved)
    }

    /// Writes frames into the arena and notes the command for them; `note` returns what the command itself weighs.
    #[inline]
    fn push(
        &self,
        write: impl FnOnce(&mut Vec<u8>),
        note: impl FnOnce(&mut Vec<Command>, Mark, Mark) -> usize,
    ) -> Pushed {
        let mut batch = self.waiting.lock();
        let first = batch.commands.is_empty();
        let start = batch.arena.len();
        write(&mut batch.arena);
        let end = batch.arena.len();
        let cost = note(&mut batch.commands, mark(start), mark(end));
        self.pushed(batch, first, cost + end - start)
    }

    /// The end of a push that began with an empty batch, or not.
    #[inline]
    fn pushed(&self, mut batch: MutexGuard<'_, Batch>, first: bool, cost: usize) -> Pushed {
        let weight = self.weigh(&mut batch, cost);
        drop(batch);
        // Whoever put the first command in has woken the shard; it takes everything at once.
        if first {
            self.notify.notify_one();
        }
        if weight > self.high_water { Pushed::Pressure } else { Pushed::Fine }
    }

    fn weigh(&self, batch: &mut Batch, cost: usize) -> usize {
        if batch.since.is_none() {
            batch.since = Some(Instant::now());
        }
        batch.weight += cost;
        self.weight.fetch_add(cost, Relaxed) + cost
    }
}

/// Notes a frame for one connection, as part of the command before if that is for the same; returns what it weighs.
#[inline]
fn note_send(commands: &mut Vec<Command>, target: ConnId, start: Mark, end: Mark) -> usize {
    if let Some(Command::Send { to, start: from, end: until, count }) = commands.last_mut()
        && *to == target
        && (end - *from) as usize <= RUN_BYTES
    {
        *until = end;
        *count += 1;
        return 0;
    }
    commands.push(Command::Send { to: target, start, end, count: 1 });
    COMMAND_COST
}

/// Arena positions fit 32 bits: the hard limit is checked to be below 4 GiB when the engine is configured.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the hard limit")]
fn mark(position: usize) -> Mark {
    position as Mark
}

/// The accepted socket as the shard's runtime knows it.
pub(crate) fn register(stream: std::net::TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

//! The bounded way into a shard. Publishers append frames to one arena under a short lock; consecutive frames of a topic
//! become one run, so a flood costs the shard one command per 128 KiB and the arena is joined before anyone looks at it.
//! A sleeping shard is woken once, an awake one not at all. Knows no connection: what a command does is the shard's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, frame_size, push_frame};

use crate::admission::{Permit, Place};
use crate::alarm::Alarm;
use crate::asking::Answered;
use crate::frames::Run;
use crate::id::ConnId;
use crate::recovery::{Recover, Request};
use crate::tokens::Told;
use crate::topics::{Target, TopicEntry};

/// What a command weighs in the mailbox beside its bytes.
const COMMAND_COST: usize = 64;
/// Bytes an arena may hold: positions in it have 32 bits.
const MAX_ARENA: usize = u32::MAX as usize;
/// Arenas above this capacity are not used again.
const KEEP_CAPACITY: usize = 1024 * 1024;
/// Lists of commands above this capacity are not used again.
const KEEP_COMMANDS: usize = 16 * 1024;

/// What a shard is asked to do, in order.
pub(crate) enum Command {
    /// Frames of the arena to everybody who receives `topic`, but not to `except`.
    Publish { topic: Target, run: Run, except: ConnId },
    /// Frames of the arena to one connection.
    Send { to: ConnId, run: Run },
    /// Frames of the arena to all connections.
    SendAll { run: Run },
    /// Adds subscriptions whose interest is registered already.
    Subscribe { to: ConnId, topics: Vec<Arc<TopicEntry>> },
    /// Replays what was missed, replies and subscribes, in ONE command: what stands behind it in the mailbox comes live.
    Recover(Box<Recover>),
    /// A request to recover that came too early: as much as may be replayed has been.
    RecoverLater(Box<Request>),
    /// Removes these subscriptions (`None` = all).
    Unsubscribe { to: ConnId, topics: Option<Vec<Box<str>>> },
    /// The host has answered a question about a connection.
    Answered(Box<Answered>),
    /// Some connection's ACL is another one now.
    AclChanged,
    /// Exchanges a connection's token for this one.
    Refresh { to: ConnId, token: Box<str>, told: Told },
    /// Closes one connection after what is queued for it.
    Close { to: ConnId, code: CloseCode, reason: Box<str> },
    /// Closes all connections after what is queued for them.
    CloseAll { code: CloseCode, reason: Box<str> },
    /// A socket to serve.
    Accept(Box<Incoming>),
    /// The host has read events: sockets that were left alone are read again.
    Resume,
    /// Ends the shard; connections still open are dropped.
    Stop,
}

impl Command {
    /// What it weighs in the mailbox, beside the arena: its own place and what it holds.
    fn weight(&self) -> usize {
        COMMAND_COST
            + match self {
                Self::Subscribe { topics, .. } => size_of_val(topics.as_slice()),
                Self::Recover(recover) => size_of_val(recover.topics.as_slice()),
                Self::RecoverLater(request) => size_of_val(request.topics.as_slice()),
                Self::Unsubscribe { topics: Some(names), .. } => {
                    names.iter().map(|name| name.len() + size_of_val(name)).sum()
                }
                Self::Answered(answered) => answered.answer.weight(),
                Self::Refresh { token, .. } => token.len(),
                Self::Close { reason, .. } | Self::CloseAll { reason, .. } => reason.len(),
                _ => 0,
            }
    }
}

/// A message for one connection.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Who gets it.
    pub to: ConnId,
    /// Text or binary.
    pub opcode: Opcode,
    /// The payload of its one frame.
    pub payload: &'a [u8],
}

/// A socket on its way to a shard.
pub(crate) struct Incoming {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) accepted: Instant,
    /// Where it comes from.
    pub(crate) address: IpAddr,
    /// The server is bound to a loopback address; of a socket of somebody else's server: its own end is one.
    pub(crate) loopback: bool,
    /// What has been read from it already.
    pub(crate) early: Vec<u8>,
    /// How it came, if not through the engine's own port.
    pub(crate) handed: Option<Handed>,
    pub(crate) permit: Permit,
    /// Its place in the shard's load.
    pub(crate) load: Place,
}

/// What is known of a socket that an HTTP server of the host has handed over. TLS, if there is any, is that server's.
pub(crate) struct Handed {
    /// The peer speaks TLS.
    pub(crate) secure: bool,
    /// What is written first: by it the host knows which of its sockets is pumped through this one.
    pub(crate) key: Option<Box<[u8]>>,
}

/// Commands and the bytes they point into.
#[derive(Default)]
pub(crate) struct Commands {
    pub(crate) list: Vec<Command>,
    pub(crate) arena: Vec<u8>,
    /// When the first command came in.
    pub(crate) since: Option<Instant>,
    pub(crate) weight: usize,
}

/// How far behind delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below the high-water mark.
    Fine,
    /// The message was taken, but the publisher should wait until it is told that the pressure is gone.
    High,
    /// Above the hard limit: nothing was taken.
    Refused,
}

/// The mailbox of one shard.
pub(crate) struct Mailbox {
    waiting: Mutex<Commands>,
    /// Emptied buffers for the next to wait in.
    spare: Mutex<Commands>,
    /// Wakes the shard.
    alarm: Alarm,
    /// Weight of what waits plus what the shard is working on.
    weight: AtomicUsize,
    /// The weight above which publishers should wait; the shard moves it.
    mark: AtomicUsize,
    /// The weight of a single message that found nothing waiting, or 0: alone it is no pressure, up to the ceiling.
    alone: AtomicUsize,
    /// The highest mark.
    ceiling: usize,
    hard_limit: usize,
    /// The most an arena may hold.
    max_arena: usize,
}

impl Mailbox {
    pub(crate) fn new(mark: usize, hard_limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            spare: Mutex::default(),
            alarm: Alarm::default(),
            weight: AtomicUsize::new(0),
            mark: AtomicUsize::new(mark),
            alone: AtomicUsize::new(0),
            ceiling: mark,
            hard_limit,
            max_arena: MAX_ARENA,
        }
    }

    /// Bytes waiting and in work.
    pub(crate) fn weight(&self) -> usize {
        self.weight.load(Relaxed)
    }

    /// Whether publishers should wait.
    pub(crate) fn is_above_mark(&self) -> bool {
        self.weight() > self.threshold()
    }

    fn threshold(&self) -> usize {
        self.mark().max(self.alone.load(Relaxed))
    }

    /// Bytes that may be pushed before publishers should wait.
    pub(crate) fn until_mark(&self) -> usize {
        self.threshold().saturating_sub(self.weight())
    }

    /// The weight above which publishers should wait.
    pub(crate) fn mark(&self) -> usize {
        self.mark.load(Relaxed)
    }

    /// Whether `more` bytes would break the hard limit. An empty mailbox takes any single message.
    pub(crate) fn refuses(&self, more: usize) -> bool {
        let weight = self.weight();
        weight != 0 && weight + more > self.hard_limit
    }

    /// Bytes that may still be pushed; `None` while nothing waits.
    pub(crate) fn room(&self) -> Option<usize> {
        let weight = self.weight();
        (weight != 0).then(|| self.hard_limit.saturating_sub(weight))
    }

    /// Appends `count` whole frames for the subscribers of `topic` but `except`.
    pub(crate) fn publish(&self, topic: Target, except: ConnId, frames: &[u8], count: u32) -> Pressure {
        let note = |commands: &mut Vec<Command>, next: Run| {
            if let Some(Command::Publish { topic: last, run, except: before }) = commands.last_mut()
                && last.same(&topic)
                && *before == except
                && run.extend(next)
            {
                return 0;
            }
            commands.push(Command::Publish { topic, run: next, except });
            COMMAND_COST
        };
        self.push(frames.len(), |arena| arena.extend_from_slice(frames), count, note)
    }

    /// Appends one frame for one connection.
    pub(crate) fn send(&self, to: ConnId, opcode: Opcode, payload: &[u8]) -> Pressure {
        self.send_many(std::iter::once(&Outgoing { to, opcode, payload }))
    }

    /// Appends one frame each for single connections.
    pub(crate) fn send_many<'a>(&self, sends: impl Iterator<Item = &'a Outgoing<'a>>) -> Pressure {
        let mut batch = self.waiting.lock();
        let first = batch.list.is_empty();
        let (mut cost, mut count) = (0, 0);
        for &Outgoing { to, opcode, payload } in sends {
            if !self.takes(&batch, frame_size(payload.len())) {
                self.pushed(batch, first, cost, count);
                return Pressure::Refused;
            }
            count += 1;
            let start = batch.arena.len();
            push_frame(&mut batch.arena, opcode, payload);
            let end = batch.arena.len();
            cost += end - start + note_send(&mut batch.list, to, Run::new(start, end, 1));
        }
        self.pushed(batch, first, cost, count)
    }

    /// Appends one frame for all connections.
    pub(crate) fn send_all(&self, opcode: Opcode, payload: &[u8]) -> Pressure {
        let note = |commands: &mut Vec<Command>, next: Run| {
            if let Some(Command::SendAll { run }) = commands.last_mut()
                && run.extend(next)
            {
                return 0;
            }
            commands.push(Command::SendAll { run: next });
            COMMAND_COST
        };
        self.push(frame_size(payload.len()), |arena| push_frame(arena, opcode, payload), 1, note)
    }

    /// Appends any other command. These are never refused: they end or bound work.
    pub(crate) fn command(&self, command: Command) {
        let mut batch = self.waiting.lock();
        let first = batch.list.is_empty();
        let weight = command.weight();
        batch.list.push(command);
        self.weigh(&mut batch, weight);
        drop(batch);
        if first {
            self.alarm.ring();
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().list.is_empty()
    }

    /// Makes the loop go round once more: events wait to be delivered.
    pub(crate) fn nudge(&self) {
        self.alarm.ring();
    }

    /// The shard runs on this thread from now on: it need not be woken by its own thread, and others wake it with `waker`.
    pub(crate) fn run_here(&self, waker: mio::Waker) {
        self.alarm.run_here(waker);
    }

    /// Whether the shard has something to do.
    pub(crate) fn is_rung(&self) -> bool {
        self.alarm.is_rung() || !self.is_empty()
    }

    /// The shard looks, and need not be woken before it may sleep.
    pub(crate) fn awake(&self) {
        self.alarm.awake();
    }

    /// Whether the shard may sleep until it is woken; false: something has come since it last looked.
    pub(crate) fn may_sleep(&self) -> bool {
        self.alarm.may_sleep()
    }

    /// The shard looks no more.
    pub(crate) fn sleep(&self) {
        self.alarm.sleep();
    }

    /// The shard does not run any more.
    pub(crate) fn run_nowhere(&self) {
        self.alarm.run_nowhere();
    }

    /// Takes everything that waits, if something does. Its weight stays until [`Self::done`].
    pub(crate) fn take(&self) -> Option<Commands> {
        let mut waiting = self.waiting.lock();
        if waiting.list.is_empty() {
            return None;
        }
        let empty = std::mem::take(&mut *self.spare.lock());
        Some(std::mem::replace(&mut *waiting, empty))
    }

    /// The batch was worked through; its buffers are used again, and the mark is moved. Returns whether publishers may
    /// have seen pressure and the weight is at the new mark or below.
    pub(crate) fn done(&self, mut batch: Commands, mark: usize) -> bool {
        // What was alone is in this batch, if there was any: later pushes found its weight.
        self.alone.store(0, Relaxed);
        let old = self.mark.swap(mark, Relaxed);
        let before = self.weight.fetch_sub(batch.weight, Relaxed);
        // Whoever looked between the two saw one weight beside either mark: the lower one counts.
        let relieved = before > old.min(mark) && before - batch.weight <= mark;
        batch.list.clear();
        batch.arena.clear();
        if batch.arena.capacity() > KEEP_CAPACITY {
            batch.arena = Vec::new();
        }
        if batch.list.capacity() > KEEP_COMMANDS {
            batch.list = Vec::new();
        }
        *self.spare.lock() = Commands { list: batch.list, arena: batch.arena, since: None, weight: 0 };
        relieved
    }

    /// Whether the arena takes `more` bytes. Those who found nothing waiting at the same moment may bring a message of any size
    /// each, so the hard limit is not all there is to it.
    fn takes(&self, batch: &Commands, more: usize) -> bool {
        batch.arena.len().saturating_add(more) <= self.max_arena
    }

    /// Writes `count` frames, `size` bytes together, into the arena, if it has room, and notes the command for them; `note` returns what the command itself weighs.
    #[inline]
    fn push(
        &self,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>),
        count: u32,
        note: impl FnOnce(&mut Vec<Command>, Run) -> usize,
    ) -> Pressure {
        let mut batch = self.waiting.lock();
        if !self.takes(&batch, size) {
            return Pressure::Refused;
        }
        let first = batch.list.is_empty();
        let start = batch.arena.len();
        write(&mut batch.arena);
        let end = batch.arena.len();
        let cost = note(&mut batch.list, Run::new(start, end, count));
        self.pushed(batch, first, cost + end - start, count as usize)
    }

    /// The end of a push of `count` messages that began with an empty batch, or not.
    #[inline]
    fn pushed(&self, mut batch: MutexGuard<'_, Commands>, first: bool, cost: usize, count: usize) -> Pressure {
        let weight = self.weigh(&mut batch, cost);
        if weight == cost {
            self.alone.store(if count == 1 { cost.min(self.ceiling) } else { 0 }, Relaxed);
        }
        drop(batch);
        // Whoever put the first command in has woken the shard; it takes everything at once.
        if first {
            self.alarm.ring();
        }
        if weight > self.threshold() { Pressure::High } else { Pressure::Fine }
    }

    fn weigh(&self, batch: &mut Commands, cost: usize) -> usize {
        if batch.since.is_none() {
            batch.since = Some(Instant::now());
        }
        batch.weight += cost;
        self.weight.fetch_add(cost, Relaxed) + cost
    }
}

/// Notes frames for one connection, as part of the command before if that is for the same; returns what it weighs.
#[inline]
fn note_send(commands: &mut Vec<Command>, target: ConnId, next: Run) -> usize {
    if let Some(Command::Send { to, run }) = commands.last_mut()
        && *to == target
        && run.extend(next)
    {
        return 0;
    }
    commands.push(Command::Send { to: target, run: next });
    COMMAND_COST
}

#[cfg(test)]
mod tests;

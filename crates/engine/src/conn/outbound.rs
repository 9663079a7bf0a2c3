//! The one ordered queue of what a connection is owed: slices of shared segments and of topics' rings, frames of its own, and the
//! control frames that go in at the next frame boundary. Charges every entry with the memory it keeps alive, compares that with its
//! budget, and never touches a socket: what leaves it is `head`'s.

mod head;

use std::collections::VecDeque;
use std::sync::Arc;

use wse_protocol::frame::{Opcode, frame_end, frame_size, push_frame};

use super::control::ControlFrames;
use super::entry::{ENTRY_COST, Entry};
use crate::frames::{RingSlice, Slice, skip_frames};

/// A connection's own frames are joined into buffers up to this size.
const OWN_BYTES: usize = 64 * 1024;
/// An empty queue keeps room for this many entries.
const KEEP_ENTRIES: usize = 4;
/// The size of a short reply such as the ping in text, bytes.
const SHORT_REPLY: usize = 80;
/// A slice may keep alive so many times its own bytes; one that would keep more is copied.
const PIN_FACTOR: usize = 4;

/// The queue.
pub(super) struct Outbound {
    queue: VecDeque<Entry>,
    /// What the entries keep alive, plus their cost.
    weight: usize,
    /// Bytes of data that are not written.
    owed: usize,
    /// The most it may weigh; a single frame may be larger.
    budget: u32,
    /// Entries at the back among which those are that were shared, or have grown, since [`Self::settle`].
    fresh: u32,
    /// A frame boundary at or before the head's position: where the search for the next one begins.
    boundary: u32,
    control: Option<Box<ControlFrames>>,
    /// Payload of the Close that is sent once the queue is empty.
    last: Option<Box<Last>>,
    end: End,
}

/// Payload of a Close.
struct Last(Vec<u8>);

/// How far the end of the stream has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Frames are taken.
    Open,
    /// A Close is queued: no more frames are taken.
    Closed,
    /// The Close is out: there is never a second one.
    Sent,
}

/// What became of frames offered to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    /// All were taken.
    All,
    /// The budget is used up: so many, from the front, were taken, the others were not.
    Part(u32),
    /// The queue has been closed; nothing is owed any more.
    Closed,
}

impl Outbound {
    /// An empty queue that may weigh `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            weight: 0,
            owed: 0,
            // 4 GiB are as good as no limit.
            budget: u32::try_from(budget).unwrap_or(u32::MAX),
            fresh: 0,
            boundary: 0,
            control: None,
            last: None,
            end: End::Open,
        }
    }

    /// Owes what goes before every frame: the answer to the upgrade, and whole frames behind it. It is not charged.
    pub(super) fn greet(&mut self, greeting: Vec<u8>) {
        self.control = Some(Box::new(ControlFrames::greeting(greeting)));
    }

    /// What the entries keep alive, plus their cost: what the budget is compared with, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) const fn budget(&self) -> usize {
        self.budget as usize
    }

    /// Nothing at all is waiting to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.control.is_none() && self.last.is_none()
    }

    /// A Close is queued or sent: no more frames are taken.
    pub(super) fn is_closed(&self) -> bool {
        self.end != End::Open
    }

    /// Gives back the room an emptied queue no longer needs.
    pub(super) fn trim(&mut self) {
        if self.queue.is_empty() {
            self.queue.shrink_to(KEEP_ENTRIES);
        }
    }

    /// Owes a slice. What does not fit as a whole is copied as far as it does, so that few frames never hold a whole segment.
    #[inline]
    pub(super) fn share(&mut self, slice: &Slice) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let run = slice.run();
        let size = run.size();
        if self.weight + size + ENTRY_COST > self.budget() {
            return self.share_part(slice);
        }
        let (start, end) = (run.start(), run.end());
        if let Some(Entry::Shared { segment, end: until, charge, .. }) = self.queue.back_mut()
            && *until == start
            && segment.is(slice.segment())
        {
            *until = end;
            *charge += end - start;
            self.weight += size;
            self.owed += size;
            self.fresh = self.fresh.max(1);
            return Queued::All;
        }
        if self.queue.is_empty() {
            self.boundary = start;
        }
        self.weight += size + ENTRY_COST;
        self.owed += size;
        self.fresh += 1;
        self.queue.push_back(Entry::Shared { segment: slice.segment().clone(), at: start, end, charge: end - start });
        Queued::All
    }

    /// The least a slice of a ring weighs: its own bytes, copied.
    pub(super) fn least_cost(slice: &RingSlice) -> usize {
        ENTRY_COST + slice.run().size()
    }

    /// Owes a slice of a ring, as a whole or not at all: it keeps the whole chunk alive, or is copied where that is too much for it
    /// or leaves less than `reserve` for what is to follow.
    pub(super) fn keep(&mut self, slice: &RingSlice, reserve: usize) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let (run, pinned) = (slice.run(), slice.chunk().pinned());
        let shared = pinned <= run.size() * PIN_FACTOR && self.weight + ENTRY_COST + pinned + reserve <= self.budget();
        let Some(charge) = u32::try_from(pinned).ok().filter(|_| shared) else {
            if self.weight + Self::least_cost(slice) > self.budget() {
                return Queued::Part(0);
            }
            self.push(slice.bytes().to_vec(), 0);
            return Queued::All;
        };
        if self.queue.is_empty() {
            self.boundary = run.start();
        }
        self.weight += ENTRY_COST + pinned;
        self.owed += run.size();
        // Those that are fresh are counted from the back.
        self.fresh += u32::from(self.fresh > 0);
        self.queue.push_back(Entry::Kept { chunk: Arc::clone(slice.chunk()), at: run.start(), end: run.end(), charge });
        Queued::All
    }

    /// Bytes it may still be charged with.
    pub(super) fn room(&self) -> usize {
        if self.is_closed() { 0 } else { self.budget().saturating_sub(self.weight) }
    }

    /// Copies as much of a slice as fits.
    #[cold]
    #[inline(never)]
    fn share_part(&mut self, slice: &Slice) -> Queued {
        self.own(&slice.bytes(), slice.run().count())
    }

    /// Adds an entry of its own frames.
    fn push(&mut self, bytes: Vec<u8>, at: u32) {
        if self.queue.is_empty() {
            self.boundary = 0;
        }
        self.weight += bytes.capacity() + ENTRY_COST;
        self.owed += bytes.len() - at as usize;
        // Those that are fresh are counted from the back.
        self.fresh += u32::from(self.fresh > 0);
        self.queue.push_back(Entry::Own { bytes, at });
    }

    /// After a batch: segments have got what this batch puts into them, so slices are charged with what they keep alive; those
    /// that would keep too much become copies.
    #[inline]
    pub(super) fn settle(&mut self) {
        if self.fresh > 0 {
            self.settle_fresh();
        }
    }

    fn settle_fresh(&mut self) {
        let budget = self.budget();
        let Self { queue, weight, boundary, .. } = self;
        // Some of them may be written already.
        let first = queue.len().saturating_sub(self.fresh as usize);
        for (index, entry) in queue.iter_mut().enumerate().skip(first) {
            let Entry::Shared { segment, at, end, charge } = entry else { continue };
            // The head may be written in part; what is left begins with the frame it stopped in.
            let start = if index == 0 { std::mem::take(boundary) } else { *at };
            let (size, pinned, charged) = ((*end - start) as usize, segment.pinned(), *charge as usize);
            if pinned <= size * PIN_FACTOR
                && *weight + pinned <= budget + charged
                && let Ok(new) = u32::try_from(pinned)
            {
                *weight = *weight + pinned - charged;
                *charge = new;
                if index == 0 {
                    *boundary = start;
                }
                continue;
            }
            let bytes = segment.until(*end)[start as usize..].to_vec();
            *weight = *weight - charged + bytes.capacity();
            *entry = Entry::Own { bytes, at: *at - start };
        }
        self.fresh = 0;
    }

    /// How many frames at the front of `frames` fit the budget, and where they end.
    fn fitting(&self, frames: &[u8]) -> (usize, u32) {
        let room = self.budget().saturating_sub(self.weight + ENTRY_COST);
        let (mut size, mut taken) = (0, 0);
        while let Some(next) = frame_end(frames, size) {
            // An empty queue takes one frame of any size, or a small budget would starve it for ever.
            if next > room && !(self.weight == 0 && taken == 0) {
                break;
            }
            size = next;
            taken += 1;
        }
        (size, taken)
    }

    /// Owes copies of the `count` whole frames in `frames`.
    pub(super) fn own(&mut self, frames: &[u8], count: u32) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let (size, taken) = if self.weight + frames.len() + ENTRY_COST > self.budget() {
            self.fitting(frames)
        } else {
            (frames.len(), count)
        };
        if taken > 0 {
            self.push_own(size, |bytes| bytes.extend_from_slice(&frames[..size]));
        }
        if taken == count { Queued::All } else { Queued::Part(taken) }
    }

    /// Owes the rest of `frames`, `count` whole ones, of which the socket took the first `written` bytes. The queue is empty.
    pub(super) fn own_rest(&mut self, frames: &[u8], written: usize, count: u32) -> Queued {
        let (mut begun, mut sent) = (0, 0);
        while let Some(next) = frame_end(frames, begun)
            && next <= written
        {
            begun = next;
            sent += 1;
        }
        // An empty queue takes one frame of any size: the one that is half written is never given up.
        let (size, taken) = self.fitting(&frames[begun..]);
        if taken > 0 {
            let bytes = frames[begun..begun + size].to_vec();
            // A frame is far below 4 GiB.
            self.push(bytes, u32::try_from(written - begun).unwrap_or(0));
        }
        if sent + taken == count { Queued::All } else { Queued::Part(sent + taken) }
    }

    /// Owes one text frame the engine itself answers with (hello, PONG, errors). The budget applies as to any other.
    pub(super) fn reply(&mut self, text: &str) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let size = frame_size(text.len());
        if self.weight + size + ENTRY_COST > self.budget() {
            return Queued::Part(0);
        }
        self.push_own(size, |bytes| push_frame(bytes, Opcode::Text, text.as_bytes()));
        Queued::All
    }

    /// Appends `size` bytes to the last buffer of its own, or begins another.
    fn push_own(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Entry::Own { bytes, .. }) = self.queue.back_mut()
            && bytes.len() < OWN_BYTES
        {
            let before = bytes.capacity();
            // Grows ahead, but never past the budget.
            let room = (self.budget as usize).saturating_sub(self.weight);
            if bytes.len() + size > before {
                let ahead = (2 * before).max(bytes.len() + size).min(before + room);
                bytes.reserve_exact(ahead.max(bytes.len() + size) - bytes.len());
            }
            let length = bytes.len();
            write(bytes);
            self.weight += bytes.capacity() - before;
            self.owed += bytes.len() - length;
            return;
        }
        let mut bytes = Vec::with_capacity(size);
        write(&mut bytes);
        self.push(bytes, 0);
    }

    /// Queues a pong for the next frame boundary, behind those that wait.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if !self.is_closed() {
            self.control.get_or_insert_default().pong(payload);
        }
    }

    /// Queues an empty ping for the next frame boundary, unless one waits.
    pub(super) fn ping(&mut self) {
        if !self.is_closed() {
            self.control.get_or_insert_default().ping();
        }
    }

    /// Whether a short reply would not fit.
    pub(super) fn is_full(&self) -> bool {
        self.weight + SHORT_REPLY + ENTRY_COST > self.budget()
    }

    /// Queues a Close with this payload for the next frame boundary; the data behind it is given up once it is out.
    pub(super) fn close_now(&mut self, payload: &[u8]) {
        if self.end == End::Sent {
            return;
        }
        self.last = None;
        self.end = End::Closed;
        self.control.get_or_insert_default().close(payload);
    }

    /// Queues a Close with this payload behind everything that is owed already.
    pub(super) fn close_after(&mut self, payload: Vec<u8>) {
        if self.end == End::Open {
            self.end = End::Closed;
            self.last = Some(Box::new(Last(payload)));
        }
    }

    /// Bytes of data that are queued and not written.
    #[inline]
    pub(super) fn owed(&self) -> usize {
        self.owed
    }
}

/// What of `frames` is lost when only the first `taken` of `count` were taken.
pub(super) fn lost(frames: &[u8], count: u32, taken: u32) -> (u32, &[u8]) {
    (count - taken, &frames[skip_frames(frames, taken)..])
}

#[cfg(test)]
mod tests;

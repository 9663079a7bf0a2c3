//! The one ordered queue of what a connection is owed: slices of shared segments, frames of its own, and the control frames
//! that go in at the next frame boundary. Counts bytes against the budget; never touches a socket.

use std::collections::VecDeque;

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, frame_end, frame_size, push_close, push_frame};

use crate::topics::Segment;

/// What an entry of the queue weighs beside its bytes, so that many tiny slices cannot outgrow the budget.
const ENTRY_COST: usize = 32;
/// A connection's own frames are joined into buffers up to this size.
const OWN_BYTES: usize = 64 * 1024;
/// An empty queue keeps room for this many entries.
const KEEP_ENTRIES: usize = 4;

/// The queue.
#[derive(Default)]
pub(crate) struct Outbound {
    queue: VecDeque<Entry>,
    /// Bytes owed plus the cost of the entries.
    weight: usize,
    /// A frame boundary at or before the head's start: where the search for the next one begins.
    boundary: u32,
    control: Option<Box<Control>>,
    /// Sent once the queue is empty.
    last: Option<Box<(CloseCode, Box<str>)>>,
    /// A Close is queued or sent: no more frames are taken.
    closed: bool,
    /// The Close is out: there is never a second one.
    ended: bool,
    /// Bytes that were owed and never will be sent, not counted yet.
    abandoned: usize,
}

enum Entry {
    Shared { segment: Segment, start: u32, end: u32 },
    Own { bytes: Vec<u8>, start: u32 },
}

/// Control frames waiting for a boundary. A newer pong replaces an unsent older one (RFC 6455 §5.5.3 asks for the latest
/// only), so a flood of pings cannot grow it.
#[derive(Default)]
struct Control {
    /// Frames being written; once begun they are finished first.
    writing: Vec<u8>,
    written: usize,
    /// A Close is the end of `writing`.
    ends: bool,
    pong: Option<Vec<u8>>,
    close: Option<Vec<u8>>,
}

impl Control {
    /// What is left to write; takes up what waits when there is nothing.
    fn chunk(&mut self) -> &[u8] {
        if !self.begun() {
            self.written = 0;
            self.writing = self.pong.take().unwrap_or_default();
            if let Some(close) = self.close.take() {
                self.writing.extend_from_slice(&close);
                self.ends = true;
            }
        }
        &self.writing[self.written..]
    }

    fn begun(&self) -> bool {
        self.written < self.writing.len()
    }
}

/// What became of frames offered to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// All were taken.
    All,
    /// The budget is used up: this many frames with this many bytes were dropped.
    Dropped { frames: u32, bytes: usize },
    /// The queue has been closed; nothing is owed any more.
    Closed,
}

impl Outbound {
    /// Bytes owed plus entry costs: what the budget is compared with.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Nothing at all is waiting to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.control.is_none() && self.last.is_none()
    }

    /// A Close is queued or sent: no more frames are taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives back the room an emptied queue no longer needs.
    pub(crate) fn trim(&mut self) {
        if self.queue.is_empty() {
            self.queue.shrink_to(KEEP_ENTRIES);
        }
    }

    /// Owes `start..end` of `segment`, which holds `count` whole frames.
    #[inline]
    pub(crate) fn share(&mut self, segment: &Segment, start: u32, end: u32, count: u32, budget: usize) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let size = (end - start) as usize;
        if self.weight + size + ENTRY_COST > budget {
            return self.share_part(segment, start, end, count, budget);
        }
        self.append(segment, start, end);
        Queued::All
    }

    #[inline]
    fn append(&mut self, segment: &Segment, start: u32, end: u32) {
        let size = (end - start) as usize;
        if let Some(Entry::Shared { segment: last, end: until, .. }) = self.queue.back_mut()
            && *until == start
            && last.same(segment)
        {
            *until = end;
            self.weight += size;
            return;
        }
        if self.queue.is_empty() {
            self.boundary = start;
        }
        self.queue.push_back(Entry::Shared { segment: segment.clone(), start, end });
        self.weight += size + ENTRY_COST;
    }

    /// Takes the frames that still fit, drops the others.
    #[cold]
    fn share_part(&mut self, segment: &Segment, start: u32, end: u32, count: u32, budget: usize) -> Queued {
        let (size, taken) = self.fitting(&segment.bytes()[start as usize..end as usize], budget);
        // At most `end`, a u32.
        let fits = start + u32::try_from(size).unwrap_or(end - start);
        if taken > 0 {
            self.append(segment, start, fits);
        }
        if taken == count {
            return Queued::All;
        }
        Queued::Dropped { frames: count - taken, bytes: (end - fits) as usize }
    }

    /// Size and number of the frames at the front of `frames` that fit the budget.
    fn fitting(&self, frames: &[u8], budget: usize) -> (usize, u32) {
        let room = budget.saturating_sub(self.weight + ENTRY_COST);
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

    /// Owes frames of its own. `count` whole frames are in `frames`.
    pub(crate) fn own(&mut self, frames: &[u8], count: u32, budget: usize) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let (size, taken) = if self.weight + frames.len() + ENTRY_COST > budget {
            self.fitting(frames, budget)
        } else {
            (frames.len(), count)
        };
        if taken > 0 {
            self.push_own(|bytes| bytes.extend_from_slice(&frames[..size]));
        }
        if taken == count {
            return Queued::All;
        }
        Queued::Dropped { frames: count - taken, bytes: frames.len() - size }
    }

    /// Owes the rest of `frames`, `count` whole ones, of which the socket took the first `written` bytes. The queue is empty.
    pub(crate) fn own_rest(&mut self, frames: &[u8], written: usize, count: u32, budget: usize) -> Queued {
        let (mut begun, mut sent) = (0, 0);
        while let Some(next) = frame_end(frames, begun)
            && next <= written
        {
            begun = next;
            sent += 1;
        }
        // An empty queue takes one frame of any size: the one that is half written is never given up.
        let (size, taken) = self.fitting(&frames[begun..], budget);
        if taken > 0 {
            let bytes = frames[begun..begun + size].to_vec();
            let start = written - begun;
            self.weight += size - start + ENTRY_COST;
            self.boundary = 0;
            // A frame is far below 4 GiB.
            self.queue.push_back(Entry::Own { bytes, start: u32::try_from(start).unwrap_or(0) });
        }
        match count - sent - taken {
            0 => Queued::All,
            frames_lost => Queued::Dropped { frames: frames_lost, bytes: frames.len() - begun - size },
        }
    }

    /// Owes one frame the engine itself answers with (hello, PONG, errors). The budget applies as to any other.
    pub(crate) fn reply(&mut self, text: &str, budget: usize) -> Queued {
        if self.is_closed() {
            return Queued::Closed;
        }
        let size = frame_size(text.len());
        if self.weight + size + ENTRY_COST > budget {
            return Queued::Dropped { frames: 1, bytes: size };
        }
        self.push_own(|bytes| push_frame(bytes, Opcode::Text, text.as_bytes()));
        Queued::All
    }

    fn push_own(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Entry::Own { bytes, .. }) = self.queue.back_mut()
            && bytes.len() < OWN_BYTES
        {
            let before = bytes.len();
            write(bytes);
            self.weight += bytes.len() - before;
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        if self.queue.is_empty() {
            self.boundary = 0;
        }
        self.weight += bytes.len() + ENTRY_COST;
        self.queue.push_back(Entry::Own { bytes, start: 0 });
    }

    /// Queues a pong for the next frame boundary, replacing one that has not gone out.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        if self.is_closed() {
            return;
        }
        let mut frame = Vec::with_capacity(2 + payload.len());
        push_frame(&mut frame, Opcode::Pong, payload);
        self.control.get_or_insert_default().pong = Some(frame);
    }

    /// Queues a Close for the next frame boundary; the data behind it is given up once it is out.
    pub(crate) fn close_now(&mut self, code: CloseCode, reason: &str) {
        if self.ended {
            return;
        }
        self.last = None;
        self.closed = true;
        let control = self.control.get_or_insert_default();
        if control.close.is_none() && !control.ends {
            let mut frame = Vec::new();
            push_close(&mut frame, code, reason);
            control.close = Some(frame);
        }
    }

    /// Bytes given up since the last call.
    pub(crate) fn take_abandoned(&mut self) -> usize {
        std::mem::take(&mut self.abandoned)
    }

    /// Queues a Close behind everything that is owed already.
    pub(crate) fn close_after(&mut self, code: CloseCode, reason: &str) {
        if !self.closed {
            self.closed = true;
            self.last = Some(Box::new((code, reason.into())));
        }
    }

    /// What to write next: calls `write` with contiguous bytes and returns its answer, or `None` when nothing is owed.
    /// `scratch` joins small entries into one write.
    pub(crate) fn next_write<R>(&mut self, scratch: &mut Vec<u8>, write: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if self.queue.is_empty()
            && let Some(last) = self.last.take()
        {
            self.close_now(last.0, &last.1);
        }
        if let Some(until) = self.control_due() {
            return match until {
                // Mid-frame: finish the frame, then the control frames go.
                Some(until) => self.head(|bytes, start| write(&bytes[start..until])),
                None => self.control.as_mut().map(|control| write(control.chunk())),
            };
        }
        if self.queue.len() > 1 && self.head(|bytes, start| bytes.len() - start)? < OWN_BYTES / 4 {
            self.gather(scratch);
            return Some(write(scratch));
        }
        self.head(|bytes, start| write(&bytes[start..]))
    }

    /// Joins entries from the head into `scratch`, up to [`OWN_BYTES`].
    fn gather(&self, scratch: &mut Vec<u8>) {
        scratch.clear();
        for entry in &self.queue {
            match entry {
                Entry::Shared { segment, start, end } => {
                    scratch.extend_from_slice(&segment.bytes()[*start as usize..*end as usize]);
                }
                Entry::Own { bytes, start } => scratch.extend_from_slice(&bytes[*start as usize..]),
            }
            if scratch.len() >= OWN_BYTES {
                break;
            }
        }
    }

    /// `None`: no control frame is waiting. `Some(None)`: it is its turn. `Some(Some(end))`: after the data up to `end`.
    fn control_due(&mut self) -> Option<Option<usize>> {
        if self.control.as_ref()?.begun() {
            return Some(None);
        }
        let mut boundary = self.boundary as usize;
        let found = self.head(|bytes, start| {
            while boundary < start {
                match frame_end(bytes, boundary) {
                    Some(next) if next <= start => boundary = next,
                    Some(next) => return Some((boundary, next)),
                    // Entries hold whole frames: not reachable. Ending the walk here keeps the stream going.
                    None => return None,
                }
            }
            None
        });
        let Some(Some((boundary, end))) = found else { return Some(None) };
        // Positions within an entry fit 32 bits.
        self.boundary = u32::try_from(boundary).unwrap_or(self.boundary);
        Some(Some(end))
    }

    /// Notes that `n` bytes of the last [`Self::next_write`] went out. Returns whether a Close has now gone out whole.
    pub(crate) fn wrote(&mut self, n: usize) -> bool {
        let Some(control) = self.control.as_mut().filter(|control| control.begun()) else {
            self.wrote_data(n);
            return false;
        };
        control.written += n;
        if control.begun() {
            return false;
        }
        let ended = control.ends;
        if ended {
            // Data behind a Close is never sent.
            self.abandoned += self.weight;
            self.queue = VecDeque::new();
            self.weight = 0;
            self.ended = true;
        }
        if ended || (control.pong.is_none() && control.close.is_none()) {
            self.control = None;
        }
        ended
    }

    fn wrote_data(&mut self, mut n: usize) {
        self.weight = self.weight.saturating_sub(n);
        while let Some(head) = self.queue.front_mut() {
            let (start, len) = match head {
                Entry::Shared { start, end, .. } => {
                    let len = (*end - *start) as usize;
                    (start, len)
                }
                Entry::Own { bytes, start } => {
                    let len = bytes.len() - *start as usize;
                    (start, len)
                }
            };
            if n < len {
                // Below a length that came from 32-bit positions.
                *start += u32::try_from(n).unwrap_or(u32::MAX);
                return;
            }
            n -= len;
            self.queue.pop_front();
            self.weight = self.weight.saturating_sub(ENTRY_COST);
            self.boundary = match self.queue.front() {
                Some(Entry::Shared { start, .. }) => *start,
                _ => 0,
            };
        }
    }

    #[inline]
    fn head<R>(&self, with: impl FnOnce(&[u8], usize) -> R) -> Option<R> {
        match self.queue.front()? {
            Entry::Shared { segment, start, end } => Some(with(&segment.bytes()[..*end as usize], *start as usize)),
            Entry::Own { bytes, start } => Some(with(bytes, *start as usize)),
        }
    }
}

#[cfg(test)]
mod tests;

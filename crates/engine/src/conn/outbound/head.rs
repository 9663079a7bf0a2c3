//! The front of the queue: what to write next, where control frames may go in between, and what has gone out. Takes nothing in
//! and never touches a socket.

use std::collections::VecDeque;

use wse_protocol::frame::frame_end;

use super::{End, OWN_BYTES, Outbound};
use crate::conn::control::Wrote;
use crate::conn::entry::{ENTRY_COST, Entry};

impl Outbound {
    /// What to write next: calls `write` with contiguous bytes and returns its answer, or `None` when nothing is owed.
    /// `scratch` joins small entries into one write.
    pub(in crate::conn) fn next_write<R>(
        &mut self,
        scratch: &mut Vec<u8>,
        write: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        if self.queue.is_empty()
            && let Some(last) = self.last.take()
        {
            self.close_now(&last.0);
        }
        match self.control_due() {
            Due::No => {}
            Due::Now => return self.control.as_mut().map(|control| write(control.chunk())),
            // Mid-frame: finish the frame, then the control frames go.
            Due::At(end) => return self.head(|bytes, at| write(&bytes[at..end])),
        }
        if self.queue.len() > 1 && self.queue.front().map_or(0, Entry::left) < OWN_BYTES / 4 {
            self.gather(scratch);
            return Some(write(scratch));
        }
        self.head(|bytes, at| write(&bytes[at..]))
    }

    /// Joins entries from the head into `scratch`, up to [`OWN_BYTES`].
    fn gather(&self, scratch: &mut Vec<u8>) {
        scratch.clear();
        for entry in &self.queue {
            match entry {
                Entry::Shared { segment, at, end, .. } => {
                    scratch.extend_from_slice(&segment.until(*end)[*at as usize..]);
                }
                Entry::Kept { chunk, at, end, .. } => scratch.extend_from_slice(&chunk.until(*end)[*at as usize..]),
                Entry::Own { bytes, at } => scratch.extend_from_slice(&bytes[*at as usize..]),
            }
            if scratch.len() >= OWN_BYTES {
                break;
            }
        }
    }

    /// Whether it is the control frames' turn.
    fn control_due(&mut self) -> Due {
        match &self.control {
            None => return Due::No,
            Some(control) if control.begun() => return Due::Now,
            Some(_) => {}
        }
        let mut boundary = self.boundary as usize;
        let found = self.head(|bytes, at| {
            while boundary < at {
                match frame_end(bytes, boundary) {
                    Some(next) if next <= at => boundary = next,
                    Some(next) => return Some((boundary, next)),
                    // Entries hold whole frames: not reachable. Ending the walk here keeps the stream going.
                    None => return None,
                }
            }
            None
        });
        let Some(Some((boundary, end))) = found else { return Due::Now };
        // Positions within an entry fit 32 bits.
        self.boundary = u32::try_from(boundary).unwrap_or(self.boundary);
        Due::At(end)
    }

    /// Notes that `n` bytes of the last [`Self::next_write`] went out. Once a Close has gone out whole: the bytes that were
    /// owed behind it and never will be sent.
    #[inline]
    pub(in crate::conn) fn wrote(&mut self, n: usize) -> Option<usize> {
        if self.control.as_ref().is_some_and(|control| control.begun()) {
            return self.wrote_control(n);
        }
        self.wrote_data(n);
        None
    }

    #[cold]
    #[inline(never)]
    fn wrote_control(&mut self, n: usize) -> Option<usize> {
        let wrote = self.control.as_mut()?.wrote(n);
        if wrote != Wrote::Some {
            self.control = None;
        }
        if wrote != Wrote::Close {
            return None;
        }
        // Data behind a Close is never sent.
        self.queue = VecDeque::new();
        self.weight = 0;
        self.fresh = 0;
        self.end = End::Sent;
        Some(std::mem::take(&mut self.owed))
    }

    fn wrote_data(&mut self, mut n: usize) {
        self.owed = self.owed.saturating_sub(n);
        while let Some(head) = self.queue.front_mut() {
            let (at, end, charge) = match head {
                Entry::Shared { at, end, charge, .. } | Entry::Kept { at, end, charge, .. } => {
                    (at, *end as usize, *charge as usize)
                }
                Entry::Own { bytes, at } => (at, bytes.len(), bytes.capacity()),
            };
            let left = end - *at as usize;
            if n < left {
                // Below a length that came from 32-bit positions.
                *at += u32::try_from(n).unwrap_or(u32::MAX);
                return;
            }
            n -= left;
            self.weight -= charge + ENTRY_COST;
            self.queue.pop_front();
            self.boundary = match self.queue.front() {
                Some(Entry::Shared { at, .. } | Entry::Kept { at, .. }) => *at,
                _ => 0,
            };
        }
    }

    /// Calls `with` with the head's bytes, from a frame boundary at or before [`Self::boundary`] on, and its position there.
    #[inline]
    fn head<R>(&self, with: impl FnOnce(&[u8], usize) -> R) -> Option<R> {
        match self.queue.front()? {
            Entry::Shared { segment, at, end, .. } => Some(with(&segment.until(*end), *at as usize)),
            Entry::Kept { chunk, at, end, .. } => Some(with(chunk.until(*end), *at as usize)),
            Entry::Own { bytes, at } => Some(with(bytes, *at as usize)),
        }
    }
}

/// When control frames may go.
enum Due {
    /// None waits.
    No,
    /// It is their turn.
    Now,
    /// Once the head is written up to here, where a frame ends.
    At(usize),
}

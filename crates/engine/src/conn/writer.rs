//! The only code that writes a connection's socket: as much of the outbound queue as the socket takes now, or frames that
//! need no queue.

use super::{Connection, Phase, Queued};
use crate::metrics::ShardCells;

/// What one flush came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is owed any more.
    All,
    /// The socket takes no more for now; the connection's task is woken when it does.
    Blocked,
    /// The connection is finished.
    Over,
}

/// What became of frames offered to the socket directly.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WroteThrough {
    /// Not tried: the connection owes something already, is closing, or its transport has a buffer of its own.
    Not,
    /// The socket took everything.
    All,
    /// The rest is owed now, as far as the budget allows, and the task is woken when the socket takes more.
    Part(Queued),
    /// The connection is finished.
    Over,
}

impl Connection {
    /// Writes `count` whole frames past the queue, if that is empty.
    pub(crate) fn write_through(
        &mut self,
        frames: &[u8],
        count: u32,
        budget: usize,
        cells: &ShardCells,
    ) -> WroteThrough {
        if self.blocked || !self.transport.is_plain() || self.out.is_closed() || !self.out.is_empty() {
            return WroteThrough::Not;
        }
        let mut written = 0;
        while written < frames.len() {
            match self.transport.try_write(&self.waker, &frames[written..]) {
                None => {
                    self.blocked = true;
                    let queued = self.out.own_rest(frames, written, count, budget);
                    cells.outbound_bytes.shift(0, self.out.weight());
                    return WroteThrough::Part(queued);
                }
                Some(Ok(0) | Err(_)) => return WroteThrough::Over,
                Some(Ok(taken)) => {
                    written += taken;
                    cells.writes.add(1);
                    cells.bytes_sent.add(taken as u64);
                }
            }
        }
        WroteThrough::All
    }

    /// Writes until nothing is owed or the socket blocks.
    pub(crate) fn flush(&mut self, scratch: &mut Vec<u8>, cells: &ShardCells, now: impl Fn() -> u32) -> Flushed {
        if self.unflushed_close {
            return self.flush_close(now);
        }
        let Self { out, transport, waker, .. } = self;
        let before = out.weight();
        let mut wrote = false;
        let result = loop {
            let Some(result) = out.next_write(scratch, |bytes| transport.try_write(waker, bytes)) else {
                break match transport.try_flush(waker) {
                    Ok(true) => Flushed::All,
                    Ok(false) => Flushed::Blocked,
                    Err(_) => Flushed::Over,
                };
            };
            match result {
                None => break Flushed::Blocked,
                Some(Ok(0)) | Some(Err(_)) => break Flushed::Over,
                Some(Ok(written)) => {
                    wrote = true;
                    cells.writes.add(1);
                    cells.bytes_sent.add(written as u64);
                    if out.wrote(written) {
                        break self.flush_close(&now);
                    }
                }
            }
        };
        if wrote && self.phase == Phase::Closing {
            // What is queued before the Close gets on: the peer is slow, not gone.
            self.since_close = now();
        }
        cells.outbound_bytes.shift(before, self.out.weight());
        cells.abandoned_bytes.add(self.out.take_abandoned() as u64);
        result
    }

    /// The Close is written. TLS may still hold it: only what the socket has taken is out.
    fn flush_close(&mut self, now: impl Fn() -> u32) -> Flushed {
        match self.transport.try_flush(&self.waker) {
            Ok(true) => {
                self.unflushed_close = false;
                self.close_went_out(now())
            }
            Ok(false) => {
                self.unflushed_close = true;
                Flushed::Blocked
            }
            Err(_) => Flushed::Over,
        }
    }

    fn close_went_out(&mut self, now: u32) -> Flushed {
        // The peer has said Close already: the handshake is complete, the server ends the TCP connection (§7.1.1).
        if self.phase == Phase::Answering {
            self.transport.shut_down(&self.waker);
            return Flushed::Over;
        }
        if self.violated.is_some() {
            self.transport.shut_down(&self.waker);
        }
        self.phase = Phase::Lingering;
        self.since_close = now;
        self.closing_at = now;
        Flushed::All
    }
}

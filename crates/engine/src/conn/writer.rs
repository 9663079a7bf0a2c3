//! The only code that writes a connection's socket: as much of the outbound queue as the socket takes now, or frames that
//! need no queue.

use super::account::{Loss, Offer};
use super::connection::{CloseProgress, Intake, Phase, Socket};
use super::{Connection, Context};
use crate::clock::Millis;

/// What one flush came to.
#[derive(Debug, PartialEq, Eq)]
enum Flushed {
    /// Nothing is owed any more.
    All,
    /// The socket takes no more for now; the connection is woken when it does.
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
    /// The socket took some; the rest is owed now as far as the budget allows, and this much is lost.
    Part(Loss),
    /// The connection is finished.
    Over,
}

impl Connection {
    /// Writes `count` whole frames past the queue, if that is empty.
    pub(crate) fn write_through(&mut self, frames: &[u8], count: u32, context: &mut Context) -> WroteThrough {
        if self.needs_queue() || self.account.out.is_closed() || !self.account.out.is_empty() {
            return WroteThrough::Not;
        }
        let mut written = 0;
        while written < frames.len() {
            match self.transport.try_write(&self.peer, &frames[written..]) {
                None => {
                    self.socket = Socket::Blocked;
                    self.moved_on(written, context);
                    let loss = self.offer(Offer::Rest { frames, count, written }, context);
                    self.update_congestion(context);
                    return WroteThrough::Part(loss);
                }
                Some(Ok(0) | Err(_)) => {
                    self.socket = Socket::Over;
                    context.counters.too_late.add(u64::from(count));
                    return WroteThrough::Over;
                }
                Some(Ok(taken)) => {
                    written += taken;
                    context.counters.writes.add(1);
                    context.counters.bytes_sent.add(taken as u64);
                }
            }
        }
        context.counters.messages_sent.add(u64::from(count));
        self.moved_on(written, context);
        WroteThrough::All
    }

    /// Writes until nothing is owed or the socket blocks; false when that ended the connection.
    pub(crate) fn flush(&mut self, context: &mut Context) -> bool {
        if self.socket == Socket::Over {
            return false;
        }
        if self.account.out.is_empty() && self.socket == Socket::Ready {
            return true;
        }
        let phase = self.phase;
        let flushed = if self.socket == Socket::BlockedClose {
            self.flush_close(context.now())
        } else {
            self.write_queue(context)
        };
        match flushed {
            Flushed::All => self.socket = Socket::Ready,
            Flushed::Blocked if self.socket != Socket::BlockedClose => self.socket = Socket::Blocked,
            Flushed::Blocked => {}
            Flushed::Over => self.socket = Socket::Over,
        }
        if self.socket == Socket::Over {
            return false;
        }
        self.settle(context);
        if self.phase != phase {
            self.rearm(context);
        }
        true
    }

    /// After a batch: what is still owed is charged with what it keeps alive.
    pub(crate) fn settle(&mut self, context: &mut Context) {
        let before = self.account.out.weight();
        self.account.out.settle();
        context.counters.outbound_bytes.shift(before, self.account.out.weight());
        self.update_congestion(context);
    }

    fn write_queue(&mut self, context: &mut Context) -> Flushed {
        let Context { scratch, counters, shared, .. } = context;
        let Self { account, transport, peer, .. } = self;
        let out = &mut account.out;
        let before = out.weight();
        let mut wrote = 0;
        let mut close_is_written = false;
        let flushed = loop {
            let Some(result) = out.next_write(scratch, |bytes| transport.try_write(peer, bytes)) else {
                break match transport.try_flush(peer) {
                    Ok(true) => Flushed::All,
                    Ok(false) => Flushed::Blocked,
                    Err(_) => Flushed::Over,
                };
            };
            match result {
                None => break Flushed::Blocked,
                Some(Ok(0)) | Some(Err(_)) => break Flushed::Over,
                Some(Ok(written)) => {
                    wrote += written;
                    counters.writes.add(1);
                    counters.bytes_sent.add(written as u64);
                    if let Some(abandoned) = out.wrote(written) {
                        counters.abandoned_bytes.add(abandoned as u64);
                        close_is_written = true;
                        break Flushed::All;
                    }
                }
            }
        };
        counters.outbound_bytes.shift(before, out.weight());
        if wrote > 0 && matches!(self.phase, Phase::Closing | Phase::Answering) {
            // What is queued before the Close gets on: the peer is slow, not gone.
            self.close.progressed = shared.clock.now();
        }
        if wrote > 0 {
            self.moved_on(wrote, context);
        }
        if close_is_written { self.flush_close(context.now()) } else { flushed }
    }

    /// The Close is written. TLS may still hold it: only what the socket has taken is out.
    fn flush_close(&mut self, now: Millis) -> Flushed {
        match self.transport.try_flush(&self.peer) {
            Ok(true) => self.close_went_out(now),
            Ok(false) => {
                self.socket = Socket::BlockedClose;
                Flushed::Blocked
            }
            Err(_) => Flushed::Over,
        }
    }

    fn close_went_out(&mut self, now: Millis) -> Flushed {
        // The peer has said Close already: the handshake is complete, the server ends the TCP connection (§7.1.1). Or it has
        // ended its side: it will never say it.
        if self.phase == Phase::Answering || self.intake == Intake::Ended {
            self.transport.shut_down(&self.peer);
            return Flushed::Over;
        }
        if self.intake == Intake::Discarding {
            self.transport.shut_down(&self.peer);
        }
        self.phase = Phase::Lingering;
        self.close = CloseProgress { began: now, progressed: now };
        Flushed::All
    }
}

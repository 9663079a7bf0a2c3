//! The only code that writes a connection's socket: as much of the outbound queue as the socket takes now.

use super::{Connection, Phase};
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

impl Connection {
    /// Writes until nothing is owed or the socket blocks.
    pub(crate) fn flush(&mut self, scratch: &mut Vec<u8>, cells: &ShardCells, now: impl Fn() -> u32) -> Flushed {
        let Self { out, transport, waker, .. } = self;
        let before = out.weight();
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
                    cells.writes.add(1);
                    cells.bytes_sent.add(written as u64);
                    if out.wrote(written) {
                        let flushed = transport.try_flush(waker);
                        break self.close_went_out(now(), flushed.is_err());
                    }
                }
            }
        };
        let after = self.out.weight();
        cells.outbound_bytes.shift(before, after);
        result
    }

    fn close_went_out(&mut self, now: u32, failed: bool) -> Flushed {
        match self.phase {
            _ if failed => Flushed::Over,
            // The peer has said Close already: the handshake is complete, the server ends the TCP connection (§7.1.1).
            Phase::Answering => {
                self.transport.shut_down(&self.waker);
                Flushed::Over
            }
            _ => {
                if self.violated.is_some() {
                    self.transport.shut_down(&self.waker);
                }
                self.phase = Phase::Lingering;
                self.since_close = now;
                Flushed::All
            }
        }
    }
}

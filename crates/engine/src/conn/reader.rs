//! Brings bytes from a connection's socket to its decoder: the shard's one buffer first, the connection's carry only for
//! what is incomplete. Decides nothing about messages.

use std::task::{self, Poll};

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{MessageSource, Violation};

use super::inbound::Inbox;
use super::{Connection, Phase};
use crate::config::SlowConsumer;
use crate::shard::Context;

/// Bytes a closing peer may still send before it is cut off.
const LINGER_BYTES: usize = 1024 * 1024;

/// What one read came to.
pub(crate) enum Read {
    /// The socket has nothing more for now.
    Pending,
    /// Bytes were handled; there may be more.
    More {
        /// Payloads of `subscription_update` messages the shard has to answer.
        subscription_updates: Vec<Box<[u8]>>,
    },
    /// The connection is finished: the socket ended or failed, or the close handshake is complete.
    Over,
}

impl Connection {
    /// Reads once and handles what came.
    pub(crate) fn read(&mut self, cx: &mut task::Context<'_>, context: &mut Context) -> Read {
        if std::mem::take(&mut self.early) {
            // It waits in the carry; the socket may never have more.
            return self.take_in(&mut [], context);
        }
        let mut buffer = std::mem::take(&mut context.read_buffer);
        let read = match self.transport.read_into(cx, &mut buffer) {
            Poll::Pending => Read::Pending,
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Read::Over,
            Poll::Ready(Ok(count)) => {
                context.cells.bytes_received.add(count as u64);
                self.take_in(&mut buffer[..count], context)
            }
        };
        context.read_buffer = buffer;
        read
    }

    fn take_in(&mut self, bytes: &mut [u8], context: &mut Context) -> Read {
        let owed = self.out.weight();
        let read = self.ingest(bytes, context);
        context.cells.outbound_bytes.shift(owed, self.out.weight());
        read
    }

    fn ingest(&mut self, bytes: &mut [u8], context: &mut Context) -> Read {
        let now = context.now();
        if let Some(lingered) = &mut self.violated {
            // After a violation the stream has no meaning: let the Close reach the peer, then go.
            *lingered += bytes.len();
            return if *lingered > LINGER_BYTES { Read::Over } else { Read::More { subscription_updates: Vec::new() } };
        }
        let before = self.held();
        let (mut inbox, decoder, carry) = Inbox::new(self, context);
        let fed = feed(decoder, carry, bytes, &mut inbox);
        let Inbox { heard, close, subscription_updates, overflowed, .. } = inbox;
        if heard {
            self.last_data = now;
        }
        context.hold(before, self.held());
        let over_budget = self.held() > before && context.reassembly_exhausted(self.held());
        match fed {
            Err(violation) => self.violate(violation, context, now),
            Ok(()) if over_budget => {
                let violation = Violation { code: CloseCode::TRY_AGAIN_LATER, reason: "server is low on memory" };
                self.violate(violation, context, now);
            }
            Ok(()) if overflowed && context.shared.config.slow_consumer == SlowConsumer::Close => {
                self.close_now(CloseCode::RECONNECT, "slow consumer", now);
            }
            Ok(()) => {}
        }
        if let Some(code) = close {
            return self.peer_closed(code, now);
        }
        Read::More { subscription_updates }
    }

    fn violate(&mut self, violation: Violation, context: &mut Context, now: u32) {
        context.cells.protocol_errors.add(1);
        context.hold(self.held(), 0);
        self.carry = Vec::new();
        self.decoder = wse_protocol::frame::Decoder::new(0);
        self.close_now(violation.code, violation.reason, now);
        self.violated = Some(0);
    }

    fn peer_closed(&mut self, code: Option<CloseCode>, now: u32) -> Read {
        match self.phase {
            // Our Close is out already: this is the answer to it.
            Phase::Lingering => {
                self.transport.shut_down(&self.waker);
                Read::Over
            }
            _ => {
                self.close_now(code.unwrap_or(CloseCode::NORMAL), "", now);
                self.phase = Phase::Answering;
                Read::More { subscription_updates: Vec::new() }
            }
        }
    }
}

/// Feeds new bytes behind the carried ones and keeps what is incomplete.
fn feed(
    decoder: &mut impl MessageSource,
    carry: &mut Vec<u8>,
    bytes: &mut [u8],
    inbox: &mut Inbox<'_>,
) -> Result<(), Violation> {
    if carry.is_empty() {
        let used = decoder.feed(bytes, inbox)?;
        if used < bytes.len() {
            *carry = bytes[used..].to_vec();
        }
        return Ok(());
    }
    carry.extend_from_slice(bytes);
    let used = decoder.feed(carry, inbox)?;
    if used == carry.len() {
        *carry = Vec::new();
    } else if used > 0 {
        // What is left is short unless a large frame has just begun; it gets a buffer of its own size.
        *carry = carry[used..].to_vec();
    }
    Ok(())
}

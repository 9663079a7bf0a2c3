//! The connection itself: what a shard keeps for each open socket. Kept small: whatever most connections never need is
//! boxed or absent.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::Decoder;

use super::{Outbound, Transport};
use crate::registry::Peer;
use crate::topics::Subscriptions;

/// Above this share of its budget, or this many bytes, a connection counts as congested.
const CONGESTION_SHARE: usize = 4;
const CONGESTION_BYTES: usize = 1024 * 1024;

/// A congested connection slows publishers down for this long, milliseconds. What has not drained by then is a peer that
/// does not read, and its budget deals with it: nobody can stall a publisher by standing still.
const PRESSING_MS: u32 = 2000;

/// One open connection.
pub(crate) struct Connection {
    pub(crate) peer: Arc<Peer>,
    pub(crate) transport: Transport,
    /// Wakes the connection's task.
    pub(crate) waker: Waker,
    pub(crate) decoder: Decoder,
    /// Bytes of an incomplete frame.
    pub(crate) carry: Vec<u8>,
    /// The carry holds what came behind the upgrade request, not looked at yet.
    pub(crate) early: bool,
    pub(crate) out: Outbound,
    pub(crate) topics: Subscriptions,
    /// Which of the shard's lanes its events go to.
    pub(crate) lane: u16,
    pub(crate) phase: Phase,
    /// The peer broke the protocol; bytes it has sent since.
    pub(crate) violated: Option<usize>,
    /// The socket took no more: the task flushes when it does.
    pub(crate) blocked: bool,
    /// The Close is written, but TLS holds some of it.
    pub(crate) unflushed_close: bool,
    /// Listed for the flush at the end of the batch.
    pub(crate) dirty: bool,
    /// Listed among those that are read again when the host has drained.
    pub(crate) paused: bool,
    pub(crate) congested: bool,
    /// Its congestion counts as pressure on publishers; not for longer than [`PRESSING_MS`].
    pub(crate) pressing: bool,
    pub(crate) congested_at: u32,
    /// Consecutive pings at which the queue was found full.
    pub(crate) full_pings: u8,
    /// What was dropped since the host was last told.
    pub(crate) dropped: Option<Box<Dropped>>,
    /// Times in wrapping milliseconds of the engine's clock.
    pub(crate) last_data: u32,
    pub(crate) next_ping: u32,
    /// When the close handshake last got on.
    pub(crate) since_close: u32,
    /// When it began.
    pub(crate) closing_at: u32,
    /// When the wheel is due to visit; an entry with another time is stale.
    pub(crate) timer: u32,
    /// Token expiry in unix seconds, leeway included; 0 = never.
    pub(crate) expires: u64,
}

/// Frames and bytes a slow consumer lost.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Dropped {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// When the host was told last.
    pub(crate) told: Option<u32>,
}

/// A slow consumer is reported to the host at most this often, milliseconds.
const SLOW_REPORT_MS: u32 = 1000;

impl Dropped {
    /// Notes frames the budget had no room for.
    pub(crate) fn note(this: &mut Option<Box<Self>>, frames: u32, bytes: usize) {
        let this = this.get_or_insert_default();
        this.frames += u64::from(frames);
        this.bytes += bytes as u64;
    }

    /// When the host is to be told, if there is something it does not know.
    pub(crate) fn due(&self, now: u32) -> Option<u32> {
        (self.frames > 0).then(|| self.told.map_or(now, |told| told.wrapping_add(SLOW_REPORT_MS)))
    }
}

/// Where the close handshake stands (RFC 6455 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Messages flow.
    Open,
    /// Our Close is queued; what the peer sends is still read for its Close.
    Closing,
    /// The peer said Close, our answer is queued.
    Answering,
    /// Our Close is out; waiting for the peer's, or for the end of the stream.
    Lingering,
}

/// How a queue moved across the congestion mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crossed {
    No,
    Up,
    Down {
        /// It still counted as pressure.
        pressed: bool,
    },
}

impl Connection {
    /// Bytes held for incomplete messages.
    pub(crate) fn held(&self) -> usize {
        use wse_protocol::frame::MessageSource;
        self.carry.len() + self.decoder.held()
    }

    /// Ends the conversation at the next frame boundary, giving up what is queued.
    pub(crate) fn close_now(&mut self, code: CloseCode, reason: &str, now: u32) {
        self.begin_close(now);
        self.out.close_now(code, reason);
    }

    /// Ends the conversation after what is queued.
    pub(crate) fn close_after(&mut self, code: CloseCode, reason: &str, now: u32) {
        self.begin_close(now);
        self.out.close_after(code, reason);
    }

    fn begin_close(&mut self, now: u32) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.since_close = now;
            self.closing_at = now;
            self.peer.begin_close();
        }
    }

    /// Compares the queue with the congestion mark, and notes when it crossed it.
    pub(crate) fn update_congestion(&mut self, budget: usize, now: impl FnOnce() -> u32) -> Crossed {
        let mark = (budget / CONGESTION_SHARE).min(CONGESTION_BYTES);
        let congested = if self.congested { self.out.weight() > mark / 2 } else { self.out.weight() > mark };
        if congested == self.congested {
            return Crossed::No;
        }
        self.congested = congested;
        self.peer.congested.store(congested, Relaxed);
        if !congested {
            return Crossed::Down { pressed: std::mem::take(&mut self.pressing) };
        }
        self.pressing = true;
        self.congested_at = now();
        Crossed::Up
    }

    /// When its congestion stops counting as pressure.
    pub(crate) fn pressing_until(&self) -> Option<u32> {
        self.pressing.then(|| self.congested_at.wrapping_add(PRESSING_MS))
    }
}

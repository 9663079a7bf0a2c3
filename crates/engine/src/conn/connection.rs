//! The connection itself: what a shard keeps for each open socket, and how it begins, closes and ends. Kept small: whatever
//! most connections never need is boxed or absent.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Decoder, MessageSource, close_payload};

use super::account::{Account, Report};
use super::{Context, Transport};
use crate::clock::{Millis, millis};
use crate::config::Config;
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::registry::Peer;
use crate::topics::TopicEntry;

/// A connection counts as congested above one part in so many of its budget.
const CONGESTION_SHARE: usize = 4;
/// Bytes above which a connection counts as congested, whatever its budget.
const CONGESTION_BYTES: usize = 1024 * 1024;

/// A congested connection slows publishers down for this long, milliseconds. What has not drained by then is a peer that
/// does not read, and its budget deals with it: nobody can stall a publisher by standing still.
const PRESSING_MS: u32 = 2000;

/// One open connection.
pub(crate) struct Connection {
    pub(super) peer: Arc<Peer>,
    pub(super) transport: Transport,
    /// Wakes the connection's task.
    pub(super) waker: Waker,
    pub(super) decoder: Decoder,
    /// Bytes of an incomplete frame.
    pub(super) partial: Partial,
    /// What it is owed. Frames for it will be of its class: plain, deflated with such parameters, sealed.
    pub(super) account: Account,
    /// What it is subscribed to. A policy per subscription (filter, conflation) will stand beside the topic.
    subscriptions: Vec<Arc<TopicEntry>>,
    /// Which of the shard's event streams its events go to.
    pub(super) stream: u16,
    pub(super) phase: Phase,
    pub(super) intake: Intake,
    pub(super) socket: Socket,
    /// Listed for the flush at the end of the batch.
    listed: bool,
    congestion: Congestion,
    /// Consecutive pings at which the queue was found full.
    pub(super) full_pings: u8,
    pub(super) last_data: Millis,
    pub(super) next_ping: Millis,
    pub(super) close: CloseProgress,
    /// Our Close while it waits for the host: in [`Phase::Parting`] and in no other.
    pub(super) parting: Option<Box<Parting>>,
    /// When the wheel is due to visit; an entry with another time is stale.
    pub(super) timer: Millis,
    /// Token expiry in unix seconds, leeway included; 0 = never.
    pub(super) expires: u64,
}

/// What a connection begins with.
pub(crate) struct Opening {
    pub(crate) peer: Arc<Peer>,
    pub(crate) transport: Transport,
    /// Bytes the client sent behind its request.
    pub(crate) early: Vec<u8>,
    /// Which of the shard's event streams its events go to.
    pub(crate) stream: u16,
    /// Token expiry in unix seconds, leeway included; 0 = never.
    pub(crate) expires: u64,
}

/// Received bytes of an incomplete frame.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) bytes: Vec<u8>,
    /// They came behind the upgrade request and have not been looked at.
    pub(super) unread: bool,
}

/// What becomes of what the peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    /// It is read.
    Reading,
    /// It is left in the socket until the host has read events.
    Paused,
    /// The peer broke the protocol: what it has sent since has no meaning. It is read all the same until the peer has ended or
    /// the close timeout is over, or the Close would be lost to a reset.
    Discarding,
    /// The peer ends its side while our Close is on its way: nothing more comes, and what is owed still goes out.
    Ended,
}

/// What the socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// As far as is known, more.
    Ready,
    /// Nothing now: the connection's task flushes when it does.
    Blocked,
    /// Nothing now, and the Close is written, but TLS holds some of it.
    BlockedClose,
    /// Nothing ever: the connection is finished.
    Over,
}

/// Where a queue stands beside the congestion mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Congestion {
    Clear,
    Congested {
        since: Millis,
        /// It counts as pressure on publishers; not for longer than [`PRESSING_MS`].
        pressing: bool,
    },
}

/// The times of a close handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct CloseProgress {
    pub(super) began: Millis,
    /// When it last got on.
    pub(super) progressed: Millis,
}

/// Our Close, and what it waits for.
pub(super) struct Parting {
    /// Payload of the Close.
    pub(super) close: Vec<u8>,
    /// The phase that follows.
    pub(super) then: Phase,
    /// The host is done with this connection's events once it is done with so many of its stream's reader.
    pub(super) mark: u64,
    /// It is, and what it sent before is in the mailbox: the batch the shard was in when it found that out.
    pub(super) heard: Option<u64>,
    pub(super) until: Millis,
}

/// Where the close handshake stands (RFC 6455 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages flow.
    Open,
    /// The peer has said its last word, ours waits a moment for the host: messages flow outwards only.
    Parting,
    /// Our Close is queued; what the peer sends is still read for its Close.
    Closing,
    /// The peer said Close, our answer is queued.
    Answering,
    /// Our Close is out; waiting for the peer's, or for the end of the stream.
    Lingering,
}

impl Connection {
    /// A connection that was just accepted.
    pub(crate) fn open(opening: Opening, config: &Config, now: Millis) -> Self {
        let Opening { peer, transport, early, stream, expires } = opening;
        Self {
            transport,
            waker: Waker::noop().clone(),
            decoder: Decoder::new(config.max_message_size),
            partial: Partial { unread: !early.is_empty(), bytes: early },
            account: Account::new(config.max_outbound_bytes),
            subscriptions: Vec::new(),
            stream,
            phase: Phase::Open,
            intake: Intake::Reading,
            socket: Socket::Ready,
            listed: false,
            congestion: Congestion::Clear,
            full_pings: 0,
            last_data: now,
            next_ping: now.after(stagger(peer.id, millis(config.ping_interval))),
            close: CloseProgress { began: now, progressed: now },
            parting: None,
            timer: Millis::default(),
            expires,
            peer,
        }
    }

    /// Who it is to the other threads.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(crate) fn id(&self) -> ConnId {
        self.peer.id
    }

    /// What it is subscribed to.
    pub(crate) fn subscriptions(&mut self) -> &mut Vec<Arc<TopicEntry>> {
        &mut self.subscriptions
    }

    /// What it is owed, for many offers that are posted together.
    #[inline]
    pub(crate) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Bytes held for incomplete messages.
    pub(crate) fn held(&self) -> usize {
        self.partial.bytes.len() + self.decoder.held()
    }

    /// Whether frames must go through its queue: its socket takes no more for now, or has a buffer of its own (TLS).
    pub(crate) fn needs_queue(&self) -> bool {
        self.socket != Socket::Ready || !self.transport.is_plain()
    }

    /// The socket takes no more for now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.socket != Socket::Ready
    }

    /// Lists it for a flush; false when it is listed already.
    #[inline]
    pub(crate) fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    /// It is listed no more; returns whether it was.
    pub(crate) fn unlist(&mut self) -> bool {
        std::mem::take(&mut self.listed)
    }

    /// Whether it is listed for a flush.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// Ends the conversation at the next frame boundary, giving up what is queued.
    pub(super) fn close_now(&mut self, code: CloseCode, reason: &str, context: &mut Context) {
        if !self.depart_now(context) {
            self.begin_close(context);
            self.account.out.close_now(&close_payload(code, reason));
        }
    }

    /// Ends the conversation after what is queued.
    pub(crate) fn close_after(&mut self, code: CloseCode, reason: &str, context: &mut Context) {
        // The peer's end came first, and ours is the answer to it.
        self.depart(context);
        self.begin_close(context);
        self.account.out.close_after(close_payload(code, reason));
    }

    pub(super) fn begin_close(&mut self, context: &mut Context) {
        if matches!(self.phase, Phase::Open | Phase::Parting) {
            let now = context.now();
            self.phase = Phase::Closing;
            self.close = CloseProgress { began: now, progressed: now };
            self.peer.begin_close();
            self.rearm(context);
            // A connection left alone for the host's sake must hear the answer.
            self.resume(context);
        }
    }

    /// Compares the queue with the congestion mark, and keeps count of the congested; the last one to recover relieves
    /// publishers.
    pub(super) fn update_congestion(&mut self, context: &mut Context) {
        let mark = (self.account.out.budget() / CONGESTION_SHARE).min(CONGESTION_BYTES);
        let weight = self.account.out.weight();
        match self.congestion {
            Congestion::Clear if weight > mark => {
                self.congestion = Congestion::Congested { since: context.now(), pressing: true };
                self.peer.congested.store(true, Relaxed);
                context.counters.congested.add(1);
                context.counters.pressing.add(1);
                self.rearm(context);
            }
            Congestion::Congested { .. } if weight <= mark / 2 => self.clear_congestion(context),
            _ => {}
        }
    }

    fn clear_congestion(&mut self, context: &Context) {
        let Congestion::Congested { pressing, .. } = std::mem::replace(&mut self.congestion, Congestion::Clear) else {
            return;
        };
        self.peer.congested.store(false, Relaxed);
        context.counters.congested.shift(1, 0);
        if pressing {
            release_pressure(context);
        }
    }

    /// When its congestion stops counting as pressure.
    pub(super) fn pressing_until(&self) -> Option<Millis> {
        match self.congestion {
            Congestion::Congested { since, pressing: true } => Some(since.after(PRESSING_MS)),
            _ => None,
        }
    }

    /// Its congestion counts as pressure no longer.
    pub(super) fn stop_pressing(&mut self, context: &Context) {
        if let Congestion::Congested { pressing, .. } = &mut self.congestion
            && std::mem::take(pressing)
        {
            release_pressure(context);
        }
    }

    /// Whether a visit of the wheel that was due at `due` is the one it waits for.
    pub(crate) fn is_due(&self, due: Millis) -> bool {
        self.timer == due
    }

    /// Enters its next visit into the wheel.
    pub(crate) fn rearm(&mut self, context: &mut Context) {
        self.timer = self.next_timer(&context.shared.config, context.now());
        context.wheel.insert(self.peer.id.slot(), self.timer);
    }

    /// Takes leave of the host and of every gauge it was part of: exactly one `disconnect` event.
    pub(crate) fn end(mut self, context: &mut Context) {
        context.hold(self.held(), 0);
        let weight = self.account.out.weight();
        context.counters.outbound_bytes.shift(weight, 0);
        context.counters.abandoned_bytes.add(self.account.out.owed() as u64);
        self.clear_congestion(context);
        self.report_losses(Report::Leaving, context);
        context.event(self.stream, Kind::Disconnect, self.peer.id, b"");
        context.leave_stream(self.stream);
        // Its task finds the slot empty and ends.
        self.waker.wake();
    }
}

/// One connection less that slows publishers down.
fn release_pressure(context: &Context) {
    context.counters.pressing.shift(1, 0);
    context.shared.relieve();
}

/// Spreads first pings over the interval, so that many connections opened at once are not pinged at once.
fn stagger(id: ConnId, interval: u32) -> u32 {
    // Fibonacci hashing: neighbouring ids land far apart.
    let spread = id.as_u64().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let part = (spread * u64::from(interval)) >> 32;
    u32::try_from(part).unwrap_or(0).max(1)
}

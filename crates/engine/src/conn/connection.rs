//! The connection itself: what a shard keeps for each open socket, and how it begins, closes and ends. Kept small: whatever
//! most connections never need is boxed or absent.

use std::sync::Arc;

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Decoder, MessageSource, close_payload};

use super::account::{Account, Report};
use super::ending::By;
use super::lag::Lag;
use super::{Context, Transport};
use crate::clock::Millis;
use crate::config::Config;
use crate::id::ConnId;
use crate::inbound::Consumer;
use crate::registry::Peer;

/// A connection counts as congested above one part in so many of its budget.
const CONGESTION_SHARE: usize = 4;
/// Bytes above which a connection counts as congested, whatever its budget.
const CONGESTION_BYTES: usize = 1024 * 1024;

/// One open connection.
pub(crate) struct Connection {
    pub(super) peer: Arc<Peer>,
    pub(super) transport: Transport,
    pub(super) decoder: Decoder,
    /// Received bytes of an incomplete frame.
    pub(super) partial: Vec<u8>,
    /// What it is owed. Frames for it will be of its class: plain, deflated with such parameters, sealed.
    pub(super) account: Account,
    /// Which of the shard's event streams its events go to.
    pub(super) stream: u16,
    pub(super) phase: Phase,
    pub(super) intake: Intake,
    pub(super) socket: Socket,
    /// `partial` holds what has not been looked at: it came behind the upgrade request, or was left for the next turn.
    pub(super) unread: bool,
    /// It has sent messages that are the host's, or the shard's, to answer.
    pub(super) asked: bool,
    /// Listed for the flush at the end of the batch.
    listed: bool,
    /// Its queue is above the congestion mark.
    pub(super) congested: bool,
    /// How far behind it is; absent while it is not.
    pub(super) lag: Option<Box<Lag>>,
    /// The last window in which it was sent anything.
    pub(super) active_in: u8,
    /// Consecutive pings at which the queue was found full.
    pub(super) full_pings: u8,
    /// When a frame of it began or ended last.
    pub(super) last_heard: Millis,
    pub(super) next_ping: Millis,
    pub(super) close: CloseProgress,
    /// Our Close while it waits for the host: in [`Phase::Parting`] and in no other.
    pub(super) parting: Option<Box<Parting>>,
    /// When the wheel is due to visit; an entry with another time is stale.
    pub(super) timer: Millis,
    /// Token expiry in unix seconds, leeway included; 0 = never. A token for longer than 32 bits count outlives us.
    pub(super) expires: u32,
    /// That was announced.
    pub(super) warned: bool,
}

/// What a connection begins with.
pub(crate) struct Opening {
    pub(crate) peer: Arc<Peer>,
    pub(crate) transport: Transport,
    /// Bytes the client sent behind its request.
    pub(crate) early: Vec<u8>,
    /// The 101 and whole frames behind it: what it is sent first, in one write.
    pub(crate) greeting: Vec<u8>,
    /// Which of the shard's event streams its events go to.
    pub(crate) stream: u16,
    /// Token expiry in unix seconds, leeway included; 0 = never.
    pub(crate) expires: u64,
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
    /// Nothing now: the connection's next turn flushes, when it takes more.
    Blocked,
    /// Nothing now, and the Close is written, but TLS holds some of it.
    BlockedClose,
    /// Nothing ever: the connection is finished.
    Over,
}

/// The times of a close handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct CloseProgress {
    /// Before it began: when the connection was opened.
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
    /// Who reads this connection's events, and how many it is done with once it is done with them.
    pub(super) reader: (Arc<Consumer>, u64),
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
        let Opening { peer, transport, early, greeting, stream, expires } = opening;
        let mut connection = Self {
            transport,
            decoder: Decoder::new(config.max_message_size),
            unread: !early.is_empty(),
            partial: early,
            account: Account::new(config.max_outbound_bytes, greeting),
            stream,
            phase: Phase::Open,
            intake: Intake::Reading,
            socket: Socket::Ready,
            asked: false,
            listed: false,
            congested: false,
            lag: None,
            active_in: 0,
            full_pings: 0,
            last_heard: now,
            next_ping: now,
            close: CloseProgress { began: now, progressed: now },
            parting: None,
            timer: Millis::default(),
            expires: u32::try_from(expires).unwrap_or(0),
            warned: false,
            peer,
        };
        connection.spread_pings(config, now);
        connection
    }

    /// Who it is to the other threads.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(crate) fn id(&self) -> ConnId {
        self.peer.id
    }

    /// What it is owed, for many offers that are posted together.
    #[inline]
    pub(crate) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Frames it has lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.account.dropped.as_ref().map_or(0, |dropped| dropped.ever)
    }

    /// Which of the shard's event streams its events go to.
    pub(crate) fn stream(&self) -> u16 {
        self.stream
    }

    /// Its events go to this stream from here on.
    pub(crate) fn change_stream(&mut self, stream: u16) {
        self.stream = stream;
    }

    /// Bytes held for incomplete messages.
    pub(crate) fn held(&self) -> usize {
        self.partial.len() + self.decoder.held()
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
            let close = close_payload(code, reason);
            context.note_end(self.id().slot(), By::Server, &close);
            self.begin_close(context);
            self.account.out.close_now(&close);
        }
    }

    /// Ends the conversation after what is queued.
    pub(crate) fn close_after(&mut self, code: CloseCode, reason: &str, context: &mut Context) {
        // The peer's end came first, and ours is the answer to it.
        self.depart(context);
        let close = close_payload(code, reason);
        context.note_end(self.id().slot(), By::Server, &close);
        self.begin_close(context);
        self.account.out.close_after(close);
    }

    pub(super) fn begin_close(&mut self, context: &mut Context) {
        if matches!(self.phase, Phase::Open | Phase::Parting) {
            let now = context.now();
            self.phase = Phase::Closing;
            self.close = CloseProgress { began: now, progressed: now };
            self.peer.begin_close(&context.shared.liveness);
            self.rearm(context);
            // A connection left alone for the host's sake must hear the answer.
            self.resume(context);
        }
    }

    /// Compares the queue with the congestion mark, and looks whether publishers have to wait for this connection.
    pub(super) fn update_congestion(&mut self, context: &mut Context) {
        let out = &self.account.out;
        let mark = (out.budget() / CONGESTION_SHARE).min(CONGESTION_BYTES);
        let congested = out.weight() > if self.congested { mark / 2 } else { mark };
        if congested != self.congested {
            self.congested = congested;
            context.counters.congested.shift(usize::from(!congested), usize::from(congested));
        }
        self.peer.note_queue(out.weight(), congested);
        if self.lag.is_some() || out.owed() > 0 {
            self.look_behind(context);
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
        context.counters.congested.shift(usize::from(self.congested), 0);
        self.leave_convoy(context);
        self.report_losses(Report::Leaving, context);
        context.outboxes.forget(self.peer.id);
        let ending = context.take_end(self.peer.id.slot());
        context.farewell(self.stream, self.peer.id, ending.text().as_bytes(), self.peer);
        context.leave_stream(self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_connection_stays_small() {
        // With the counts of its `Arc` a peer fills 128 bytes. Allocators round up to the next of 112, 128, 160, 192, 224, 256, 320.
        assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
        assert!(size_of::<Peer>() + 2 * size_of::<usize>() <= 128, "{}", size_of::<Peer>());
    }
}

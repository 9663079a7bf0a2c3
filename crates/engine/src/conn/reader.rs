//! Brings bytes from a connection's socket to its decoder: the shard's one buffer first, the connection's own only for what is
//! incomplete. Decides nothing about messages.

use std::task::{Poll, Wake};

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Decoder, MessageSink, MessageSource, Violation, close_payload, parse_header};

use super::connection::{Intake, Phase};
use super::handler::MessageHandler;
use super::request::Request;
use super::{Connection, Context};

/// The longest header of a frame, bytes (RFC 6455 §5.2).
const MAX_HEADER: usize = 14;

/// What one read came to.
pub(crate) enum Read {
    /// The socket has nothing more for now.
    Pending,
    /// The host is behind: nothing was read, and nothing is until it has caught up. `first`: it was read until now.
    Paused { first: bool },
    /// Bytes were handled; there may be more.
    More {
        /// What the shard has to answer.
        requests: Vec<Request>,
    },
    /// The connection is finished: the socket ended or failed, or the close handshake is complete.
    Over,
}

impl Read {
    const NOTHING: Self = Self::More { requests: Vec::new() };
}

impl Connection {
    /// Reads once and handles what came.
    pub(crate) fn read(&mut self, context: &mut Context) -> Read {
        // A closing connection is read all the same: what counts is its Close.
        if self.phase == Phase::Open && context.must_pause(self.stream) {
            let first = self.intake != Intake::Paused;
            self.intake = Intake::Paused;
            return Read::Paused { first };
        }
        if std::mem::take(&mut self.unread) {
            // It waits in our own buffer; the socket may never have more.
            return self.ingest(&mut [], context);
        }
        if self.intake == Intake::Ended {
            return Read::Pending;
        }
        let mut buffer = std::mem::take(&mut context.read_buffer);
        let read = match self.transport.read_into(&self.peer, &mut buffer) {
            Poll::Pending => Read::Pending,
            Poll::Ready(Ok(0)) if self.owes_close() => {
                self.intake = Intake::Ended;
                Read::Pending
            }
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Read::Over,
            Poll::Ready(Ok(count)) => {
                context.counters.bytes_received.add(count as u64);
                self.ingest(&mut buffer[..count], context)
            }
        };
        context.read_buffer = buffer;
        read
    }

    /// Lets it read again if its reader has caught up; returns whether it stays paused.
    pub(crate) fn stays_paused(&mut self, context: &Context) -> bool {
        if self.intake == Intake::Paused && context.stays_paused(self.stream) {
            return true;
        }
        self.resume(context);
        false
    }

    /// It was not read, and is now: its silence was ours.
    pub(crate) fn excuse_silence(&mut self, context: &Context) {
        self.last_heard = context.now();
    }

    /// Lets it read again, if it was paused.
    pub(super) fn resume(&mut self, context: &Context) {
        if self.intake == Intake::Paused {
            self.intake = Intake::Reading;
            // Its silence was ours: the idle time begins now.
            self.last_heard = context.now();
            self.peer.wake_by_ref();
        }
    }

    fn ingest(&mut self, bytes: &mut [u8], context: &mut Context) -> Read {
        if self.intake == Intake::Discarding {
            return Read::NOTHING;
        }
        let before = self.held();
        let deaf = self.phase != Phase::Open;
        let Self { peer, account, decoder, partial, unread, stream, .. } = self;
        let mut handler = MessageHandler::new(context, peer, account, *stream, deaf);
        // Whoever begins a frame, or ends one, is alive; the bytes between prove nothing.
        let begins = partial.is_empty();
        let fed = feed(decoder, partial, bytes, &mut handler);
        // The turn has cost enough: what is left has its own.
        *unread = !handler.wants_more() && !partial.is_empty();
        let (heard, requests) = handler.finish();
        if begins || !matches!(fed, Ok(0)) {
            self.last_heard = context.now();
        }
        self.asked |= heard.asked;
        context.hold(before, self.held());
        // Whole frames that wait for the next turn are no incomplete message.
        let over_budget = !self.unread && self.held() > before && context.reassembly_exhausted(self.held());
        match fed {
            Err(violation) => self.violate(violation, context),
            Ok(_) if over_budget => {
                let violation = Violation { code: CloseCode::TRY_AGAIN_LATER, reason: "server is low on memory" };
                self.violate(violation, context);
            }
            Ok(_) => {}
        }
        if !heard.loss.is_none() {
            self.lose(heard.loss, context);
        }
        if let Some(payload) = heard.close
            && self.peer_closed(payload, context)
        {
            return Read::Over;
        }
        Read::More { requests }
    }

    fn violate(&mut self, violation: Violation, context: &mut Context) {
        context.counters.protocol_errors.add(1);
        context.hold(self.held(), 0);
        self.partial = Vec::new();
        self.unread = false;
        self.decoder = Decoder::new(0);
        self.intake = Intake::Discarding;
        let close = close_payload(violation.code, violation.reason);
        if self.phase == Phase::Open {
            self.part(close, Phase::Closing, context);
        } else {
            self.account.out.close_now(&close);
        }
    }

    /// Whether the peer has had its say and our Close is not out: it may end its side and still hear us.
    fn owes_close(&self) -> bool {
        match self.phase {
            Phase::Parting | Phase::Answering => true,
            Phase::Closing => self.intake == Intake::Discarding,
            Phase::Open | Phase::Lingering => false,
        }
    }

    /// The peer said Close, with this payload: it gets the same back (RFC 6455 §5.5.1). Returns whether that ends the connection.
    fn peer_closed(&mut self, payload: Vec<u8>, context: &mut Context) -> bool {
        match self.phase {
            // Our Close is out already: this is the answer to it.
            Phase::Lingering => {
                self.transport.shut_down(&self.peer);
                return true;
            }
            Phase::Open => self.part(payload, Phase::Answering, context),
            // Ours is queued already, and each side says it once.
            Phase::Closing => self.phase = Phase::Answering,
            Phase::Parting | Phase::Answering => {}
        }
        false
    }
}

/// Feeds new bytes behind the kept ones and keeps what is incomplete; returns how many bytes were whole frames. Only the frame that
/// had begun is joined: what follows it is looked at where it was read, and not copied.
fn feed(
    decoder: &mut impl MessageSource,
    kept: &mut Vec<u8>,
    mut bytes: &mut [u8],
    handler: &mut MessageHandler<'_>,
) -> Result<usize, Violation> {
    let mut whole = 0;
    while !kept.is_empty() {
        let (joined, behind) = bytes.split_at_mut(missing(kept).min(bytes.len()));
        kept.extend_from_slice(joined);
        bytes = behind;
        let used = decoder.feed(kept, handler)?;
        whole += used;
        if used == kept.len() {
            *kept = Vec::new();
        } else if used > 0 {
            // What is left is short unless a large frame has just begun; it gets a buffer of its own size.
            *kept = kept[used..].to_vec();
        }
        if bytes.is_empty() {
            return Ok(whole);
        }
        if !handler.wants_more() {
            kept.extend_from_slice(bytes);
            return Ok(whole);
        }
    }
    let used = decoder.feed(bytes, handler)?;
    if used < bytes.len() {
        *kept = bytes[used..].to_vec();
    }
    Ok(whole + used)
}

/// How many bytes may be joined to these, which begin a frame, so that hardly more than that frame is there. Never 0.
fn missing(kept: &[u8]) -> usize {
    match parse_header(kept) {
        Ok(Some(header)) => {
            let frame = usize::try_from(header.payload).unwrap_or(usize::MAX).saturating_add(header.size);
            // Whole frames wait: then they are all there is.
            if frame > kept.len() { frame - kept.len() } else { usize::MAX }
        }
        Ok(None) => MAX_HEADER - kept.len(),
        // The decoder says so.
        Err(_) => usize::MAX,
    }
}

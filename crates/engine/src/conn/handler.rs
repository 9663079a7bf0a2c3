//! Gives inbound messages their meaning: answers what is the engine's (docs/protocol.md §7), decodes `C:` and `M:`, and turns
//! the rest into events. On a raw connection every message is an event as it came. Sees one connection at a time and never
//! touches its socket.

use std::sync::Arc;

use wse_protocol::close_code::CloseCode;
use wse_protocol::codec::{self, MSGPACK_AMPLIFICATION, MSGPACK_PREFIX, MsgpackLimits, ZLIB_PREFIX};
use wse_protocol::envelope::{self, Control, OB_MEMBER, OutboxFailure, Outboxed, ServerHello};
use wse_protocol::frame::{MessageSink, close_payload};
use wse_protocol::json::{self, Scan};

use super::Context;
use super::account::{Account, Ledger, Loss, Offer};
use super::request::Request;
use crate::clock::unix_millis;
use crate::config::{InboundOverflow, Subscriptions};
use crate::flow::Verdict;
use crate::inbound::Kind;
use crate::registry::{Peer, Speech};

/// While messages are shed, only so much of one is decoded, bytes: those of the engine itself are shorter, and are answered.
const CONTROL_BYTES: usize = 16 * 1024;
/// Bytes of a token that is looked at; the verifier's own limit is lower.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// Elements and members one msgpack message may hold.
const MSGPACK_ELEMENTS: usize = 100_000;

/// The decoder's sink for one read of one connection.
pub(super) struct MessageHandler<'a> {
    context: &'a mut Context,
    peer: &'a Peer,
    account: &'a mut Account,
    ledger: Ledger,
    stream: u16,
    /// The connection is closing: data has no meaning any more, only a Close has.
    deaf: bool,
    heard: Heard,
    /// What the shard has to answer (`subscriptions: 'acl'`), in order.
    requests: Vec<Request>,
}

/// What a read brought beside events and answers.
#[derive(Default)]
pub(super) struct Heard {
    /// Answers that did not fit the budget.
    pub(super) loss: Loss,
    /// The payload of the peer's Close, if it came.
    pub(super) close: Option<Vec<u8>>,
    /// Messages came that the host, or the shard after this read, may answer.
    pub(super) asked: bool,
}

impl<'a> MessageHandler<'a> {
    pub(super) fn new(
        context: &'a mut Context,
        peer: &'a Peer,
        account: &'a mut Account,
        stream: u16,
        deaf: bool,
    ) -> Self {
        let (ledger, heard) = (Ledger::default(), Heard::default());
        Self { context, peer, account, ledger, stream, deaf, heard, requests: Vec::new() }
    }

    /// What the read brought, and what the shard has to answer.
    pub(super) fn finish(self) -> (Heard, Vec<Request>) {
        self.ledger.post(&self.context.counters);
        (self.heard, self.requests)
    }

    fn event(&mut self, kind: Kind, payload: &[u8]) {
        let keep = self.keeps();
        self.keep_event(kind, payload, keep);
    }

    fn keep_event(&mut self, kind: Kind, payload: &[u8], keep: bool) {
        if keep {
            self.heard.asked = true;
            self.context.event(self.stream, kind, self.peer.id, payload);
        } else {
            self.context.counters.inbound_dropped.add(1);
        }
    }

    /// Whether the next event is kept: false where the host is behind and may lose some.
    fn keeps(&self) -> bool {
        self.context.shared.config.inbound_overflow != InboundOverflow::Drop
            || !self.context.stream_is_over(self.stream)
    }

    fn reply(&mut self, text: &str) {
        let loss = self.account.offer(Offer::Reply(text), &mut self.ledger);
        self.heard.loss.add(loss);
    }

    /// Takes a JSON object, from whichever encoding; false when the text is none. `plain`: it is a whole text frame, which only a message
    /// out of an outbox can be: whatever is decoded may not be decoded at all, and then nobody would know that a number is missing.
    fn object(&mut self, text: &[u8], plain: bool) -> bool {
        let max_depth = self.context.shared.config.max_json_depth;
        let keep = self.keeps();
        if self.context.shaped_event(self.stream, self.peer.id, text, max_depth, keep) {
            self.context.counters.inbound_dropped.add(u64::from(!keep));
            self.heard.asked |= keep;
            return true;
        }
        if text.starts_with(OB_MEMBER) {
            return self.with_ob(text, max_depth, plain);
        }
        self.unshaped(text, max_depth, keep)
    }

    /// Takes a JSON object of no known shape: answers it, or tells the host of it if it is to be kept; false when the text is none.
    fn unshaped(&mut self, text: &[u8], max_depth: u32, keep: bool) -> bool {
        let Ok(scan) = json::scan_object(text, max_depth) else { return false };
        if self.intercept(&scan) {
            return true;
        }
        // One with a number is never learned as a shape, or others like it would not come where their numbers are looked at.
        if !text.starts_with(OB_MEMBER) {
            self.context.shapes.missed(text, max_depth);
        }
        self.keep_event(Kind::Message, &json::normalise_aliases(text, &scan), keep);
        true
    }

    /// The same for one that begins with `ob`.
    #[cold]
    #[inline(never)]
    fn with_ob(&mut self, text: &[u8], max_depth: u32, plain: bool) -> bool {
        if plain && Outboxed::is_claimed(text) && self.context.outboxes.is_sender(self.peer.id) {
            let failed = match Outboxed::read(text) {
                Some(outboxed) => self.outboxed(outboxed, max_depth).err(),
                None => Some(OutboxFailure::Beginning),
            };
            if let Some(failure) = failed {
                self.context.counters.outbox_refused.add(1);
                self.reply(&envelope::outbox_error(failure));
            }
            return true;
        }
        let keep = self.keeps();
        self.unshaped(text, max_depth, keep)
    }

    /// Takes a message out of an outbox, unless it was taken before.
    fn outboxed<'m>(&mut self, outboxed: Outboxed<'m>, max_depth: u32) -> Result<(), OutboxFailure<'m>> {
        let Outboxed { stream, number, .. } = outboxed;
        let (shared, now) = (Arc::clone(&self.context.shared), self.context.shared.clock.elapsed_ms());
        let (id, shard) = (self.peer.id, self.peer.id.shard());
        let Some(sending) = self.context.outboxes.sending(id, stream, &shared, now) else {
            return Err(OutboxFailure::Streams(outboxed));
        };
        // Locked until the message is in the batch: another connection that sends it again acknowledges it.
        let Some(mut window) = sending.window.lock(now) else {
            // Forgotten since it was found.
            self.context.counters.outbox_deferred.add(1);
            self.context.outboxes.note_missed(id, &sending, number);
            return Ok(());
        };
        let verdict = window.judge(sending.sender, shard, sending.missed, number);
        let Context { counters, outboxes, .. } = &mut *self.context;
        match verdict {
            Verdict::Repeat(last) => {
                counters.outbox_repeats.add(1);
                outboxes.owe(id, stream, &sending.window, last);
            }
            Verdict::Held => counters.outbox_repeats.add(1),
            Verdict::Refused => {
                counters.outbox_repeats.add(1);
                outboxes.note_missed(id, &sending, number);
            }
            Verdict::Behind => {
                counters.outbox_deferred.add(1);
                outboxes.note_missed(id, &sending, number);
            }
            Verdict::Fresh if !self.keeps() => {
                self.context.counters.inbound_dropped.add(1);
                self.context.outboxes.note_missed(id, &sending, number);
            }
            Verdict::Fresh => {
                if !self.certain(&outboxed.message(), max_depth) {
                    return Err(OutboxFailure::Message(outboxed));
                }
                window.take(shard, number);
                self.context.counters.outbox_messages.add(1);
                self.context.outboxes.note_missed(id, &sending, 0);
                self.context.outboxes.owe(id, stream, &sending.window, number);
            }
        }
        Ok(())
    }

    /// Takes a JSON object that is kept for certain; false when the text is none.
    fn certain(&mut self, text: &[u8], max_depth: u32) -> bool {
        self.heard.asked = true;
        self.context.shaped_event(self.stream, self.peer.id, text, max_depth, true)
            || self.unshaped(text, max_depth, true)
    }

    /// Answers the engine's own messages; true when this was one.
    fn intercept(&mut self, scan: &Scan<'_>) -> bool {
        let Some(control) = scan.t.as_ref().and_then(|t| Control::of(t.raw)) else { return false };
        match control {
            Control::Ping => {
                let timestamp =
                    scan.p.as_ref().and_then(|p| json::member(p.raw, "timestamp")).and_then(json::int_value);
                self.reply(&envelope::pong(timestamp.unwrap_or(0), unix_millis()));
            }
            Control::Pong => {}
            Control::ClientHello => self.hello(scan),
            Control::SubscriptionUpdate if self.context.shared.config.subscriptions == Subscriptions::Acl => {
                self.request(Request::Update, scan);
            }
            Control::SyncRequest if self.knows_states() => self.request(Request::Sync, scan),
            Control::AuthRefresh if self.context.shared.config.auth.is_some() => {
                let token = scan.p.as_ref().and_then(|p| json::member(p.raw, "token")).and_then(json::string_value);
                // What is too long is not a token, and need not be kept to be refused.
                let token = token.filter(|token| token.len() <= MAX_TOKEN_BYTES);
                self.context.note_refresh(token.as_deref().unwrap_or_default());
            }
            Control::SubscriptionUpdate | Control::SyncRequest | Control::AuthRefresh => return false,
        }
        self.peer.note_talk(control == Control::ClientHello);
        true
    }

    /// Keeps what the shard has to answer.
    fn request(&mut self, make: fn(Box<[u8]>) -> Request, scan: &Scan<'_>) {
        self.requests.push(make(scan.p.as_ref().map_or(&b"{}"[..], |p| p.raw).into()));
        self.heard.asked = true;
    }

    /// Whether the engine knows whom to ask for the state of topics.
    fn knows_states(&self) -> bool {
        let config = &self.context.shared.config;
        config.subscriptions == Subscriptions::Acl && config.snapshots.is_some()
    }

    fn hello(&mut self, scan: &Scan<'_>) {
        let version = scan.p.as_ref().and_then(|p| json::member(p.raw, "protocol_version")).and_then(json::int_value);
        let features = scan.p.as_ref().and_then(|p| json::member(p.raw, "features"));
        let asked = features.and_then(|features| json::member(features, "outbox")).is_some_and(|raw| raw == b"true");
        let outbox = asked && self.context.shared.takes_outboxes();
        if outbox {
            let Context { outboxes, shared, .. } = &mut *self.context;
            outboxes.begin(self.peer, &shared.windows);
        }
        let config = &self.context.shared.config;
        let hello = envelope::server_hello(&ServerHello {
            client_protocol_version: version.unwrap_or(1),
            recovery: config.recovery.is_some(),
            cluster: false,
            encryption: false,
            outbox,
            encryption_public_key: None,
            max_message_size: config.max_message_size as u64,
            rate_limit_capacity: whole(config.rate_limit.capacity),
            rate_limit_refill: whole(config.rate_limit.refill),
            ping_interval_ms: u64::try_from(config.ping_interval.as_millis()).unwrap_or(u64::MAX),
            connection_id: self.peer.uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
            now_ms: unix_millis(),
        });
        self.reply(&hello);
    }

    /// Tries the encodings a binary frame may hold; true when it was a message.
    fn decoded(&mut self, bytes: &[u8]) -> bool {
        // What is thrown away anyway is not decoded first.
        let keep = self.keeps();
        let config = &self.context.shared.config;
        let (max, depth) = (config.max_message_size, config.max_json_depth);
        let max = if keep { max } else { max.min(CONTROL_BYTES) };
        let mut produced = 0;
        let mut msgpack = |bytes: &[u8]| {
            let limits = MsgpackLimits { max_out: max, max_depth: depth as usize, max_elements: MSGPACK_ELEMENTS };
            let text = codec::to_json(bytes, limits).ok();
            produced = text.as_ref().map_or_else(|| max.min(MSGPACK_AMPLIFICATION * bytes.len()), Vec::len);
            text
        };
        let decoded = match bytes.split_first_chunk::<2>() {
            Some((MSGPACK_PREFIX, rest)) if config.inbound_codecs || self.peer.speech == Speech::Msgpack => {
                msgpack(rest)
            }
            Some((ZLIB_PREFIX, rest)) if config.inbound_codecs => {
                let (text, inflated) = codec::decompress_counted(rest, max);
                produced = inflated;
                text.ok()
            }
            // Plain JSON in a binary frame reaches the host as bytes, but control traffic is answered in every encoding.
            _ if bytes.first() == Some(&b'{') => {
                return std::str::from_utf8(bytes).is_ok()
                    && json::scan_object(bytes, depth).is_ok_and(|scan| self.intercept(&scan));
            }
            _ if self.peer.speech == Speech::Msgpack => msgpack(bytes),
            _ => None,
        };
        self.context.charge_decoded(produced);
        let Some(text) = decoded.filter(|text| std::str::from_utf8(text).is_ok()) else { return false };
        let (_, body) = codec::strip_category_prefix(&text);
        self.object(body, false)
    }
}

impl MessageSink for MessageHandler<'_> {
    fn text(&mut self, text: &str) {
        if self.deaf {
            return;
        }
        self.context.counters.messages_received.add(1);
        if self.peer.speech == Speech::Raw {
            return self.event(Kind::Raw, text.as_bytes());
        }
        let (_, body) = codec::strip_category_prefix(text.as_bytes());
        if body.first() != Some(&b'{') || !self.object(body, body.len() == text.len()) {
            self.event(Kind::Raw, text.as_bytes());
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        if self.deaf {
            return;
        }
        self.context.counters.messages_received.add(1);
        if self.peer.speech == Speech::Raw || !self.decoded(bytes) {
            self.event(Kind::Binary, bytes);
        }
    }

    fn wants_more(&self) -> bool {
        !self.context.is_spent()
    }

    fn ping(&mut self, payload: &[u8]) {
        self.account.out.pong(payload);
    }

    fn pong(&mut self, _payload: &[u8]) {}

    fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.heard.close = Some(code.map_or_else(Vec::new, |code| close_payload(code, reason)));
    }
}

/// Limits are announced as whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating, and limits are not negative")]
fn whole(limit: f64) -> u64 {
    limit as u64
}

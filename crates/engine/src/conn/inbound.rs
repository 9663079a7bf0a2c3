//! Gives inbound messages their meaning: answers what is the engine's (wire-protocol §7), decodes `C:` and `M:`, and turns
//! the rest into events. Sees one connection at a time and never touches its socket.

use wse_protocol::close_code::CloseCode;
use wse_protocol::codec::{self, MSGPACK_PREFIX, MsgpackLimits, ZLIB_PREFIX};
use wse_protocol::envelope::{self, Control, ServerHello};
use wse_protocol::frame::MessageSink;
use wse_protocol::json::{self, Scan};

use super::{Connection, Dropped, Outbound, Queued};
use crate::clock::unix_millis;
use crate::config::{InboundOverflow, Subscriptions};
use crate::inbound::Kind;
use crate::registry::Peer;
use crate::shard::Context;

/// Elements and members one msgpack message may hold.
const MSGPACK_ELEMENTS: usize = 100_000;

/// The decoder's sink for one read of one connection.
pub(crate) struct Inbox<'a> {
    pub(crate) context: &'a mut Context,
    pub(crate) peer: &'a Peer,
    pub(crate) out: &'a mut Outbound,
    pub(crate) dropped: &'a mut Option<Box<Dropped>>,
    pub(crate) lane: u16,
    /// The connection is closing: data has no meaning any more, only a Close has.
    pub(crate) deaf: bool,
    /// A whole data message came in.
    pub(crate) heard: bool,
    /// An answer did not fit the budget.
    pub(crate) overflowed: bool,
    /// The peer's Close, if it came.
    pub(crate) close: Option<Option<CloseCode>>,
    /// `subscription_update` payloads for the shard to answer (`subscriptions: 'acl'`), in order.
    pub(crate) subscription_updates: Vec<Box<[u8]>>,
}

impl<'a> Inbox<'a> {
    /// Borrows what a read may touch, and the decoder and carry beside it.
    pub(crate) fn new(
        connection: &'a mut Connection,
        context: &'a mut Context,
    ) -> (Self, &'a mut wse_protocol::frame::Decoder, &'a mut Vec<u8>) {
        let deaf = connection.phase != super::Phase::Open;
        let Connection { peer, out, dropped, decoder, carry, lane, .. } = connection;
        let inbox = Self {
            context,
            peer,
            out,
            dropped,
            lane: *lane,
            deaf,
            heard: false,
            overflowed: false,
            close: None,
            subscription_updates: Vec::new(),
        };
        (inbox, decoder, carry)
    }

    fn event(&mut self, kind: Kind, payload: &[u8]) {
        if !self.shed() {
            self.context.event(self.lane, kind, self.peer.id, payload);
        }
    }

    /// Drops and counts the next event where the host is behind and may lose some.
    fn shed(&self) -> bool {
        let shed = self.context.shared.config.inbound_overflow == InboundOverflow::Drop
            && self.context.lane_is_over(self.lane);
        if shed {
            self.context.cells.inbound_dropped.add(1);
        }
        shed
    }

    fn reply(&mut self, text: &str) {
        let budget = self.context.shared.config.max_outbound_bytes;
        match self.out.reply(text, budget) {
            Queued::All => self.context.cells.messages_sent.add(1),
            Queued::Dropped { frames, bytes } => {
                self.context.cells.slow_consumer_drops.add(u64::from(frames));
                Dropped::note(self.dropped, frames, bytes);
                self.overflowed = true;
            }
            Queued::Closed => {}
        }
    }

    /// Takes a JSON object, from whichever encoding; false when the text is none.
    fn object(&mut self, text: &[u8]) -> bool {
        let max_depth = self.context.shared.config.max_json_depth;
        if self.context.shapes.find(text, max_depth) {
            if !self.shed() {
                self.context.shaped_event(self.lane, self.peer.id, text);
            }
            return true;
        }
        let Ok(scan) = json::scan_object(text, max_depth) else { return false };
        if !self.intercept(&scan) {
            self.context.shapes.missed(text, max_depth);
            let text = json::normalise_aliases(text, &scan);
            self.event(Kind::Message, &text);
        }
        true
    }

    /// Answers the engine's own messages; true when this was one.
    fn intercept(&mut self, scan: &Scan<'_>) -> bool {
        let Some(t) = &scan.t else { return false };
        match Control::of(t.raw) {
            Some(Control::Ping) => {
                let timestamp =
                    scan.p.as_ref().and_then(|p| json::member(p.raw, "timestamp")).and_then(json::int_value);
                self.reply(&envelope::pong(timestamp.unwrap_or(0), unix_millis()));
            }
            Some(Control::Pong) => {}
            Some(Control::ClientHello) => self.hello(scan),
            Some(Control::SubscriptionUpdate) if self.context.shared.config.subscriptions == Subscriptions::Acl => {
                let payload = scan.p.as_ref().map_or(&b"{}"[..], |p| p.raw);
                self.subscription_updates.push(payload.into());
            }
            _ => return false,
        }
        true
    }

    fn hello(&mut self, scan: &Scan<'_>) {
        let version = scan.p.as_ref().and_then(|p| json::member(p.raw, "protocol_version")).and_then(json::int_value);
        let config = &self.context.shared.config;
        let hello = envelope::server_hello(&ServerHello {
            client_protocol_version: version.unwrap_or(1),
            recovery: false,
            cluster: false,
            encryption: false,
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
        let config = &self.context.shared.config;
        let (max, depth) = (config.max_message_size, config.max_json_depth);
        let msgpack = |bytes: &[u8]| {
            let limits = MsgpackLimits { max_out: max, max_depth: depth as usize, max_elements: MSGPACK_ELEMENTS };
            codec::to_json(bytes, limits).ok()
        };
        let decoded = match bytes.split_first_chunk::<2>() {
            Some((MSGPACK_PREFIX, rest)) if config.inbound_codecs || self.peer.msgpack => msgpack(rest),
            Some((ZLIB_PREFIX, rest)) if config.inbound_codecs => codec::decompress(rest, max).ok(),
            // Plain JSON in a binary frame reaches the host as bytes, but control traffic is answered in every encoding.
            _ if bytes.first() == Some(&b'{') => {
                return std::str::from_utf8(bytes).is_ok()
                    && json::scan_object(bytes, depth).is_ok_and(|scan| self.intercept(&scan));
            }
            _ if self.peer.msgpack => msgpack(bytes),
            _ => None,
        };
        let Some(text) = decoded.filter(|text| std::str::from_utf8(text).is_ok()) else { return false };
        let (_, body) = codec::strip_category_prefix(&text);
        self.object(body)
    }
}

impl MessageSink for Inbox<'_> {
    fn text(&mut self, text: &str) {
        self.heard = true;
        if self.deaf {
            return;
        }
        self.context.cells.messages_received.add(1);
        let (_, body) = codec::strip_category_prefix(text.as_bytes());
        if body.first() != Some(&b'{') || !self.object(body) {
            self.event(Kind::Raw, text.as_bytes());
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.heard = true;
        if self.deaf {
            return;
        }
        self.context.cells.messages_received.add(1);
        if !self.decoded(bytes) {
            self.event(Kind::Binary, bytes);
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        self.out.pong(payload);
    }

    fn pong(&mut self, _payload: &[u8]) {}

    fn close(&mut self, code: Option<CloseCode>, _reason: &str) {
        self.close = Some(code);
    }
}

/// Limits are announced as whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating, and limits are not negative")]
fn whole(limit: f64) -> u64 {
    limit as u64
}

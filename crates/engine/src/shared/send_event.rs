//! `send_event`: one event for one connection, completed, deduplicated, limited in rate and encoded as its client wants it.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value};
use wse_protocol::codec;
use wse_protocol::envelope::{self, EventDefaults, RateLimitWarning};
use wse_protocol::frame::Opcode;

use super::Shared;
use crate::clock::unix_millis;
use crate::flow::{Token, TokenBucket};
use crate::id::ConnId;
use crate::metrics::bump;
use crate::registry::{Peer, Speech};

/// What became of `send_event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendEventOutcome {
    /// Queued; size of the payload on the wire in bytes.
    Sent(usize),
    /// An event with this id was sent to this connection already.
    Duplicate,
    /// The connection's token bucket is empty.
    RateLimited,
    /// The connection's shard is above the hard limit: nothing was taken.
    Refused,
    /// Nobody has this id.
    UnknownConnection,
}

impl Shared {
    /// Sends an event: completes its envelope, drops a repetition of its `id`, applies the rate limit, and encodes it as the
    /// connection wants it: `M:` for `format=msgpack`; in bytes, above `compression_threshold` as `C:`, for whoever has said
    /// `client_hello`; as text for everybody else. A threshold of 0 never compresses.
    pub(crate) fn send_event(
        &self,
        to: ConnId,
        event: Map<String, Value>,
        compression_threshold: usize,
    ) -> SendEventOutcome {
        let Some(peer) = self.registry.get(to).filter(|peer| !peer.is_closing()) else {
            return SendEventOutcome::UnknownConnection;
        };
        let mailbox = &self.shards[to.shard()].mailbox;
        // Its size is not known yet: the mailbox may end above the limit by this one event.
        if mailbox.refuses(1) {
            bump(&self.counters.publish_refused);
            return SendEventOutcome::Refused;
        }
        let named = if let Some(Value::String(id)) = event.get("id") { Some(id) } else { None };
        if named.is_some_and(|id| self.dedup.lock().contains(to.as_u64(), id)) {
            bump(&self.counters.deduplicated);
            return SendEventOutcome::Duplicate;
        }
        if !self.take_token(&peer) {
            bump(&self.counters.rate_limited);
            return SendEventOutcome::RateLimited;
        }
        // Only now: an event that was refused may be sent again. Two threads with the same id: one of them sends.
        if named.is_some_and(|id| !self.dedup.lock().insert(to.as_u64(), id)) {
            bump(&self.counters.deduplicated);
            return SendEventOutcome::Duplicate;
        }
        let id = uuid::Uuid::now_v7();
        let text = envelope::build_event(
            event,
            &EventDefaults {
                id: id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
                ts: &envelope::iso8601(unix_millis()),
                seq: self.sequence.fetch_add(1, Relaxed),
            },
        );
        if peer.speech != Speech::Msgpack && !peer.is_greeted() {
            mailbox.send(to, Opcode::Text, text.as_bytes());
            return SendEventOutcome::Sent(text.len());
        }
        let payload = if peer.speech == Speech::Msgpack {
            match serde_json::from_str(&text) {
                Ok(value) => codec::from_json(&value),
                Err(_) => text.into_bytes(),
            }
        } else if compression_threshold > 0 && text.len() > compression_threshold {
            codec::compress(text.as_bytes())
        } else {
            text.into_bytes()
        };
        mailbox.send(to, Opcode::Binary, &payload);
        SendEventOutcome::Sent(payload.len())
    }

    /// Takes a token of the connection's bucket and sends the notices that fall due.
    fn take_token(&self, peer: &Peer) -> bool {
        let limit = self.config.rate_limit;
        let now = self.clock.now();
        let taken = {
            let mut details = peer.details.lock();
            details.bucket.get_or_insert_with(|| Box::new(TokenBucket::new(limit, now))).take(now)
        };
        // On a raw connection nothing is said that the host did not say.
        let silent = peer.speech == Speech::Raw;
        let notice = |text: &str| self.shards[peer.id.shard()].mailbox.send(peer.id, Opcode::Text, text.as_bytes());
        match taken {
            Token::Ok => true,
            Token::Warn(_) if silent => true,
            Token::Warn(tokens) => {
                notice(&envelope::rate_limit_warning(RateLimitWarning { capacity: limit.capacity, tokens }));
                true
            }
            Token::Empty { notify } => {
                if notify && !silent {
                    notice(envelope::RATE_LIMITED);
                }
                false
            }
        }
    }
}

//! Outbound calls: broadcasts, direct sends and `send_event`. A message is framed once, into the inbox of each shard that
//! cares; whatever a call refuses is refused before anything was queued.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value};
use wse_protocol::codec;
use wse_protocol::envelope::{self, EventDefaults, RateLimitWarning};
use wse_protocol::frame::{Opcode, frame_size};

use super::Engine;
use crate::clock::unix_millis;
use crate::flow::{Taken, TokenBucket};
use crate::id::ConnId;
use crate::metrics::bump;
use crate::registry::Peer;
use crate::shard::Pushed;

/// How far behind delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below the high-water mark.
    Fine,
    /// The message was taken, but the publisher should wait until it is told that the pressure is gone.
    High,
    /// Above the hard limit: nothing was taken.
    Refused,
}

/// What became of `send_event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Queued; size of the payload on the wire in bytes.
    Sent(usize),
    /// An event with this id was sent to this connection already.
    Duplicate,
    /// The connection's token bucket is empty.
    RateLimited,
    /// Nobody has this id.
    UnknownConnection,
}

impl Engine {
    /// Publishes a text to the topic's subscribers on this server. A JSON object gets its category (`c`) if it has none.
    pub fn broadcast(&self, topic: &str, text: &str) -> Pressure {
        let shared = &self.shared;
        let entry = match shared.topics.get(topic) {
            Some(entry) => entry,
            // Nobody subscribed to this very name; shards with patterns look for themselves.
            None if shared.topics.any_patterns() => shared.topics.transient(topic),
            None => return self.pressure(),
        };
        let injected = envelope::find_injection(text);
        let bytes = text.as_bytes();
        let pieces;
        let parts: &[&[u8]] = match injected {
            Some(injection) => {
                pieces = [&bytes[..injection.at], injection.text().as_bytes(), &bytes[injection.at..]];
                &pieces
            }
            None => &[bytes],
        };
        let size = frame_size(parts.iter().map(|part| part.len()).sum());
        let wants = |index: usize| {
            shared.topics.has_patterns(index) || (entry.id != 0 && !entry.is_pattern && entry.wanted_by(index))
        };
        if shared.ports.iter().enumerate().any(|(index, port)| wants(index) && port.inbox.refuses(size)) {
            bump(&shared.cells.publish_refused);
            return Pressure::Refused;
        }
        let mut pressure = self.pressure();
        for (index, port) in shared.ports.iter().enumerate() {
            if wants(index) && port.inbox.publish(&entry, Opcode::Text, parts) == Pushed::Pressure {
                pressure = Pressure::High;
            }
        }
        if entry.id != 0 {
            entry.published.fetch_add(1, Relaxed);
            self.publish_to_groups(&entry, parts);
        }
        pressure
    }

    fn publish_to_groups(&self, entry: &crate::topics::TopicEntry, parts: &[&[u8]]) {
        if !entry.has_groups() {
            return;
        }
        let registry = &self.shared.registry;
        let ready = |id| registry.get(id).is_some_and(|peer| peer.may_take_work());
        entry.groups.lock().pick(ready, |id| {
            self.shared.ports[id.shard()].inbox.send(id, Opcode::Text, parts);
        });
    }

    /// Sends a text to every connection of this server; the category is added as in [`Self::broadcast`].
    pub fn broadcast_all(&self, text: &str) -> Pressure {
        let text = envelope::inject_category(text);
        self.to_all(Opcode::Text, text.as_bytes())
    }

    /// Sends bytes to every connection of this server.
    pub fn broadcast_all_bytes(&self, bytes: &[u8]) -> Pressure {
        self.to_all(Opcode::Binary, bytes)
    }

    fn to_all(&self, opcode: Opcode, payload: &[u8]) -> Pressure {
        let ports = &self.shared.ports;
        if ports.iter().any(|port| port.inbox.refuses(frame_size(payload.len()))) {
            bump(&self.shared.cells.publish_refused);
            return Pressure::Refused;
        }
        let mut pressure = self.pressure();
        for port in ports {
            if port.inbox.send_all(opcode, &[payload]) == Pushed::Pressure {
                pressure = Pressure::High;
            }
        }
        pressure
    }

    /// Sends a text to one connection as it is. `None`: nobody has this id.
    pub fn send(&self, to: ConnId, text: &str) -> Option<Pressure> {
        self.direct(to, Opcode::Text, text.as_bytes())
    }

    /// Sends bytes to one connection as they are. `None`: nobody has this id.
    pub fn send_bytes(&self, to: ConnId, bytes: &[u8]) -> Option<Pressure> {
        self.direct(to, Opcode::Binary, bytes)
    }

    fn direct(&self, to: ConnId, opcode: Opcode, payload: &[u8]) -> Option<Pressure> {
        if !self.shared.registry.contains(to) {
            return None;
        }
        let inbox = &self.shared.ports[to.shard()].inbox;
        if inbox.refuses(frame_size(payload.len())) {
            bump(&self.shared.cells.publish_refused);
            return Some(Pressure::Refused);
        }
        Some(match inbox.send(to, opcode, &[payload]) {
            Pushed::Pressure => Pressure::High,
            Pushed::Fine => Pressure::Fine,
        })
    }

    /// Sends an event: completes its envelope, drops a repetition of its `id`, applies the rate limit, and encodes it as the
    /// connection wants it (JSON, `C:` above `compression_threshold` bytes, `M:` for `format=msgpack`). A threshold of 0
    /// never compresses.
    pub fn send_event(&self, to: ConnId, event: Map<String, Value>, compression_threshold: usize) -> Event {
        let shared = &self.shared;
        let Some(peer) = shared.registry.get(to) else { return Event::UnknownConnection };
        if let Some(Value::String(id)) = event.get("id")
            && !shared.dedup.lock().insert(to.as_u64(), id)
        {
            bump(&shared.cells.deduplicated);
            return Event::Duplicate;
        }
        if !self.take_token(&peer) {
            bump(&shared.cells.rate_limited);
            return Event::RateLimited;
        }
        let id = uuid::Uuid::now_v7();
        let text = envelope::build_event(
            event,
            &EventDefaults {
                id: id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
                ts: &envelope::iso8601(unix_millis()),
                seq: shared.sequence.fetch_add(1, Relaxed),
            },
        );
        let payload = if peer.msgpack {
            match serde_json::from_str(&text) {
                Ok(value) => codec::from_json(&value),
                Err(_) => text.into_bytes(),
            }
        } else if compression_threshold > 0 && text.len() > compression_threshold {
            codec::compress(text.as_bytes())
        } else {
            text.into_bytes()
        };
        shared.ports[to.shard()].inbox.send(to, Opcode::Binary, &[&payload]);
        Event::Sent(payload.len())
    }

    /// Takes a token of the connection's bucket and sends the notices that fall due.
    fn take_token(&self, peer: &Peer) -> bool {
        let limit = self.shared.config.rate_limit;
        let now = self.shared.clock.now();
        let taken = {
            let mut rare = peer.rare.lock();
            rare.bucket.get_or_insert_with(|| Box::new(TokenBucket::new(limit, now))).take(now)
        };
        let notice =
            |text: &str| self.shared.ports[peer.id.shard()].inbox.send(peer.id, Opcode::Text, &[text.as_bytes()]);
        match taken {
            Taken::Ok => true,
            Taken::Warn(tokens) => {
                notice(&envelope::rate_limit_warning(RateLimitWarning { capacity: limit.capacity, tokens }));
                true
            }
            Taken::Empty { notify } => {
                if notify {
                    notice(envelope::RATE_LIMITED);
                }
                false
            }
        }
    }

    /// Publisher pressure now.
    pub fn pressure(&self) -> Pressure {
        if self.shared.pressure() { Pressure::High } else { Pressure::Fine }
    }
}

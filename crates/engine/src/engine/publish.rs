//! Outbound calls: broadcasts, direct sends and `send_event`. A message is framed once, into the inbox of each shard that
//! cares; whatever a call refuses is refused before anything was queued.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value};
use wse_protocol::codec;
use wse_protocol::envelope::{self, EventDefaults, RateLimitWarning};
use wse_protocol::frame::{Opcode, frame_size, push_frame, push_header};

use super::Engine;
use crate::clock::unix_millis;
use crate::flow::{Taken, TokenBucket};
use crate::id::ConnId;
use crate::liveness::Liveness;
use crate::metrics::bump;
use crate::registry::Peer;
use crate::shard::Pushed;
use crate::topics::{Readiness, Target};

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

/// A message for one connection.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Who gets it.
    pub to: ConnId,
    /// Text or binary.
    pub opcode: Opcode,
    /// The payload of its one frame.
    pub payload: &'a [u8],
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
    /// The connection's shard is above the hard limit: nothing was taken.
    Refused,
    /// Nobody has this id.
    UnknownConnection,
}

/// Buffers above this size are not kept for the next publication.
const KEEP_FRAMES: usize = 256 * 1024;

thread_local! {
    /// Where a publishing thread frames a run before it is copied into the inboxes.
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends a text frame, with the category injected if it is missing.
fn push_injected(frames: &mut Vec<u8>, text: &str) {
    match envelope::find_injection(text) {
        None => push_frame(frames, Opcode::Text, text.as_bytes()),
        Some(injection) => {
            let (head, tail) = text.split_at(injection.at);
            let added = injection.text();
            push_header(frames, Opcode::Text, text.len() + added.len());
            for part in [head, added, tail] {
                frames.extend_from_slice(part.as_bytes());
            }
        }
    }
}

impl Engine {
    /// Publishes a text to the topic's subscribers on this server. A JSON object gets its category (`c`) if it has none.
    pub fn broadcast(&self, topic: &str, text: &str) -> Pressure {
        let size = frame_size(text.len());
        if self.shared.ports.iter().any(|port| port.inbox.refuses(size)) {
            bump(&self.shared.cells.publish_refused);
            return Pressure::Refused;
        }
        self.publish(topic, &[text])
    }

    /// Publishes texts to one topic, in order, whatever the hard limit says: for hosts that collect publications and have
    /// asked [`Self::room_for`] before they took them. One lock and one wake per interested shard.
    pub fn publish(&self, topic: &str, texts: &[&str]) -> Pressure {
        let shared = &self.shared;
        let entry = match shared.topics.get(topic) {
            Some(entry) => entry,
            // Nobody subscribed to this very name; shards with patterns look for themselves.
            None if shared.topics.any_patterns() => shared.topics.transient(topic),
            None => return self.pressure(),
        };
        let exact = entry.id != 0 && !entry.is_pattern;
        // What a push finds is told even if the shard has caught up by the end of the call: the answer is to be relied on.
        let mut pushed = Pushed::Fine;
        FRAMES.with_borrow_mut(|frames| {
            frames.clear();
            texts.iter().for_each(|text| push_injected(frames, text));
            let count = u32::try_from(texts.len()).unwrap_or(u32::MAX);
            for (index, port) in shared.ports.iter().enumerate() {
                let patterns = shared.topics.has_patterns(index);
                if patterns || (exact && entry.wanted_by(index)) {
                    pushed = pushed.max(port.inbox.publish(Target::of(&entry, index, patterns), frames, count));
                }
            }
            if frames.capacity() > KEEP_FRAMES {
                *frames = Vec::new();
            }
        });
        if entry.id != 0 {
            entry.published.fetch_add(texts.len() as u64, Relaxed);
            if entry.has_groups() {
                for text in texts {
                    pushed = pushed.max(self.publish_to_groups(&entry, text));
                }
            }
        }
        if pushed == Pushed::Pressure { Pressure::High } else { self.pressure() }
    }

    fn publish_to_groups(&self, entry: &crate::topics::TopicEntry, text: &str) -> Pushed {
        let registry = &self.shared.registry;
        let readiness = |id| registry.get(id).map_or(Readiness::Never, |peer| peer.readiness(&entry.name));
        let text = envelope::inject_category(text);
        let mut pushed = Pushed::Fine;
        let unserved = entry.groups.lock().pick(readiness, |id| {
            pushed = pushed.max(self.shared.ports[id.shard()].inbox.send(id, Opcode::Text, text.as_bytes()));
        });
        self.shared.cells.group_unserved.fetch_add(unserved, Relaxed);
        pushed
    }

    /// Bytes that may be published before the hard limit refuses more; `None` while nothing waits at all, when a message
    /// of any size is taken. Less than `wanted` counts as a refusal.
    pub fn room_for(&self, wanted: usize) -> Option<usize> {
        let room = self.shared.ports.iter().filter_map(|port| port.inbox.room()).min();
        if room.is_some_and(|room| wanted > room) {
            bump(&self.shared.cells.publish_refused);
        }
        room
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
            if port.inbox.send_all(opcode, payload) == Pushed::Pressure {
                pressure = Pressure::High;
            }
        }
        pressure
    }

    /// Sends a text to one connection as it is. `None`: nobody has this id, or the connection is closing.
    pub fn send(&self, to: ConnId, text: &str) -> Option<Pressure> {
        self.direct(to, Opcode::Text, text.as_bytes())
    }

    /// Sends bytes to one connection as they are. `None`: nobody has this id, or the connection is closing.
    pub fn send_bytes(&self, to: ConnId, bytes: &[u8]) -> Option<Pressure> {
        self.direct(to, Opcode::Binary, bytes)
    }

    fn direct(&self, to: ConnId, opcode: Opcode, payload: &[u8]) -> Option<Pressure> {
        if self.shared.registry.get(to)?.is_closing() {
            return None;
        }
        let inbox = &self.shared.ports[to.shard()].inbox;
        if inbox.refuses(frame_size(payload.len())) {
            bump(&self.shared.cells.publish_refused);
            return Some(Pressure::Refused);
        }
        Some(match inbox.send(to, opcode, payload) {
            Pushed::Pressure => Pressure::High,
            Pushed::Fine => Pressure::Fine,
        })
    }

    /// Sends messages to single connections, in order and as they are, whatever the hard limit says: for hosts that collect
    /// them, have asked [`Self::liveness`] who is there and [`Self::room_for`] before they took them. What is for nobody goes
    /// nowhere. One lock and one wake per shard.
    pub fn send_many(&self, sends: &[Outgoing<'_>]) -> Pressure {
        let ports = &self.shared.ports;
        let present = sends.iter().fold(0_u64, |shards, send| shards | 1 << send.to.shard());
        let mut pushed = Pushed::Fine;
        for (index, port) in ports.iter().enumerate().filter(|(index, _)| present >> index & 1 == 1) {
            pushed = pushed.max(port.inbox.send_many(sends.iter().filter(|send| send.to.shard() == index)));
        }
        if pushed == Pushed::Pressure { Pressure::High } else { self.pressure() }
    }

    /// Sends an event: completes its envelope, drops a repetition of its `id`, applies the rate limit, and encodes it as the
    /// connection wants it (JSON, `C:` above `compression_threshold` bytes, `M:` for `format=msgpack`). A threshold of 0
    /// never compresses.
    pub fn send_event(&self, to: ConnId, event: Map<String, Value>, compression_threshold: usize) -> Event {
        let shared = &self.shared;
        let Some(peer) = shared.registry.get(to).filter(|peer| !peer.is_closing()) else {
            return Event::UnknownConnection;
        };
        let inbox = &shared.ports[to.shard()].inbox;
        // Its size is not known yet: the inbox may end above the limit by this one event.
        if inbox.refuses(1) {
            bump(&shared.cells.publish_refused);
            return Event::Refused;
        }
        let named = if let Some(Value::String(id)) = event.get("id") { Some(id) } else { None };
        if named.is_some_and(|id| shared.dedup.lock().contains(to.as_u64(), id)) {
            bump(&shared.cells.deduplicated);
            return Event::Duplicate;
        }
        if !self.take_token(&peer) {
            bump(&shared.cells.rate_limited);
            return Event::RateLimited;
        }
        // Only now: an event that was refused may be sent again. Two threads with the same id: one of them sends.
        if named.is_some_and(|id| !shared.dedup.lock().insert(to.as_u64(), id)) {
            bump(&shared.cells.deduplicated);
            return Event::Duplicate;
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
        inbox.send(to, Opcode::Binary, &payload);
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
        let notice = |text: &str| self.shared.ports[peer.id.shard()].inbox.send(peer.id, Opcode::Text, text.as_bytes());
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

    /// Bytes waiting in a shard's inbox above which there is pressure.
    pub fn high_water_mark(&self) -> usize {
        self.shared.config.high_water_mark
    }

    /// Who may be sent to, as memory to read.
    pub fn liveness(&self) -> &Arc<Liveness> {
        &self.shared.liveness
    }

    /// Publisher pressure now.
    pub fn pressure(&self) -> Pressure {
        if self.shared.pressure() { Pressure::High } else { Pressure::Fine }
    }
}

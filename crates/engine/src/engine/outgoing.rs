//! What a host says: to topics, to connections, to all. Only forwards: the calls live where a shard can make them too.

use std::sync::Arc;

use serde_json::{Map, Value};
use wse_protocol::frame::frame_size;

use super::Engine;
use crate::id::ConnId;
use crate::liveness::Liveness;
use crate::mailbox::{Outgoing, Pressure};
use crate::shared::{Payloads, SendEventOutcome};

impl Engine {
    /// Publishes a text to the topic's subscribers on this server, unless that would break the hard limit. A JSON object gets
    /// its category (`c`) if it has none, unless all endpoints are raw.
    pub fn broadcast(&self, topic: &str, text: &str) -> Pressure {
        let size = frame_size(text.len());
        if size > self.room_for(size) { Pressure::Refused } else { self.publish(topic, Payloads::Texts(&[text]), None) }
    }

    /// Publishes to one topic, in order, whatever the hard limit says: for hosts that collect publications and have asked
    /// [`Self::room_for`] before they took them. `except` does not get them. One lock and one wake per interested shard.
    pub fn publish(&self, topic: &str, payloads: Payloads<'_>, except: Option<ConnId>) -> Pressure {
        self.shared.publish(topic, payloads, except)
    }

    /// Bytes that may be published before the hard limit refuses more. While nothing waits at all, a message of any size is
    /// taken. Less than `wanted` counts as a refusal.
    pub fn room_for(&self, wanted: usize) -> usize {
        self.shared.room_for(wanted)
    }

    /// Sends a text to every connection of this server; the category is added as in [`Self::broadcast`].
    pub fn broadcast_all(&self, text: &str) -> Pressure {
        self.shared.broadcast_all(text)
    }

    /// Sends bytes to every connection of this server.
    pub fn broadcast_all_bytes(&self, bytes: &[u8]) -> Pressure {
        self.shared.broadcast_all_bytes(bytes)
    }

    /// Sends a text to one connection as it is. `None`: nobody has this id, or the connection is closing.
    pub fn send(&self, to: ConnId, text: &str) -> Option<Pressure> {
        self.shared.send(to, text)
    }

    /// Sends bytes to one connection as they are. `None`: nobody has this id, or the connection is closing.
    pub fn send_bytes(&self, to: ConnId, bytes: &[u8]) -> Option<Pressure> {
        self.shared.send_bytes(to, bytes)
    }

    /// Sends messages to single connections, in order and as they are, whatever the hard limit says: for hosts that collect
    /// them, have asked [`Self::liveness`] who is there and [`Self::room_for`] before they took them. What is for nobody goes
    /// nowhere. One lock and one wake per shard.
    pub fn send_many(&self, sends: &[Outgoing<'_>]) -> Pressure {
        self.shared.send_many(sends)
    }

    /// Sends an event: completes its envelope, drops a repetition of its `id`, applies the rate limit, and encodes it as the
    /// connection wants it: `M:` for `format=msgpack`; in bytes, above `compression_threshold` as `C:`, for whoever has said
    /// `client_hello`; as text for everybody else. A threshold of 0 never compresses.
    pub fn send_event(&self, to: ConnId, event: Map<String, Value>, compression_threshold: usize) -> SendEventOutcome {
        self.shared.send_event(to, event, compression_threshold)
    }

    /// Bytes that may be published before publishers should wait.
    pub fn until_pressure(&self) -> usize {
        self.shared.until_pressure()
    }

    /// Who may be sent to, as memory to read.
    pub fn liveness(&self) -> &Arc<Liveness> {
        &self.shared.liveness
    }

    /// Publisher pressure now.
    pub fn pressure(&self) -> Pressure {
        self.shared.pressure()
    }

    /// Adds a callback, called from any thread, for the moment publishing may go on.
    pub fn on_writable(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.shared.on_writable(wake);
    }

    /// Removes a callback given to [`Self::on_writable`].
    pub fn off_writable(&self, wake: &Arc<dyn Fn() + Send + Sync>) {
        self.shared.off_writable(wake);
    }
}

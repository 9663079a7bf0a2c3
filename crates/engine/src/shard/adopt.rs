//! A finished handshake becomes a connection of the shard: registered, announced to the host, pinged from now on.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use wse_protocol::envelope::{self, ServerReady};
use wse_protocol::frame::Decoder;
use wse_protocol::topic::Acl;

use super::Shard;
use crate::clock::unix_millis;
use crate::conn::{Connection, Outbound, Phase, Transport, millis};
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::registry::Peer;

/// What the handshake found out.
pub(crate) struct Admitted {
    pub(crate) transport: Transport,
    /// Bytes the client sent behind its request.
    pub(crate) early: Vec<u8>,
    /// The verified user, when the engine authenticates.
    pub(crate) user: Option<String>,
    /// The raw Cookie header, for hosts that authenticate themselves.
    pub(crate) cookies: Vec<u8>,
    pub(crate) acl: Option<Arc<Acl>>,
    /// Unix seconds at which the token is no longer valid, leeway included; 0 = never.
    pub(crate) expires: u64,
    pub(crate) msgpack: bool,
    pub(crate) accepted: Instant,
}

/// Why an admitted socket is no connection.
pub(crate) enum NotAdopted {
    /// The shard has no slot left.
    NoSlot,
    /// It was one, and ended while being greeted: all its places are given back already.
    Removed,
}

impl Shard {
    /// Makes it a connection.
    pub(crate) fn adopt(&mut self, admitted: Admitted) -> Result<ConnId, NotAdopted> {
        let Admitted { transport, early, user, cookies, acl, expires, msgpack, accepted } = admitted;
        let shared = Arc::clone(&self.context.shared);
        let config = &shared.config;
        let now = self.context.now();
        let uuid = uuid::Uuid::now_v7();
        let lane = self.context.join_lane();
        let index = self.index;
        let slot = self.connections.insert(|slot, generation| {
            let id = ConnId::new(index, slot, generation);
            Connection {
                peer: Arc::new(Peer::new(id, uuid, msgpack, acl, &shared.liveness)),
                transport,
                waker: Waker::noop().clone(),
                decoder: Decoder::new(config.max_message_size),
                early: !early.is_empty(),
                carry: early,
                out: Outbound::default(),
                topics: Vec::new(),
                lane,
                phase: Phase::Open,
                violated: None,
                blocked: false,
                unflushed_close: false,
                dirty: false,
                paused: false,
                congested: false,
                pressing: false,
                congested_at: now,
                full_pings: 0,
                dropped: None,
                last_data: now,
                next_ping: now.wrapping_add(stagger(id, millis(config.ping_interval))),
                since_close: now,
                closing_at: now,
                timer: 0,
                expires,
            }
        });
        let Some((slot, connection)) = slot.and_then(|slot| Some((slot, self.connections.get_mut(slot)?))) else {
            self.context.leave_lane(lane);
            return Err(NotAdopted::NoSlot);
        };
        let id = connection.peer.id;
        // TLS has a buffer of its own: what it is sent goes through the queue.
        self.staging.block(slot, !connection.transport.is_plain());
        shared.registry.insert(Arc::clone(&connection.peer));
        self.context.hold(0, connection.held());
        self.context.cells.bytes_received.add(connection.held() as u64);
        if user.is_some() || config.server_ready {
            let ready = envelope::server_ready(&ServerReady {
                id: uuid::Uuid::now_v7().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
                connection_id: uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
                user_id: user.as_deref(),
                recovery: false,
                now_ms: unix_millis(),
            });
            connection.out.reply(&ready, config.max_outbound_bytes);
            self.context.cells.messages_sent.add(1);
            self.context.cells.outbound_bytes.shift(0, connection.out.weight());
        }
        match &user {
            Some(user) => self.context.event(lane, Kind::AuthConnect, id, user.as_bytes()),
            None => self.context.event(lane, Kind::Connect, id, &cookies),
        }
        crate::metrics::bump(&shared.cells.accepted);
        self.context.cells.handshake.record(accepted.elapsed());
        self.rearm(slot);
        if self.flush(slot) { Ok(id) } else { Err(NotAdopted::Removed) }
    }
}

/// Spreads first pings over the interval, so that many connections opened at once are not pinged at once.
fn stagger(id: ConnId, interval: u32) -> u32 {
    // Fibonacci hashing: neighbouring ids land far apart.
    let spread = id.as_u64().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let part = (spread * u64::from(interval)) >> 32;
    u32::try_from(part).unwrap_or(0).max(1)
}

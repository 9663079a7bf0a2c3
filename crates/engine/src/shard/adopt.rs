//! A finished handshake becomes a connection of the shard: registered, announced to the host, pinged from now on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;
use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope::{self, ServerReady};
use wse_protocol::frame::{Opcode, push_frame};
use wse_protocol::topic::Acl;

use super::Shard;
use crate::admission::Place;
use crate::clock::unix_millis;
use crate::conn::{Connection, Opening, Transport};
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::metrics::bump;
use crate::registry::{Origin, Peer, Speech};

/// What the handshake found out.
pub(crate) struct Admitted {
    pub(crate) transport: Transport,
    /// Bytes the client sent behind its request.
    pub(crate) early: Vec<u8>,
    /// The 101 it has not been sent yet.
    pub(crate) response: Vec<u8>,
    /// Who it is and where it comes from.
    pub(crate) origin: Origin,
    /// The raw Cookie header, for hosts that authenticate themselves.
    pub(crate) cookies: Vec<u8>,
    pub(crate) acl: Option<Arc<Acl>>,
    /// What it is subscribed to before anybody hears of it.
    pub(crate) topics: Vec<String>,
    /// Unix seconds at which the token is no longer valid, leeway included; 0 = never.
    pub(crate) expires: u64,
    pub(crate) speech: Speech,
    pub(crate) accepted: Instant,
    /// Its places among the engine's connections and in the shard's load. They go with the connection, or come back.
    pub(crate) places: [Place; 2],
}

/// Why an admitted socket is no connection. All its places have been given back.
pub(crate) enum NotAdopted {
    /// The shard has no slot left.
    NoSlot,
    /// It was one, and ended while being greeted.
    Removed,
}

impl Shard {
    /// Makes it a connection. A panic on the way ends this connection and nothing else.
    pub(crate) fn adopt(&mut self, admitted: Admitted) -> Result<ConnId, NotAdopted> {
        let mut known = None;
        let adopted = catch_unwind(AssertUnwindSafe(|| self.enroll(admitted, &mut known)));
        adopted.unwrap_or_else(|_| {
            self.recover();
            if let Some(id) = known {
                self.abandon(id, CloseCode::INTERNAL_ERROR);
            }
            Err(NotAdopted::Removed)
        })
    }

    /// Enters it everywhere; `known` is set as soon as it is a connection, and then [`Self::remove`] undoes it.
    fn enroll(&mut self, admitted: Admitted, known: &mut Option<ConnId>) -> Result<ConnId, NotAdopted> {
        let Admitted { transport, early, origin, cookies, acl, topics, expires, speech, accepted, places, .. } =
            admitted;
        let user = origin.user.clone();
        let mut greeting = admitted.response;
        let shared = Arc::clone(&self.context.shared);
        let config = &shared.config;
        let now = self.context.now();
        let uuid = Uuid::now_v7();
        let ready = speech != Speech::Raw && (user.is_some() || config.server_ready);
        if ready {
            // Behind the 101 in the same write: one packet and one system call less for every connect.
            push_ready(&mut greeting, uuid, user.as_deref(), config.recovery.is_some());
        }
        let stream = self.context.join_stream();
        let (index, queue) = (self.index, &self.ready);
        let slot = self.connections.insert(|slot, generation| {
            let id = ConnId::new(index, slot, generation);
            let peer = Arc::new(Peer::new(id, uuid, speech, acl, queue));
            Connection::open(Opening { peer, transport, early, greeting, stream, expires }, config, now)
        });
        let Some((slot, connection)) = slot.and_then(|slot| Some((slot, self.connections.get_mut(slot)?))) else {
            self.context.leave_stream(stream);
            return Err(NotAdopted::NoSlot);
        };
        places.into_iter().for_each(Place::keep);
        let id = connection.id();
        *known = Some(id);
        self.delivery.opened(slot, connection);
        shared.registry.insert(Arc::clone(connection.peer()), origin);
        self.context.hold(0, connection.held());
        self.context.counters.bytes_received.add(connection.held() as u64);
        self.context.counters.messages_sent.add(u64::from(ready));
        connection.rearm(&mut self.context);
        if !topics.is_empty() {
            self.begin_with(id, &topics);
        }
        match &user {
            Some(user) => self.context.event(stream, Kind::AuthConnect, id, user.as_bytes()),
            None => self.context.event(stream, Kind::Connect, id, &cookies),
        }
        if let Some(connection) = self.connections.get_mut(slot)
            && shared.is_revoked(connection.peer())
        {
            // Since it was believed: whoever revokes it from here on finds the connection.
            connection.close_after(CloseCode::UNAUTHORIZED, "Token revoked", &mut self.context);
        }
        bump(&shared.counters.accepted);
        self.context.counters.handshake.record(accepted.elapsed());
        if !self.flush(slot) {
            return Err(NotAdopted::Removed);
        }
        // Its first turn finds what has come meanwhile; from then on its socket wakes it.
        self.wake(id);
        Ok(id)
    }
}

impl Shard {
    /// Subscribes a new connection, which nobody has heard of: nothing that is published once it is greeted, or its host knows of
    /// it, passes it by. What its ACL or the limits do not allow is left out.
    fn begin_with(&mut self, id: ConnId, topics: &[String]) {
        let shared = Arc::clone(&self.context.shared);
        let Some(peer) = shared.registry.get(id) else { return };
        self.subscribe(id, shared.admit_all(&peer, topics.iter()).unwrap_or_default());
    }
}

/// Appends the `server_ready` message as a frame.
fn push_ready(greeting: &mut Vec<u8>, uuid: Uuid, user: Option<&str>, recovery: bool) {
    let ready = envelope::server_ready(&ServerReady {
        id: Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer()),
        connection_id: uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
        user_id: user,
        recovery,
        now_ms: unix_millis(),
    });
    push_frame(greeting, Opcode::Text, ready.as_bytes());
}

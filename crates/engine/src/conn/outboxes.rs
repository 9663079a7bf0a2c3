//! Which connections of a shard send out of an outbox, by which streams, and what is to be acknowledged to those that have had their turns
//! (docs/protocol.md §17). A connection that does not costs nothing here. Never decides about a number: that is the window's.

use std::collections::HashMap;
use std::sync::Arc;

use crate::flow::{Window, Windows};
use crate::id::ConnId;
use crate::registry::Peer;
use crate::shared::Shared;

/// Streams one connection may use: its own, and those it has adopted from clients that are gone.
const MAX_STREAMS: usize = 64;

/// One shard's.
pub(crate) struct Outboxes {
    shard: usize,
    senders: HashMap<u64, Box<Sender>, foldhash::fast::RandomState>,
    /// That of one turn of a connection together.
    owed: Vec<Owed>,
}

/// A shard that a panic has left behind holds no stream: another may go on.
impl Drop for Outboxes {
    fn drop(&mut self) {
        self.give();
    }
}

/// A connection whose client has an outbox.
struct Sender {
    /// Higher than that of any connection before it.
    number: u64,
    user: Option<Arc<str>>,
    streams: Vec<Stream>,
}

struct Stream {
    name: Box<str>,
    window: Arc<Window>,
    /// The last number that was not taken from this connection, unless its client began again since, from there or from below; 0 = none.
    /// It is kept here because a window may be forgotten, and because what one connection has missed another need not have.
    missed: u64,
}

/// Whoever is gone holds no stream.
impl Drop for Sender {
    fn drop(&mut self) {
        for stream in &self.streams {
            stream.window.release(self.number);
        }
    }
}

/// What is to be acknowledged to a connection: everything of a stream up to a number.
pub(crate) struct Owed {
    /// Whom.
    pub(crate) to: ConnId,
    pub(super) stream: Box<str>,
    window: Arc<Window>,
    pub(super) number: u64,
}

/// A stream as a connection sends it.
pub(super) struct Sending {
    pub(super) window: Arc<Window>,
    /// The number of its sender.
    pub(super) sender: u64,
    /// The last number its sender has missed; 0 = none.
    pub(super) missed: u64,
    /// Its place among those of its sender.
    at: usize,
}

impl Outboxes {
    pub(super) fn new(shard: usize) -> Self {
        Self { shard, senders: HashMap::default(), owed: Vec::new() }
    }

    /// From here on the messages of this connection may have numbers.
    pub(super) fn begin(&mut self, peer: &Peer, windows: &Windows) {
        self.senders
            .entry(peer.id.as_u64())
            .or_insert_with(|| Box::new(Sender { number: windows.sender(), user: peer.user(), streams: Vec::new() }));
    }

    /// Whether they may.
    pub(super) fn is_sender(&self, id: ConnId) -> bool {
        self.senders.contains_key(&id.as_u64())
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.senders.remove(&id.as_u64());
    }

    /// The window of a stream of a sender, at `now`, milliseconds since the start. `None`: it has used as many as it may.
    pub(super) fn sending(&mut self, id: ConnId, stream: &str, shared: &Shared, now: u64) -> Option<Sending> {
        let Sender { number, user, streams } = self.senders.get_mut(&id.as_u64())?.as_mut();
        let sender = *number;
        let at = streams.iter().position(|known| &*known.name == stream).unwrap_or(streams.len());
        if at == MAX_STREAMS {
            return None;
        }
        if at == streams.len() {
            let window = shared.window(user.as_ref(), stream, now);
            streams.push(Stream { name: stream.into(), window, missed: 0 });
        }
        let known = &mut streams[at];
        if known.window.is_gone() {
            known.window = shared.window(user.as_ref(), stream, now);
        }
        Some(Sending { window: Arc::clone(&known.window), sender, missed: known.missed, at })
    }

    /// What the sender of a stream has missed last, from now on; 0 = nothing.
    pub(super) fn note_missed(&mut self, id: ConnId, sending: &Sending, missed: u64) {
        if let Some(sender) = self.senders.get_mut(&id.as_u64()).filter(|_| sending.missed != missed) {
            sender.streams[sending.at].missed = missed;
        }
    }

    /// Everything of a stream up to `number` is to be acknowledged to the connection whose turn it is.
    pub(super) fn owe(&mut self, to: ConnId, stream: &str, window: &Arc<Window>, number: u64) {
        let mut own = self.owed.iter_mut().rev().take_while(|owed| owed.to == to);
        // By the window: one that made room for another meanwhile is not the stream's any more, and each is given back.
        match own.find(|owed| Arc::ptr_eq(&owed.window, window)) {
            Some(owed) => owed.number = owed.number.max(number),
            None => self.owed.push(Owed { to, stream: stream.into(), window: Arc::clone(window), number }),
        }
    }

    /// The host has it: other shards may go on with its streams.
    pub(super) fn give(&mut self) -> Vec<Owed> {
        for Owed { window, .. } in &self.owed {
            window.given(self.shard);
        }
        std::mem::take(&mut self.owed)
    }

    /// Whether anything is.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }
}

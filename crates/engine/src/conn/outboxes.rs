//! Which connections of a shard send out of an outbox, by which streams, and what is to be acknowledged to the one whose turn it is
//! (docs/protocol.md §17). A connection that does not costs nothing here. Never decides about a number: that is the window's.

use std::collections::HashMap;
use std::sync::Arc;

use crate::flow::{Window, Windows};
use crate::id::ConnId;
use crate::registry::Peer;

/// Streams one connection may use: its own, and those it has adopted from clients that are gone.
const MAX_STREAMS: usize = 64;

/// One shard's.
#[derive(Default)]
pub(crate) struct Outboxes {
    senders: HashMap<u64, Box<Sender>, foldhash::fast::RandomState>,
    pub(super) owed: Vec<Owed>,
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
}

/// What is to be acknowledged: everything of a stream up to a number.
pub(crate) struct Owed {
    pub(super) stream: Box<str>,
    pub(super) window: Arc<Window>,
    pub(super) number: u64,
}

/// A stream as a connection sends it.
pub(super) struct Sending {
    pub(super) window: Arc<Window>,
    /// The number of its sender.
    pub(super) sender: u64,
}

impl Outboxes {
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
    pub(super) fn sending(&mut self, id: ConnId, stream: &str, windows: &Windows, now: u64) -> Option<Sending> {
        let Sender { number, user, streams } = self.senders.get_mut(&id.as_u64())?.as_mut();
        let sender = *number;
        if let Some(known) = streams.iter_mut().find(|known| &*known.name == stream) {
            if known.window.lock(now).is_none() {
                known.window = windows.find(user.as_ref(), stream, now);
            }
            return Some(Sending { window: Arc::clone(&known.window), sender });
        }
        if streams.len() == MAX_STREAMS {
            return None;
        }
        let window = windows.find(user.as_ref(), stream, now);
        streams.push(Stream { name: stream.into(), window: Arc::clone(&window) });
        Some(Sending { window, sender })
    }

    /// Everything of a stream up to `number` is to be acknowledged to the connection whose turn it is.
    pub(super) fn owe(&mut self, stream: &str, window: &Arc<Window>, number: u64) {
        match self.owed.iter_mut().find(|owed| &*owed.stream == stream) {
            Some(owed) => owed.number = owed.number.max(number),
            None => self.owed.push(Owed { stream: stream.into(), window: Arc::clone(window), number }),
        }
    }

    /// Whether anything is.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }
}

//! Connections that get another reader, because theirs has left or has stopped reading: what waits of theirs goes with them,
//! behind an `adopt` that tells who they are, so that the order of a connection's events holds. Who gets how many is decided by
//! `Inbound::assign`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Shard;
use crate::id::ConnId;
use crate::inbound::{Batch, Consumer, Event, Kind, Parted};

/// Where connections have gone.
#[derive(Default)]
struct Moved {
    /// The new stream of each.
    streams: HashMap<ConnId, u16>,
    /// What is known of those that have ended.
    parted: HashMap<ConnId, Parted>,
    /// Streams that are held for those, one entry each.
    held: Vec<u16>,
}

impl Shard {
    /// Gives the connections of readers that have left or stand still to others, those of this shard.
    pub(super) fn rehome(&mut self) {
        let shared = Arc::clone(&self.context.shared);
        for from in shared.inbound.moving(self.index) {
            if shared.inbound.has_other(&from) || !from.is_claimed() {
                self.move_from(&from);
            }
            shared.inbound.moved(&from, self.index);
        }
    }

    fn move_from(&mut self, from: &Arc<Consumer>) {
        let stream = self.context.close_stream(from);
        let index = self.index;
        let waiting = from.take_out(|batch| batch.shard() == index);
        let mut moved = Moved {
            parted: waiting.iter().flat_map(Batch::parted).map(|(id, known)| (id, Arc::clone(known))).collect(),
            ..Moved::default()
        };
        // Who is introduced by what waits needs no more.
        let introduced: HashSet<_> =
            waiting.iter().flat_map(Batch::events).filter(Event::introduces).map(|e| e.connection).collect();
        if let Some(stream) = stream {
            self.move_connections(stream, &introduced, &mut moved);
        }
        for event in waiting.iter().flat_map(Batch::events) {
            self.move_event(&event, introduced.contains(&event.connection), &mut moved);
        }
        for id in moved.streams.keys() {
            let Self { connections, context, .. } = self;
            if let Some(connection) = connections.get_mut(id.slot()).filter(|connection| connection.id() == *id) {
                connection.wait_for_heir(context);
            }
        }
        for held in moved.held {
            self.context.leave_stream(held);
        }
        if let Some(stream) = stream {
            self.context.vacate_stream(stream);
        }
    }

    /// All open ones of a stream.
    fn move_connections(&mut self, stream: u16, introduced: &HashSet<ConnId>, moved: &mut Moved) {
        let shared = Arc::clone(&self.context.shared);
        let Self { connections, context, .. } = self;
        connections.for_each_mut(|_, connection| {
            if connection.stream() != stream {
                return;
            }
            let (id, next) = (connection.id(), context.join_stream());
            context.leave_stream(stream);
            connection.change_stream(next);
            moved.streams.insert(id, next);
            context.counters.adopted.add(1);
            if !introduced.contains(&id) {
                context.event(next, Kind::Adopt, id, shared.registry.introduce(connection.peer()).as_bytes());
            }
        });
    }

    /// What waited of one, open or not.
    fn move_event(&mut self, event: &Event<'_>, introduced: bool, moved: &mut Moved) {
        let id = event.connection;
        let Moved { streams, parted, held } = moved;
        let stream = *streams.entry(id).or_insert_with(|| {
            let stream = self.context.join_stream();
            held.push(stream);
            if let Some(peer) = parted.get(&id).filter(|_| !introduced)
                && let Some(text) = self.context.shared.describe(peer)
            {
                self.context.event(stream, Kind::Adopt, id, text.as_bytes());
            }
            stream
        });
        let known = if event.closes() { parted.get(&id).map(Arc::clone) } else { None };
        self.context.repeat(stream, event, known);
    }
}

//! The events of a batch one by one, to be appended to other batches: for connections that get another reader.

use std::sync::Arc;

use wse_protocol::json::Shape;

use super::batch::{Batch, Kind, is_message, shape_of};
use crate::id::ConnId;

/// An event that waits in a batch.
#[derive(Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) connection: ConnId,
    kind: u8,
    payload: &'a [u8],
    /// Its shape, and where its leaves end.
    shaped: Option<(&'a Arc<Shape>, &'a [u16])>,
}

impl Event<'_> {
    /// Whether it tells who its connection is: whoever hears it needs no [`Kind::Adopt`].
    pub(crate) fn introduces(&self) -> bool {
        [Kind::Connect, Kind::AuthConnect, Kind::Adopt].iter().any(|kind| *kind as u8 == self.kind)
    }

    /// Whether it is the last of its connection.
    pub(crate) fn closes(&self) -> bool {
        self.kind == Kind::Disconnect as u8
    }
}

impl Batch {
    /// The shard its events come from; it is not empty.
    pub(crate) fn shard(&self) -> usize {
        self.connection(0).shard()
    }

    /// The events that were not taken yet.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let mut text = &self.text[self.taken.text..];
        let mut data = &self.data[self.taken.data..];
        let mut cells = &self.cells[self.taken.cells..];
        (self.taken.count..self.kinds.len()).map(move |index| {
            let kind = self.kinds[index];
            let region = if is_message(kind) { &mut text } else { &mut data };
            let (payload, rest) = region.split_at(self.lengths[index] as usize);
            *region = rest;
            let shaped = shape_of(kind).map(|shape| {
                let shape = &self.shapes[shape];
                let (ends, rest) = cells.split_at(shape.leaves());
                cells = rest;
                (shape, ends)
            });
            Event { connection: self.connection(index), kind, payload, shaped }
        })
    }

    /// Appends an event of another batch.
    pub(crate) fn repeat(&mut self, event: &Event<'_>) {
        match event.shaped {
            Some((shape, ends)) => self.push_shaped(event.connection, event.payload, shape, ends),
            None => self.push_kind(event.kind, event.connection, event.payload),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^53")]
    fn connection(&self, index: usize) -> ConnId {
        ConnId::from_u64(self.connections[index] as u64)
    }
}

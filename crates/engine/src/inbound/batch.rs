//! A batch of events in columns, in the order they happened. Owns the events' bytes; crossing is `flatten`'s.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use wse_protocol::json::{Shape, long_string};

use crate::id::ConnId;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Opened without authentication; payload: the Cookie header.
    Connect = 0,
    /// Opened with a verified token; payload: the user id.
    AuthConnect = 1,
    /// A JSON object.
    Message = 2,
    /// Text that is no JSON object.
    Raw = 3,
    /// Bytes.
    Binary = 4,
    /// Gone; payload: JSON, the code, the reason, and who ended it.
    Disconnect = 5,
    /// A user is there whose first connection is; payload: JSON. Of no connection.
    PresenceJoin = 6,
    /// A user is gone whose last connection is; payload: JSON. Of no connection.
    PresenceLeave = 7,
    /// The outbound budget was used up; payload: JSON.
    SlowConsumer = 8,
    /// Has another reader from here on, which hears of it for the first time; payload: JSON.
    Adopt = 9,
    /// A JSON object most of which is one long string.
    LongMessage = 10,
    /// The engine has subscribed a client to what it asked for, or refused it; payload: JSON.
    Subscribe = 11,
    /// The engine has ended subscriptions, because its client asked or its token does not allow them; payload: JSON.
    Unsubscribe = 12,
    /// Its token expires soon; payload: JSON.
    AuthExpiring = 13,
}

/// What was known of a connection that has ended, for a reader that inherits its last events.
pub(crate) type Parted = Arc<dyn Any + Send + Sync>;

/// Kinds from here on are messages of a known shape, in a batch and in a crossing.
const SHAPED: u8 = 16;
/// Shapes of one batch; messages of others are kept as plain ones.
pub(super) const MAX_SHAPES: usize = 8;

/// Events in the order they happened.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) kinds: Vec<u8>,
    pub(super) connections: Vec<f64>,
    pub(super) lengths: Vec<u32>,
    /// Messages without separators.
    pub(super) text: Vec<u8>,
    pub(super) data: Vec<u8>,
    /// Where the leaves of the messages of known shape end, each from the start of its message. A leaf has at least six bytes
    /// of text (`"k":0,`) for its two here, so whoever limits the text limits the cells.
    pub(super) cells: Vec<u16>,
    pub(super) shapes: Vec<Arc<Shape>>,
    /// Where the long strings of the [`Kind::LongMessage`]s stand, each from the start of its message.
    pub(super) longs: Vec<Range<u32>>,
    /// What was known of those whose [`Kind::Disconnect`] is here.
    parted: Vec<(ConnId, Parted)>,
    /// What a crossing has taken already.
    pub(super) taken: Part,
}

/// A number of events and what belongs to them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) count: usize,
    pub(super) text: usize,
    pub(super) data: usize,
    pub(super) cells: usize,
    pub(super) longs: usize,
}

impl Batch {
    /// Appends an event.
    #[inline]
    pub(crate) fn push(&mut self, kind: Kind, connection: ConnId, payload: &[u8]) {
        self.push_kind(kind as u8, connection, payload);
    }

    /// The same for a kind that has no shape.
    #[inline]
    pub(super) fn push_kind(&mut self, kind: u8, connection: ConnId, payload: &[u8]) {
        if is_message(kind) {
            let long = long_string(payload);
            let kind = if long.is_some() { Kind::LongMessage } else { Kind::Message };
            self.longs.extend(long.map(|Range { start, end }| length(start)..length(end)));
            self.note(kind as u8, connection, payload);
            self.text.extend_from_slice(payload);
        } else {
            self.note(kind, connection, payload);
            self.data.extend_from_slice(payload);
        }
    }

    /// Appends a message of a known shape; `cells` are the ends of its leaves.
    #[inline]
    pub(crate) fn push_shaped(&mut self, connection: ConnId, text: &[u8], shape: &Arc<Shape>, cells: &[u16]) {
        let index = match self.shapes.iter().position(|known| Arc::ptr_eq(known, shape)) {
            Some(index) => index,
            None if self.shapes.len() < MAX_SHAPES => {
                self.shapes.push(Arc::clone(shape));
                self.shapes.len() - 1
            }
            None => return self.push(Kind::Message, connection, text),
        };
        self.note(shaped(index), connection, text);
        self.text.extend_from_slice(text);
        self.cells.extend_from_slice(cells);
    }

    /// Keeps what was known of a connection for as long as its [`Kind::Disconnect`], which comes next, is here.
    pub(crate) fn part(&mut self, connection: ConnId, known: Parted) {
        self.parted.push((connection, known));
    }

    /// What was known of those whose [`Kind::Disconnect`] is here, or was.
    pub(crate) fn parted(&self) -> impl Iterator<Item = (ConnId, &Parted)> {
        self.parted.iter().map(|(id, known)| (*id, known))
    }

    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "connection ids stay below 2^53")]
    fn note(&mut self, kind: u8, connection: ConnId, payload: &[u8]) {
        self.kinds.push(kind);
        self.connections.push(connection.as_u64() as f64);
        self.lengths.push(length(payload.len()));
    }

    /// Events not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len() - self.taken.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes not taken yet.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() - self.taken.text + self.data.len() - self.taken.data
    }

    /// Empties it, keeping the buffers unless they are large.
    pub(super) fn recycle(mut self) -> Self {
        const KEEP: usize = 256 * 1024;
        if self.text.capacity() + self.data.capacity() > KEEP || self.kinds.capacity() > KEEP / 16 {
            return Self::default();
        }
        self.kinds.clear();
        self.connections.clear();
        self.lengths.clear();
        self.text.clear();
        self.data.clear();
        self.cells.clear();
        self.shapes.clear();
        self.longs.clear();
        self.parted = Vec::new();
        self.taken = Part::default();
        self
    }

    /// What the next `count` events hold.
    pub(super) fn measure(&self, count: usize) -> Part {
        if count == self.len() {
            let Part { text, data, cells, longs, .. } = self.taken;
            let (text, data) = (self.text.len() - text, self.data.len() - data);
            return Part { count, text, data, cells: self.cells.len() - cells, longs: self.longs.len() - longs };
        }
        let mut part = Part { count, ..Part::default() };
        let range = self.taken.count..self.taken.count + count;
        for (kind, length) in self.kinds[range.clone()].iter().zip(&self.lengths[range]) {
            *(if is_message(*kind) { &mut part.text } else { &mut part.data }) += *length as usize;
            part.longs += usize::from(*kind == Kind::LongMessage as u8);
            part.cells += shape_of(*kind).map_or(0, |index| self.shapes[index].leaves());
        }
        part
    }

    pub(super) fn next(&self, part: Part) -> Range<usize> {
        self.taken.count..self.taken.count + part.count
    }
}

/// The kind of messages of the shape with this index.
#[expect(clippy::cast_possible_truncation, reason = "below MAX_SHAPES and MAX_TABLES")]
pub(super) const fn shaped(index: usize) -> u8 {
    SHAPED + index as u8
}

#[inline]
pub(super) fn shape_of(kind: u8) -> Option<usize> {
    kind.checked_sub(SHAPED).map(usize::from)
}

#[inline]
pub(super) const fn is_message(kind: u8) -> bool {
    kind == Kind::Message as u8 || kind == Kind::LongMessage as u8 || kind >= SHAPED
}

/// Payloads are at most one message, crossings a few megabytes: both fit 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the message size limit and MAX_CROSSING")]
pub(super) fn length(len: usize) -> u32 {
    debug_assert!(u32::try_from(len).is_ok());
    len as u32
}

//! A batch of events in columns, and its flat form for the crossing (read by `ts/src/inbound/batch.ts`, little endian):
//!
//! ```text
//! u32 count | u32 flags (1: text is ASCII, 2: data is ASCII, 4: columns are ASCII)
//! u32 textLen | u32 dataLen | u32 columnsLen | u32 0
//! f64[count] connections | u32[count] lengths | u8[count] kinds | zeros up to a multiple of 8
//! text: '[' + the JSON of the `msg` events of kind 2 joined by ',' + ']'
//! columns: '[' + per shape its template and one array per leaf, joined by ',' + ']'; empty without shapes
//! data: the payloads of all other events, one after the other
//! ```
//!
//! Kind 16 + k is a `msg` event too: the next row of the crossing's shape k. The template is a message with 0 for each leaf;
//! the arrays follow in the order of the leaves, with a value per row, or a single one when all rows have the same
//! primitive.
//!
//! One or two `JSON.parse` thus build every message of a crossing, and the messages were validated before they got here.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use wse_protocol::json::Shape;

use super::columns::{Row, Tables};
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
    /// Gone; no payload.
    Disconnect = 5,
    // 6 and 7 are presence_join and presence_leave.
    /// The outbound budget was used up; payload: JSON.
    SlowConsumer = 8,
}

/// Kinds from here on are messages of a known shape, in a batch and in a crossing.
const SHAPED: u8 = 16;
/// Shapes of one batch; messages of others are kept as plain ones.
const MAX_SHAPES: usize = 8;

const HEADER: usize = 24;
const TEXT_ASCII: u32 = 1;
const DATA_ASCII: u32 = 2;
const COLUMNS_ASCII: u32 = 4;

/// Events in the order they happened.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    kinds: Vec<u8>,
    connections: Vec<f64>,
    lengths: Vec<u32>,
    /// Messages without separators.
    text: Vec<u8>,
    data: Vec<u8>,
    /// Where the leaves of the messages of known shape end, each from the start of its message. A leaf has at least six bytes
    /// of text (`"k":0,`) for its two here, so whoever limits the text limits the cells.
    cells: Vec<u16>,
    shapes: Vec<Arc<Shape>>,
    /// What a crossing has taken already.
    taken: Part,
}

/// A number of events and what belongs to them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Part {
    count: usize,
    text: usize,
    data: usize,
    cells: usize,
}

impl Batch {
    /// Appends an event.
    #[inline]
    pub(crate) fn push(&mut self, kind: Kind, connection: ConnId, payload: &[u8]) {
        self.note(kind as u8, connection, payload);
        if kind == Kind::Message {
            self.text.extend_from_slice(payload);
        } else {
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
    pub(crate) fn recycle(mut self) -> Self {
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
        self.taken = Part::default();
        self
    }

    /// What the next `count` events hold.
    fn measure(&self, count: usize) -> Part {
        if count == self.len() {
            let Part { text, data, cells, .. } = self.taken;
            let (text, data) = (self.text.len() - text, self.data.len() - data);
            return Part { count, text, data, cells: self.cells.len() - cells };
        }
        let mut part = Part { count, ..Part::default() };
        let range = self.taken.count..self.taken.count + count;
        for (kind, length) in self.kinds[range.clone()].iter().zip(&self.lengths[range]) {
            *(if is_message(*kind) { &mut part.text } else { &mut part.data }) += *length as usize;
            part.cells += shape_of(*kind).map_or(0, |index| self.shapes[index].leaves());
        }
        part
    }

    /// Announces the shapes of the next events.
    fn announce<'a>(&'a self, part: Part, tables: &mut Tables<'a>) {
        let mut counts = [0; MAX_SHAPES];
        let shapes = self.kinds[self.next(part)].iter().filter_map(|kind| shape_of(*kind));
        shapes.for_each(|index| counts[index] += 1);
        for (shape, count) in self.shapes.iter().zip(counts) {
            tables.announce(shape, count);
        }
    }

    fn next(&self, part: Part) -> Range<usize> {
        self.taken.count..self.taken.count + part.count
    }
}

/// The kind of messages of the shape with this index.
#[expect(clippy::cast_possible_truncation, reason = "below MAX_SHAPES and MAX_TABLES")]
const fn shaped(index: usize) -> u8 {
    SHAPED + index as u8
}

#[inline]
fn shape_of(kind: u8) -> Option<usize> {
    kind.checked_sub(SHAPED).map(usize::from)
}

#[inline]
const fn is_message(kind: u8) -> bool {
    kind == Kind::Message as u8 || kind >= SHAPED
}

/// Takes up to `max` events from the front of `batches` in the flat form into `out`, messages as `columns` where there are
/// enough of a shape; batches it emptied are handed to `spare`.
pub(crate) fn flatten(
    batches: &mut VecDeque<Batch>,
    max: usize,
    columns: bool,
    out: &mut [u8],
    mut spare: impl FnMut(Batch),
) -> Flattened {
    let mut flat = Flat::default();
    let mut parts = Vec::new();
    for batch in batches.iter() {
        let count = batch.len().min(max - flat.events);
        if count == 0 {
            break;
        }
        let part = batch.measure(count);
        // Bounded crossings: lengths are 32-bit on the JavaScript side, and a huge batch would stall its thread.
        if flat.events > 0 && flat.bytes + part.text + part.data > MAX_CROSSING {
            break;
        }
        parts.push(part);
        flat.events += count;
        flat.bytes += part.text + part.data;
    }
    if flat.events == 0 {
        return Flattened::Nothing;
    }
    let mut tables = Tables::default();
    if columns {
        batches.iter().zip(&parts).for_each(|(batch, part)| batch.announce(*part, &mut tables));
        tables.close();
    }
    let needed = flat_size(&flat) + tables.size();
    if needed > out.len() {
        return Flattened::Needs(needed);
    }
    flat.written = write(batches, &parts, tables, flat.events, out);
    for Part { count, text, data, cells } in parts {
        let Some(batch) = batches.front_mut() else { break };
        batch.taken.count += count;
        batch.taken.text += text;
        batch.taken.data += data;
        batch.taken.cells += cells;
        if batch.is_empty()
            && let Some(empty) = batches.pop_front()
        {
            spare(empty);
        }
    }
    Flattened::Taken(flat)
}

/// What [`flatten`] did.
#[derive(Debug)]
pub(crate) enum Flattened {
    /// There is nothing to take.
    Nothing,
    /// Nothing was taken: the buffer must have this many bytes.
    Needs(usize),
    Taken(Flat),
}

/// Where the text region begins.
const fn head_size(count: usize) -> usize {
    (HEADER + count * 13).next_multiple_of(8)
}

/// An upper bound of the flat form without tables: a separator per event, the brackets.
const fn flat_size(flat: &Flat) -> usize {
    head_size(flat.events) + flat.bytes + flat.events + 2
}

/// Payload bytes of one crossing, unless a single batch holds more.
const MAX_CROSSING: usize = 8 * 1024 * 1024;

/// How much a crossing took.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Flat {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// Bytes of the flat form.
    pub(crate) written: usize,
}

/// Writes the flat form and returns its size. `out` is known to be large enough.
fn write<'a>(
    batches: &'a VecDeque<Batch>,
    parts: &[Part],
    mut tables: Tables<'a>,
    count: usize,
    out: &mut [u8],
) -> usize {
    let head = head_size(count);
    let mut flat = Cursor { out, at: HEADER };
    let taken = || batches.iter().zip(parts.iter().copied()).map(|(batch, part)| (batch, batch.next(part)));
    for (batch, range) in taken() {
        batch.connections[range].iter().for_each(|id| flat.put(&id.to_le_bytes()));
    }
    for (batch, range) in taken() {
        batch.lengths[range].iter().for_each(|len| flat.put(&len.to_le_bytes()));
    }
    for (batch, range) in taken() {
        let (start, end) = (flat.at, flat.at + range.len());
        flat.put(&batch.kinds[range]);
        if !batch.shapes.is_empty() {
            let table = tables_of(batch, &tables);
            for kind in &mut flat.out[start..end] {
                *kind = shape_of(*kind).map_or(*kind, |index| table[index].map_or(Kind::Message as u8, shaped));
            }
        }
    }
    flat.out[flat.at..head].fill(0);
    flat.at = head;
    flat.put(b"[");
    for (batch, range) in taken() {
        let table = tables_of(batch, &tables);
        let (mut text, mut cells) = (&batch.text[batch.taken.text..], &batch.cells[batch.taken.cells..]);
        for (kind, len) in batch.kinds[range.clone()].iter().zip(&batch.lengths[range]) {
            if !is_message(*kind) {
                continue;
            }
            let mut plain = true;
            if let Some(index) = shape_of(*kind) {
                let (ends, rest) = cells.split_at(batch.shapes[index].leaves());
                cells = rest;
                if let Some(table) = table[index] {
                    tables.push(table, Row { text, ends });
                    plain = false;
                }
            }
            let (message, rest) = text.split_at(*len as usize);
            text = rest;
            if plain {
                if flat.at > head + 1 {
                    flat.put(b",");
                }
                flat.put(message);
            }
        }
    }
    flat.put(b"]");
    let text_end = flat.at;
    tables.write(&mut flat);
    let columns_end = flat.at;
    for (batch, part) in batches.iter().zip(parts) {
        flat.put(&batch.data[batch.taken.data..batch.taken.data + part.data]);
    }
    let Cursor { out, at: end } = flat;
    let ascii = |region: Range<usize>, flag: u32| if out[region].is_ascii() { flag } else { 0 };
    let flags = ascii(head..text_end, TEXT_ASCII)
        | ascii(text_end..columns_end, COLUMNS_ASCII)
        | ascii(columns_end..end, DATA_ASCII);
    let lengths = [text_end - head, end - columns_end, columns_end - text_end].map(length);
    let header = [length(count), flags, lengths[0], lengths[1], lengths[2], 0];
    for (place, value) in out[..HEADER].as_chunks_mut::<4>().0.iter_mut().zip(header) {
        *place = value.to_le_bytes();
    }
    end
}

/// The table of each shape of a batch.
fn tables_of(batch: &Batch, tables: &Tables<'_>) -> [Option<usize>; MAX_SHAPES] {
    let mut found = [None; MAX_SHAPES];
    for (place, shape) in found.iter_mut().zip(&batch.shapes) {
        *place = tables.position(shape);
    }
    found
}

/// A place in the caller's buffer.
pub(super) struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.out[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }

    /// Puts `text[part]`. Short parts are copied as what they and their neighbours are together, if there is room for it:
    /// a copy of fixed size needs no call.
    #[inline]
    pub(super) fn put_part(&mut self, text: &[u8], part: Range<usize>) {
        const WIDE: usize = 32;
        let len = part.len();
        if len <= WIDE
            && let Some(from) = text.get(part.start..).and_then(<[u8]>::first_chunk::<WIDE>)
            && let Some(to) = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut::<WIDE>)
        {
            *to = *from;
            self.at += len;
        } else {
            self.put(&text[part]);
        }
    }
}

/// Payloads are at most one message, crossings a few megabytes: both fit 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the message size limit and MAX_CROSSING")]
fn length(len: usize) -> u32 {
    debug_assert!(u32::try_from(len).is_ok());
    len as u32
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

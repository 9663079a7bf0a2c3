//! The flat form of batches for the crossing (read by `ts/src/inbound/batch.ts`, little endian):
//!
//! ```text
//! u32 count | u32 flags (1: text is ASCII, 2: data is ASCII, 4: columns are ASCII)
//! u32 textLen | u32 dataLen | u32 columnsLen | u32 longsLen
//! f64[count] connections | u32[count] lengths | u8[count] kinds | zeros up to a multiple of 8
//! text: '[' + the JSON of the `msg` events of kinds 2 and 10 joined by ',' + ']'
//! columns: '[' + per shape its template and one column per leaf, joined by ',' + ']'; empty without shapes
//! data: the payloads of all other events, one after the other
//! longs: the long strings of the messages of kind 10, then those of columns, one after the other, ASCII
//! ```
//!
//! Kind 10 is a `msg` event whose longest string stands in the longs region; in its JSON `~wse~`, its place
//! in that region, `+`, and its length stand for it, in decimal. No other string of that message has `~wse~` in it: whoever finds
//! it has found its place, unless a later member of the same name has replaced it.
//!
//! Kind 16 + k is a `msg` event too: the next row of the crossing's shape k. The template is a message with 0 for each leaf;
//! the columns follow in the order of the leaves: an array with a value per row, or a single one when all rows have the same
//! primitive, or, for long strings, `{"at":…,"lengths":[…]}`, their place in the longs region and how long they are.
//!
//! One or two `JSON.parse` thus build every message of a crossing, and the messages were validated before they got here.

use std::collections::VecDeque;
use std::ops::Range;

use super::batch::{Batch, Kind, MAX_SHAPES, Part, is_message, length, shape_of, shaped};
use super::columns::{Longs, MIN_ROWS, Row, Tables};
use super::cursor::Cursor;
use wse_protocol::json::STAND_IN;

const HEADER: usize = 24;
const TEXT_ASCII: u32 = 1;
const DATA_ASCII: u32 = 2;
const COLUMNS_ASCII: u32 = 4;

/// Takes up to `max` events from the front of `batches` in the flat form into `out`, messages as `columns` where there are
/// enough of a shape; batches it emptied are handed to `spare`.
pub(super) fn flatten(
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
    if columns && flat.events >= MIN_ROWS {
        batches.iter().zip(&parts).for_each(|(batch, part)| announce(batch, *part, &mut tables));
        tables.close();
    }
    let longs: usize = parts.iter().map(|part| part.longs).sum();
    let needed = flat_size(&flat) + tables.size() + longs * MAX_STAND_IN;
    if needed > out.len() {
        return Flattened::Needs(needed);
    }
    flat.written = write(&Taking { batches, parts: &parts, columns }, tables, flat.events, out);
    for Part { count, text, data, cells, longs } in parts {
        let Some(batch) = batches.front_mut() else { break };
        batch.taken.count += count;
        batch.taken.text += text;
        batch.taken.data += data;
        batch.taken.cells += cells;
        batch.taken.longs += longs;
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
pub(super) enum Flattened {
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

/// The longest stand-in for a long string, bytes: two numbers of 32 bits.
const MAX_STAND_IN: usize = STAND_IN.len() + 10 + 1 + 10;

/// Payload bytes of one crossing, unless a single batch holds more.
const MAX_CROSSING: usize = 64 * 1024;

/// How much a crossing took.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Flat {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Bytes of the flat form.
    pub(super) written: usize,
}

/// What a crossing takes of each batch.
struct Taking<'a> {
    batches: &'a VecDeque<Batch>,
    parts: &'a [Part],
    /// Messages of a shape cross as columns, and long strings beside their messages.
    columns: bool,
}

impl<'a> Taking<'a> {
    /// Each batch, what is taken of it, and the places of its events.
    fn each(&self) -> impl Iterator<Item = (&'a Batch, Part, Range<usize>)> {
        self.batches.iter().zip(self.parts.iter().copied()).map(|(batch, part)| (batch, part, batch.next(part)))
    }
}

/// Writes the flat form and returns its size. `out` is known to be large enough.
fn write<'a>(taking: &Taking<'a>, mut tables: Tables<'a>, count: usize, out: &mut [u8]) -> usize {
    let head = head_size(count);
    let mut flat = Cursor::new(out, HEADER);
    for (batch, _, range) in taking.each() {
        batch.connections[range].iter().for_each(|id| flat.put(&id.to_le_bytes()));
    }
    write_lengths(taking, &mut flat);
    write_kinds(taking, &tables, &mut flat);
    flat.fill_to(head);
    let mut longs = write_text(taking, &mut tables, &mut flat);
    let text_end = flat.at();
    tables.write(&mut longs, &mut flat);
    let columns_end = flat.at();
    for (batch, part, _) in taking.each() {
        flat.put(&batch.data[batch.taken.data..batch.taken.data + part.data]);
    }
    let data_end = flat.at();
    longs.write(&mut flat);
    let end = flat.at();
    let regions = [head..text_end, columns_end..data_end, text_end..columns_end];
    write_header(flat.into_inner(), count, regions, end - data_end);
    end
}

/// What each event has in its region.
fn write_lengths(taking: &Taking<'_>, flat: &mut Cursor<'_>) {
    let mut place = 0;
    for (batch, part, range) in taking.each() {
        let start = flat.at();
        batch.lengths[range.clone()].iter().for_each(|len| flat.put(&len.to_le_bytes()));
        if taking.columns && part.longs > 0 {
            let lengths = flat.since(start).as_chunks_mut::<4>().0;
            let long = batch.kinds[range].iter().zip(lengths).filter(|(kind, _)| **kind == Kind::LongMessage as u8);
            for ((_, len), long) in long.zip(&batch.longs[batch.taken.longs..]) {
                let left_out = long.end - long.start;
                let stand_in = length(stand_in(place, left_out).len());
                *len = (u32::from_le_bytes(*len) - left_out + stand_in).to_le_bytes();
                place += left_out;
            }
        }
    }
}

/// What stands for a long string at this place of its region, with this length.
fn stand_in(place: u32, left_out: u32) -> String {
    format!("{STAND_IN}{place}+{left_out}")
}

/// A byte per event. Where nothing crosses apart, long messages are plain ones. Shapes get the number of their table; those without one are plain messages.
fn write_kinds(taking: &Taking<'_>, tables: &Tables<'_>, flat: &mut Cursor<'_>) {
    for (batch, _, range) in taking.each() {
        let start = flat.at();
        flat.put(&batch.kinds[range]);
        if !taking.columns && !batch.longs.is_empty() {
            let longs = flat.since(start).iter_mut().filter(|kind| **kind == Kind::LongMessage as u8);
            longs.for_each(|kind| *kind = Kind::Message as u8);
        }
        if !batch.shapes.is_empty() {
            let table = tables_of(batch, tables);
            for kind in flat.since(start) {
                *kind = shape_of(*kind).map_or(*kind, |index| table[index].map_or(Kind::Message as u8, shaped));
            }
        }
    }
}

/// One JSON array of the plain messages; those with a table become its next rows. Returns the long strings it has left out.
fn write_text<'a>(taking: &Taking<'a>, tables: &mut Tables<'a>, flat: &mut Cursor<'_>) -> Longs<'a> {
    let mut left_out = Longs::default();
    flat.put(b"[");
    let first = flat.at();
    for (batch, _, range) in taking.each() {
        let table = tables_of(batch, tables);
        let (mut text, mut cells) = (&batch.text[batch.taken.text..], &batch.cells[batch.taken.cells..]);
        let mut longs = batch.longs[batch.taken.longs..].iter();
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
            if !plain {
                continue;
            }
            if flat.at() > first {
                flat.put(b",");
            }
            let long = if *kind == Kind::LongMessage as u8 { longs.next() } else { None };
            match long {
                Some(long) if taking.columns => {
                    let (start, end) = (long.start as usize, long.end as usize);
                    flat.put(&message[..start]);
                    flat.put(stand_in(length(left_out.at()), long.end - long.start).as_bytes());
                    flat.put(&message[end..]);
                    left_out.push(&message[start..end]);
                }
                _ => flat.put(message),
            }
        }
    }
    flat.put(b"]");
    left_out
}

/// The first bytes: how many events, which of the regions text, data and columns are ASCII, and how long they are and the long strings.
fn write_header(out: &mut [u8], count: usize, regions: [Range<usize>; 3], longs: usize) {
    let mut flags = 0;
    for (region, flag) in regions.iter().zip([TEXT_ASCII, DATA_ASCII, COLUMNS_ASCII]) {
        flags |= if out[region.clone()].is_ascii() { flag } else { 0 };
    }
    let [text, data, columns] = regions.map(|region| length(region.len()));
    let header = [length(count), flags, text, data, columns, length(longs)];
    for (place, value) in out[..HEADER].as_chunks_mut::<4>().0.iter_mut().zip(header) {
        *place = value.to_le_bytes();
    }
}

/// The table of each shape of a batch.
fn tables_of(batch: &Batch, tables: &Tables<'_>) -> [Option<usize>; MAX_SHAPES] {
    let mut found = [None; MAX_SHAPES];
    if tables.is_empty() {
        return found;
    }
    for (place, shape) in found.iter_mut().zip(&batch.shapes) {
        *place = tables.position(shape);
    }
    found
}

/// Announces the shapes of a batch's next events.
fn announce<'a>(batch: &'a Batch, part: Part, tables: &mut Tables<'a>) {
    let mut counts = [0; MAX_SHAPES];
    let shapes = batch.kinds[batch.next(part)].iter().filter_map(|kind| shape_of(*kind));
    shapes.for_each(|index| counts[index] += 1);
    for (shape, count) in batch.shapes.iter().zip(counts) {
        tables.announce(shape, count);
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

//! A batch of events in columns, and its flat form for the crossing (read by `ts/src/batch.ts`, little endian):
//!
//! ```text
//! u32 count | u32 flags (1: text is ASCII, 2: data is ASCII) | u32 textLen | u32 dataLen
//! f64[count] connections | u32[count] lengths | u8[count] kinds | zeros up to a multiple of 8
//! text: '[' + the JSON of all `msg` events joined by ',' + ']'
//! data: the payloads of all other events, one after the other
//! ```
//!
//! One `JSON.parse` thus builds every message of a crossing, and the messages were validated before they got here.

use std::collections::VecDeque;

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

const HEADER: usize = 16;
const TEXT_ASCII: u32 = 1;
const DATA_ASCII: u32 = 2;

/// Events in the order they happened.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    kinds: Vec<u8>,
    connections: Vec<f64>,
    lengths: Vec<u32>,
    /// Messages without separators.
    text: Vec<u8>,
    data: Vec<u8>,
    /// Events and bytes a crossing has taken already.
    taken: usize,
    text_taken: usize,
    data_taken: usize,
}

impl Batch {
    /// Appends an event.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "connection ids stay below 2^53")]
    pub(crate) fn push(&mut self, kind: Kind, connection: ConnId, payload: &[u8]) {
        self.kinds.push(kind as u8);
        self.connections.push(connection.as_u64() as f64);
        self.lengths.push(length(payload.len()));
        if kind == Kind::Message {
            self.text.extend_from_slice(payload);
        } else {
            self.data.extend_from_slice(payload);
        }
    }

    /// Events not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len() - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes not taken yet.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() - self.text_taken + self.data.len() - self.data_taken
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
        (self.taken, self.text_taken, self.data_taken) = (0, 0, 0);
        self
    }

    /// Bytes of text and data that the next `count` events hold.
    fn measure(&self, count: usize) -> (usize, usize) {
        if count == self.len() {
            return (self.text.len() - self.text_taken, self.data.len() - self.data_taken);
        }
        let range = self.taken..self.taken + count;
        let (mut text, mut data) = (0, 0);
        for (kind, length) in self.kinds[range.clone()].iter().zip(&self.lengths[range]) {
            *(if *kind == Kind::Message as u8 { &mut text } else { &mut data }) += *length as usize;
        }
        (text, data)
    }
}

/// Takes up to `max` events from the front of `batches` in the flat form into `out`; batches it emptied are handed to
/// `spare`.
pub(crate) fn flatten(
    batches: &mut VecDeque<Batch>,
    max: usize,
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
        let (text, data) = batch.measure(count);
        // Bounded crossings: lengths are 32-bit on the JavaScript side, and a huge batch would stall its thread.
        if flat.events > 0 && flat.bytes + text + data > MAX_CROSSING {
            break;
        }
        parts.push(Part { count, text, data });
        flat.events += count;
        flat.bytes += text + data;
    }
    if flat.events == 0 {
        return Flattened::Nothing;
    }
    let needed = flat_size(&flat);
    if needed > out.len() {
        return Flattened::Needs(needed);
    }
    flat.written = write(batches, &parts, flat.events, out);
    for Part { count, text, data } in parts {
        let Some(batch) = batches.front_mut() else { break };
        batch.taken += count;
        batch.text_taken += text;
        batch.data_taken += data;
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

/// What one batch contributes to a crossing.
struct Part {
    count: usize,
    text: usize,
    data: usize,
}

/// Where the text region begins.
const fn head_size(count: usize) -> usize {
    (HEADER + count * 13).next_multiple_of(8)
}

/// An upper bound of the flat form: a separator per event, the brackets.
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
fn write(batches: &VecDeque<Batch>, parts: &[Part], count: usize, out: &mut [u8]) -> usize {
    let head = head_size(count);
    let mut columns = Cursor { out, at: HEADER };
    let taken = || batches.iter().zip(parts).map(|(batch, part)| (batch, batch.taken..batch.taken + part.count));
    for (batch, range) in taken() {
        batch.connections[range].iter().for_each(|id| columns.put(&id.to_le_bytes()));
    }
    for (batch, range) in taken() {
        batch.lengths[range].iter().for_each(|len| columns.put(&len.to_le_bytes()));
    }
    for (batch, range) in taken() {
        columns.put(&batch.kinds[range]);
    }
    columns.out[columns.at..head].fill(0);
    columns.at = head;
    columns.put(b"[");
    for (batch, range) in taken() {
        let mut at = batch.text_taken;
        for (kind, len) in batch.kinds[range.clone()].iter().zip(&batch.lengths[range]) {
            if *kind == Kind::Message as u8 {
                let end = at + *len as usize;
                if columns.at > head + 1 {
                    columns.put(b",");
                }
                columns.put(&batch.text[at..end]);
                at = end;
            }
        }
    }
    columns.put(b"]");
    let text_end = columns.at;
    for (batch, part) in batches.iter().zip(parts) {
        columns.put(&batch.data[batch.data_taken..batch.data_taken + part.data]);
    }
    let Cursor { out, at: end } = columns;
    let flags =
        u32::from(out[head..text_end].is_ascii()) * TEXT_ASCII + u32::from(out[text_end..end].is_ascii()) * DATA_ASCII;
    let header = [length(count), flags, length(text_end - head), length(end - text_end)];
    for (place, value) in out[..HEADER].as_chunks_mut::<4>().0.iter_mut().zip(header) {
        *place = value.to_le_bytes();
    }
    end
}

/// A place in the caller's buffer.
struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.out[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }
}

/// Payloads are at most one message, crossings a few megabytes: both fit 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the message size limit and MAX_CROSSING")]
fn length(len: usize) -> u32 {
    debug_assert!(u32::try_from(len).is_ok());
    len as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(queue: &mut VecDeque<Batch>, max: usize) -> Option<(Vec<u8>, Flat)> {
        let mut out = Vec::new();
        loop {
            match flatten(queue, max, &mut out, drop) {
                Flattened::Nothing => return None,
                Flattened::Needs(size) => {
                    assert!(size > out.len());
                    out.resize(size, 0xAA);
                }
                Flattened::Taken(flat) => {
                    out.truncate(flat.written);
                    return Some((out, flat));
                }
            }
        }
    }

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes[..16].chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
    }

    #[test]
    fn layout_is_the_documented_one() {
        let mut batch = Batch::default();
        let (a, b) = (ConnId::new(0, 1, 1), ConnId::new(1, 2, 3));
        batch.push(Kind::Message, a, br#"{"t":"x"}"#);
        batch.push(Kind::Raw, b, "é".as_bytes());
        batch.push(Kind::Message, b, b"{}");
        batch.push(Kind::Disconnect, a, b"");
        let mut queue = [batch].into();
        let (bytes, flat) = flat(&mut queue, 100).unwrap();
        assert_eq!((flat.events, flat.bytes, queue.len()), (4, 13, 0));
        assert_eq!(words(&bytes), [4, TEXT_ASCII, 14, 2]);
        let head = (16 + 4 * 13usize).next_multiple_of(8);
        assert_eq!(&bytes[head..head + 14], br#"[{"t":"x"},{}]"#);
        assert_eq!(&bytes[head + 14..], "é".as_bytes());
        assert_eq!(&bytes[16 + 4 * 12..][..4], [2, 3, 2, 5]);
        assert_eq!(f64::from_le_bytes(bytes[24..32].try_into().unwrap()), b.as_u64() as f64);
    }

    #[test]
    fn any_cut_gives_the_same_events() {
        let ids: Vec<_> = (0..50).map(|slot| ConnId::new(0, slot, 1)).collect();
        for max in 1..=51 {
            let mut queue = std::collections::VecDeque::new();
            for ids in ids.chunks(7) {
                let mut batch = Batch::default();
                for id in ids {
                    let json = format!("{{\"n\":{}}}", id.slot());
                    batch.push(Kind::Message, *id, json.as_bytes());
                    batch.push(Kind::Raw, *id, id.slot().to_string().as_bytes());
                }
                queue.push_back(batch);
            }
            let (mut text, mut data, mut events) = (String::new(), String::new(), 0);
            while let Some((bytes, flat)) = flat(&mut queue, max) {
                assert!(flat.events <= max);
                let words = words(&bytes);
                let head = (16 + flat.events * 13).next_multiple_of(8);
                let (json, rest) = bytes[head..].split_at(words[2] as usize);
                let inner = std::str::from_utf8(&json[1..json.len() - 1]).unwrap();
                text.push_str(inner);
                text.push_str(if inner.is_empty() { "" } else { "," });
                data.push_str(std::str::from_utf8(rest).unwrap());
                events += flat.events;
            }
            assert_eq!(events, 100);
            assert_eq!(text, (0..50).map(|n| format!("{{\"n\":{n}}},")).collect::<String>());
            assert_eq!(data, (0..50).map(|n| n.to_string()).collect::<String>());
        }
    }
}

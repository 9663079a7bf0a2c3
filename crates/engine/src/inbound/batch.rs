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

/// Takes up to `max` events from the front of `batches` in the flat form; batches it emptied are handed to `spare`.
/// `None` when there is none.
pub(crate) fn flatten(
    batches: &mut std::collections::VecDeque<Batch>,
    max: usize,
    mut spare: impl FnMut(Batch),
) -> Option<(Vec<u8>, Flat)> {
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
        parts.push((count, text, data));
        flat.events += count;
        flat.bytes += text + data;
    }
    if flat.events == 0 {
        return None;
    }
    let buffer = write(batches, &parts, flat.events);
    for (count, text, data) in parts {
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
    Some((buffer, flat))
}

/// Payload bytes of one crossing, unless a single batch holds more.
const MAX_CROSSING: usize = 8 * 1024 * 1024;

/// How much a crossing took.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Flat {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

fn write(batches: &std::collections::VecDeque<Batch>, parts: &[(usize, usize, usize)], count: usize) -> Vec<u8> {
    let text: usize = parts.iter().map(|part| part.1).sum();
    let data: usize = parts.iter().map(|part| part.2).sum();
    let head = (HEADER + count * 13).next_multiple_of(8);
    let mut out = Vec::with_capacity(head + text + data + count + 2);
    out.extend_from_slice(&length(count).to_le_bytes());
    out.resize(HEADER, 0);
    let with = |out: &mut Vec<u8>, each: &mut dyn FnMut(&mut Vec<u8>, &Batch, std::ops::Range<usize>)| {
        for (batch, (count, ..)) in batches.iter().zip(parts) {
            each(out, batch, batch.taken..batch.taken + count);
        }
    };
    with(&mut out, &mut |out, batch, range| {
        batch.connections[range].iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
    });
    with(&mut out, &mut |out, batch, range| {
        batch.lengths[range].iter().for_each(|len| out.extend_from_slice(&len.to_le_bytes()));
    });
    with(&mut out, &mut |out, batch, range| out.extend_from_slice(&batch.kinds[range]));
    out.resize(head, 0);
    out.push(b'[');
    for (batch, (count, ..)) in batches.iter().zip(parts) {
        let mut at = batch.text_taken;
        let range = batch.taken..batch.taken + count;
        for (kind, len) in batch.kinds[range.clone()].iter().zip(&batch.lengths[range]) {
            if *kind == Kind::Message as u8 {
                let end = at + *len as usize;
                out.extend_from_slice(&batch.text[at..end]);
                out.push(b',');
                at = end;
            }
        }
    }
    if out.len() > head + 1 {
        out.pop();
    }
    out.push(b']');
    let text_end = out.len();
    for (batch, (_, _, data)) in batches.iter().zip(parts) {
        out.extend_from_slice(&batch.data[batch.data_taken..batch.data_taken + data]);
    }
    let flags =
        u32::from(out[head..text_end].is_ascii()) * TEXT_ASCII + u32::from(out[text_end..].is_ascii()) * DATA_ASCII;
    let sizes = [flags, length(text_end - head), length(out.len() - text_end)];
    for (index, value) in sizes.into_iter().enumerate() {
        out[4 + index * 4..8 + index * 4].copy_from_slice(&value.to_le_bytes());
    }
    out
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
        let (bytes, flat) = flatten(&mut queue, 100, drop).unwrap();
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
            while let Some((bytes, flat)) = flatten(&mut queue, max, drop) {
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

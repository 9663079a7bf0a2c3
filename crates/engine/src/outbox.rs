//! What a facade has collected within a turn, as notes on one text and one run of bytes: walked here, never handed to the
//! engine here. `ts/src/server/outbox.ts` writes it; `spec/vectors/outbox.json` shows it to both.
//!
//! A publication is two notes: the length of its topic (or [`SAME_TOPIC`]) and that of its text. One of bytes has
//! [`PUBLISH_BYTES`] in front of them, and its length is that of its bytes; one that somebody does not get begins with
//! [`EXCEPT`] and the lower and the upper 32 bits of that connection's id. A message to one connection is four notes:
//! [`SEND_TEXT`] or [`SEND_BYTES`], the two halves of the connection's id, and its length. Topics and texts stand in the
//! text, each followed by one separating character and measured in UTF-16 units; bytes stand in the bytes without separators.

use wse_protocol::frame::Opcode;

use crate::id::ConnId;
use crate::mailbox::Outgoing;

/// Stands in place of a topic's length: the topic of the publication before.
pub const SAME_TOPIC: u32 = u32::MAX;
/// Stands in place of a topic's length: a text for one connection.
pub const SEND_TEXT: u32 = u32::MAX - 1;
/// Stands in place of a topic's length: bytes for one connection.
pub const SEND_BYTES: u32 = u32::MAX - 2;
/// Stands before the notes of a publication: its payload is bytes.
pub const PUBLISH_BYTES: u32 = u32::MAX - 3;
/// Stands before the notes of a publication, with a connection's id: that one does not get it.
pub const EXCEPT: u32 = u32::MAX - 4;

/// One thing the notes say.
#[derive(Debug, Clone, Copy)]
pub enum Noted<'a> {
    /// The topic of the publications that follow.
    Topic(&'a str),
    /// Who does not get the next publication, and no other.
    Except(ConnId),
    /// A publication to the last topic.
    Text(&'a str),
    /// A publication of bytes to the last topic.
    Bytes(&'a [u8]),
    /// A message for one connection.
    Message(Outgoing<'a>),
}

/// The notes do not fit the text or the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was collected and its notes do not add up")]
pub struct Misfit;

/// Walks the notes in order, and ends behind the first that does not fit.
#[derive(Debug)]
pub struct Outbox<'a> {
    text: Units<'a>,
    bytes: &'a [u8],
    notes: std::slice::Iter<'a, u32>,
    /// A publication comes next, because its topic has just been read.
    within: Option<Opcode>,
}

impl<'a> Outbox<'a> {
    /// The notes on `text`, which has `units` UTF-16 units, and on `bytes`.
    pub fn new(text: &'a str, units: usize, bytes: &'a [u8], notes: &'a [u32]) -> Self {
        Self { text: Units { text, ascii: text.len() == units }, bytes, notes: notes.iter(), within: None }
    }

    fn read(&mut self, kind: u32) -> Option<Noted<'a>> {
        Some(match kind {
            SEND_TEXT | SEND_BYTES => {
                let to = self.connection()?;
                let length = self.note()? as usize;
                let (opcode, payload) = if kind == SEND_TEXT {
                    (Opcode::Text, self.text.take(length)?.as_bytes())
                } else {
                    (Opcode::Binary, self.take_bytes(length)?)
                };
                Noted::Message(Outgoing { to, opcode, payload })
            }
            EXCEPT => Noted::Except(self.connection()?),
            PUBLISH_BYTES => {
                let topic = self.note()?;
                self.publication(topic, Opcode::Binary)?
            }
            topic => self.publication(topic, Opcode::Text)?,
        })
    }

    /// A publication whose topic is so long, or the same: its topic or, if that is known, its payload.
    fn publication(&mut self, topic: u32, opcode: Opcode) -> Option<Noted<'a>> {
        if topic == SAME_TOPIC {
            return self.payload(opcode);
        }
        let topic = self.text.take(topic as usize)?;
        self.within = Some(opcode);
        Some(Noted::Topic(topic))
    }

    fn payload(&mut self, opcode: Opcode) -> Option<Noted<'a>> {
        let length = self.note()? as usize;
        if opcode == Opcode::Binary {
            return self.take_bytes(length).map(Noted::Bytes);
        }
        self.text.take(length).map(Noted::Text)
    }

    fn connection(&mut self) -> Option<ConnId> {
        let (low, high) = (self.note()?, self.note()?);
        // Beyond 53 bits it is no id, and 0 names nobody.
        let id = if high < 1 << 21 { u64::from(high) << 32 | u64::from(low) } else { 0 };
        Some(ConnId::from_u64(id))
    }

    fn take_bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, behind) = self.bytes.split_at_checked(length)?;
        self.bytes = behind;
        Some(taken)
    }

    fn note(&mut self) -> Option<u32> {
        self.notes.next().copied()
    }
}

impl<'a> Iterator for Outbox<'a> {
    type Item = Result<Noted<'a>, Misfit>;

    fn next(&mut self) -> Option<Self::Item> {
        let noted = match self.within.take() {
            Some(opcode) => self.payload(opcode),
            None => self.note().map(|kind| self.read(kind))?,
        };
        if noted.is_none() {
            self.notes = [].iter();
        }
        Some(noted.ok_or(Misfit))
    }
}

/// Text that is cut by UTF-16 units: JavaScript counts in them, Rust in bytes, and only ASCII makes no difference.
#[derive(Debug)]
struct Units<'a> {
    text: &'a str,
    ascii: bool,
}

impl<'a> Units<'a> {
    /// The next `units`, and past the separator behind them.
    fn take(&mut self, units: usize) -> Option<&'a str> {
        let end = if self.ascii { units } else { self.end_of(units) };
        let (head, tail) = self.text.split_at_checked(end)?;
        self.text = tail.get(1..)?;
        Some(head)
    }

    /// Where `units` UTF-16 units end, in bytes.
    fn end_of(&self, units: usize) -> usize {
        let mut counted = 0;
        let end = self.text.char_indices().find(|(_, character)| {
            let full = counted >= units;
            counted += character.len_utf16();
            full
        });
        end.map_or(self.text.len(), |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    fn to_hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The calls of the facade that made the notes.
    fn calls(outbox: Outbox<'_>) -> Vec<Value> {
        let (mut topic, mut except) = ("", None);
        let mut calls = Vec::new();
        let publish = |call: &str, topic: &str, payload: &str, except: Option<ConnId>| {
            let mut call = vec![json!(call), json!(topic), json!(payload)];
            call.extend(except.map(|id| json!(id.as_u64())));
            Value::from(call)
        };
        for noted in outbox {
            match noted.expect("they add up") {
                Noted::Topic(name) => topic = name,
                Noted::Except(id) => except = Some(id),
                Noted::Text(text) => calls.push(publish("publish", topic, text, except.take())),
                Noted::Bytes(bytes) => calls.push(publish("publishBytes", topic, &to_hex(bytes), except.take())),
                Noted::Message(Outgoing { to, opcode: Opcode::Text, payload }) => {
                    calls.push(json!(["send", to.as_u64(), std::str::from_utf8(payload).unwrap()]));
                }
                Noted::Message(Outgoing { to, payload, .. }) => {
                    calls.push(json!(["sendBytes", to.as_u64(), to_hex(payload)]));
                }
            }
        }
        calls
    }

    #[test]
    fn the_vectors_read_as_the_calls_that_made_them() {
        let vectors = include_str!("../../../spec/vectors/outbox.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() >= 15);
        for vector in vectors {
            let text = vector["text"].as_str().unwrap();
            let bytes = hex(vector["hex"].as_str().unwrap());
            let notes: Vec<u32> = serde_json::from_value(vector["notes"].clone()).unwrap();
            let units = text.encode_utf16().count();
            assert_eq!(
                Value::from(calls(Outbox::new(text, units, &bytes, &notes))),
                vector["calls"],
                "{}",
                vector["name"]
            );
        }
    }

    #[test]
    fn ends_behind_the_first_note_that_does_not_fit() {
        let wrong: [(&str, &[u32]); 12] = [
            ("x", &[SEND_TEXT, 1, 0, 1]),
            ("x\n", &[SEND_TEXT, 1, 0, 2]),
            ("x\n", &[SEND_TEXT, 1, 0]),
            ("", &[SEND_BYTES, 1, 0, 4]),
            ("t\n", &[9]),
            ("t\n", &[1]),
            ("t\n", &[SAME_TOPIC]),
            ("t\n", &[PUBLISH_BYTES]),
            ("t\n", &[PUBLISH_BYTES, 1]),
            ("t\n", &[PUBLISH_BYTES, 1, 4]),
            ("t\n", &[PUBLISH_BYTES, EXCEPT, 0]),
            ("t\n", &[EXCEPT, 0]),
        ];
        for (text, notes) in wrong {
            let mut outbox = Outbox::new(text, text.len(), b"abc", notes);
            assert_eq!(outbox.find_map(Result::err), Some(Misfit), "{text:?} {notes:?}");
            assert!(outbox.next().is_none());
        }
    }
}

//! What a facade has collected within a turn, back into publications and messages. The facade counts text in UTF-16 units
//! and Rust in bytes: the same for ASCII, counted character by character for anything else.

use wse_engine::{Engine, Outgoing, Pressure};
use wse_protocol::frame::Opcode;

use crate::hot::id;

/// In place of a topic's length: "the topic of the publication before" …
const SAME_TOPIC: u32 = u32::MAX;
/// … a text for one connection, …
const SEND_TEXT: u32 = u32::MAX - 1;
/// … bytes for one.
const SEND_BYTES: u32 = u32::MAX - 2;

/// Hands everything to the engine in order and returns the highest pressure met. `None`: the notes do not fit the text or the
/// bytes; what came before the first that does not was handed over, the rest was not.
pub(crate) fn hand_over(engine: &Engine, text: &str, units: usize, bytes: &[u8], notes: &[u32]) -> Option<Pressure> {
    let mut pending = Pending { engine, topic: "", texts: Vec::new(), sends: Vec::new(), pressure: Pressure::Fine };
    let complete = pending.collect(Units { text, ascii: text.len() == units }, bytes, notes);
    pending.publish();
    pending.send();
    complete.map(|()| pending.pressure)
}

/// What goes to the engine with the next call: texts for one topic or messages for connections, never both.
struct Pending<'a> {
    engine: &'a Engine,
    topic: &'a str,
    texts: Vec<&'a str>,
    sends: Vec<Outgoing<'a>>,
    pressure: Pressure,
}

impl<'a> Pending<'a> {
    fn collect(&mut self, mut text: Units<'a>, mut bytes: &'a [u8], notes: &[u32]) -> Option<()> {
        let mut notes = notes.iter().copied();
        while let Some(kind) = notes.next() {
            if kind == SEND_TEXT || kind == SEND_BYTES {
                let (low, high) = (notes.next()?, notes.next()?);
                let length = notes.next()? as usize;
                let (opcode, payload) = if kind == SEND_TEXT {
                    (Opcode::Text, text.take(length)?.as_bytes())
                } else {
                    let (payload, behind) = bytes.split_at_checked(length)?;
                    bytes = behind;
                    (Opcode::Binary, payload)
                };
                self.publish();
                let to = id(f64::from(high) * 4_294_967_296.0 + f64::from(low));
                self.sends.push(Outgoing { to, opcode, payload });
            } else {
                if kind != SAME_TOPIC {
                    self.publish();
                    self.topic = text.take(kind as usize)?;
                }
                self.send();
                self.texts.push(text.take(notes.next()? as usize)?);
            }
        }
        Some(())
    }

    fn publish(&mut self) {
        if !self.texts.is_empty() {
            self.pressure = self.pressure.max(self.engine.publish(self.topic, &self.texts));
            self.texts.clear();
        }
    }

    fn send(&mut self) {
        if !self.sends.is_empty() {
            self.pressure = self.pressure.max(self.engine.send_many(&self.sends));
            self.sends.clear();
        }
    }
}

/// Text that is cut by UTF-16 units.
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

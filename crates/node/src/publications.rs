//! A collected batch of publications back into topics and texts. The facade counts in UTF-16 units and Rust in bytes: the same
//! for ASCII, counted character by character for anything else.

use wse_engine::{Engine, Pressure};

/// Stands for "the topic of the publication before" in the lengths.
const SAME_TOPIC: u32 = u32::MAX;

/// Publishes the batch in order and returns the highest pressure met. `None`: the lengths do not fit the text, and what did
/// not fit was not published.
pub(crate) fn publish(engine: &Engine, text: &str, lengths: &[u32], units: usize) -> Option<Pressure> {
    let mut rest = Units { text, ascii: text.len() == units };
    let mut topic = "";
    let mut pressure = Pressure::Fine;
    let mut run = Vec::with_capacity(lengths.len() / 2);
    for [topic_length, text_length] in lengths.as_chunks::<2>().0 {
        if *topic_length != SAME_TOPIC {
            pressure = pressure.max(flush(engine, topic, &mut run));
            topic = rest.take(*topic_length as usize)?;
        }
        run.push(rest.take(*text_length as usize)?);
    }
    Some(pressure.max(flush(engine, topic, &mut run)))
}

fn flush(engine: &Engine, topic: &str, run: &mut Vec<&str>) -> Pressure {
    if run.is_empty() {
        return Pressure::Fine;
    }
    let pressure = engine.publish(topic, run);
    run.clear();
    pressure
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

//! Hands to the engine what a facade has collected within a turn: publications of one topic together, messages to
//! connections together, everything in order. What the notes mean is `wse_engine::outbox`.

use wse_engine::outbox::{Misfit, Noted, Outbox};
use wse_engine::{Engine, Outgoing, Pressure};

/// The highest pressure met. After [`Misfit`], what came before the first note that does not fit was handed over, the rest
/// was not.
pub(crate) fn hand_over(
    engine: &Engine,
    text: &str,
    units: usize,
    bytes: &[u8],
    notes: &[u32],
) -> Result<Pressure, Misfit> {
    let mut pending = Pending { engine, topic: "", texts: Vec::new(), messages: Vec::new(), pressure: Pressure::Fine };
    let complete = Outbox::new(text, units, bytes, notes).try_for_each(|noted| {
        pending.take(noted?);
        Ok(())
    });
    pending.publish();
    pending.send();
    complete.map(|()| pending.pressure)
}

/// What goes to the engine with the next call: texts for one topic or messages for connections, never both.
struct Pending<'a> {
    engine: &'a Engine,
    topic: &'a str,
    texts: Vec<&'a str>,
    messages: Vec<Outgoing<'a>>,
    pressure: Pressure,
}

impl<'a> Pending<'a> {
    fn take(&mut self, noted: Noted<'a>) {
        match noted {
            Noted::Topic(topic) => {
                self.publish();
                self.topic = topic;
            }
            Noted::Publication(text) => {
                self.send();
                self.texts.push(text);
            }
            Noted::Message(message) => {
                self.publish();
                self.messages.push(message);
            }
        }
    }

    fn publish(&mut self) {
        if !self.texts.is_empty() {
            self.pressure = self.pressure.max(self.engine.publish(self.topic, &self.texts));
            self.texts.clear();
        }
    }

    fn send(&mut self) {
        if !self.messages.is_empty() {
            self.pressure = self.pressure.max(self.engine.send_many(&self.messages));
            self.messages.clear();
        }
    }
}

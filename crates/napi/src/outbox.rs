//! Hands to the engine what a facade has collected within a turn: publications of one topic together, messages to
//! connections together, everything in order. What the notes mean is `wse_engine::outbox`.

use wse_engine::outbox::{Misfit, Noted, Outbox};
use wse_engine::{ConnId, Engine, Outgoing, Payloads, Pressure};

/// The highest pressure met. After [`Misfit`], what came before the first note that does not fit was handed over, the rest
/// was not.
pub(crate) fn hand_over(
    engine: &Engine,
    text: &str,
    units: usize,
    bytes: &[u8],
    notes: &[u32],
) -> Result<Pressure, Misfit> {
    let mut pending = Pending {
        engine,
        topic: "",
        next: None,
        except: None,
        texts: Vec::new(),
        payloads: Vec::new(),
        messages: Vec::new(),
        pressure: Pressure::Fine,
    };
    let complete = Outbox::new(text, units, bytes, notes).try_for_each(|noted| {
        pending.take(noted?);
        Ok(())
    });
    pending.publish();
    pending.send();
    complete.map(|()| pending.pressure)
}

/// What goes to the engine with the next call: texts or bytes for one topic, or messages for connections; never two of them.
struct Pending<'a> {
    engine: &'a Engine,
    topic: &'a str,
    /// Who does not get the publication that is noted next.
    next: Option<ConnId>,
    /// Who does not get what is pending.
    except: Option<ConnId>,
    texts: Vec<&'a str>,
    payloads: Vec<&'a [u8]>,
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
            Noted::Except(id) => self.next = Some(id),
            Noted::Text(text) => {
                self.begin(self.payloads.is_empty());
                self.texts.push(text);
            }
            Noted::Bytes(bytes) => {
                self.begin(self.texts.is_empty());
                self.payloads.push(bytes);
            }
            Noted::Message(message) => {
                self.publish();
                self.messages.push(message);
            }
        }
    }

    /// A publication is noted: what is pending goes first unless it may join that, being of its `same` kind.
    fn begin(&mut self, same: bool) {
        self.send();
        let except = self.next.take();
        if !same || except != self.except {
            self.publish();
            self.except = except;
        }
    }

    fn publish(&mut self) {
        let pending = match (&self.texts[..], &self.payloads[..]) {
            ([], []) => return,
            (texts, []) => Payloads::Texts(texts),
            (_, payloads) => Payloads::Bytes(payloads),
        };
        self.pressure = self.pressure.max(self.engine.publish(self.topic, pending, self.except));
        self.texts.clear();
        self.payloads.clear();
    }

    fn send(&mut self) {
        if !self.messages.is_empty() {
            self.pressure = self.pressure.max(self.engine.send_many(&self.messages));
            self.messages.clear();
        }
    }
}

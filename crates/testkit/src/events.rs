//! Reads what an engine tells its host: joins as a consumer and turns flat batches (layout in
//! `engine/src/inbound/batch.rs`) into values. Drops nothing and reorders nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use wse_engine::{ConnId, Consumer, Engine, Taken};

use crate::wait::DEADLINE;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Opened without authentication, with its Cookie header.
    Connect(ConnId, String),
    /// Opened with a verified token, with its user.
    AuthConnect(ConnId, String),
    /// A JSON object, as text.
    Message(ConnId, String),
    /// Text that is no JSON object.
    Raw(ConnId, String),
    /// Bytes.
    Binary(ConnId, Vec<u8>),
    /// Gone.
    Disconnect(ConnId),
    /// A user came to a topic; its payload.
    PresenceJoin(Value),
    /// A user left a topic; its payload.
    PresenceLeave(Value),
    /// Its outbound budget was used up.
    SlowConsumer(ConnId, Value),
    /// The engine has subscribed it to what it asked for, or refused it.
    Subscribe(ConnId, Value),
    /// The engine has ended subscriptions it asked to end.
    Unsubscribe(ConnId, Value),
    /// This consumer's from here on, and another's before.
    Adopt(ConnId, Value),
    /// Its token expires soon.
    AuthExpiring(ConnId, Value),
}

impl Event {
    /// The connection it is about; of presence nobody's.
    pub fn connection(&self) -> ConnId {
        match self {
            Self::PresenceJoin(_) | Self::PresenceLeave(_) => ConnId::from_u64(0),
            Self::Connect(id, _)
            | Self::AuthConnect(id, _)
            | Self::Message(id, _)
            | Self::Raw(id, _)
            | Self::Binary(id, _)
            | Self::Disconnect(id)
            | Self::SlowConsumer(id, _)
            | Self::Subscribe(id, _)
            | Self::Unsubscribe(id, _)
            | Self::AuthExpiring(id, _)
            | Self::Adopt(id, _) => *id,
        }
    }
}

/// Decodes one flat batch without columns and checks that its parts add up.
///
/// # Panics
/// When the batch breaks its own layout.
pub fn decode_batch(bytes: &[u8]) -> Vec<Event> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let [count, flags, text_len, data_len, columns_len] = [0, 4, 8, 12, 16].map(word);
    let (count, text_len, data_len) = (count as usize, text_len as usize, data_len as usize);
    let head = (24 + count * 13).next_multiple_of(8);
    assert_eq!(bytes.len(), head + text_len + data_len, "the sizes in the header");
    assert_eq!((columns_len, word(20)), (0, 0), "columns nobody asked for");
    let (text, mut data) = bytes[head..].split_at(text_len);
    assert_eq!(flags & 1 != 0, text.is_ascii(), "flag of the text");
    assert_eq!(flags & 2 != 0, data.is_ascii(), "flag of the data");
    let messages: Vec<&RawValue> = serde_json::from_slice(text).expect("one JSON array");
    let mut messages = messages.into_iter();
    let mut events = Vec::with_capacity(count);
    for index in 0..count {
        let id = f64::from_le_bytes(bytes[24 + index * 8..32 + index * 8].try_into().expect("8 bytes"));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^53")]
        let id = ConnId::from_u64(id as u64);
        let length = word(24 + count * 8 + index * 4) as usize;
        let kind = bytes[24 + count * 12 + index];
        if kind == 2 {
            let message = messages.next().expect("a message for each event of its kind");
            assert_eq!(message.get().len(), length, "length of a message");
            events.push(Event::Message(id, message.get().to_owned()));
            continue;
        }
        let (payload, rest) = data.split_at(length);
        data = rest;
        let text = || String::from_utf8(payload.to_vec()).expect("UTF-8");
        events.push(match kind {
            0 => Event::Connect(id, String::from_utf8_lossy(payload).into_owned()),
            1 => Event::AuthConnect(id, text()),
            3 => Event::Raw(id, text()),
            4 => Event::Binary(id, payload.to_vec()),
            5 => {
                let ending: Value = serde_json::from_slice(payload).expect("a JSON ending");
                assert!(ending["code"].as_u64().is_some_and(|code| code >= 1000), "{ending}");
                Event::Disconnect(id)
            }
            6 => Event::PresenceJoin(serde_json::from_slice(payload).expect("a JSON object")),
            7 => Event::PresenceLeave(serde_json::from_slice(payload).expect("a JSON object")),
            8 => Event::SlowConsumer(id, serde_json::from_slice(payload).expect("a JSON report")),
            9 => Event::Adopt(id, serde_json::from_slice(payload).expect("a JSON object")),
            11 => Event::Subscribe(id, serde_json::from_slice(payload).expect("a JSON object")),
            12 => Event::Unsubscribe(id, serde_json::from_slice(payload).expect("a JSON object")),
            13 => Event::AuthExpiring(id, serde_json::from_slice(payload).expect("a JSON object")),
            other => panic!("unknown kind {other}"),
        });
    }
    assert!(data.is_empty() && messages.next().is_none(), "nothing is left over");
    events
}

/// A consumer of an engine and the events it has taken.
pub struct Events {
    engine: Arc<Engine>,
    consumer: Arc<Consumer>,
    taken: VecDeque<Event>,
    /// Batches are written here; it grows when one says that it must.
    buffer: Vec<u8>,
}

impl Events {
    /// Joins as a consumer.
    pub fn join(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine), consumer: engine.join(), taken: VecDeque::new(), buffer: Vec::new() }
    }

    /// The next event.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        self.next_within(DEADLINE).expect("an event")
    }

    /// The next event, if one comes within `time`.
    pub fn next_within(&mut self, time: Duration) -> Option<Event> {
        let deadline = Instant::now() + time;
        while self.taken.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.engine.wait_batch(&self.consumer, 256, false, left, &mut self.buffer) {
                Taken::Nothing => return None,
                taken => self.store(taken),
            }
        }
        self.taken.pop_front()
    }

    /// Everything that is there now.
    pub fn drain(&mut self) -> Vec<Event> {
        self.take_all();
        self.taken.drain(..).collect()
    }

    fn take_all(&mut self) {
        loop {
            match self.engine.take_batch(&self.consumer, 4096, false, &mut self.buffer) {
                Taken::Nothing => return,
                taken => self.store(taken),
            }
        }
    }

    fn store(&mut self, taken: Taken) {
        match taken {
            Taken::Nothing => {}
            Taken::Needs(size) => {
                assert!(size > self.buffer.len(), "a batch that fits was not taken");
                self.buffer.resize(size, 0);
            }
            Taken::Bytes(size) => self.taken.extend(decode_batch(&self.buffer[..size])),
        }
    }

    /// Collects events until `done` is content with them.
    ///
    /// # Panics
    /// When the next one does not come in time.
    #[track_caller]
    pub fn collect_until(&mut self, done: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        while !done(&events) {
            match self.next_within(DEADLINE) {
                Some(event) => events.push(event),
                None => panic!("no more events after {} of them", events.len()),
            }
        }
        events
    }

    /// The next event, which must be a connect of either kind.
    #[track_caller]
    pub fn connected(&mut self) -> ConnId {
        match self.event() {
            Event::Connect(id, _) | Event::AuthConnect(id, _) => id,
            other => panic!("not a connect: {other:?}"),
        }
    }

    /// The next event, which must be the end of this connection.
    ///
    /// # Panics
    /// When it is another, or none comes in time.
    #[track_caller]
    pub fn disconnected(&mut self, id: ConnId) {
        match self.event() {
            Event::Disconnect(gone) if gone == id => {}
            other => panic!("not the end of {id:?}: {other:?}"),
        }
    }

    /// The next event, which must be a message; its JSON.
    #[track_caller]
    pub fn message(&mut self) -> Value {
        match self.event() {
            Event::Message(_, text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Sets what is called, on the shard's thread, when something arrives after [`Self::drain`] found nothing.
    pub fn on_batch(&self, wake: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.engine.on_batch(&self.consumer, wake);
    }

    /// What it has taken but not read, without coming for more.
    pub fn leave_alone(&mut self) -> Vec<Event> {
        self.taken.drain(..).collect()
    }

    /// Leaves. What was taken but not read stays readable in the returned list.
    pub fn leave(mut self) -> Vec<Event> {
        self.engine.leave(&self.consumer);
        self.taken.drain(..).collect()
    }
}

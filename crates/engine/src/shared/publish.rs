//! What is published and sent, by a host's thread or by a shard: framed once, into the mailbox of each shard that cares.
//! Whatever a call refuses is refused before anything was queued. Writes no socket.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wse_protocol::envelope;
use wse_protocol::frame::{Opcode, frame_size, push_frame, push_header};

use super::Shared;
use crate::id::ConnId;
use crate::mailbox::{Outgoing, Pressure};
use crate::metrics::bump;
use crate::topics::{Line, Readiness, Target, TopicEntry};

/// Buffers above this size are not kept for the next publication.
const KEEP_FRAMES: usize = 256 * 1024;

thread_local! {
    /// Where a publishing thread frames a run before it is copied into the mailboxes.
    static FRAMES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Frames a run in this thread's buffer, which is empty, and whose memory is used again.
#[inline]
fn framing<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut frames = FRAMES.take();
    frames.clear();
    let done = work(&mut frames);
    FRAMES.set(frames);
    done
}

/// What is published together: the payloads of one frame each, in order.
#[derive(Debug, Clone, Copy)]
pub enum Payloads<'a> {
    /// Texts. A JSON object gets its category if it has none.
    Texts(&'a [&'a str]),
    /// Bytes, sent as they are.
    Bytes(&'a [&'a [u8]]),
}

impl Payloads<'_> {
    /// How many there are.
    fn len(self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Bytes(payloads) => payloads.len(),
        }
    }
}

/// Appends a text frame, with the category injected if it is missing and wanted.
fn push_text(frames: &mut Vec<u8>, text: &str, inject: bool) {
    match inject.then(|| envelope::find_injection(text)).flatten() {
        None => push_frame(frames, Opcode::Text, text.as_bytes()),
        Some(injection) => {
            let (head, tail) = text.split_at(injection.at);
            let added = injection.text();
            push_header(frames, Opcode::Text, text.len() + added.len());
            for part in [head, added, tail] {
                frames.extend_from_slice(part.as_bytes());
            }
        }
    }
}

impl Shared {
    /// Publishes to one topic, in order, whatever the hard limit says: whoever publishes has asked [`Self::room_for`]
    /// before. A text that is a JSON object gets its category (`c`) if it has none, unless no connection speaks WSE, and its stamp
    /// if the topic can be recovered. `except` does not get it. One lock and one wake per interested shard.
    pub(crate) fn publish(&self, topic: &str, payloads: Payloads<'_>, except: Option<ConnId>) -> Pressure {
        let except = except.unwrap_or(ConnId::NOBODY);
        loop {
            let entry = match self.topics.get(topic).or_else(|| self.topics.recoverable(topic)) {
                Some(entry) => entry,
                // Nobody subscribed to this very name; shards with patterns look for themselves.
                None if self.topics.any_patterns() => self.topics.transient(topic),
                None => return self.pressure(),
            };
            let pressure = match &entry.line {
                // Without WSE nobody knows stamps.
                Some(line) if self.injects => self.publish_in_line(&entry, line, payloads, except),
                _ => Some(framing(|frames| {
                    self.push_payloads(frames, payloads);
                    self.distribute(&entry, frames, payloads.len(), except)
                })),
            };
            // None: the entry went out of the index meanwhile.
            if let Some(pressure) = pressure {
                return self.published(&entry, payloads, except, pressure);
            }
        }
    }

    /// Tells the subscribers of a topic what the engine itself has to say of it: no publication, so that it is neither counted nor
    /// stamped nor given to queue groups. `texts` are messages that have their category.
    pub(crate) fn announce(&self, entry: &Arc<TopicEntry>, texts: &[&str]) -> Pressure {
        framing(|frames| {
            self.push_payloads(frames, Payloads::Texts(texts));
            self.distribute(entry, frames, texts.len(), ConnId::NOBODY)
        })
    }

    /// Frames payloads as they are, but for the category of texts.
    fn push_payloads(&self, frames: &mut Vec<u8>, payloads: Payloads<'_>) {
        match payloads {
            Payloads::Texts(texts) => {
                let inject = self.injects;
                texts.iter().for_each(|text| push_text(frames, text, inject));
            }
            Payloads::Bytes(bytes) => bytes.iter().for_each(|bytes| push_frame(frames, Opcode::Binary, bytes)),
        }
    }

    /// Publishes where offsets are given: all mailboxes get what the ring gets, in its order. `None`: not here.
    fn publish_in_line(
        &self,
        entry: &Arc<TopicEntry>,
        line: &Line,
        payloads: Payloads<'_>,
        except: ConnId,
    ) -> Option<Pressure> {
        let rings = self.topics.rings()?;
        let now = self.clock.elapsed_ms();
        let (pressure, unlisted) = framing(|frames| {
            let mut state = line.lock();
            let stream = line.stream(&mut state, &entry.name, now)?;
            match payloads {
                Payloads::Texts(texts) => texts.iter().for_each(|text| stream.publish(frames, text, true)),
                Payloads::Bytes(_) => self.push_payloads(frames, payloads),
            }
            stream.touch(now);
            let unlisted = rings.weigh(stream);
            Some((self.distribute(entry, frames, payloads.len(), except), unlisted))
        })?;
        if unlisted {
            self.list(rings, entry, now);
        }
        if rings.is_over() {
            self.topics.reclaim();
        }
        Some(pressure)
    }

    /// Appends frames to the mailbox of each shard that cares.
    fn distribute(&self, entry: &Arc<TopicEntry>, frames: &mut Vec<u8>, count: usize, except: ConnId) -> Pressure {
        let exact = entry.id != 0 && !entry.is_pattern;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // What a push finds is told even if the shard has caught up by the end of the call: the answer is to be relied on.
        let mut pressure = Pressure::Fine;
        for (index, shard) in self.shards.iter().enumerate() {
            let patterns = self.topics.has_patterns(index);
            if patterns || (exact && entry.wanted_by(index)) {
                // The others' runs stay whole: who is not theirs is nobody to them.
                let except = if except.shard() == index { except } else { ConnId::NOBODY };
                let target = Target::of(entry, index, patterns);
                pressure = pressure.max(shard.mailbox.publish(target, except, frames, count));
            }
        }
        if frames.capacity() > KEEP_FRAMES {
            *frames = Vec::new();
        }
        pressure
    }

    /// After a publication: its topic's count, and the queue groups. Their members get no stamp: each sees but some of the offsets.
    fn published(&self, entry: &TopicEntry, payloads: Payloads<'_>, except: ConnId, pressure: Pressure) -> Pressure {
        let mut pressure = pressure;
        if entry.id != 0 {
            entry.published.fetch_add(payloads.len() as u64, Relaxed);
            if entry.has_groups() {
                let mut each = |opcode, payload: &[u8]| {
                    pressure = pressure.max(self.publish_to_groups(entry, opcode, payload, except));
                };
                match payloads {
                    Payloads::Texts(texts) => {
                        texts.iter().for_each(|text| each(Opcode::Text, self.categorised(text).as_bytes()));
                    }
                    Payloads::Bytes(bytes) => bytes.iter().for_each(|bytes| each(Opcode::Binary, bytes)),
                }
            }
        }
        self.noted(pressure.max(self.pressure()))
    }

    /// Counts a refusal by the mailbox itself: more than its positions can name would stand in it.
    fn noted(&self, pressure: Pressure) -> Pressure {
        if pressure == Pressure::Refused {
            bump(&self.counters.publish_refused);
        }
        pressure
    }

    fn publish_to_groups(&self, entry: &TopicEntry, opcode: Opcode, payload: &[u8], except: ConnId) -> Pressure {
        let registry = &self.registry;
        let readiness = |id| match registry.get(id) {
            Some(peer) if id != except => peer.readiness(&entry.name),
            _ => Readiness::Never,
        };
        let mut pressure = Pressure::Fine;
        let unserved = entry.groups.lock().pick(readiness, |id| {
            pressure = pressure.max(self.shards[id.shard()].mailbox.send(id, opcode, payload));
        });
        self.counters.group_unserved.fetch_add(unserved, Relaxed);
        pressure
    }

    /// Bytes that may be published before the hard limit refuses more. While nothing waits at all, a message of any size is
    /// taken. Less than `wanted` counts as a refusal.
    pub(crate) fn room_for(&self, wanted: usize) -> usize {
        let empty = self.config.hard_limit.max(wanted);
        let room = self.shards.iter().filter_map(|shard| shard.mailbox.room()).min().unwrap_or(empty);
        if wanted > room {
            bump(&self.counters.publish_refused);
        }
        room
    }

    /// Bytes that may be published before publishers should wait.
    pub(crate) fn until_pressure(&self) -> usize {
        self.shards.iter().map(|shard| shard.mailbox.until_mark()).min().unwrap_or(0)
    }

    /// Whether any shard's mailbox would break the hard limit with `more` bytes; counts nothing.
    pub(crate) fn is_crammed(&self, more: usize) -> bool {
        self.shards.iter().any(|shard| shard.mailbox.refuses(more))
    }

    /// Sends a text to every connection of this server; the category is added as in [`Self::publish`].
    pub(crate) fn broadcast_all(&self, text: &str) -> Pressure {
        let text = self.categorised(text);
        self.to_all(Opcode::Text, text.as_bytes())
    }

    /// Sends bytes to every connection of this server.
    pub(crate) fn broadcast_all_bytes(&self, bytes: &[u8]) -> Pressure {
        self.to_all(Opcode::Binary, bytes)
    }

    /// The text with its category, where connections may speak WSE.
    fn categorised<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.injects { envelope::inject_category(text) } else { text.into() }
    }

    fn to_all(&self, opcode: Opcode, payload: &[u8]) -> Pressure {
        let shards = &self.shards;
        if shards.iter().any(|shard| shard.mailbox.refuses(frame_size(payload.len()))) {
            bump(&self.counters.publish_refused);
            return Pressure::Refused;
        }
        let sent = shards.iter().map(|shard| shard.mailbox.send_all(opcode, payload));
        self.noted(sent.fold(self.pressure(), Pressure::max))
    }

    /// Sends a text to one connection as it is. `None`: nobody has this id, or the connection is closing.
    pub(crate) fn send(&self, to: ConnId, text: &str) -> Option<Pressure> {
        self.direct(to, Opcode::Text, text.as_bytes())
    }

    /// Sends bytes to one connection as they are. `None`: nobody has this id, or the connection is closing.
    pub(crate) fn send_bytes(&self, to: ConnId, bytes: &[u8]) -> Option<Pressure> {
        self.direct(to, Opcode::Binary, bytes)
    }

    fn direct(&self, to: ConnId, opcode: Opcode, payload: &[u8]) -> Option<Pressure> {
        if self.registry.get(to)?.is_closing() {
            return None;
        }
        let mailbox = &self.shards[to.shard()].mailbox;
        if mailbox.refuses(frame_size(payload.len())) {
            bump(&self.counters.publish_refused);
            return Some(Pressure::Refused);
        }
        Some(self.noted(mailbox.send(to, opcode, payload)))
    }

    /// Sends messages to single connections, in order and as they are, whatever the hard limit says: whoever sends
    /// has asked [`Self::room_for`] before. What is for nobody goes
    /// nowhere. One lock and one wake per shard.
    pub(crate) fn send_many(&self, sends: &[Outgoing<'_>]) -> Pressure {
        let shards = &self.shards;
        let present = sends.iter().fold(0_u64, |shards, send| shards | 1 << send.to.shard());
        let mut pressure = Pressure::Fine;
        for (index, shard) in shards.iter().enumerate().filter(|(index, _)| present >> index & 1 == 1) {
            pressure = pressure.max(shard.mailbox.send_many(sends.iter().filter(|send| send.to.shard() == index)));
        }
        self.noted(pressure.max(self.pressure()))
    }

    /// Publisher pressure now.
    pub(crate) fn pressure(&self) -> Pressure {
        if self.under_pressure() { Pressure::High } else { Pressure::Fine }
    }
}

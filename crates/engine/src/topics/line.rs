//! The line of a topic that can be recovered: a lock, and under it the one place where its publications get their offsets. Frames
//! and keeps them; pushes nothing anywhere and never takes a second lock.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::lock::{Mutex, MutexGuard};
use wse_protocol::envelope::{Stamp, Stampable};
use wse_protocol::frame::{Opcode, push_frame};

use super::position::Position;
use crate::config::RingPolicy;
use crate::frames::{Ring, RingSlice};

/// Bytes a stream takes beside its ring and its stamp.
const STREAM_BYTES: usize = size_of::<Stream>() + 32;

/// A recoverable topic's line.
pub(crate) struct Line {
    /// What is kept of it.
    policy: RingPolicy,
    /// The rule that says so.
    rule: usize,
    /// Whoever subscribes gets the last value.
    keeps_last: bool,
    state: Mutex<State>,
}

/// What is under the lock.
pub(crate) enum State {
    /// Nobody has published or asked yet, or it was long ago.
    Empty,
    /// Somebody has.
    Live(Box<Stream>),
    /// The entry is out of the index: whoever holds it looks again.
    Retired,
}

/// A topic's publications in one epoch.
pub(crate) struct Stream {
    epoch: u32,
    /// The offset of the last publication; 0: there is none.
    head: u64,
    stamp: Stamp,
    ring: Ring,
    /// When it was written last, milliseconds since the engine's start.
    pub(super) written: u64,
    /// Bytes it is charged with.
    pub(super) charged: usize,
    /// As much of that as counts for streams that keep no message.
    pub(super) idle: usize,
    /// The order of what goes first knows it.
    pub(super) listed: bool,
}

/// What somebody who was away has missed.
#[derive(Debug)]
pub(crate) enum Missed {
    /// These frames, in order; none at all, perhaps.
    Frames(Vec<RingSlice>),
    /// Some of it is not kept any more, or it was another epoch.
    Lost,
}

impl Missed {
    /// How many frames.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Frames(slices) => slices.iter().map(|slice| slice.run().count()).sum(),
            Self::Lost => 0,
        }
    }
}

impl Line {
    pub(super) fn new(policy: RingPolicy, rule: usize, keeps_last: bool) -> Self {
        Self { policy, rule, keeps_last, state: Mutex::new(State::Empty) }
    }

    /// Whoever holds this has the say about offsets.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether whoever subscribes gets the last value.
    pub(crate) fn keeps_last(&self) -> bool {
        self.keeps_last
    }

    /// The stream, which is begun if there is none. `None`: the entry is out of the index.
    pub(crate) fn stream<'a>(&self, state: &'a mut State, topic: &str, now: u64) -> Option<&'a mut Stream> {
        if let State::Empty = state {
            *state = State::Live(Box::new(Stream::new(topic, self.policy.size, now)));
        }
        match state {
            State::Live(stream) => {
                stream.age(self, now);
                Some(stream)
            }
            _ => None,
        }
    }

    /// Which order of what goes first it is in.
    pub(super) fn order(&self) -> usize {
        2 * self.rule + usize::from(self.keeps_last)
    }

    /// Nothing is kept, or nothing but a count nobody asks for: from here on nothing will be. False: there is more.
    pub(super) fn retire(&self, forget: impl FnOnce(&Stream)) -> bool {
        let mut state = self.state.lock();
        if let State::Live(stream) = &*state {
            if stream.listed || !stream.ring.is_empty() {
                return false;
            }
            forget(stream);
        }
        *state = State::Retired;
        true
    }
}

impl State {
    /// The stream, if there is one.
    pub(crate) fn live(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Live(stream) => Some(stream),
            _ => None,
        }
    }
}

impl Stream {
    fn new(topic: &str, keep: u32, now: u64) -> Self {
        // Seeded by the system once per thread, and different each time.
        let random = RandomState::new().build_hasher().finish();
        let epoch = u32::try_from(random >> 32).unwrap_or_default();
        Self {
            epoch,
            head: 0,
            stamp: Stamp::new(topic, epoch),
            ring: Ring::new(1, keep.max(1)),
            written: now,
            charged: 0,
            idle: 0,
            listed: false,
        }
    }

    /// Where it is.
    pub(crate) const fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.head }
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        STREAM_BYTES + self.stamp.bytes() + self.ring.bytes()
    }

    /// About the length of its topic's name.
    pub(super) fn name_bytes(&self) -> usize {
        self.stamp.bytes()
    }

    /// Whether it keeps no message.
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Forgets what was published too long ago.
    pub(super) fn age(&mut self, line: &Line, now: u64) {
        if !self.ring.is_empty() && line.is_over(self.written, now) {
            if line.keeps_last { self.ring.clear_but_last() } else { self.ring.clear() }
        }
    }

    /// Forgets all frames; offsets go on counting.
    pub(super) fn clear(&mut self) {
        self.ring.clear();
    }

    /// Forgets what is too old for whoever looks at `now`.
    pub(crate) fn look(&mut self, line: &Line, now: u64) {
        self.age(line, now);
    }

    /// Notes that it was written at `now`, milliseconds since the start.
    pub(crate) const fn touch(&mut self, now: u64) {
        self.written = now;
    }

    /// Frames a text, and keeps it if it can be recovered. A JSON object gets its stamp, and its category where `inject`; what is none
    /// takes no offset: nobody could ask for it.
    pub(crate) fn publish(&mut self, frames: &mut Vec<u8>, text: &str, inject: bool) {
        match Stampable::of(text, inject) {
            None => push_frame(frames, Opcode::Text, text.as_bytes()),
            Some(object) => {
                let start = frames.len();
                self.head += 1;
                self.stamp.push_frame(frames, object, self.head);
                self.ring.append(&frames[start..]);
            }
        }
    }

    /// Whether everything that was published after `position` is kept, and is not more than `most`.
    pub(crate) fn keeps(&self, position: Position, most: u32) -> bool {
        let Position { epoch, offset } = position;
        let counts = epoch == self.epoch && offset <= self.head && self.head - offset <= u64::from(most);
        counts && offset + 1 >= self.ring.oldest()
    }

    /// What was published after `position`, if [`Self::keeps`] it.
    pub(crate) fn since(&mut self, position: Position, most: u32) -> Missed {
        if !self.keeps(position, most) {
            return Missed::Lost;
        }
        let offset = position.offset;
        self.ring.since(offset + 1).map_or(Missed::Lost, Missed::Frames)
    }

    /// The last publication, if it is kept.
    pub(crate) fn last(&mut self) -> Option<Vec<RingSlice>> {
        if self.ring.is_empty() { None } else { self.ring.since(self.head) }
    }

    /// The offset of the oldest publication that is kept, and slices of those from `from` on, or from that one.
    pub(crate) fn kept(&mut self, from: u64) -> (u64, Vec<RingSlice>) {
        let from = from.clamp(self.ring.oldest(), self.head + 1);
        (from, self.ring.since(from).unwrap_or_default())
    }
}

impl Line {
    /// Whether what was written last at `written` is too old at `now`, milliseconds.
    pub(super) fn is_over(&self, written: u64, now: u64) -> bool {
        self.policy.ttl.is_some_and(|ttl| u128::from(now.saturating_sub(written)) >= ttl.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(ttl: Option<Duration>, keeps_last: bool) -> Line {
        Line::new(RingPolicy { size: 16, ttl }, 0, keeps_last)
    }

    fn publish(stream: &mut Stream, texts: &[&str]) {
        let mut frames = Vec::new();
        texts.iter().for_each(|text| stream.publish(&mut frames, text, true));
    }

    #[test]
    fn who_was_away_gets_everything_or_is_told_that_it_is_lost() {
        let line = line(None, false);
        let mut state = line.lock();
        let stream = line.stream(&mut state, "t", 0).unwrap();
        let start = stream.position();
        assert_eq!(start.offset, 0);
        assert_eq!(stream.since(start, 100).count(), 0, "nothing was missed of nothing");
        publish(stream, &["{}", "no object", "{}", "[1]"]);
        assert_eq!(stream.position().offset, 2, "what cannot be stamped takes no offset");
        assert_eq!(stream.since(start, 100).count(), 2);
        let lost = |stream: &mut Stream, position, most| matches!(stream.since(position, most), Missed::Lost);
        assert!(lost(stream, start, 1), "more than may be replayed");
        assert!(lost(stream, Position { epoch: start.epoch ^ 1, offset: 2 }, 100), "another epoch");
        assert!(lost(stream, Position { offset: 3, ..start }, 100), "beyond the head");
        assert!(lost(stream, Position { offset: u64::MAX, ..start }, u32::MAX), "far beyond");
        (0..40).for_each(|_| publish(stream, &["{}"]));
        assert!(lost(stream, start, 100), "not kept any more");
        let now = stream.position();
        assert_eq!(stream.since(now, 0).count(), 0, "nothing was missed");
        stream.clear();
        assert!(lost(stream, Position { offset: now.offset - 1, ..now }, 100));
        assert!(matches!(stream.since(now, 0), Missed::Frames(none) if none.is_empty()));
    }

    #[test]
    fn what_is_old_is_forgotten_but_for_a_last_value() {
        for keeps_last in [false, true] {
            let line = line(Some(Duration::from_secs(1)), keeps_last);
            let mut state = line.lock();
            publish(line.stream(&mut state, "t", 0).unwrap(), &["{}", "{}"]);
            let kept = |state: &mut State, now| line.stream(state, "t", now).unwrap().kept(0).1.len();
            assert_eq!(kept(&mut state, 999), 1);
            assert_eq!(kept(&mut state, 1000), usize::from(keeps_last));
            let stream = line.stream(&mut state, "t", 1000).unwrap();
            assert_eq!((stream.position().offset, stream.last().is_some()), (2, keeps_last));
        }
    }

    #[test]
    fn epochs_differ_and_a_retired_line_stays_retired() {
        let line = line(None, false);
        let epochs: std::collections::HashSet<u32> = (0..100).map(|_| Stream::new("t", 16, 0).epoch).collect();
        assert!(epochs.len() > 98, "{}", epochs.len());
        assert!(line.retire(|_| ()) && line.retire(|_| ()));
        assert!(line.stream(&mut line.lock(), "t", 0).is_none());
    }
}

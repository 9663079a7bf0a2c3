//! Requests to recover: what was missed is read, and the shard told, while the topics' lines are locked. Decides nothing about queues:
//! whether it all fits is known to the shard alone.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::lock::MutexGuard;

use super::Shared;
use crate::flow::ReplayRate;
use crate::frames::RingSlice;
use crate::id::ConnId;
use crate::mailbox::Command;
use crate::recovery::{Asked, Found, Recover, Request, Wish};
use crate::topics::{Line, LineState, Missed, Position, Rings, Stream, TopicEntry};

impl Shared {
    /// Has the connection's shard subscribe it, reply and replay in one step. Without topics that can be recovered this is no more
    /// than a subscription whose end is told.
    pub(crate) fn recover(&self, request: Request) {
        // Of a topic without a line nothing is replayed.
        let replays = |asked: &Asked| asked.wish.replays() && asked.entry.line.is_some();
        if request.topics.iter().any(replays) && !self.may_replay(request.to) {
            // Once it may, its shard asks again.
            self.shards[request.to.shard()].mailbox.command(Command::RecoverLater(Box::new(request)));
            return;
        }
        self.recover_now(request, false);
    }

    /// The same, whatever was replayed before. `waited`: for its turn, in its shard.
    pub(crate) fn recover_now(&self, request: Request, waited: bool) {
        let Request { to, mut topics, answer } = request;
        let now = self.clock.elapsed_ms();
        let most = self.topics.rings().map_or(0, |rings| rings.config.max_messages);
        // In one order whoever asks, and each once.
        topics.sort_by_key(|asked| (asked.entry.id, Reverse(asked.wish.replays())));
        let (mut found, mut unlisted, mut spent) = (Vec::with_capacity(topics.len()), Vec::new(), 0);
        let entries: Vec<_> = topics.iter().map(|asked| asked.entry.clone()).collect();
        let mut locked: Vec<MutexGuard<'_, LineState>> = Vec::new();
        for (index, (asked, entry)) in topics.into_iter().zip(&entries).enumerate() {
            let repeated = index > 0 && entries[index - 1].id == entry.id;
            let (mut at, mut missed, mut last) = (None, asked.wish.replays().then_some(Missed::Lost), None);
            if let (Some(line), Some(rings), false) = (&entry.line, self.topics.rings(), repeated) {
                let mut state = line.lock();
                // Who only subscribes begins a stream, so that it can recover what it misses from here on.
                if let Some(stream) = stream_of(line, rings, &mut state, &entry.name, now) {
                    (missed, last) = read(stream, &asked, most, line.keeps_last());
                    at = Some(stream.position());
                    if rings.weigh(stream) {
                        unlisted.push(entry);
                    }
                }
                locked.push(state);
            }
            if let Some(Missed::Frames(slices)) = &missed {
                spent += RingSlice::size_of(slices);
            }
            found.push(Found { asked, at, missed, last });
        }
        // What is published from here on stands behind it in the mailbox, what was published before in front or among what was missed.
        self.shards[to.shard()].mailbox.command(Command::Recover(Box::new(Recover {
            to,
            topics: found,
            answer,
            waited,
            spent,
        })));
        drop(locked);
        // Not while lines are locked, which who holds the details of a connection may wait for.
        self.change_replay_rates(to, spent, |rate| rate.spend(spent));
        if let Some(rings) = self.topics.rings() {
            unlisted.into_iter().for_each(|entry| self.list(rings, entry, now));
            if rings.is_over() {
                self.topics.reclaim();
            }
        }
    }

    /// Puts a topic whose stream has begun into the order in which they age.
    pub(super) fn list(&self, rings: &Rings, entry: &Arc<TopicEntry>, now: u64) {
        rings.list(entry, now);
        self.begin_aging();
    }

    /// Whether something may be replayed to a connection now.
    pub(crate) fn may_replay(&self, to: ConnId) -> bool {
        let now = self.clock.elapsed_ms();
        self.replay_rate.lock().allows(now) && self.registry.get(to).is_none_or(|peer| peer.may_replay(now))
    }

    /// Gives back what a request has used of what may be replayed, and was not: its shard may know before that is taken.
    pub(crate) fn refund_replay(&self, to: ConnId, bytes: usize) {
        self.change_replay_rates(to, bytes, |rate| rate.refund(bytes));
    }

    /// Changes what may be replayed to all, and to one connection, if there are any `bytes`.
    fn change_replay_rates(&self, to: ConnId, bytes: usize, change: impl Fn(&mut ReplayRate)) {
        let Some(rings) = self.topics.rings().filter(|_| bytes > 0) else { return };
        change(&mut self.replay_rate.lock());
        if let Some(peer) = self.registry.get(to) {
            peer.change_replay_rate(rings.config.connection_replay_rate, self.clock.elapsed_ms(), change);
        }
    }

    /// Whether everything behind a position is kept now.
    pub(crate) fn is_kept(&self, topic: &str, from: Position) -> bool {
        let most = self.topics.rings().map_or(0, |rings| rings.config.max_messages);
        let entry = self.topics.get(topic);
        let line = entry.as_ref().and_then(|entry| entry.line.as_ref());
        line.is_some_and(|line| line.lock().live().is_some_and(|stream| stream.keeps(from, most)))
    }

    /// Where a topic is from here on: a stream that nobody has begun begins. `None`: it cannot be recovered, or memory is scarce.
    pub(crate) fn begin(&self, topic: &str) -> Option<Position> {
        let (entry, rings) = (self.topics.recoverable(topic)?, self.topics.rings()?);
        let now = self.clock.elapsed_ms();
        let begun = entry.line.as_ref().and_then(|line| {
            let mut state = line.lock();
            let stream = stream_of(line, rings, &mut state, &entry.name, now)?;
            Some((stream.position(), rings.weigh(stream)))
        });
        match begun {
            Some((_, true)) => self.list(rings, &entry, now),
            Some(_) => {}
            None => self.topics.sweep(&entry),
        }
        if rings.is_over() {
            self.topics.reclaim();
        }
        begun.map(|(position, _)| position)
    }

    /// Where a topic is; `None`: it cannot be recovered, or nothing is known of it.
    pub(crate) fn position(&self, topic: &str) -> Option<Position> {
        let entry = self.topics.get(topic)?;
        entry.line.as_ref()?.lock().live().map(|stream| stream.position())
    }
}

/// The stream of a topic nobody publishes to now, without what is too old of it; where memory is scarce none begins.
fn stream_of<'a>(
    line: &Line,
    rings: &Rings,
    state: &'a mut LineState,
    topic: &str,
    now: u64,
) -> Option<&'a mut Stream> {
    if rings.may_begin() {
        return line.stream(state, topic, now);
    }
    let stream = state.live()?;
    stream.look(line, now);
    Some(stream)
}

/// What a stream has of what is asked.
fn read(stream: &mut Stream, asked: &Asked, most: u32, keeps_last: bool) -> (Option<Missed>, Option<Vec<RingSlice>>) {
    let (missed, wants_last) = match asked.wish {
        Wish::Nothing => (None, false),
        Wish::Last | Wish::LastAgain => (None, true),
        Wish::Behind(from) => (Some(stream.since(from, most)), false),
        Wish::Missed(from) => {
            let missed = stream.since(from, most);
            let lost = matches!(missed, Missed::Lost);
            (Some(missed), lost)
        }
    };
    let covered = asked.covered && asked.wish != Wish::LastAgain;
    let last = if wants_last && keeps_last && !covered { stream.last() } else { None };
    (missed, last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::tests::config;
    use crate::config::{Config, Recovery, RingPolicy};
    use crate::recovery::{Answer, Settle};
    use crate::shared::Payloads;

    #[test]
    fn what_is_too_old_is_not_replayed_where_memory_is_scarce() {
        let recovery = Recovery {
            rules: Vec::new(),
            ring: Some(RingPolicy { size: 16, ttl: Some(Duration::from_millis(5)) }),
            memory_budget: 1 << 16,
            max_messages: 100,
            replay_rate: 1 << 20,
            connection_replay_rate: 1 << 20,
            last_values: Vec::new(),
        };
        let shared = Shared::new(Config { recovery: Some(recovery), ..config() });
        shared.publish("t", Payloads::Texts(&["{}"]), None);
        let full = (0..1000).find(|n| shared.begin(&format!("idle {n}")).is_none());
        assert!(full.is_some(), "no other stream begins");
        std::thread::sleep(Duration::from_millis(20));
        let wish = Wish::Missed(Position { offset: 0, ..shared.position("t").expect("it is there still") });
        let asked = Asked { entry: shared.topics.get("t").unwrap(), registered: false, covered: true, wish };
        let answer = Answer::Host(Settle::new(|_| ()));
        shared.recover(Request { to: ConnId::new(0, 0, 1), topics: vec![asked], answer });
        let list = shared.shards[0].mailbox.take().unwrap().list;
        let Some(Command::Recover(recover)) = list.first() else { panic!("it was not asked") };
        assert!(matches!(recover.topics[0].missed, Some(Missed::Lost)));
    }
}

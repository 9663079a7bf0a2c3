//! Recovery as the shard does it: in one step a connection gets what it missed, the reply, and its subscriptions. Whether all that was
//! missed is queued is known here and nowhere else.

use std::sync::Arc;

use super::Shard;
use super::subscribe::CHANGE;
use crate::conn::{Account, Connection, Context, Offer};
use crate::frames::RingSlice;
use crate::id::ConnId;
use crate::recovery::{Answer, Asked, Found, Outcome, Recover, Request, TopicOutcome, Unsettled};
use crate::topics::{Missed, Position};

/// Requests that get their turn in one tick.
const A_TICK: usize = 4096;
/// Bytes a reply has for each topic beside its name, roughly.
const REPLY_BYTES: usize = 128;

impl Shard {
    /// Has a request wait for its turn.
    pub(super) fn recover_later(&mut self, request: Request) {
        let Err(request) = self.waiting.add(request) else {
            self.context.counters.replays_waiting.add(1);
            return;
        };
        let Request { to, topics, answer } = request;
        self.give_up(to, topics.into_iter());
        if let Answer::Host(settle) = answer {
            settle.settle(Err(Unsettled::Busy));
        }
    }

    /// Gives requests that wait their turn, as far as something may be replayed.
    pub(super) fn resume_replays(&mut self) {
        let shared = Arc::clone(&self.context.shared);
        for _ in 0..self.waiting.len().min(A_TICK) {
            let Some(request) = self.waiting.next() else { break };
            let here = self.find(request.to).is_some();
            if here && !shared.may_replay(request.to) {
                self.waiting.put_back(request);
                continue;
            }
            self.context.counters.replays_waiting.shift(1, 0);
            if here {
                self.waiting.send(request.to);
                shared.recover_now(request, true);
                continue;
            }
            // Nothing is replayed to who has gone, and nobody waits for that.
            self.waiting.forget(request.to);
            self.give_up(request.to, request.topics.into_iter());
        }
    }

    /// Gives back what was registered for topics that are not subscribed.
    pub(super) fn give_up(&mut self, to: ConnId, topics: impl Iterator<Item = Asked>) {
        let shared = Arc::clone(&self.context.shared);
        let peer =
            self.connections.get(to.slot()).filter(|found| found.id() == to).map(|found| Arc::clone(found.peer()));
        for Asked { entry, registered, .. } in topics {
            if registered {
                shared.topics.release(&entry, self.index);
                match &peer {
                    Some(peer) => shared.give_back(peer, &entry.name),
                    None => shared.topics.discharge(),
                }
            } else {
                shared.topics.sweep(&entry);
            }
        }
    }

    /// Finds out what a connection holds already: of that it gets what it has missed, and no last value again. A single topic it
    /// holds through a pattern, and has missed some of, is not subscribed by name as well: published clients ask for those.
    fn note_held(&self, slot: u32, topics: &mut [Found]) {
        let single = topics.len() == 1;
        for Found { asked, last, .. } in topics {
            let gap = single && asked.from.is_some() && !asked.entry.is_pattern;
            asked.covered |= gap && self.topics.holds_by_pattern(&asked.entry.name, slot);
            if asked.covered || self.topics.holds(&asked.entry, slot) {
                *last = None;
            }
        }
    }

    /// Of what a connection may not have any more it gets nothing: its rights may have changed since it asked.
    fn forget_denied(&self, slot: u32, topics: &mut [Found]) {
        let Some(connection) = self.connections.get(slot) else { return };
        for found in topics.iter_mut().filter(|found| !connection.peer().allows(&found.asked.entry.name)) {
            found.at = None;
            found.missed = None;
            found.last = None;
        }
    }

    /// Applies a request. Returns the work it was, in deliveries.
    pub(super) fn catch_up(&mut self, recover: Recover) -> usize {
        let Recover { to, mut topics, answer, waited } = recover;
        let work = (topics.len() + 1) * CHANGE;
        if waited {
            let left = self.waiting.come_back(to);
            if !left.is_empty() {
                let ended: Vec<Found> = topics.extract_if(.., |found| left.has(&found.asked.entry.name)).collect();
                self.give_up(to, ended.into_iter().map(|found| found.asked));
            }
        }
        if self.find(to).is_none() {
            self.give_up(to, topics.into_iter().map(|found| found.asked));
            return work;
        }
        let slot = to.slot();
        self.note_held(slot, &mut topics);
        self.forget_denied(slot, &mut topics);
        {
            // What is staged for it was published before.
            let (delivery, mut floor) = self.delivery();
            delivery.unstage_for(&mut floor, slot);
        }
        let wanted = topics.iter().map(|found| found.asked.entry.name.len() + REPLY_BYTES + cost(found)).sum::<usize>();
        let tight = |shard: &mut Self| shard.find(to).is_some_and(|found| found.account().room() < wanted);
        if tight(self) && !self.connections.get(slot).is_some_and(|found| found.is_blocked()) && !self.flush(slot) {
            self.give_up(to, topics.into_iter().map(|found| found.asked));
            return work;
        }
        let Some(connection) = self.connections.get_mut(slot) else { return work };
        // The reply has its place first: without it nobody would know what came.
        let names = topics.iter().map(|found| found.asked.entry.name.len() + REPLY_BYTES).sum::<usize>();
        let mut room = connection.account().room().saturating_sub(names);
        let (mut outcome, mut replays, mut lasts) = (Outcome::default(), Vec::new(), Vec::new());
        for (index, Found { asked, at, missed, last }) in topics.iter().enumerate() {
            if index > 0 && topics[index - 1].asked.entry.id == asked.entry.id {
                // Named twice: told, and replayed, once.
                continue;
            }
            let slices = match missed {
                Some(Missed::Frames(slices)) => Some(slices),
                _ => None,
            };
            let fits = slices.filter(|slices| take(&mut room, slices));
            let count = fits.and(missed.as_ref()).map_or(0, Missed::count);
            let last = if fits.is_none() { last.as_ref().filter(|last| take(&mut room, last)) } else { None };
            // The last value is live: whoever takes the position for its own must not have passed it already.
            let position = at.map(|at| Position { offset: at.offset - u64::from(last.is_some()), ..at });
            let became = TopicOutcome { position, recovered: fits.is_some(), count };
            outcome.topics.push((asked.entry.name.clone(), became));
            replays.extend(fits.into_iter().flatten());
            lasts.extend(last.into_iter().flatten());
        }
        let mut reserve = names + replays.iter().chain(&lasts).map(|slice| Account::least_cost(slice)).sum::<usize>();
        let mut replay = |connection: &mut Connection, slices: Vec<&RingSlice>, context: &mut Context| {
            for slice in slices {
                reserve -= Account::least_cost(slice);
                let loss = connection.offer(Offer::Kept { slice, reserve }, context);
                context.counters.replayed_bytes.add(slice.run().size() as u64);
                context.counters.replayed.add(u64::from(slice.run().count()));
                if !loss.is_none() {
                    connection.lose(loss, context);
                }
            }
        };
        replay(connection, replays, &mut self.context);
        let settle = match answer {
            Answer::Host(settle) => Some(settle),
            Answer::Client(compose) => {
                // Behind what was replayed: a client takes the position in it for its own, and must not lose its connection
                // between the two.
                let loss = connection.offer(Offer::Reply(&compose(&outcome)), &self.context);
                if !loss.is_none() {
                    connection.lose(loss, &mut self.context);
                }
                None
            }
        };
        replay(connection, lasts, &mut self.context);
        self.delivery.list(slot, connection);
        let (subscribed, others): (Vec<_>, Vec<_>) =
            topics.into_iter().map(|found| found.asked).partition(|asked| asked.registered && !asked.covered);
        self.subscribe(to, subscribed.into_iter().map(|asked| asked.entry).collect());
        self.give_up(to, others.into_iter());
        if let Some(settle) = settle {
            settle.settle(Ok(outcome));
        }
        work
    }
}

/// The least a topic's frames are charged with.
fn cost(found: &Found) -> usize {
    let missed = match &found.missed {
        Some(Missed::Frames(slices)) => slices.as_slice(),
        _ => found.last.as_deref().unwrap_or_default(),
    };
    missed.iter().map(Account::least_cost).sum()
}

/// Takes the room for slices, if there is enough.
fn take(room: &mut usize, slices: &[RingSlice]) -> bool {
    let cost = slices.iter().map(Account::least_cost).sum();
    let fits = *room >= cost;
    if fits {
        *room -= cost;
    }
    fits
}

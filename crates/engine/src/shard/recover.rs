//! Recovery as the shard does it: in one step a connection gets what it missed, the reply, and its subscriptions. Whether all that was
//! missed is queued is known here and nowhere else.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shard;
use super::applying::Applying;
use super::subscribe::CHANGE;
use crate::conn::{Account, Offer};
use crate::frames::RingSlice;
use crate::id::ConnId;
use crate::recovery::{Answer, Asked, Found, Outcome, Recover, Request, TopicOutcome, Unsettled, Wish};
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
        match answer {
            Answer::Host(settle) => {
                self.give_up(to, topics.into_iter());
                settle.settle(Err(Unsettled::Busy));
            }
            // It is subscribed, and told that nothing is recovered.
            Answer::Client => {
                let asked = topics.into_iter().map(|asked| Asked { wish: Wish::Nothing, ..asked });
                self.context.shared.recover_now(Request { to, topics: asked.collect(), answer: Answer::Client }, false);
            }
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
            let gap = single && asked.wish.replays() && !asked.entry.is_pattern;
            asked.covered |= gap && self.topics.holds_by_pattern(&asked.entry.name, slot);
            let held = asked.covered || self.topics.holds(&asked.entry, slot);
            if held && asked.wish != Wish::LastAgain {
                *last = None;
            }
        }
    }

    /// What was queued a moment ago is not queued again. For what clients ask themselves nothing was read then; if that is needed after
    /// all, because of what has become of the connection meanwhile, the client is told that it has not recovered.
    fn coalesce(&self, slot: u32, topics: &mut [Found]) {
        for Found { asked, missed, .. } in topics.iter_mut().filter(|found| found.missed.is_some()) {
            let (from, read) = match asked.wish {
                Wish::Missed(from) => (from, missed.as_ref().map_or(0, Missed::count) > 0),
                Wish::OnItsWay(from) => (from, false),
                _ => continue,
            };
            let held = asked.covered || self.topics.holds(&asked.entry, slot);
            let on_its_way = held && self.is_on_its_way(slot, asked.entry.id, from);
            if on_its_way && (read || asked.wish == Wish::OnItsWay(from)) {
                *missed = Some(Missed::Frames(Vec::new()));
                self.context.counters.replays_coalesced.add(1);
            } else if asked.wish == Wish::OnItsWay(from) {
                *missed = Some(Missed::Lost);
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
        self.coalesce(slot, &mut topics);
        self.forget_denied(slot, &mut topics);
        {
            // What is staged for it was published before.
            let (delivery, mut floor) = self.delivery();
            delivery.unstage_for(&mut floor, slot);
        }
        if !self.make_room(slot, &topics) {
            self.give_up(to, topics.into_iter().map(|found| found.asked));
            return work;
        }
        let plan = self.plan(slot, &topics);
        let Plan { outcome, replays, behind, lasts, lasting, mut reserve } = plan;
        self.replay(slot, &replays, &mut reserve);
        let settle = match answer {
            Answer::Host(settle) => Some(settle),
            Answer::Client => {
                self.tell_applied(slot, &topics, &outcome);
                None
            }
        };
        self.replay(slot, &behind, &mut reserve);
        self.replay(slot, &lasts, &mut reserve);
        if settle.is_none() {
            self.tell_lasts(slot, &topics, &lasting);
        }
        if let Some(connection) = self.connections.get_mut(slot) {
            self.delivery.list(slot, connection);
        }
        let peer = self.connections.get(slot).map(|connection| Arc::clone(connection.peer()));
        // A host's subscription stays, whatever its ACL becomes, and delivers what that allows; a client has been told that it failed.
        let may = |asked: &Asked| settle.is_some() || peer.as_ref().is_some_and(|peer| peer.allows(&asked.entry.name));
        let (subscribed, others): (Vec<_>, Vec<_>) = topics
            .into_iter()
            .map(|found| found.asked)
            .partition(|asked| asked.registered && !asked.covered && may(asked));
        self.subscribe(to, subscribed.into_iter().map(|asked| asked.entry).collect());
        self.give_up(to, others.into_iter());
        match settle {
            Some(settle) => settle.settle(Ok(outcome)),
            // Requests behind it go on.
            None => self.end_wait(slot),
        }
        work
    }

    /// Flushes a connection whose queue has no room for all that; false: that ended it.
    fn make_room(&mut self, slot: u32, topics: &[Found]) -> bool {
        let wanted = names(topics) + topics.iter().map(cost).sum::<usize>();
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let tight = connection.account().room() < wanted && !connection.is_blocked();
        !tight || self.flush(slot)
    }

    /// Decides what a connection gets: a topic's frames all or none.
    fn plan(&mut self, slot: u32, topics: &[Found]) -> Plan {
        // The reply has its place first: without it nobody would know what came.
        let reserve = names(topics);
        let since = self.since(slot);
        let room = self.connections.get_mut(slot).map_or(0, |connection| connection.account().room());
        let mut room = room.saturating_sub(reserve);
        let mut plan = Plan { reserve, ..Plan::default() };
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
            let last = if fits.is_none() { last.as_ref().filter(|last| take(&mut room, last)) } else { None };
            let became = match (asked.wish, fits) {
                (Wish::Behind(pin), Some(slices)) => {
                    plan.behind.extend(slices.iter().cloned());
                    TopicOutcome { position: Some(pin), ..TopicOutcome::default() }
                }
                (_, Some(slices)) => {
                    plan.replays.extend(slices.iter().cloned());
                    let count = missed.as_ref().map_or(0, Missed::count);
                    if let Wish::Missed(from) = asked.wish
                        && count > 0
                    {
                        self.served.note(slot, asked.entry.id, from, since, self.context.now());
                    }
                    TopicOutcome { position: *at, recovered: true, count }
                }
                (_, None) => {
                    plan.lasts.extend(last.into_iter().flatten().cloned());
                    plan.lasting.extend(last.map(|_| asked.entry.name.clone()));
                    // The last value is live: whoever takes the position for its own must not have passed it already.
                    let before = u64::from(last.is_some());
                    let position = at.map(|at| Position { offset: at.offset - before, ..at });
                    TopicOutcome { position, ..TopicOutcome::default() }
                }
            };
            plan.outcome.topics.push((asked.entry.name.clone(), became));
        }
        let slices = plan.replays.iter().chain(&plan.behind).chain(&plan.lasts);
        plan.reserve += slices.map(Account::least_cost).sum::<usize>();
        plan
    }

    /// Queues slices that fit; `reserve` bytes are to be kept for them and what follows.
    fn replay(&mut self, slot: u32, slices: &[RingSlice], reserve: &mut usize) {
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        for slice in slices {
            *reserve -= Account::least_cost(slice);
            let loss = connection.offer(Offer::Kept { slice, reserve: *reserve }, context);
            context.counters.replayed_bytes.add(slice.run().size() as u64);
            context.counters.replayed.add(u64::from(slice.run().count()));
            if !loss.is_none() {
                connection.lose(loss, context);
            }
        }
    }

    /// What a client has lost again, or may not have any more, since it asked: that has failed.
    fn forget_ended(&self, slot: u32, topics: &[Found], applying: &mut Applying) {
        let Some(peer) = self.connections.get(slot).map(|connection| connection.peer()) else { return };
        let left: HashSet<&str, foldhash::fast::RandomState> =
            topics.iter().map(|found| &*found.asked.entry.name).filter(|name| peer.allows(name)).collect();
        let results = &mut applying.results;
        let ended: Vec<String> = results.succeeded.extract_if(.., |topic| !left.contains(&**topic)).collect();
        results.changed.retain(|topic| left.contains(&**topic));
        for topic in ended {
            let reason = if peer.allows(&topic) { "unsubscribed" } else { "not_allowed" };
            results.refuse(topic, reason.into());
        }
    }

    /// Tells a client what became of its request, behind what was replayed: it takes the positions for its own, and must not lose its
    /// connection between the two. Then come the states of topics, and what was published since.
    fn tell_applied(&mut self, slot: u32, topics: &[Found], outcome: &Outcome) {
        let Some(mut applying) = self.updates.applied(slot) else { return };
        self.forget_ended(slot, topics, &mut applying);
        self.make_present(slot, &mut applying, topics);
        let has_lines = topics.iter().any(|found| found.asked.entry.line.is_some());
        if let Some(reply) = applying.reply(has_lines.then_some(outcome)) {
            self.tell(slot, &reply);
        }
        let became = topics.iter().zip(&outcome.topics);
        let outdated = became
            .filter(
                |(found, (_, became))| matches!(found.asked.wish, Wish::Behind(pin) if became.position != Some(pin)),
            )
            .map(|(_, (name, _))| &**name);
        applying.shots.outdate(&outdated.collect());
        let shots = std::mem::take(&mut applying.shots);
        match &applying.update {
            _ if shots.is_empty() => {}
            Some(_) => {
                let changed = applying.changed();
                self.tell_states(slot, shots, |topic| changed.contains(topic));
            }
            None => drop(self.tell_received(slot, shots)),
        }
        self.report_applied(slot, &applying);
    }
}

/// What a connection gets, in this order.
#[derive(Default)]
struct Plan {
    outcome: Outcome,
    /// What it has missed.
    replays: Vec<RingSlice>,
    /// What was published since the states it is told.
    behind: Vec<RingSlice>,
    /// Last values.
    lasts: Vec<RingSlice>,
    /// The topics whose they are.
    lasting: Vec<Box<str>>,
    /// Bytes all of that takes at least, the reply included.
    reserve: usize,
}

/// Bytes a reply about these topics has, roughly.
fn names(topics: &[Found]) -> usize {
    topics.iter().map(|found| found.asked.entry.name.len() + REPLY_BYTES).sum()
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

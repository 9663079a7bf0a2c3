//! What a connection that catches up gets: a topic's frames all or none, as far as its queue has room. Asks no line, and tells nobody.

use super::Shard;
use super::served::Since;
use crate::conn::{Account, Offer};
use crate::frames::RingSlice;
use crate::recovery::{Found, Outcome, TopicOutcome, Wish};
use crate::topics::{Missed, Position};

/// Bytes a reply has for each topic beside its name, roughly.
const REPLY_BYTES: usize = 128;

/// What a connection gets, in this order.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) outcome: Outcome,
    /// What it has missed.
    pub(super) replays: Vec<RingSlice>,
    /// What was published since the states it is told.
    pub(super) behind: Vec<RingSlice>,
    /// Last values.
    pub(super) lasts: Vec<RingSlice>,
    /// The topics whose they are.
    pub(super) lasting: Vec<Box<str>>,
    /// Bytes all of that takes at least, the reply included.
    pub(super) reserve: usize,
}

impl Plan {
    /// Bytes of what it has missed.
    pub(super) fn replayed(&self) -> usize {
        RingSlice::size_of(&self.replays) + RingSlice::size_of(&self.behind)
    }
}

impl Shard {
    /// Flushes a connection whose queue has no room for all that; false: that ended it.
    pub(super) fn make_room(&mut self, slot: u32, topics: &[Found]) -> bool {
        let wanted = names(topics) + topics.iter().map(cost).sum::<usize>();
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let tight = connection.account().room() < wanted && !connection.is_blocked();
        !tight || self.flush(slot)
    }

    /// Decides what a connection gets: a topic's frames all or none.
    /// `since`: what its connection had lost by now.
    pub(super) fn plan(&mut self, slot: u32, topics: &[Found], since: Since) -> Plan {
        // The reply has its place first: without it nobody would know what came.
        let reserve = names(topics);
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
    pub(super) fn replay(&mut self, slot: u32, slices: &[RingSlice], reserve: &mut usize) {
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

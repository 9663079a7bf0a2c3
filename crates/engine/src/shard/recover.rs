//! Recovery as the shard does it: in one step a connection gets what it missed, the reply, and its subscriptions. Whether all that was
//! missed is queued is known here and nowhere else.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shard;
use super::applying::Applying;
use super::plan::Plan;
use super::served::Since;
use super::subscribe::CHANGE;
use crate::id::ConnId;
use crate::recovery::{Answer, Asked, Found, Outcome, Recover, Request, Unsettled, Wish};
use crate::topics::Missed;

/// Requests that get their turn in one tick.
const A_TICK: usize = 4096;

/// Whether a connection may have a topic.
pub(super) type Allows<'a> = dyn Fn(&str) -> bool + 'a;

impl Shard {
    /// Has a request wait for its turn, unless all that it asks for is on its way and nothing need be replayed.
    pub(super) fn recover_later(&mut self, request: Request) {
        if self.find(request.to).is_some() && self.needs_nothing(&request) {
            return self.send_waiting(request);
        }
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
                self.send_waiting(Request { to, topics: asked.collect(), answer: Answer::Client });
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
                self.send_waiting(request);
                continue;
            }
            // Nothing is replayed to who has gone, and nobody waits for that.
            self.waiting.forget(request.to);
            self.give_up(request.to, request.topics.into_iter());
        }
    }

    /// Sends a request that has waited through the lines of its topics.
    fn send_waiting(&mut self, request: Request) {
        self.waiting.send(request.to);
        self.context.shared.recover_now(request, true);
    }

    /// Whether all that is behind the positions a request names was queued a moment ago.
    fn needs_nothing(&self, Request { to, topics, .. }: &Request) -> bool {
        let (slot, alone) = (to.slot(), topics.len() == 1);
        let since = self.since(slot);
        let asked = topics.iter().filter(|asked| asked.wish.replays() && asked.entry.line.is_some());
        let on_its_way = |asked: &Asked| {
            let held = self.is_held(slot, asked) || self.fills_gap(slot, &asked.entry.name, alone);
            held && self.is_on_its_way(slot, asked, since)
        };
        asked.into_iter().all(on_its_way)
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
        let alone = topics.len() == 1;
        for Found { asked, last, .. } in topics {
            asked.covered |= asked.wish.replays() && self.fills_gap(slot, &asked.entry.name, alone);
            if self.is_held(slot, asked) && asked.wish != Wish::LastAgain {
                *last = None;
            }
        }
    }

    /// Whether the connection receives what is asked.
    fn is_held(&self, slot: u32, asked: &Asked) -> bool {
        asked.covered || self.topics.holds(&asked.entry, slot)
    }

    /// Whether what is behind the position a topic is asked for with was queued for the connection a moment ago, and nothing has become
    /// of it since.
    fn is_on_its_way(&self, slot: u32, asked: &Asked, since: Since) -> bool {
        let now = self.context.now();
        matches!(asked.wish, Wish::Missed(from) if self.served.is_on_its_way(slot, asked.entry.id, from, since, now))
    }

    /// What was queued a moment ago is not queued again: that counts as one request, whatever is kept of it now.
    fn coalesce(&self, slot: u32, topics: &mut [Found], since: Since) {
        for Found { asked, missed, .. } in topics.iter_mut().filter(|found| found.missed.is_some()) {
            if self.is_held(slot, asked) && self.is_on_its_way(slot, asked, since) {
                *missed = Some(Missed::Frames(Vec::new()));
                self.context.counters.replays_coalesced.add(1);
            }
        }
    }

    /// What makes it need again what it was sent, as it is now.
    fn since(&self, slot: u32) -> Since {
        let connection = self.connections.get(slot);
        connection.map_or_else(Since::default, |found| Since { lost: found.lost(), rights: found.peer().rights() })
    }

    /// Of what a connection may not have any more it gets nothing: its rights may have changed since it asked.
    fn forget_denied(topics: &mut [Found], allows: &Allows<'_>) {
        for found in topics.iter_mut().filter(|found| !allows(&found.asked.entry.name)) {
            found.at = None;
            found.missed = None;
            found.last = None;
        }
    }

    /// Applies a request. Returns the work it was, in deliveries.
    pub(super) fn catch_up(&mut self, recover: Recover) -> usize {
        let Recover { to, mut topics, answer, waited, spent } = recover;
        let work = (topics.len() + 1) * CHANGE;
        let slot = to.slot();
        if waited {
            let left = self.waiting.come_back(to);
            if !left.is_empty() {
                let ended: Vec<Found> = topics.extract_if(.., |found| left.has(&found.asked.entry.name)).collect();
                self.give_up(to, ended.into_iter().map(|found| found.asked));
            }
        }
        // What it may have is asked once: the host may change it meanwhile, and what the client is told is what is done.
        let acl = self.find(to).map(|connection| connection.peer().acl());
        let allows = |topic: &str| acl.as_ref().and_then(Option::as_ref).is_none_or(|acl| acl.allows(topic));
        let plan = if acl.is_some() { self.prepare(slot, &mut topics, &allows) } else { None };
        self.context.shared.refund_replay(to, spent.saturating_sub(plan.as_ref().map_or(0, Plan::replayed)));
        let Some(plan) = plan else {
            self.give_up(to, topics.into_iter().map(|found| found.asked));
            return work;
        };
        let Plan { outcome, replays, behind, lasts, lasting, mut reserve } = plan;
        self.replay(slot, &replays, &mut reserve);
        let settle = match answer {
            Answer::Host(settle) => Some(settle),
            Answer::Client => {
                self.tell_applied(slot, &topics, &outcome, &allows);
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
        // A host's subscription stays, whatever its ACL becomes, and delivers what that allows; a client has been told that it failed.
        let may = |asked: &Asked| settle.is_some() || allows(&asked.entry.name);
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

    /// Finds out what a connection gets. `None`: it has ended.
    fn prepare(&mut self, slot: u32, topics: &mut [Found], allows: &Allows<'_>) -> Option<Plan> {
        self.note_held(slot, topics);
        {
            // What is staged for it was published before.
            let (delivery, mut floor) = self.delivery();
            delivery.unstage_for(&mut floor, slot);
        }
        // Behind that, of which it may have lost some.
        let since = self.since(slot);
        self.coalesce(slot, topics, since);
        Self::forget_denied(topics, allows);
        self.make_room(slot, topics).then(|| self.plan(slot, topics, since))
    }

    /// What a client has lost again, or may not have any more, since it asked: that has failed.
    fn forget_ended(topics: &[Found], applying: &mut Applying, allows: &Allows<'_>) {
        let left: HashSet<&str, foldhash::fast::RandomState> =
            topics.iter().map(|found| &*found.asked.entry.name).filter(|name| allows(name)).collect();
        let results = &mut applying.results;
        let ended: Vec<String> = results.succeeded.extract_if(.., |topic| !left.contains(&**topic)).collect();
        results.changed.retain(|topic| left.contains(&**topic));
        for topic in ended {
            let reason = if allows(&topic) { "unsubscribed" } else { "not_allowed" };
            results.refuse(topic, reason.into());
        }
    }

    /// Tells a client what became of its request, behind what was replayed: it takes the positions for its own, and must not lose its
    /// connection between the two. Then come the states of topics, and what was published since.
    fn tell_applied(&mut self, slot: u32, topics: &[Found], outcome: &Outcome, allows: &Allows<'_>) {
        let Some(mut applying) = self.updates.applied(slot) else { return };
        Self::forget_ended(topics, &mut applying, allows);
        self.make_present(slot, &mut applying, topics, allows);
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

//! The two occasions on which a shard attends to one connection: its socket became ready, or its time has come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Wake;

use wse_protocol::close_code::CloseCode;

use super::Shard;
use super::answer::Progress;
use crate::clock::millis;
use crate::conn::{Read, Request};
use crate::id::ConnId;
use crate::wheel::{TICK_MS, Visit};

/// Reads of one connection in a row before the others get their turn; fewer when what came cost more than reading it.
const READS_IN_A_ROW: usize = 4;

/// Times a shard may begin again without getting rid of a connection.
const START_OVERS: usize = 8;

/// A wheel that was not moved for longer than a quarter of the idle timeout, within these bounds, stood still with its shard, and
/// nobody's silence counts, milliseconds.
const STALL_MS: (u32, u32) = (250, 1000);

/// What a connection's turn came to.
enum Served {
    /// Whoever wakes it has it served again, if it still is a connection.
    Waiting,
    /// There may be more to do for it.
    More,
}

impl Shard {
    /// A connection's turn, if it still is one.
    pub(super) fn serve(&mut self, id: ConnId) {
        self.guard(id, |shard| {
            if matches!(shard.serve_some(id), Served::More) {
                shard.serve_again(id);
            }
        });
    }

    /// Gives the host what came out of outboxes since it was last called, all of it at once, and acknowledges it to those that still are
    /// connections.
    pub(super) fn acknowledge(&mut self) {
        if !self.context.outboxes.owes() {
            return;
        }
        let Ok(given) = catch_unwind(AssertUnwindSafe(|| self.context.give_outboxed())) else {
            self.recover();
            // The rest of it is not forgotten.
            return self.context.shared.shards[self.index].mailbox.nudge();
        };
        for owed in given.chunk_by(|owed, next| owed.to == next.to) {
            let id = owed[0].to;
            self.guard(id, |shard| {
                let Self { connections, context, .. } = shard;
                if let Some(connection) = connections.get_mut(id.slot()).filter(|connection| connection.id() == id) {
                    connection.acknowledge(owed, context);
                    shard.flush(id.slot());
                }
            });
        }
    }

    /// Does something for a connection. A panic in it ends this connection and nothing else.
    fn guard(&mut self, id: ConnId, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        let mended = catch_unwind(AssertUnwindSafe(|| {
            self.recover();
            self.abandon(id, CloseCode::INTERNAL_ERROR);
        }));
        if mended.is_err() {
            // Nobody would serve what is left of it: the shard begins again.
            self.broken = true;
            self.context.shared.shards[self.index].mailbox.nudge();
        }
    }

    /// It has its next turn after the others, and after a costly one also after those whose sockets have become ready in it.
    fn serve_again(&mut self, id: ConnId) {
        if self.context.is_spent() {
            self.spent.push(id);
        } else {
            self.wake(id);
        }
    }

    /// Those that have had a costly turn are ready again.
    pub(super) fn wake_spent(&mut self) {
        for id in std::mem::take(&mut self.spent) {
            self.wake(id);
        }
    }

    /// Whether a connection waits for that.
    pub(super) fn has_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// It has a turn.
    pub(super) fn wake(&mut self, id: ConnId) {
        if let Some(connection) = self.find(id) {
            connection.peer().wake_by_ref();
        }
    }

    fn serve_some(&mut self, id: ConnId) -> Served {
        let slot = id.slot();
        let Some(connection) = self.find(id) else { return Served::Waiting };
        connection.peer().begin_turn();
        if connection.is_blocked() && !self.flush(slot) {
            return Served::Waiting;
        }
        self.context.begin_turn();
        // What the last read brought comes before the next.
        if self.updates.wait_for(slot) {
            let progress = self.answer_updates(slot);
            if !self.flush(slot) {
                return Served::Waiting;
            }
            if progress == Progress::More {
                return Served::More;
            }
        }
        for reads in 0..READS_IN_A_ROW {
            if self.context.is_spent() {
                break;
            }
            let Self { connections, context, .. } = self;
            let Some(connection) = connections.get_mut(slot) else { return Served::Waiting };
            // The answer to what it has asked before wakes it; of one that closes, what counts is its Close.
            if self.updates.is_full(slot) && !connection.peer().is_closing() {
                return Served::Waiting;
            }
            match connection.read(context) {
                Read::Pending => return Served::Waiting,
                Read::Paused { first } => {
                    if first {
                        self.pause(id, reads > 0);
                        self.context.counters.read_pauses.add(1);
                    }
                    return Served::Waiting;
                }
                Read::Over => {
                    self.remove(id);
                    return Served::Waiting;
                }
                Read::More { mut requests } => {
                    // A token ends what is handled of a read: nothing came behind it.
                    requests.extend(self.context.take_refresh().map(Request::Refresh));
                    self.keep_updates(slot, requests);
                    let progress = self.answer_updates(slot);
                    if !self.flush(slot) {
                        return Served::Waiting;
                    }
                    if progress == Progress::More {
                        break;
                    }
                }
            }
        }
        Served::More
    }

    /// Visits every connection whose time has come, at most once per [`TICK_MS`].
    pub(super) fn tick(&mut self) {
        let now = self.context.now();
        let passed = now.since(self.ticked);
        if passed < TICK_MS {
            return;
        }
        self.ticked = now;
        // Also in steps: a host that stops its loop again and again for less than the idle timeout has not read what answers it.
        let stalled = passed > (millis(self.context.shared.config.idle_timeout) / 4).clamp(STALL_MS.0, STALL_MS.1);
        if self.context.shared.inbound.watch(stalled, now) {
            self.context.shared.rehome();
        }
        self.resume_replays();
        if self.index == 0 {
            let now = self.context.shared.clock.elapsed_ms();
            self.context.shared.topics.expire(now);
            self.context.shared.windows.expire(now);
        }
        self.expire_questions(now);
        self.context.wheel.advance(now, &mut self.due);
        while let Some(Visit { slot, due }) = self.due.pop() {
            // It may be about to close.
            self.settle_now(slot);
            let Self { connections, context, delivery, .. } = self;
            let Some(connection) = connections.get_mut(slot).filter(|connection| connection.is_due(due)) else {
                continue;
            };
            delivery.serve(Some(slot));
            let id = connection.id();
            if !connection.on_timer(stalled, context) {
                self.remove(id);
                continue;
            }
            if self.flush(slot)
                && let Some(connection) = self.connections.get_mut(slot)
            {
                connection.rearm(&mut self.context);
            }
        }
        self.delivery.serve(None);
        self.retry_refreshes();
        if self.memory.is_due(self.held(), now)
            && let Some(release) = self.context.shared.config.release_memory
        {
            release();
        }
        self.watch_lagging(stalled);
    }

    /// Looks at the connections that are behind: who stands still or is much slower than the others is not waited for.
    /// `stalled`: the shard itself stood still, and judges nobody by that time.
    fn watch_lagging(&mut self, stalled: bool) {
        let (mut ids, ended) = self.context.begin_look();
        let Self { connections, context, .. } = self;
        if stalled {
            context.begin_anew();
            for id in &ids {
                if let Some(connection) = connections.get_mut(id.slot()) {
                    connection.excuse(context);
                }
            }
            return context.keep_lagging(ids);
        }
        let now = context.now();
        let found = |id: &ConnId| connections.get(id.slot()).filter(|connection| connection.id() == *id);
        let slowest = || ids.iter().filter_map(found).filter(|connection| connection.is_of_the_slowest(now)).count();
        let census = ended.then(|| context.end_window(u32::try_from(slowest()).unwrap_or(u32::MAX)));
        ids.retain(|id| {
            let connection = connections.get_mut(id.slot()).filter(|connection| connection.id() == *id);
            connection.is_some_and(|connection| connection.watch(census, context))
        });
        context.keep_lagging(ids);
    }

    /// Once those that are behind are few, publishers wait for the young among them no longer than their credit lasts.
    pub(super) fn hold_back_young(&mut self) {
        let Self { connections, context, .. } = self;
        for id in context.take_thinned().unwrap_or_default() {
            if let Some(connection) = connections.get_mut(id.slot()) {
                connection.hold_back_young(false, context);
            }
        }
    }

    /// A connection is not read until its reader has caught up. `sated`: it was read in this very turn.
    fn pause(&mut self, id: ConnId, sated: bool) {
        let line = if sated { &mut self.sated } else { &mut self.paused };
        line.push(id);
        // Those that left meanwhile stay in the line until it is twice as long as it need be.
        if line.len() > 2 * self.connections.len() {
            let connections = &self.connections;
            line.retain(|id| connections.get(id.slot()).is_some_and(|connection| connection.id() == *id));
        }
    }

    /// A reader of events has caught up or left: those that were paused for it are read again, and whoever was read last comes
    /// last. One turn may bring all that the reader has room for: the first would be the only one that is ever read.
    pub(super) fn resume(&mut self) {
        self.rehome();
        let Self { paused, sated, connections, context, .. } = self;
        paused.append(sated);
        paused.retain(|id| {
            let connection = connections.get_mut(id.slot()).filter(|connection| connection.id() == *id);
            connection.is_some_and(|connection| connection.stays_paused(context))
        });
    }

    /// Asks those whose peers have had their say whether the host is done with their events: then they close, behind what it
    /// sent. Between two batches of commands, so that nothing is staged.
    pub(super) fn see_off(&mut self) {
        let mut slots = self.context.take_parting();
        slots.retain(|slot| {
            if self.updates.wait_for(*slot) {
                return true;
            }
            let Self { connections, context, .. } = self;
            let Some(connection) = connections.get_mut(*slot).filter(|connection| connection.is_parting()) else {
                return false;
            };
            let waits = connection.waits_for_host(context);
            if !waits {
                self.flush(*slot);
            }
            waits
        });
        self.context.keep_parting(slots);
    }

    /// After a panic nobody caught: every connection goes, with its event. The batch in work goes on where it stopped. A panic
    /// on the way costs what it met. False: it does not get on and is of no use any more.
    pub(super) fn start_over(&mut self) -> bool {
        self.broken = false;
        let mut left = START_OVERS;
        while left > 0 {
            let before = self.connections.len();
            let mended = catch_unwind(AssertUnwindSafe(|| {
                self.recover();
                self.finish(CloseCode::INTERNAL_ERROR);
            }));
            if mended.is_ok() {
                return true;
            }
            left -= usize::from(self.connections.len() == before);
        }
        // Its batch ends here, or publishers would wait for the weight of it for ever.
        let _ = catch_unwind(AssertUnwindSafe(|| self.end_work()));
        false
    }

    /// The last turn: every connection that is left goes, with its event.
    pub(super) fn finish(&mut self, code: CloseCode) {
        for slot in self.connections.occupied() {
            if let Some(id) = self.connections.get(slot).map(|connection| connection.id()) {
                self.abandon(id, code);
            }
        }
        self.see_out_all();
        self.context.deliver();
    }

    /// Whether time alone may give it something to do.
    pub(super) fn needs_ticks(&self) -> bool {
        self.connections.len() > 0
            || self.waiting.len() > 0
            || self.memory.is_waiting(self.held())
            || !self.departures.is_empty()
            || (self.index == 0 && self.context.shared.ages())
    }

    /// Notes the bytes held for peers, and `more`: after a burst they go back to the system.
    pub(super) fn note_memory(&mut self, more: usize) {
        self.memory.note(self.held().saturating_add(more));
    }

    fn held(&self) -> usize {
        let counters = &self.context.counters;
        usize::try_from(counters.outbound_bytes.get() + counters.reassembly_bytes.get()).unwrap_or(usize::MAX)
    }

    /// Events that have not been delivered to their readers.
    pub(super) fn open_events(&self) -> usize {
        self.context.open_events()
    }
}

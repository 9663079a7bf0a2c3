//! What a shard does, one bounded step a call: takes the mailbox, applies commands until enough has come together, flushes a
//! part, delivers events, minds the wheel. Waits for nothing and knows no event loop: who calls it decides when.

use std::collections::VecDeque;
use std::time::Instant;

use wse_protocol::close_code::CloseCode;

use super::Shard;
use super::waiting::Waiting;
use super::work::Work;
use crate::mailbox::{Command, Incoming};

/// Connections flushed in one turn; the sockets then have theirs.
const FLUSH_CONNECTIONS: usize = 1024;

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to do: sockets are served, then comes the next turn.
    More,
    /// A batch was worked through: sockets are served, then whatever comes.
    Done,
    /// There was nothing to do.
    Idle,
    /// The shard has ended.
    Ended,
}

impl Shard {
    /// One turn. Sockets to be served are appended to `arrivals`.
    pub(super) fn turn(&mut self, arrivals: &mut Vec<Incoming>) -> Turn {
        // By the clock, not by who woke us: publishers that never pause must not stop the wheel.
        self.tick();
        self.hold_back_young();
        if self.work.is_none() && !self.begin() {
            self.context.deliver();
            self.see_off();
            return if self.see_out() { Turn::More } else { Turn::Idle };
        }
        while !self.delivery.is_due()
            && let Some(work) = &mut self.work
            && let Some(command) = work.commands.pop_front()
        {
            match command {
                Command::Accept(incoming) => arrivals.push(*incoming),
                Command::Stop => work.last = true,
                command => self.carry_out(command),
            }
        }
        let written = self.context.counters.writes.get();
        let (delivery, mut floor) = self.delivery();
        delivery.flush_some(&mut floor, FLUSH_CONNECTIONS);
        if let Some(work) = &mut self.work {
            work.writes += self.context.counters.writes.get() - written;
        }
        self.reap();
        self.hold_back_young();
        self.context.deliver();
        if self.delivery.is_unflushed() || self.work.as_ref().is_some_and(|work| !work.commands.is_empty()) {
            return Turn::More;
        }
        if self.end_work() {
            self.finish(CloseCode::SERVICE_RESTART);
            // Whoever waits for its turn is told that there will be none.
            self.waiting = Waiting::default();
            return Turn::Ended;
        }
        self.see_off();
        if self.see_out() { Turn::More } else { Turn::Done }
    }

    /// Takes what waits in the mailbox; false when nothing does.
    fn begin(&mut self) -> bool {
        let Some(mut batch) = self.context.shared.shards[self.index].mailbox.take() else { return false };
        self.context.begin_batch();
        let began = self.context.time();
        if let Some(since) = batch.since {
            self.context.counters.queue_wait.record(began.duration_since(since));
        }
        self.note_memory(batch.arena.len());
        self.delivery.begin(std::mem::take(&mut batch.arena));
        let commands = VecDeque::from(std::mem::take(&mut batch.list));
        self.work = Some(Work { commands, batch, began, writes: 0, last: false });
        true
    }

    /// The batch is worked through: its memory goes back to the mailbox, and publishers that waited for it may go on. Returns
    /// whether it was the last.
    pub(super) fn end_work(&mut self) -> bool {
        let Some(Work { commands, mut batch, began, writes, last }) = self.work.take() else { return false };
        batch.list = Vec::from(commands);
        batch.arena = self.delivery.finish();
        self.note_memory(0);
        let now = Instant::now();
        self.context.counters.fan_out.record(now - began);
        let shared = &self.context.shared;
        let mailbox = &shared.shards[self.index].mailbox;
        if let Some(since) = batch.since {
            self.pacer.observe(batch.weight, now - since, writes);
        }
        if mailbox.done(batch, self.pacer.mark()) {
            shared.relieve();
        }
        last
    }

    /// Carries out one command. Sockets and the end of the shard are the turn's.
    fn carry_out(&mut self, command: Command) {
        let (delivery, mut floor) = self.delivery();
        match command {
            Command::Publish { topic, run, except } => delivery.publish(&mut floor, &topic, run, except),
            Command::Send { to, run } => delivery.send(&mut floor, to, run),
            Command::SendAll { run } => delivery.send_all(&mut floor, run),
            Command::Subscribe { to, topics } => {
                let work = self.subscribe(to, topics);
                self.delivery.worked(work);
            }
            Command::Recover(recover) => {
                let work = self.catch_up(*recover);
                self.delivery.worked(work);
            }
            Command::RecoverLater(request) => self.recover_later(*request),
            Command::Unsubscribe { to, topics } => {
                let work = self.unsubscribe(to, topics.as_deref());
                self.delivery.worked(work);
            }
            Command::Answered(answered) => self.take_answer(*answered),
            Command::Refresh { to, token, told } => {
                delivery.unstage(&mut floor);
                self.refresh(to, token, told);
            }
            Command::AclChanged => self.topics.acl_changed(),
            Command::Close { to, code, reason } => {
                delivery.unstage(&mut floor);
                if let Some(connection) = floor.connections.get_mut(to.slot()).filter(|found| found.id() == to) {
                    connection.close_after(code, &reason, floor.context);
                    delivery.list(to.slot(), connection);
                }
            }
            Command::CloseAll { code, reason } => {
                delivery.unstage(&mut floor);
                floor.connections.for_each_mut(|slot, connection| {
                    connection.close_after(code, &reason, floor.context);
                    delivery.list(slot, connection);
                });
            }
            Command::Resume => self.resume(),
            Command::Accept(_) | Command::Stop => {}
        }
    }
}

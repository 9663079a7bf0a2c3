//! Answers to what clients ask about their subscriptions (`subscriptions: 'acl'`, docs/protocol.md, "Subscriptions"): each request is
//! read, the host is asked where it is to be, and what comes of that is applied (`apply`), one after the other. A connection's turn
//! ends when they have cost enough, whatever one read has brought.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;
use wse_protocol::topic::{MAX_PATTERN_BYTES, is_pattern, is_valid_name};

use super::Shard;
use super::shots::Shots;
use super::subscribe::{BYTES, CHANGE};
use super::update::{Action, Reason, Update, Verdict, reasons_of};
use super::updates::{Next, Outcome, Pending, Purpose};
use crate::asking::{Answer, Answered, Inquiry, Subject, Unasked};
use crate::clock::{Millis, millis};
use crate::conn::Request;
use crate::mailbox::Command;
use crate::metrics::bump;
use crate::registry::Peer;
use crate::topics::Refusal;

/// What requests may cost before the connection's turn is over, in deliveries: a tenth of a millisecond or so. At least one is
/// answered.
const WORK: usize = 4096;

/// What became of a connection's requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All are answered.
    Done,
    /// There are more, for the next turn.
    More,
    /// The first waits for the host.
    Asking,
}

impl Shard {
    /// Keeps requests for [`Self::answer_updates`].
    pub(super) fn keep_updates(&mut self, slot: u32, requests: Vec<Request>) {
        self.context.hold(0, self.updates.keep(slot, requests));
    }

    /// Gives up what waits for a connection that leaves.
    pub(super) fn forget_updates(&mut self, slot: u32) {
        self.context.hold(self.updates.forget(slot), 0);
    }

    /// Answers requests until they have cost enough, or one waits for the host.
    pub(super) fn answer_updates(&mut self, slot: u32) -> Progress {
        if !self.updates.wait_for(slot) {
            return Progress::Done;
        }
        // What was published before is delivered before the answer. It may find that the connection has ended.
        self.settle_now(slot);
        let mut work = 0;
        while work < WORK {
            work += match self.updates.next(slot) {
                Next::Nothing => return Progress::Done,
                Next::Wait => return Progress::Asking,
                Next::Request(request) => self.begin_request(slot, &request),
                Next::Answered(pending, outcome) => self.go_on_with(slot, *pending, outcome),
            };
        }
        if self.updates.wait_for(slot) { Progress::More } else { Progress::Done }
    }

    /// Reads a request. Returns the work it was, in deliveries.
    fn begin_request(&mut self, slot: u32, request: &Request) -> usize {
        let bytes = request.len();
        self.context.hold(bytes, 0);
        let work = CHANGE + bytes / BYTES;
        work + match request {
            Request::Update(payload) => self.authorize(slot, Update::parse(payload), bytes),
            Request::Sync(payload) => self.sync(slot, payload, bytes),
            // Verifying is dear: one in a turn.
            Request::Refresh(token) => {
                self.look_at_token(slot, token);
                WORK
            }
        }
    }

    /// Asks the host about what the ACL has let through, if it is to be asked.
    fn authorize(&mut self, slot: u32, mut update: Update, bytes: usize) -> usize {
        let shared = Arc::clone(&self.context.shared);
        let (Some(questions), Action::Subscribe) = (shared.config.authorize, update.action) else {
            return self.look_up(slot, update, bytes);
        };
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        let mut asked = Vec::new();
        // The host is asked about no more than the connection may have.
        let left = shared.subscriptions_left(&peer);
        let alone = update.topics.len() == 1;
        for (topic, verdict) in &mut update.topics {
            // Without a position it is a subscription in any case.
            let replays = update.recover && update.positions.get(topic).is_some_and(Option::is_some);
            let held = replays
                && self.fills_gap(slot, topic, alone)
                && peer.allows(topic)
                && shared.topics.is_recoverable(topic);
            *verdict = if held { Verdict::Held } else { self.sift(slot, &peer, topic) };
            if *verdict == Verdict::Open && asked.len() == left {
                bump(&shared.counters.subscriptions_refused);
                *verdict = Verdict::Refused(Refusal::Subscriptions.as_str().into());
            }
            if *verdict == Verdict::Open {
                asked.push(Box::from(topic.as_str()));
            }
        }
        let work = CHANGE * update.topics.len();
        if asked.is_empty() {
            return work + self.look_up(slot, update, bytes);
        }
        match self.inquire(&peer, Subject::Authorize, &asked) {
            Ok(inquiry) => {
                let until = self.context.now().after(millis(questions.timeout));
                let purpose = Purpose::Authorize(update);
                self.wait(slot, Pending { inquiry, until, asked, purpose, bytes });
                work
            }
            Err(unasked) => {
                let reason = match unasked {
                    Unasked::Busy => {
                        bump(&shared.counters.authorize_overflow);
                        "busy"
                    }
                    Unasked::Closed => "authorize_failed",
                };
                update.refuse(&asked, |_| Some(reason.into()));
                work + self.look_up(slot, update, bytes)
            }
        }
    }

    /// What is known of a topic without asking the host. Applying the update looks again: only what is let through here is asked
    /// about, and nothing else may be subscribed.
    fn sift(&self, slot: u32, peer: &Peer, topic: &str) -> Verdict {
        let known = self.context.shared.topics.get(topic);
        if known.is_some_and(|entry| self.topics.holds(&entry, slot)) {
            return Verdict::Held;
        }
        if !is_valid_name(topic) || (topic.len() > MAX_PATTERN_BYTES && is_pattern(topic)) {
            return Verdict::Refused(Refusal::InvalidName.as_str().into());
        }
        if !peer.allows(topic) {
            return Verdict::Refused(Refusal::NotAllowed.as_str().into());
        }
        Verdict::Open
    }

    /// Asks the host for the state of what is subscribed now, if it knows any, and applies the update with that.
    fn look_up(&mut self, slot: u32, update: Update, bytes: usize) -> usize {
        let asked = self.topics_with_state(slot, &update);
        if asked.is_empty() {
            return self.apply(slot, update, Shots::default());
        }
        match self.ask_for_state(slot, &asked) {
            Ok((inquiry, until)) => {
                self.wait(slot, Pending { inquiry, until, asked, purpose: Purpose::Subscribe(update), bytes });
                0
            }
            Err(reason) => self.apply(slot, update, Shots::none(asked, reason)),
        }
    }

    /// Puts a question about a connection; its answer comes back through the mailbox.
    pub(super) fn inquire(&self, peer: &Peer, subject: Subject, topics: &[Box<str>]) -> Result<Inquiry, Unasked> {
        let shared = &self.context.shared;
        let (to, index) = (peer.id, self.index);
        let user = json!(peer.user().as_deref());
        let topics = serde_json::to_string(topics).unwrap_or_default();
        let members = format!("\"conn\":{},\"user\":{user},\"topics\":{topics}", to.as_u64());
        let way = Arc::downgrade(shared);
        let tell = move |number, answer| {
            if let Some(shared) = way.upgrade() {
                let answered = Answered { to, number, answer };
                shared.shards[index].mailbox.command(Command::Answered(Box::new(answered)));
            }
        };
        shared.asking.inquire(subject, &members, Box::new(tell))
    }

    /// The connection's requests wait for an answer.
    pub(super) fn wait(&mut self, slot: u32, pending: Pending) {
        self.context.hold(0, pending.bytes);
        self.updates.ask(slot, pending);
    }

    /// The host has answered, or is late.
    fn go_on_with(&mut self, slot: u32, pending: Pending, outcome: Outcome) -> usize {
        let Pending { inquiry, asked, purpose, bytes, .. } = pending;
        self.context.hold(bytes, 0);
        if matches!(outcome, Outcome::Late) {
            inquiry.give_up();
        }
        match purpose {
            Purpose::Authorize(mut update) => {
                self.judge(&mut update, &asked, outcome);
                self.look_up(slot, update, bytes)
            }
            Purpose::Subscribe(update) => {
                let shots = self.shots_of(asked, outcome);
                self.apply(slot, update, shots)
            }
            Purpose::Sync => {
                let shots = self.shots_of(asked, outcome);
                self.tell_of_sync(slot, shots)
            }
        }
    }

    /// What an answer means for the topics it is about.
    fn judge(&self, update: &mut Update, asked: &[Box<str>], outcome: Outcome) {
        let counters = &self.context.shared.counters;
        let all: Reason = match outcome {
            Outcome::Said(Answer::Refused(refused)) => {
                let reasons = reasons_of(refused);
                return update.refuse(asked, |place| reasons.get(&place).cloned());
            }
            Outcome::Late => {
                bump(&counters.authorize_unanswered);
                Cow::Borrowed("timeout")
            }
            Outcome::Said(_) => {
                bump(&counters.authorize_failed);
                Cow::Borrowed("authorize_failed")
            }
        };
        update.refuse(asked, |_| Some(all.clone()));
    }

    /// An answer has come through the mailbox: the connection has a turn, in which its requests go on.
    pub(super) fn take_answer(&mut self, Answered { to, number, answer }: Answered) {
        if self.find(to).is_some() && self.updates.settle(to.slot(), number, answer) {
            self.end_wait(to.slot());
        }
    }

    /// Gives up questions the host has not answered in time.
    pub(super) fn expire_questions(&mut self, now: Millis) {
        for slot in self.updates.expire(now) {
            self.end_wait(slot);
        }
    }

    pub(super) fn end_wait(&mut self, slot: u32) {
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        // It may not have been read meanwhile.
        connection.excuse_silence(context);
        let id = connection.id();
        self.wake(id);
    }
}

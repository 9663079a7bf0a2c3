//! Another token for an open connection, from its client or its host. One step gives it the new expiry and the new rights: what it
//! may not have any more ends at that point of its stream, everything else goes on. A token that names a key nobody knows yet waits
//! for it, one per connection, and its connection goes on meanwhile.

use std::sync::Arc;

use indexmap::IndexSet;
use serde_json::json;
use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope::{self, RefreshFailure};

use super::Shard;
use super::refreshes::{By, Waiting};
use crate::admission::Place;
use crate::asking::{Found, Kid};
use crate::clock::millis;
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::registry::Peer;
use crate::shared::{Distrust, Proof, User};
use crate::tokens::{Attempt, RefreshError, Refreshed, Told};

/// Why a token is refused, as its host is told, and as its client is.
fn failure(error: RefreshError) -> RefreshFailure {
    match error {
        RefreshError::OtherUser => RefreshFailure::OtherUser,
        RefreshError::Busy => RefreshFailure::Busy,
        RefreshError::Unavailable => RefreshFailure::Unavailable,
        // A token that is not believed is not explained.
        RefreshError::Invalid | RefreshError::Revoked | RefreshError::NoAuth | RefreshError::UnknownConnection => {
            RefreshFailure::InvalidToken
        }
    }
}

impl Shard {
    /// Looks at a token a client has sent.
    pub(super) fn look_at_token(&mut self, slot: u32, token: &str) {
        // What was published before is delivered under the old rights.
        self.settle_now(slot);
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        if connection.peer().attempt_refresh(context.now()) == Attempt::TooOften {
            context.counters.refresh_failures.add(1);
            return connection.tell(envelope::RATE_LIMITED, context);
        }
        self.prove(slot, token.into(), By::Client);
    }

    /// The host gives a connection a token; nothing is staged for it.
    pub(super) fn refresh(&mut self, to: ConnId, token: Box<str>, told: Told) {
        if self.find(to).is_none_or(|connection| connection.peer().is_closing()) {
            return told.tell(Err(RefreshError::UnknownConnection));
        }
        self.prove(to.slot(), token, By::Host(told));
        let Self { connections, delivery, .. } = self;
        if let Some(connection) = connections.get_mut(to.slot()) {
            delivery.list(to.slot(), connection);
        }
    }

    /// Looks again at tokens that wait. Called at every tick: the answer of a host is worth no wake of its own.
    pub(super) fn retry_refreshes(&mut self) {
        if self.refreshes.0.is_empty() {
            return;
        }
        let (shared, now) = (Arc::clone(&self.context.shared), self.context.now());
        let is_over = |waiting: &Waiting| now.has_reached(waiting.until);
        let is_said = |waiting: &Waiting| shared.asking.known_key(&waiting.kid).is_some();
        let due: Vec<_> = self.refreshes.0.extract_if(|_, waiting| is_over(waiting) || is_said(waiting)).collect();
        for (slot, Waiting { token, by, .. }) in due {
            self.settle_now(slot);
            self.prove_now(slot, &token, by);
            self.flush(slot);
        }
    }

    /// Gives up the token of a connection that leaves.
    pub(super) fn forget_refresh(&mut self, slot: u32) {
        self.refreshes.0.remove(&slot);
    }

    /// Exchanges a token that is believed, now or once its key is known.
    fn prove(&mut self, slot: u32, token: Box<str>, by: By) {
        let shared = Arc::clone(&self.context.shared);
        let Some(auth) = &shared.config.auth else { return self.refuse(slot, by, RefreshError::NoAuth) };
        if self.refreshes.0.contains_key(&slot) {
            return self.refuse(slot, by, RefreshError::Busy);
        }
        let mut place = None;
        let find = |kid: &Kid| {
            let known = shared.asking.known_key(kid);
            if known.is_none() {
                place = Place::take_below(&shared.refreshing, shared.config.max_waiting);
            }
            known.or_else(|| place.as_ref().map_or(Some(Found::Unsaid), |_| Some(shared.asking.find_key(kid))))
        };
        match shared.prove(auth, &token, find) {
            Proof::Missing(kid) => {
                let Some(place) = place else { return self.refuse(slot, by, RefreshError::Unavailable) };
                let until = self.context.now().after(millis(shared.config.answer_timeout));
                self.refreshes.0.insert(slot, Waiting { token, kid, by, until, _place: place });
            }
            proof => self.conclude(slot, by, proof),
        }
    }

    /// Exchanges a token if it can be believed now.
    fn prove_now(&mut self, slot: u32, token: &str, by: By) {
        let shared = Arc::clone(&self.context.shared);
        let Some(auth) = &shared.config.auth else { return };
        let proof = shared.prove(auth, token, |kid| Some(shared.asking.find_key(kid)));
        self.conclude(slot, by, proof);
    }

    fn conclude(&mut self, slot: u32, by: By, proof: Proof) {
        match proof {
            Proof::User(user) => self.exchange(slot, *user, by),
            Proof::None(Distrust::Revoked) => self.refuse(slot, by, RefreshError::Revoked),
            Proof::None(Distrust::Failure(_)) => self.refuse(slot, by, RefreshError::Invalid),
            Proof::Unsaid | Proof::Missing(_) => self.refuse(slot, by, RefreshError::Unavailable),
        }
    }

    fn exchange(&mut self, slot: u32, user: User, by: By) {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return };
        if !peer.is_of(&user.claims.sub) {
            return self.refuse(slot, by, RefreshError::OtherUser);
        }
        let ended = match peer.exchange(&user.claims, user.acl) {
            true => self.end_topics(&peer),
            false => IndexSet::default(),
        };
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let expires_at = connection.renew(user.expires, context);
        context.counters.refreshed.add(1);
        connection.tell(&envelope::auth_refreshed(expires_at), context);
        if !ended.is_empty() {
            let topics: Vec<Box<str>> = ended.into_iter().collect();
            context.counters.topics_ended.add(topics.len() as u64);
            connection.tell(&envelope::topics_ended(&topics), context);
            let event = json!({ "topics": topics, "refused": [], "reason": "not_allowed" }).to_string();
            context.event(connection.stream(), Kind::Unsubscribe, peer.id, event.as_bytes());
        }
        // Whoever has revoked it since it was believed has looked at the connection too early.
        if context.shared.is_revoked(&peer) {
            connection.close_after(CloseCode::UNAUTHORIZED, "Token revoked", context);
        }
        if let By::Host(told) = by {
            told.tell(Ok(Refreshed { expires_at }));
        }
    }

    /// Ends what a connection holds and may not have any more: subscriptions, patterns by their own text, memberships. Returns the
    /// names.
    fn end_topics(&mut self, peer: &Arc<Peer>) -> IndexSet<Box<str>, foldhash::fast::RandomState> {
        let shared = Arc::clone(&self.context.shared);
        let acl = peer.acl();
        let allows = |name: &str| acl.as_ref().is_none_or(|acl| acl.allows(name));
        let (mut left, mut patterns) = (Vec::new(), false);
        let names: Vec<Box<str>> = {
            let mut details = peer.details.lock();
            if let Some(extras) = &mut details.extras {
                left.extend(extras.groups.extract_if(.., |(entry, _)| !allows(&entry.name)));
            }
            let held = details.topics.iter().flat_map(|topics| topics.iter());
            let held = held.inspect(|entry| patterns |= entry.is_pattern);
            held.filter(|entry| !allows(&entry.name)).map(|entry| entry.name.clone()).collect()
        };
        // Also where the subscription is on its way still, and will not be allowed.
        shared.vanish_where_denied(peer);
        if !names.is_empty() {
            self.unsubscribe(peer.id, Some(&names));
        }
        let mut ended: IndexSet<_, _> = names.into_iter().collect();
        for (entry, group) in left {
            if entry.leave_group(&group, peer.id) {
                shared.give_back(peer, &entry.name);
            }
            shared.topics.sweep(&entry);
            ended.insert(entry.name.clone());
        }
        if patterns {
            // What they find may be another part of the same topics.
            self.topics.rights_exchanged();
        }
        ended
    }

    fn refuse(&mut self, slot: u32, by: By, error: RefreshError) {
        self.context.counters.refresh_failures.add(1);
        if let By::Host(told) = by {
            return told.tell(Err(error));
        }
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        // What is nobody's fault, and costs nothing to refuse, is not held against it.
        let counts = !matches!(error, RefreshError::Busy | RefreshError::Unavailable);
        let closes = counts && connection.peer().fail_refresh();
        connection.tell(&envelope::refresh_error(failure(error), closes), context);
        if closes {
            connection.close_after(CloseCode::UNAUTHORIZED, "Too many failed refreshes", context);
        }
    }
}

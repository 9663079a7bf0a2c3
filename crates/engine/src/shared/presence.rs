//! Presence as connections make it: who comes, changes and goes, and who is told. A change, its version, its announcement and its
//! event are one step under the lock of the topic's members, so that all who hear of a topic hear the same order. Called from the
//! host's threads and from shards.
//!
//! A connection is present only where it is subscribed, or about to be: presence changes where a subscription's command is given,
//! under the lock of the connection's details, not where a shard applies it. Locks are taken in the order details, members.

use std::sync::Arc;

use wse_protocol::envelope::{PresenceChange, presence, presence_payload};

use super::Shared;
use crate::id::ConnId;
use crate::inbound::{Batch, Kind};
use crate::metrics::bump;
use crate::presence::{Expired, Gauges, Joined, Left, Limits, Members, Refused};
use crate::registry::{Details, Peer};
use crate::topics::TopicEntry;

/// Bytes an announcement has beside its topic, its user and its data.
const FRAME_BYTES: usize = 96;

/// Where a connection's user is present after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present {
    /// Topics they are present on by this connection, those they were on before included.
    pub topics: usize,
    /// Topics they are not, or with their data of before.
    pub refused: usize,
    /// Why, of the first of those.
    pub why: Option<Refused>,
    /// Bytes that were published for it, to each interested shard.
    pub bytes: usize,
}

impl Present {
    fn refuse(&mut self, why: Refused, topics: usize) {
        self.refused += topics;
        self.why.get_or_insert(why);
    }
}

/// A connection that is present somewhere no more.
#[derive(Clone)]
pub(crate) struct Leaver {
    pub(crate) topic: Arc<TopicEntry>,
    pub(crate) user: Arc<str>,
}

/// What is to be told of one topic, in order.
struct Told<'a> {
    topic: &'a TopicEntry,
    texts: Vec<String>,
    events: Batch,
    /// Events are thrown away.
    discards: bool,
    gauges: &'a Gauges,
}

impl Told<'_> {
    fn add(&mut self, change: PresenceChange, user: &str, data: &str) {
        let (kind, counter) = match change {
            PresenceChange::Join => (Some(Kind::PresenceJoin), &self.gauges.joins),
            PresenceChange::Leave => (Some(Kind::PresenceLeave), &self.gauges.leaves),
            PresenceChange::Update => (None, &self.gauges.updates),
        };
        bump(counter);
        if let Some(kind) = kind.filter(|_| !self.discards) {
            let payload = presence_payload(&self.topic.name, user, data);
            self.events.push(kind, ConnId::NOBODY, payload.as_bytes());
        }
        self.texts.push(presence(change, &self.topic.name, user, data));
    }
}

impl Shared {
    /// Makes the user of a connection present on topics it is being subscribed to, patterns left out. `subscribe` gives the command
    /// that subscribes it; it is called in any case, before anybody is told. `data`: JSON text of an object; `None`: they are too large.
    pub(crate) fn appear(
        &self,
        peer: &Peer,
        topics: &[Arc<TopicEntry>],
        data: Option<&str>,
        subscribe: impl FnOnce(),
    ) -> Present {
        let mut present = Present::default();
        let names = || topics.iter().filter(|topic| !topic.is_pattern);
        // Nothing is copied before it is known to be small enough.
        let admitted = match (self.presence.config(), data) {
            (None, _) => Err(Refused::Off),
            (Some(config), Some(data)) if data.len() <= config.max_data => Ok((config, data)),
            (Some(_), _) => Err(Refused::TooLarge),
        };
        let mut details = peer.details.lock();
        subscribe();
        let user = details.extras.as_ref().and_then(|extras| extras.user.clone());
        let admitted = admitted.and_then(|admitted| Ok((admitted, user.ok_or(Refused::NoUser)?)));
        let ((config, data), user) = match admitted {
            // Gone meanwhile: its shard finds the subscription void.
            _ if details.gone => return present,
            Ok(admitted) => admitted,
            Err(why) => {
                let refused = names().count();
                (0..refused).for_each(|_| self.presence.gauges.refused(why));
                present.refuse(why, refused);
                return present;
            }
        };
        let (data, limits) = (Arc::<str>::from(data), Limits { members: config.max_members });
        let held = details.extras.get_or_insert_default().present.get_or_insert_default();
        for topic in names() {
            let size = FRAME_BYTES + topic.name.len() + user.len() + data.len();
            let joined = if held.contains_key(&topic.id) {
                self.say_again(topic, &user, &data, size)
            } else if self.is_crammed(size) {
                Err(Refused::Overloaded)
            } else {
                self.join(topic, &user, &data, limits)
            };
            match joined {
                Ok(told) => {
                    held.insert(topic.id, Arc::clone(topic));
                    present.topics += 1;
                    present.bytes += if told { size } else { 0 };
                }
                Err(why) => {
                    self.presence.gauges.refused(why);
                    present.refuse(why, 1);
                }
            }
        }
        if held.is_empty() {
            forget(&mut details);
        }
        present
    }

    /// One more connection of `user` on a topic; whether anybody was told.
    fn join(&self, topic: &Arc<TopicEntry>, user: &Arc<str>, data: &Arc<str>, limits: Limits) -> Result<bool, Refused> {
        self.change(topic, |members, told| {
            let change = match members.join(user, data, limits, &self.presence.versions) {
                Joined::Full => return Err(Refused::Full),
                Joined::Silent => return Ok(false),
                Joined::New => PresenceChange::Join,
                Joined::Updated => PresenceChange::Update,
            };
            told.add(change, user, data);
            Ok(true)
        })
    }

    /// The data of a user who is on a topic by the connection that says so; whether anybody was told: others than before are, as
    /// an announcement of `size` bytes.
    fn say_again(&self, topic: &Arc<TopicEntry>, user: &str, data: &Arc<str>, size: usize) -> Result<bool, Refused> {
        self.change(topic, |members, told| {
            let changes = !members.has(user, data);
            if changes && self.is_crammed(size) {
                return Err(Refused::Overloaded);
            }
            let tells = members.set(user, data, &self.presence.versions) && changes;
            if tells {
                told.add(PresenceChange::Update, user, data);
            }
            Ok(tells)
        })
    }

    /// Other data on every topic a connection is present on; how many those are. `None`: it is present on none.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub(crate) fn update_presence(&self, peer: &Peer, data: &str) -> Result<Option<usize>, Refused> {
        let config = self.presence.config().ok_or(Refused::Off)?;
        if data.len() > config.max_data {
            self.presence.gauges.refused(Refused::TooLarge);
            return Err(Refused::TooLarge);
        }
        let details = peer.details.lock();
        let Some(Details { extras: Some(extras), .. }) = Some(&*details) else { return Ok(None) };
        let (Some(user), Some(held)) = (&extras.user, &extras.present) else { return Ok(None) };
        let size = |topic: &TopicEntry| FRAME_BYTES + topic.name.len() + user.len() + data.len();
        if self.is_crammed(held.values().map(|topic| size(topic)).sum()) {
            self.presence.gauges.refused(Refused::Overloaded);
            return Err(Refused::Overloaded);
        }
        let data = Arc::from(data);
        for topic in held.values() {
            self.change(topic, |members, told| {
                if members.set(user, &data, &self.presence.versions) {
                    told.add(PresenceChange::Update, user, &data);
                }
            });
        }
        Ok(Some(held.len()))
    }

    /// Ends the presence of a connection on these topics (`None` = all), at once: it has been unsubscribed. `unsubscribe` gives the
    /// command that does that; it is called in any case, before anybody is told.
    pub(crate) fn vanish<'a>(
        &self,
        peer: &Peer,
        names: Option<impl Iterator<Item = &'a str>>,
        unsubscribe: impl FnOnce(),
    ) {
        let mut details = peer.details.lock();
        unsubscribe();
        let Some(user) = details.extras.as_ref().and_then(|extras| extras.user.clone()) else { return };
        let Some(held) = details.extras.as_mut().and_then(|extras| extras.present.as_mut()) else { return };
        let topics: Vec<_> = match names {
            None => std::mem::take(&mut **held).into_values().collect(),
            Some(names) => names.filter_map(|name| held.swap_remove(&self.topics.get(name)?.id)).collect(),
        };
        if held.is_empty() {
            forget(&mut details);
        }
        self.depart(topics.into_iter().map(|topic| Leaver { topic, user: Arc::clone(&user) }).collect(), None);
    }

    /// Ends the presence of a connection wherever its ACL does not let it be: that is another one now.
    pub(crate) fn vanish_where_denied(&self, peer: &Peer) {
        let denied: Vec<Arc<TopicEntry>> = {
            let details = peer.details.lock();
            let held = details.extras.as_ref().and_then(|extras| extras.present.as_ref());
            let topics = held.into_iter().flat_map(|held| held.values());
            topics.filter(|topic| !peer.allows(&topic.name)).map(Arc::clone).collect()
        };
        if !denied.is_empty() {
            self.vanish(peer, Some(denied.iter().map(|topic| &*topic.name)), || {});
        }
    }

    /// Takes out connections that are gone, a topic's all at once. `until`: whose last it was has a grace until then, milliseconds of
    /// uptime. Returns those whose grace is to be looked at.
    pub(crate) fn depart(&self, leavers: Vec<Leaver>, until: Option<u64>) -> Vec<Leaver> {
        let mut waiting = Vec::new();
        self.change_all(leavers, |leaver, members, told| match members.leave(&leaver.user, until) {
            Left::Gone(data) => told.add(PresenceChange::Leave, &leaver.user, &data),
            Left::Waits => waiting.push(leaver.clone()),
            Left::Silent => {}
        });
        waiting
    }

    /// Takes out those who have not come back by `now`, milliseconds of uptime; returns those to be looked at later, and when.
    pub(crate) fn expire(&self, leavers: Vec<Leaver>, now: u64) -> Vec<(u64, Leaver)> {
        let mut waiting = Vec::new();
        self.change_all(leavers, |leaver, members, told| match members.expire(&leaver.user, now) {
            Expired::Gone(data) => told.add(PresenceChange::Leave, &leaver.user, &data),
            Expired::Waits(until) => waiting.push((until, leaver.clone())),
            Expired::Silent => {}
        });
        waiting
    }

    /// Changes the members of all topics these leave, those of a topic in one step and in their order.
    fn change_all(&self, mut leavers: Vec<Leaver>, mut act: impl FnMut(&Leaver, &mut Members, &mut Told<'_>)) {
        // A stable sort.
        leavers.sort_by_key(|leaver| leaver.topic.id);
        for same in leavers.chunk_by(|one, other| one.topic.id == other.topic.id) {
            let topic = &same[0].topic;
            self.change(topic, |members, told| same.iter().for_each(|leaver| act(leaver, members, told)));
            self.topics.sweep(topic);
        }
    }

    /// Bytes the announcements of so many leavers may have.
    pub(crate) fn leaver_bytes(&self) -> usize {
        FRAME_BYTES + self.presence.config().map_or(0, |config| config.max_data)
    }

    /// Changes the members of a topic, and tells everybody what was to be told before anybody else may change them.
    fn change<T>(&self, topic: &Arc<TopicEntry>, act: impl FnOnce(&mut Members, &mut Told<'_>) -> T) -> T {
        let discards = self.config.discard_inbound;
        let gauges = &self.presence.gauges;
        let mut told = Told { topic, texts: Vec::new(), events: Batch::default(), discards, gauges };
        let mut slot = topic.members.lock();
        let members = slot.get_or_insert_default();
        let before = members.size();
        let out = act(members, &mut told);
        gauges.shift(before, members.size());
        if members.is_empty() {
            *slot = None;
        }
        if !told.texts.is_empty() {
            self.tell(topic, told);
        }
        drop(slot);
        out
    }

    fn tell(&self, topic: &Arc<TopicEntry>, told: Told<'_>) {
        let texts: Vec<&str> = told.texts.iter().map(String::as_str).collect();
        // Who could not take it was asked before; what is said of who leaves may go beyond, as commands do.
        let _ = self.announce(topic, &texts);
        if !told.events.is_empty() {
            self.inbound.tell(topic.id, told.events);
        }
    }
}

/// A connection that is present nowhere has no list.
fn forget(details: &mut Details) {
    if let Some(extras) = &mut details.extras {
        extras.present = None;
    }
}

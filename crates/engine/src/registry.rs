//! Every open connection as the other threads may see it: what is needed to answer a call without asking its shard.
//! Never iterated to deliver anything.

mod paths;
mod token;
mod users;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};
use std::task::Wake;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use wse_protocol::topic::Acl;

use crate::flow::{ReplayRate, TokenBucket};
use crate::id::ConnId;
use crate::liveness::Liveness;
use crate::ready::ReadyQueue;
use crate::tokens::Credential;
use crate::topics::{Holdings, Presences, Readiness, TopicEntry};
use paths::Paths;
use users::Users;

/// What a connection speaks, settled by its upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// WSE in JSON.
    Json,
    /// WSE with `?format=msgpack`.
    Msgpack,
    /// No WSE, only RFC 6455.
    Raw,
}

/// It has said nothing of WSE yet.
const SILENT: u8 = 0;
/// It talks WSE: it has said something the engine answers, or asked for msgpack.
const TALKS: u8 = 1;
/// It has said `client_hello`: events for it may be compressed.
const GREETED: u8 = 2;

/// In [`Peer::queue`]: above the congestion mark. The other bits are the weight of the queue, halved.
const CONGESTED: u32 = 1;

/// Who came in, as its upgrade said.
pub(crate) struct Origin {
    /// The path of the request's target, without its query.
    pub(crate) path: String,
    /// The address it came from.
    pub(crate) address: IpAddr,
    /// It spoke TLS, whoever ended that.
    pub(crate) secure: bool,
    /// The user its token names, when the engine authenticates.
    pub(crate) user: Option<String>,
    /// The subprotocol that was agreed on.
    pub(crate) subprotocol: Option<Arc<str>>,
    /// JSON text the host keeps with it.
    pub(crate) data: Option<Box<str>>,
    /// What is kept of its token, when the engine authenticates.
    pub(crate) credential: Option<Box<Credential>>,
}

/// The shared face of one connection. Waking it has its shard serve it: an idle connection needs no waker of its own.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: ConnId,
    /// UUIDv7, the connection's name on the wire.
    pub(crate) uuid: uuid::Uuid,
    pub(crate) speech: Speech,
    /// How much of WSE it has said. Set by its shard.
    talk: AtomicU8,
    /// What it is owed, and whether that is too much: then queue groups skip it if they can. Set by its shard.
    queue: AtomicU32,
    /// A Close is queued or sent: nothing reaches it any more.
    closing: AtomicBool,
    /// Where its shard finds it when its socket can go on.
    ready: Arc<ReadyQueue>,
    /// It is there.
    is_ready: AtomicBool,
    /// What it may subscribe to and receive; `None` = anything. The one place: checks always see the newest.
    acl: RwLock<Option<Arc<Acl>>>,
    /// What it holds of topics, patterns and groups included.
    pub(crate) holdings: Holdings,
    /// What is rarely needed, so that an idle connection stays small.
    pub(crate) details: Mutex<Details>,
}

/// Parts of a [`Peer`] that most connections never fill.
#[derive(Debug, Default)]
pub(crate) struct Details {
    /// Set once the shard has let the connection go: nothing may be added any more.
    pub(crate) gone: bool,
    /// It came by TLS.
    secure: bool,
    /// The number of its path; 0: it is among the extras.
    path: u16,
    /// Its address, unless one of IPv6 is among the extras.
    address: [u8; 4],
    pub(crate) bucket: Option<Box<TokenBucket>>,
    /// What it is subscribed to, as its shard keeps it. A policy per subscription (filter, conflation) will stand beside the topic.
    #[expect(clippy::box_collection, reason = "a pointer's place in who subscribes to nothing")]
    pub(crate) topics: Option<Box<Vec<Arc<TopicEntry>>>>,
    /// What nearly none has.
    pub(crate) extras: Option<Box<Extras>>,
}

/// What nearly no [`Peer`] has.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Queue groups the connection is a member of: their topics and names.
    pub(crate) groups: Vec<(Arc<TopicEntry>, Box<str>)>,
    /// Topics its user is present on by it, by their ids.
    pub(crate) present: Option<Box<Presences>>,
    /// The subprotocol its upgrade agreed on.
    subprotocol: Option<Arc<str>>,
    /// The user its token names, or its host.
    pub(crate) user: Option<Arc<str>>,
    /// JSON text its host keeps with it.
    data: Option<Arc<str>>,
    /// What may be replayed to it, once something was.
    replay_rate: Option<Box<ReplayRate>>,
    /// What is kept of its token.
    credential: Option<Box<Credential>>,
    /// How often what it may have has become something else.
    rights: u32,
    /// Where it comes from, as far as [`Details`] has no place for it.
    far: Option<Box<Far>>,
}

/// A path that is not kept for all, or an address of IPv6.
#[derive(Debug, Default)]
struct Far {
    path: Box<str>,
    address: Option<Ipv6Addr>,
}

/// A connection as its host asks about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its id on the wire, a UUIDv7.
    pub uuid: uuid::Uuid,
    /// The user its token names, or its host; `None` where neither does.
    pub user: Option<Arc<str>>,
    /// JSON text its host has given it.
    pub data: Option<Arc<str>>,
    /// The path of its request, without the query.
    pub path: Box<str>,
    /// Where it came from.
    pub address: IpAddr,
    /// It speaks TLS, with the engine or with the host that handed it over; a proxy in front may have ended another.
    pub secure: bool,
    /// When it was opened, Unix milliseconds.
    pub connected_ms: u64,
    /// The subprotocol its upgrade agreed on.
    pub subprotocol: Option<Arc<str>>,
    /// Bytes that wait for its socket, rounded up to an even number.
    pub queued_bytes: u64,
    /// Names and patterns its shard has subscribed it to.
    pub topics: Vec<Box<str>>,
    /// Queue groups it is a member of: their topics and names.
    pub groups: Vec<(Box<str>, Box<str>)>,
}

impl Peer {
    pub(crate) fn new(
        id: ConnId,
        uuid: uuid::Uuid,
        speech: Speech,
        acl: Option<Arc<Acl>>,
        ready: &Arc<ReadyQueue>,
    ) -> Self {
        Self {
            id,
            uuid,
            talk: AtomicU8::new(if speech == Speech::Msgpack { TALKS } else { SILENT }),
            speech,
            queue: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            ready: Arc::clone(ready),
            is_ready: AtomicBool::new(false),
            acl: RwLock::new(acl),
            holdings: Holdings::default(),
            details: Mutex::default(),
        }
    }

    /// It has said something of WSE; `hello`: its `client_hello`.
    pub(crate) fn note_talk(&self, hello: bool) {
        let said = if hello { GREETED } else { TALKS };
        if self.talk.load(Relaxed) < said {
            self.talk.store(said, Relaxed);
        }
    }

    /// Notes what its queue weighs, bytes, and whether that is above the congestion mark.
    pub(crate) fn note_queue(&self, weight: usize, congested: bool) {
        let weight = u32::try_from(weight.div_ceil(2)).unwrap_or(u32::MAX).min(u32::MAX >> 1);
        let queue = weight << 1 | u32::from(congested);
        if self.queue.load(Relaxed) != queue {
            self.queue.store(queue, Relaxed);
        }
    }

    /// The subprotocol its upgrade agreed on.
    pub(crate) fn subprotocol(&self) -> Option<Arc<str>> {
        self.details.lock().extras.as_ref()?.subprotocol.clone()
    }

    /// The user its token, or its host, names.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.details.lock().extras.as_ref()?.user.clone()
    }

    /// Whether it has said `client_hello`.
    pub(crate) fn is_greeted(&self) -> bool {
        self.talk.load(Relaxed) >= GREETED
    }

    /// Whether it has said anything of WSE.
    pub(crate) fn talks_wse(&self) -> bool {
        self.talk.load(Relaxed) >= TALKS
    }

    /// Whether its ACL lets it have `topic`.
    pub(crate) fn allows(&self, topic: &str) -> bool {
        self.acl.read().as_ref().is_none_or(|acl| acl.allows(topic))
    }

    /// Whether something may be replayed to it at `now`, milliseconds since the start.
    pub(crate) fn may_replay(&self, now: u64) -> bool {
        let mut details = self.details.lock();
        let rate = details.extras.as_mut().and_then(|extras| extras.replay_rate.as_mut());
        rate.is_none_or(|rate| rate.allows(now))
    }

    /// Changes what may be, of `per_second` bytes.
    pub(crate) fn change_replay_rate(&self, per_second: u64, now: u64, change: impl FnOnce(&mut ReplayRate)) {
        let mut details = self.details.lock();
        let rate = &mut details.extras.get_or_insert_default().replay_rate;
        change(rate.get_or_insert_with(|| Box::new(ReplayRate::new(per_second, now))));
    }

    /// From here on nothing reaches it.
    pub(crate) fn begin_close(&self, liveness: &Liveness) {
        self.closing.store(true, Relaxed);
        liveness.close(self.id);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Its shard has taken it from the queue of those that are ready: from here on it may get there again.
    pub(crate) fn begin_turn(&self) {
        self.is_ready.store(false, Release);
    }

    /// Whether a queue group may give it a publication of `topic`: not at all, if it must, or gladly.
    pub(crate) fn readiness(&self, topic: &str) -> Readiness {
        if self.is_closing() || !self.allows(topic) {
            Readiness::Never
        } else if self.queue.load(Relaxed) & CONGESTED != 0 {
            Readiness::Busy
        } else {
            Readiness::Ready
        }
    }
}

impl Wake for Peer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_ready.swap(true, AcqRel) {
            self.ready.push(self.id);
        }
    }
}

/// Connection id -> peer, and user -> connections.
pub(crate) struct Registry {
    peers: DashMap<u64, Arc<Peer>, foldhash::fast::RandomState>,
    users: Users,
    paths: Paths,
    /// Shared with the hosts.
    liveness: Arc<Liveness>,
}

impl Registry {
    pub(crate) fn new(liveness: Arc<Liveness>) -> Self {
        Self { peers: DashMap::default(), users: Users::default(), paths: Paths::default(), liveness }
    }

    pub(crate) fn insert(&self, peer: Arc<Peer>, origin: Origin) {
        self.note_origin(&peer, origin);
        self.liveness.open(peer.id);
        self.peers.insert(peer.id.as_u64(), peer);
    }

    /// Most connections come from an address of IPv4 by a path that others come by too: they fill no extras.
    fn note_origin(&self, peer: &Peer, origin: Origin) {
        let Origin { path, address, secure, user, subprotocol, data, credential } = origin;
        let mut details = peer.details.lock();
        details.secure = secure;
        let number = self.paths.number(&path);
        details.path = number.unwrap_or(0);
        let address = match address.to_canonical() {
            IpAddr::V4(address) => {
                details.address = address.octets();
                None
            }
            IpAddr::V6(address) => Some(address),
        };
        let far = (number.is_none() || address.is_some()).then(|| {
            let path = if number.is_none() { path.into() } else { Box::default() };
            Box::new(Far { path, address })
        });
        let user = user.map(|user| self.users.add(&user, peer.id));
        if far.is_some() || user.is_some() || subprotocol.is_some() || data.is_some() || credential.is_some() {
            let data = data.map(Arc::from);
            details.extras = Some(Box::new(Extras { subprotocol, user, data, credential, far, ..Extras::default() }));
        }
    }

    pub(crate) fn remove(&self, id: ConnId) {
        if let Some((_, peer)) = self.peers.remove(&id.as_u64()) {
            self.liveness.close(id);
            let user = peer.details.lock().extras.as_ref().and_then(|extras| extras.user.clone());
            if let Some(user) = user {
                self.users.remove(&user, id);
            }
        }
    }

    /// The connections a verified user has, in no order.
    pub(crate) fn connections_of(&self, user: &str) -> Vec<ConnId> {
        self.users.of(user)
    }

    /// What is known of a connection. `None`: nobody has this id.
    pub(crate) fn info(&self, id: ConnId) -> Option<ConnectionInfo> {
        let peer = self.get(id)?;
        let details = peer.details.lock();
        if details.gone {
            return None;
        }
        let extras = details.extras.as_deref();
        let (path, address) = self.origin(&details);
        let (user, subprotocol) =
            extras.map_or((None, None), |extras| (extras.user.clone(), extras.subprotocol.clone()));
        let data = extras.and_then(|extras| extras.data.clone());
        let groups = extras.map(|extras| extras.groups.clone()).unwrap_or_default();
        let topics = details.topics.as_deref().cloned().unwrap_or_default();
        let secure = details.secure;
        // The shard waits for this lock; names are copied without it.
        drop(details);
        let (secs, nanos) = peer.uuid.get_timestamp().map_or((0, 0), |time| time.to_unix());
        Some(ConnectionInfo {
            uuid: peer.uuid,
            user,
            data,
            path,
            address,
            secure,
            connected_ms: secs * 1000 + u64::from(nanos / 1_000_000),
            subprotocol,
            queued_bytes: u64::from(peer.queue.load(Relaxed) >> 1) * 2,
            topics: topics.iter().map(|entry| entry.name.clone()).collect(),
            groups: groups.into_iter().map(|(entry, group)| (entry.name.clone(), group)).collect(),
        })
    }

    /// What a new reader is told of a connection, open or not: the payload of `Kind::Adopt`, JSON.
    pub(crate) fn introduce(&self, peer: &Peer) -> String {
        let details = peer.details.lock();
        let (path, address) = self.origin(&details);
        let extras = details.extras.as_deref();
        let text = |text: Option<&Arc<str>>| text.map(|text| text.to_string());
        let (secs, nanos) = peer.uuid.get_timestamp().map_or((0, 0), |time| time.to_unix());
        serde_json::json!({
            "id": peer.uuid.hyphenated().to_string(),
            "user": text(extras.and_then(|extras| extras.user.as_ref())),
            "data": extras.and_then(|extras| serde_json::from_str::<serde_json::Value>(extras.data.as_deref()?).ok()),
            "path": path,
            "address": address,
            "secure": details.secure,
            "connectedAt": secs * 1000 + u64::from(nanos / 1_000_000),
            "protocol": text(extras.and_then(|extras| extras.subprotocol.as_ref())),
        })
        .to_string()
    }

    /// The path and the address it came with.
    fn origin(&self, details: &Details) -> (Box<str>, IpAddr) {
        let far = details.extras.as_deref().and_then(|extras| extras.far.as_deref());
        let path = self.paths.path(details.path).or_else(|| far.map(|far| far.path.clone()));
        let address = far.and_then(|far| far.address).map_or(IpAddr::V4(Ipv4Addr::from(details.address)), IpAddr::V6);
        (path.unwrap_or_default(), address)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<Arc<Peer>> {
        self.peers.get(&id.as_u64()).map(|peer| Arc::clone(&peer))
    }

    pub(crate) fn contains(&self, id: ConnId) -> bool {
        self.peers.contains_key(&id.as_u64())
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// All ids, in no order.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.peers.iter().map(|peer| *peer.key()).collect()
    }
}

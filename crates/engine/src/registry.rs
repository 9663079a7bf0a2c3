//! Every open connection as the other threads may see it: what is needed to answer a call without asking its shard.
//! Never iterated to deliver anything.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::task::Wake;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use wse_protocol::topic::Acl;

use crate::flow::TokenBucket;
use crate::id::ConnId;
use crate::liveness::Liveness;
use crate::ready::ReadyQueue;
use crate::topics::{Holdings, Readiness, TopicEntry};

/// What a connection speaks, settled by its upgrade.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Speech {
    /// No WSE, only RFC 6455.
    pub(crate) raw: bool,
    /// `?format=msgpack`.
    pub(crate) msgpack: bool,
}

/// The shared face of one connection. Waking it has its shard serve it: an idle connection needs no waker of its own.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: ConnId,
    /// UUIDv7, the connection's name on the wire.
    pub(crate) uuid: uuid::Uuid,
    pub(crate) speech: Speech,
    /// It has said `client_hello`: events for it may be compressed. Set by its shard.
    greeted: AtomicBool,
    /// It talks WSE: it has said something the engine answers, or asked for msgpack. Set by its shard.
    talks: AtomicBool,
    /// Its queue is above the congestion mark: queue groups skip it if they can.
    pub(crate) congested: AtomicBool,
    /// A Close is queued or sent: nothing reaches it any more.
    closing: AtomicBool,
    liveness: Arc<Liveness>,
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
    pub(crate) bucket: Option<Box<TokenBucket>>,
    /// What nearly none has.
    pub(crate) extras: Option<Box<Extras>>,
}

/// What nearly no [`Peer`] has.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Queue groups the connection is a member of: their topics and names.
    pub(crate) groups: Vec<(Arc<TopicEntry>, Box<str>)>,
    /// The subprotocol its upgrade agreed on.
    pub(crate) subprotocol: Option<Arc<str>>,
}

impl Peer {
    pub(crate) fn new(
        id: ConnId,
        uuid: uuid::Uuid,
        speech: Speech,
        acl: Option<Arc<Acl>>,
        liveness: &Arc<Liveness>,
        ready: &Arc<ReadyQueue>,
    ) -> Self {
        Self {
            id,
            uuid,
            greeted: AtomicBool::new(false),
            talks: AtomicBool::new(speech.msgpack),
            speech,
            congested: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            liveness: Arc::clone(liveness),
            ready: Arc::clone(ready),
            is_ready: AtomicBool::new(false),
            acl: RwLock::new(acl),
            holdings: Holdings::default(),
            details: Mutex::default(),
        }
    }

    /// It has said something of WSE; `hello`: its `client_hello`.
    pub(crate) fn note_talk(&self, hello: bool) {
        self.talks.store(true, Relaxed);
        if hello {
            self.greeted.store(true, Relaxed);
        }
    }

    /// Notes the subprotocol its upgrade agreed on, if it did on one.
    pub(crate) fn agree(&self, subprotocol: Option<Arc<str>>) {
        if subprotocol.is_some() {
            self.details.lock().extras.get_or_insert_default().subprotocol = subprotocol;
        }
    }

    /// The subprotocol its upgrade agreed on.
    pub(crate) fn subprotocol(&self) -> Option<Arc<str>> {
        self.details.lock().extras.as_ref()?.subprotocol.clone()
    }

    /// Whether it has said `client_hello`.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted.load(Relaxed)
    }

    /// Whether it has said anything of WSE.
    pub(crate) fn talks_wse(&self) -> bool {
        self.talks.load(Relaxed)
    }

    /// Whether its ACL lets it have `topic`.
    pub(crate) fn allows(&self, topic: &str) -> bool {
        self.acl.read().as_ref().is_none_or(|acl| acl.allows(topic))
    }

    pub(crate) fn set_acl(&self, acl: Option<Arc<Acl>>) {
        *self.acl.write() = acl;
    }

    /// From here on nothing reaches it.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Relaxed);
        self.liveness.close(self.id);
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
        } else if self.congested.load(Relaxed) {
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

/// Connection id -> peer.
#[derive(Default)]
pub(crate) struct Registry {
    peers: DashMap<u64, Arc<Peer>, foldhash::fast::RandomState>,
}

impl Registry {
    pub(crate) fn insert(&self, peer: Arc<Peer>) {
        peer.liveness.open(peer.id);
        self.peers.insert(peer.id.as_u64(), peer);
    }

    pub(crate) fn remove(&self, id: ConnId) {
        if let Some((_, peer)) = self.peers.remove(&id.as_u64()) {
            peer.liveness.close(id);
        }
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

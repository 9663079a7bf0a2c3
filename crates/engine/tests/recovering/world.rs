//! One life: an engine, its publishers, and clients on real sockets. Takes steps, and at the end holds all clients against what was
//! published.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use wse_engine::config::{Config, Recovery, RingPolicy};
use wse_engine::{ConnId, Outcome, Position, Settle, Subscribed, Unsettled};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::Opcode;
use wse_testkit::{DEADLINE, Event, Peer, PeerError, Request, Server, auth, config, recovery, token, wait_until};

use super::client::{Client, Truth};
use super::publishers::Publishers;
use super::{COVERED, PATTERN, PEERS, Step, TOPICS};

/// A narrow socket takes about as many bytes before its peer is slow.
const NARROW: usize = 4096;
/// Rounds in which a client that reads gets to the end of everything.
const ROUNDS: usize = 200;

/// A budget for what a connection is owed that nothing here uses up, bytes.
pub(crate) const ROOMY: usize = 16 << 20;

/// Of somebody who may have everything; read only where there are tokens.
fn bearer() -> Request {
    Request::default().field("Authorization", &format!("Bearer {}", token("ada", json!({}))))
}

/// How an engine is set up, and what its end is.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) rate: u64,
    /// Milliseconds.
    pub(crate) ttl: Option<u64>,
    pub(crate) memory_budget: usize,
    pub(crate) outbound: usize,
    pub(crate) ring: u32,
    pub(crate) max_messages: u32,
    pub(crate) shards: usize,
    /// Somebody holds all topics all the time, so that their epochs go on.
    pub(crate) held: bool,
    pub(crate) narrow: [bool; PEERS],
    /// Clients have tokens, and what they may have changes with a new one; else the host says it.
    pub(crate) tokens: bool,
    /// The engine is stopped in the middle of everything.
    pub(crate) stops: bool,
}

/// A request that is on its way: what was asked from where, and who will tell what became of it.
struct Asked {
    topics: BTreeMap<usize, Option<Position>>,
    told: Receiver<Result<Outcome, Unsettled>>,
}

/// One life.
pub(crate) struct World {
    life: Life,
    clients: Vec<Client>,
    links: Vec<Option<(Peer, ConnId)>>,
    /// Keeps epochs going and reads nothing.
    holder: Option<Peer>,
    /// Requests of connections that were cut.
    loose: Vec<Asked>,
    truth: Truth,
    marks: u64,
    publishers: Publishers,
    server: Server,
}

impl World {
    pub(crate) fn begin(life: &Life) -> Self {
        let ring = RingPolicy { size: life.ring, ttl: life.ttl.map(Duration::from_millis) };
        let recovery = Recovery {
            ring: Some(ring),
            memory_budget: life.memory_budget,
            max_messages: life.max_messages,
            replay_rate: life.rate,
            connection_replay_rate: life.rate,
            ..recovery()
        };
        let mut server = Server::start(Config {
            recovery: Some(recovery),
            auth: life.tokens.then(auth),
            max_outbound_bytes: life.outbound,
            shards: life.shards,
            ..config()
        });
        let holder = life.held.then(|| {
            let (peer, id) = server.connect_with(&bearer());
            server.subscribe(id, &TOPICS);
            peer
        });
        let publishers = Publishers::start(&server.engine);
        let mut world = Self {
            life: life.clone(),
            clients: (0..PEERS).map(|_| Client::new(life.outbound == ROOMY)).collect(),
            links: (0..PEERS).map(|_| None).collect(),
            holder,
            loose: Vec::new(),
            truth: Truth::default(),
            marks: 0,
            publishers,
            server,
        };
        (0..PEERS).for_each(|peer| world.connect(peer));
        world
    }

    pub(crate) fn take(&mut self, step: &Step) {
        match step {
            Step::Publish { topic, count, padding, except } => {
                let except = except.and_then(|peer| self.id(peer));
                self.publishers.publish(*topic, *count, *padding, except);
            }
            Step::Subscribe { peer, topics, recover } => {
                let positions = topics.iter().map(|topic| (*topic, self.clients[*peer].position(*topic)));
                let wanted = positions.map(|(topic, from)| (topic, from.filter(|_| *recover))).collect();
                let asked = self.ask(*peer, wanted);
                self.finish(*peer, asked);
            }
            Step::Unsubscribe { peer, topics } => {
                let Some(id) = self.id(*peer) else { return };
                let names: Vec<String> = topics.iter().map(|topic| TOPICS[*topic].to_owned()).collect();
                self.server.engine.unsubscribe(id, Some(&names));
                topics.iter().for_each(|topic| self.clients[*peer].leave(*topic));
            }
            Step::HoldPattern(peer) => {
                // Nobody who holds a pattern alone keeps an epoch going.
                let Some(id) = self.id(*peer).filter(|_| self.life.held) else { return };
                let answer = self.server.engine.subscribe(id, &[PATTERN.to_owned()], None);
                self.clients[*peer].pattern |= answer == Subscribed::Accepted(1);
                COVERED.into_iter().for_each(|topic| self.clients[*peer].excuse(topic));
            }
            Step::Cut { peer, asks } => self.cut(*peer, *asks),
            Step::Return(peers) => self.bring_back(peers),
            Step::Read { peer, frames } => {
                let _ = (0..*frames).all(|_| self.read(*peer).is_some());
            }
            Step::Deny { peer, topic, asks } => self.deny(*peer, *topic, *asks),
            Step::Allow(peer) => self.allow(*peer),
            Step::Rest(time) => std::thread::sleep(Duration::from_millis(*time)),
            Step::Crowd(count) => {
                let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(500));
                for n in 0..*count {
                    self.server.engine.broadcast(&format!("x:{n}"), &text);
                }
            }
        }
    }

    fn id(&self, peer: usize) -> Option<ConnId> {
        self.links[peer].as_ref().map(|(_, id)| *id)
    }

    fn connect(&mut self, peer: usize) {
        let address = self.server.address;
        let mut socket = if self.life.narrow[peer] {
            Peer::open_narrow(address, NARROW).upgraded(&bearer())
        } else {
            Peer::open(address).upgraded(&bearer())
        };
        socket.patience(Duration::from_millis(3));
        let id = loop {
            if let Event::Connect(id, _) | Event::AuthConnect(id, _) = self.server.events.event() {
                break id;
            }
        };
        self.links[peer] = Some((socket, id));
    }

    fn cut(&mut self, peer: usize, asks: bool) {
        if asks {
            let wanted = self.all_it_knows(peer);
            let asked = self.ask(peer, wanted);
            self.loose.extend(asked);
        }
        self.links[peer] = None;
        self.clients[peer].cut();
    }

    fn bring_back(&mut self, peers: &[usize]) {
        let gone: Vec<usize> = peers.iter().copied().filter(|peer| self.links[*peer].is_none()).collect();
        gone.iter().for_each(|peer| self.connect(*peer));
        let asked: Vec<_> = gone.iter().map(|peer| (*peer, self.ask(*peer, self.all_it_knows(*peer)))).collect();
        asked.into_iter().for_each(|(peer, asked)| self.finish(peer, asked));
    }

    fn all_it_knows(&self, peer: usize) -> BTreeMap<usize, Option<Position>> {
        let positions = (0..TOPICS.len()).map(|topic| (topic, self.clients[peer].position(topic)));
        positions.filter(|(_, from)| from.is_some()).collect()
    }

    /// Asks for topics from positions on. `None`: there is nobody to ask for, or nothing that it may have.
    ///
    /// The host asks here, and tells the client. A client that asks itself (`subscription_update`) would send that here, have no
    /// `told`, and find the reply among its frames in [`Self::read`]: the rest is the same.
    fn ask(&mut self, peer: usize, wanted: BTreeMap<usize, Option<Position>>) -> Option<Asked> {
        let id = self.id(peer)?;
        let topics: Vec<_> = wanted.iter().map(|(topic, from)| (TOPICS[*topic].to_owned(), *from)).collect();
        if topics.is_empty() {
            return None;
        }
        let (tell, told) = channel();
        let settle = Settle::new(move |outcome| drop(tell.send(outcome)));
        let (answer, refused) = self.server.engine.subscribe_with_recovery(id, &topics, settle);
        let refuses = |topic: usize| refused.iter().any(|(name, _)| name == TOPICS[topic]);
        let client = &mut self.clients[peer];
        let covered = |topic: usize| topics.len() == 1 && topics[0].1.is_some() && COVERED.contains(&topic);
        for topic in wanted.keys().copied().filter(|topic| !refuses(*topic)) {
            if !(client.pattern && covered(topic)) {
                client.held.insert(topic);
            }
        }
        matches!(answer, Subscribed::Accepted(1..)).then_some(Asked { topics: wanted, told })
    }

    /// Waits for what became of a request, and tells the client.
    fn finish(&mut self, peer: usize, asked: Option<Asked>) {
        let Some(Asked { topics, told }) = asked else { return };
        let outcome = told.recv_timeout(4 * DEADLINE).expect("an outcome").expect("an open connection");
        for (name, became) in outcome.topics {
            let topic = TOPICS.iter().position(|topic| **topic == *name).expect("a topic that was asked for");
            self.clients[peer].on_reply(topic, topics[&topic], became);
        }
    }

    /// Reads a frame, if one is there, and does what the client wants then. `Some`: the number of a mark, or 0.
    fn read(&mut self, peer: usize) -> Option<u64> {
        let (socket, _) = self.links[peer].as_mut()?;
        let frame = match socket.try_frame() {
            Ok(frame) if frame.close_code().is_none() => frame,
            Err(PeerError::Timeout) => return None,
            other => panic!("{other:?}"),
        };
        if frame.opcode != Opcode::Text {
            // The engine's ping.
            return Some(0);
        }
        let message: Value = serde_json::from_str(frame.text()).expect("JSON");
        if let Some(mark) = message["mark"].as_u64() {
            return Some(mark);
        }
        if matches!(message["t"].as_str(), Some("server_ready" | "auth_refreshed" | "subscription_update")) {
            // Its token's greeting, and the word that a new one is taken and has ended subscriptions.
            return Some(0);
        }
        let gap = self.clients[peer].on_frame(&message, &mut self.truth);
        if let Some((topic, from)) = gap.filter(|(topic, _)| self.clients[peer].holds(*topic)) {
            let asked = self.ask(peer, BTreeMap::from([(topic, Some(from))]));
            self.finish(peer, asked);
        }
        Some(0)
    }

    /// Sends a mark.
    fn mark(&mut self, peer: usize) -> u64 {
        self.marks += 1;
        if let Some(id) = self.id(peer) {
            self.server.engine.send(id, &format!(r#"{{"mark":{}}}"#, self.marks));
        }
        self.marks
    }

    /// Reads until a mark; one that was lost, because too much is owed, is sent again.
    fn read_until(&mut self, peer: usize, mark: u64) {
        let (first, mut waits) = (mark, 0);
        loop {
            match self.read(peer) {
                Some(mark) if mark >= first => return,
                Some(_) => waits = 0,
                None => {
                    waits += 1;
                    assert!(waits < 3000, "{peer} gets nothing any more");
                    if waits % 8 == 0 {
                        self.mark(peer);
                    }
                }
            }
        }
    }

    fn deny(&mut self, peer: usize, topic: usize, asks: bool) {
        let Some(id) = self.id(peer) else { return };
        let position = self.clients[peer].position(topic);
        let asked = if asks { self.ask(peer, BTreeMap::from([(topic, position)])) } else { None };
        let denied = self.clients[peer].denied.iter().copied().chain([topic]);
        let names: Vec<String> = denied.map(|topic| TOPICS[topic].to_owned()).collect();
        self.clients[peer].excuse(topic);
        self.permit(id, &names);
        let mark = self.mark(peer);
        self.finish(peer, asked);
        self.read_until(peer, mark);
        if self.life.tokens {
            self.clients[peer].leave(topic);
        }
        self.clients[peer].denied.insert(topic);
        self.clients[peer].excuse(topic);
    }

    fn allow(&mut self, peer: usize) {
        let Some(id) = self.id(peer) else { return };
        self.clients[peer].denied.clear();
        self.permit(id, &[]);
    }

    /// A connection may have all topics but these from now on.
    fn permit(&mut self, id: ConnId, denied: &[String]) {
        if !self.life.tokens {
            self.server.engine.set_topic_acl(id, &["*".to_owned()], denied).expect("an ACL");
            return;
        }
        let (tell, told) = channel();
        let next = token("ada", json!({ "wse_topics": { "allow": ["*"], "deny": denied } }));
        self.server.engine.refresh_token(id, &next, move |outcome| {
            let _ = tell.send(outcome);
        });
        told.recv_timeout(4 * DEADLINE).expect("an outcome").expect("an open connection, and a good token");
    }

    /// Everybody gets to the end of everything, or the engine stops and everybody is told.
    pub(crate) fn end(mut self) {
        if self.life.stops {
            self.stop();
        } else {
            self.publishers.settle();
            self.bring_back(&[0, 1, 2, 3]);
            (0..PEERS).for_each(|peer| self.allow(peer));
            self.catch_up();
        }
        for Asked { told, .. } in self.loose.drain(..) {
            assert!(told.recv_timeout(4 * DEADLINE).is_ok(), "whoever asked is told, whatever happens");
        }
        if !self.life.stops && self.life.ttl.is_some_and(|ttl| ttl < 25) {
            self.links.clear();
            self.holder = None;
            let left =
                || ["recovery_topic_count", "recovery_total_bytes", "topics"].map(|name| self.server.health(name));
            wait_until("nothing is kept of anything", || left() == [0; 3]);
        }
    }

    fn catch_up(&mut self) {
        let mut behind = Vec::new();
        for _ in 0..ROUNDS {
            (0..TOPICS.len()).for_each(|topic| self.publishers.publish(topic, 1, 0, None));
            self.publishers.settle();
            for peer in 0..PEERS {
                let mark = self.mark(peer);
                self.read_until(peer, mark);
            }
            let heads = TOPICS.map(|topic| self.server.engine.topic_position(topic));
            behind = (0..PEERS)
                .flat_map(|peer| (0..TOPICS.len()).map(move |topic| (peer, topic)))
                .filter(|(peer, topic)| self.clients[*peer].holds(*topic))
                .map(|(peer, topic)| (peer, topic, self.clients[peer].position(topic), heads[topic]))
                .filter(|(_, _, at, head)| at != head)
                .collect();
            if behind.is_empty() {
                for (topic, head) in heads.iter().enumerate().filter(|_| self.life.held) {
                    let offset = head.map(|head| head.offset);
                    assert_eq!(offset, Some(self.publishers.published(topic)), "{topic}: an offset each, and no other");
                }
                return;
            }
        }
        panic!("they never get to the end: {behind:?}");
    }

    fn stop(&mut self) {
        (0..TOPICS.len()).for_each(|topic| self.publishers.publish(topic, 8, 500, None));
        let asked: Vec<_> = (0..PEERS).map(|peer| self.ask(peer, self.all_it_knows(peer))).collect();
        self.server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        for (peer, asked) in asked.into_iter().enumerate() {
            let Some(Asked { topics, told }) = asked else { continue };
            let Ok(outcome) = told.recv_timeout(DEADLINE).expect("whoever asked is told that it is over") else {
                continue;
            };
            for (name, became) in outcome.topics {
                let topic = TOPICS.iter().position(|topic| **topic == *name).expect("a topic");
                self.clients[peer].on_reply(topic, topics[&topic], became);
            }
        }
        for (peer, link) in self.links.iter_mut().enumerate() {
            let Some((socket, _)) = link else { continue };
            socket.patience(DEADLINE);
            while let Ok(frame) = socket.try_frame()
                && frame.close_code().is_none()
            {
                let message: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
                if !message["tp"].is_null() {
                    self.clients[peer].on_frame(&message, &mut self.truth);
                }
            }
        }
    }
}

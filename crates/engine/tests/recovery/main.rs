//! Recovery through the whole engine: what was missed comes once and in order, or is declared missing.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use wse_engine::config::{Config, Recovery, RecoveryRule, RingPolicy};
use wse_engine::{ConnId, HistoryQuery, Outcome, Payloads, Position, Settle, Subscribed, TopicOutcome, Unsettled};
use wse_protocol::topic::Pattern;
use wse_testkit::{Peer, Server, config, recovery, wait_until};

mod memory;
mod rates;

const PATIENCE: Duration = Duration::from_secs(20);

fn with(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), ..config() }
}

type Wanted<'a> = (&'a str, Option<Position>);

fn ask(server: &Server, id: ConnId, topics: &[Wanted<'_>]) -> Receiver<Result<Outcome, Unsettled>> {
    let (tell, told) = channel();
    let topics: Vec<_> = topics.iter().map(|(name, from)| ((*name).to_owned(), *from)).collect();
    let settle = Settle::new(move |outcome| tell.send(outcome).unwrap());
    server.engine.subscribe_with_recovery(id, &topics, settle);
    told
}

/// Subscribes, and waits for what became of it.
fn recover(server: &Server, id: ConnId, topics: &[Wanted<'_>]) -> BTreeMap<String, TopicOutcome> {
    let outcome = ask(server, id, topics).recv_timeout(PATIENCE).unwrap().unwrap();
    outcome.topics.into_iter().map(|(name, topic)| (name.into(), topic)).collect()
}

fn position(server: &Server, topic: &str) -> Position {
    server.engine.topic_position(topic).unwrap()
}

fn offsets(peer: &mut Peer, count: usize) -> Vec<u64> {
    (0..count).map(|_| peer.json()["o"].as_u64().unwrap()).collect()
}

fn publish(server: &Server, topic: &str, count: usize) {
    for n in 0..count {
        server.engine.broadcast(topic, &format!(r#"{{"t":"tick","p":{n}}}"#));
    }
}

#[test]
fn a_publication_is_stamped_and_what_cannot_be_is_sent_as_it_is() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["a"]);
    server.engine.broadcast("a", r#"{"t":"tick","p":1}"#);
    let Position { epoch, offset } = position(&server, "a");
    assert_eq!(offset, 1);
    assert_eq!(peer.text(), format!(r#"{{"tp":"a","e":"{epoch:08x}","o":1,"c":"U","t":"tick","p":1}}"#));
    server.engine.broadcast("a", "plain");
    server.engine.publish("a", Payloads::Bytes(&[b"\x01"]), None);
    server.engine.publish("a", Payloads::Texts(&["[]", "{}"]), None);
    assert_eq!((peer.text(), peer.binary(), peer.text()), ("plain".into(), vec![1], "[]".into()));
    assert_eq!(peer.text(), format!(r#"{{"tp":"a","e":"{epoch:08x}","o":2}}"#), "none of them took an offset");
    server.engine.broadcast_all(r#"{"t":"all"}"#);
    server.engine.send(id, r#"{"t":"own"}"#);
    assert_eq!((peer.text(), peer.text()), (r#"{"c":"U","t":"all"}"#.into(), r#"{"t":"own"}"#.into()));
}

#[test]
fn who_comes_back_gets_what_it_missed_and_goes_on_live() {
    let mut server = Server::start(with(recovery()));
    let (peer, id) = server.connect();
    let start = recover(&server, id, &[("a", None), ("b", None)]);
    assert_eq!((start["a"].recovered, start["a"].position.unwrap().offset), (false, 0));
    publish(&server, "a", 3);
    drop(peer);
    server.events.disconnected(id);
    publish(&server, "a", 40);
    let (mut peer, id) = server.connect();
    let from = Position { offset: 3, ..start["a"].position.unwrap() };
    let again = recover(&server, id, &[("a", Some(from)), ("b", start["b"].position)]);
    assert_eq!(
        again["a"],
        TopicOutcome { position: Some(Position { offset: 43, ..from }), recovered: true, count: 40 }
    );
    assert_eq!((again["b"].recovered, again["b"].count), (true, 0), "nothing was missed");
    publish(&server, "a", 5);
    publish(&server, "b", 1);
    assert_eq!(offsets(&mut peer, 46), (4..=48).chain([1]).collect::<Vec<u64>>());
}

#[test]
fn what_is_not_kept_or_of_another_life_is_declared() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, id) = server.connect();
    publish(&server, "a", 300);
    let head = position(&server, "a");
    let from = |epoch, offset| ("a", Some(Position { epoch, offset }));
    for (asked, count) in [
        (from(head.epoch, 100), None),
        (from(head.epoch ^ 1, 299), None),
        (from(head.epoch, 301), None),
        (from(head.epoch, u64::MAX), None),
        (from(head.epoch, 300), Some(0)),
        (from(head.epoch, 290), Some(10)),
    ] {
        let found = recover(&server, id, &[asked]);
        let outcome = TopicOutcome { position: Some(head), recovered: count.is_some(), count: count.unwrap_or(0) };
        assert_eq!(found["a"], outcome, "{asked:?}");
    }
    assert_eq!(offsets(&mut peer, 10), (291..=300).collect::<Vec<u64>>());
    // More than may be replayed, though it is kept.
    let mut server = Server::start(with(Recovery { max_messages: 9, ..recovery() }));
    let (_peer, id) = server.connect();
    publish(&server, "a", 20);
    let head = position(&server, "a");
    for (missing, recovered) in [(9, true), (10, false)] {
        let from = Position { offset: head.offset - missing, ..head };
        assert_eq!(recover(&server, id, &[("a", Some(from))])["a"].recovered, recovered, "{missing}");
    }
}

/// Two publishers, all shards, and clients that come and go all the time: each sees one line without a hole.
#[test]
fn two_publishers_and_every_shard_agree_on_one_order() {
    let mut server = Server::start(Config {
        shards: 3,
        ..with(Recovery { max_messages: 100_000, ring: Some(RingPolicy { size: 100_000, ttl: None }), ..recovery() })
    });
    let peers: Vec<_> = (0..6).map(|_| server.connect()).collect();
    let firsts: Vec<_> =
        peers.iter().map(|(_, id)| recover(&server, *id, &[("a", None)])["a"].position.unwrap()).collect();
    let engine = &server.engine;
    let (mut orders, _peers): (Vec<Vec<(u64, String)>>, Vec<Peer>) = std::thread::scope(|scope| {
        for publisher in 0..2 {
            scope.spawn(move || {
                for n in 0..2000 {
                    let text = format!(r#"{{"t":"tick","p":"{publisher}:{n}"}}"#);
                    engine.broadcast("a", &text);
                }
            });
        }
        let readers: Vec<_> = peers
            .into_iter()
            .zip(&firsts)
            .map(|((mut peer, _), first)| {
                scope.spawn(move || {
                    let mut order = Vec::new();
                    while order.len() as u64 + first.offset < 4000 {
                        let message = peer.json();
                        order.push((message["o"].as_u64().unwrap(), message["p"].as_str().unwrap().to_owned()));
                    }
                    (order, peer)
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let first = orders.pop().unwrap();
    assert!(first.iter().zip(1..).all(|((offset, _), expected)| *offset == expected));
    assert!(orders.iter().all(|order| *order == first), "one order for all");
    for publisher in ["0:", "1:"] {
        let own: Vec<usize> = first.iter().filter_map(|(_, text)| text.strip_prefix(publisher)?.parse().ok()).collect();
        assert!(own.is_sorted() && own.len() == 2000, "the order of each publisher is kept");
    }
    let (mut late, id) = server.connect();
    assert_eq!(recover(&server, id, &[("a", Some(firsts[0]))])["a"].count, 4000);
    let replayed: Vec<_> = (0..4000)
        .map(|_| late.json())
        .map(|message| (message["o"].as_u64().unwrap(), message["p"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(replayed, first, "what is replayed is what was sent");
}

#[test]
fn recovery_while_others_publish_has_no_hole_and_no_repetition() {
    let mut server = Server::start(with(Recovery {
        max_messages: 10_000,
        ring: Some(RingPolicy { size: 10_000, ttl: None }),
        ..recovery()
    }));
    let (_first, id) = server.connect();
    let start = recover(&server, id, &[("a", None), ("b", None)])["a"].position.unwrap();
    let engine = std::sync::Arc::clone(&server.engine);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let publisher = std::thread::spawn(move || {
        let mut sent = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) && sent < 8000 {
            engine.broadcast("a", r#"{"t":"tick"}"#);
            engine.broadcast("b", r#"{"t":"tock"}"#);
            sent += 1;
            if sent % 8 == 0 {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
    });
    for _ in 0..30 {
        let (mut peer, id) = server.connect();
        let asked = ask(&server, id, &[("a", Some(start)), ("b", None)]);
        let outcome = asked.recv_timeout(PATIENCE).unwrap().unwrap();
        let place: BTreeMap<_, _> = outcome.topics.iter().map(|(name, topic)| (&**name, *topic)).collect();
        assert!(place["a"].recovered && !place["b"].recovered);
        let mut next = BTreeMap::from([("a", 1), ("b", place["b"].position.unwrap().offset + 1)]);
        let until = place["a"].position.unwrap().offset + 20;
        while next["a"] <= until.min(8000) {
            let message = peer.json();
            let (topic, offset) = (message["tp"].as_str().unwrap(), message["o"].as_u64().unwrap());
            assert_eq!(offset, next[topic], "{topic}");
            *next.get_mut(topic).unwrap() += 1;
        }
        drop(peer);
        server.events.disconnected(id);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    publisher.join().unwrap();
}

#[test]
fn groups_get_no_stamp_and_who_is_left_out_sees_no_hole() {
    let mut server = Server::start(with(recovery()));
    let (mut member, group) = server.connect();
    let (mut peer, id) = server.connect();
    let (mut other, other_id) = server.connect();
    server.engine.subscribe(group, &["a".to_owned()], Some("g"));
    server.subscribe(id, &["a"]);
    server.subscribe(other_id, &["a"]);
    publish(&server, "a", 1);
    let long = format!(r#"{{"t":"long","p":"{}"}}"#, "x".repeat(3000));
    server.engine.publish("a", Payloads::Texts(&[r#"{"t":"short"}"#, "no object", &long]), Some(id));
    publish(&server, "a", 1);
    assert_eq!(member.json(), serde_json::json!({ "c": "U", "t": "tick", "p": 0 }));
    assert_eq!(offsets(&mut peer, 1), [1]);
    for offset in [2, 3] {
        let epoch = format!("{:08x}", position(&server, "a").epoch);
        let skipped = serde_json::json!({ "tp": "a", "e": epoch, "o": offset, "c": "WSE", "t": "heartbeat", "p": {} });
        assert_eq!(peer.json(), skipped);
    }
    assert_eq!(offsets(&mut peer, 1), [4]);
    let heard: Vec<Value> = (0..2).map(|_| other.json()).collect();
    assert_eq!(heard[1]["t"], "short");
    assert_eq!((other.text(), offsets(&mut other, 2)), ("no object".into(), vec![3, 4]));
}

#[test]
fn what_a_slow_peer_lost_is_repaired_and_what_does_not_fit_is_declared() {
    let budget = 64 * 1024;
    let rings = Recovery { max_messages: 10_000, ring: Some(RingPolicy { size: 4096, ttl: None }), ..recovery() };
    let mut server = Server::start(Config { max_outbound_bytes: budget, ..with(rings) });
    let mut peer = Peer::open_narrow(server.address, 4096).upgraded(&wse_testkit::Request::default());
    let id = server.events.connected();
    let start = recover(&server, id, &[("a", None)])["a"].position.unwrap();
    let text = format!(r#"{{"t":"tick","p":"{}"}}"#, "x".repeat(2000));
    wait_until("frames are dropped", || {
        for _ in 0..64 {
            server.engine.broadcast("a", &text);
        }
        server.counter("wse_slow_consumer_drops_total") > 0
    });
    assert!(!recover(&server, id, &[("a", Some(start))])["a"].recovered, "it owes too much to be owed all that");
    peer.widen();
    // What it has got is a line with a hole at its end; from there on everything is replayed.
    let mut last = 0;
    peer.patience(Duration::from_millis(100));
    loop {
        let all_is_out = server.health("outbound_bytes") == 0;
        let Ok(frame) = peer.try_frame() else { if all_is_out { break } else { continue } };
        let message: Value = serde_json::from_str(frame.text()).unwrap();
        let offset = message["o"].as_u64().unwrap();
        assert_eq!(offset, last + 1, "what was lost is lost from the end");
        last = offset;
    }
    peer.patience(PATIENCE);
    let head = position(&server, "a");
    let from = Position { offset: head.offset - 10, ..head };
    assert!(last < head.offset);
    assert!(recover(&server, id, &[("a", Some(from))])["a"].recovered);
    server.engine.broadcast("a", &text);
    assert_eq!(offsets(&mut peer, 11), (head.offset - 9..=head.offset + 1).collect::<Vec<u64>>());
}

#[test]
fn who_is_gone_is_settled_and_refusals_are_told() {
    let mut server = Server::start(with(recovery()));
    let (peer, id) = server.connect();
    server.engine.set_topic_acl(id, &["ok*".into()], &[]).unwrap();
    let (tell, told) = channel();
    let topics =
        [("ok".to_owned(), None), ("no".to_owned(), None), ("b\u{1}d".to_owned(), None), ("ok".to_owned(), None)];
    let answer =
        server.engine.subscribe_with_recovery(id, &topics, Settle::new(move |outcome| tell.send(outcome).unwrap()));
    assert_eq!(answer.0, Subscribed::Accepted(2));
    assert_eq!(answer.1, [("no".into(), "not_allowed"), ("b\u{1}d".into(), "invalid_name")]);
    assert!(told.recv_timeout(PATIENCE).unwrap().is_ok());
    wait_until("repetitions are given back", || server.engine.topic_subscribers("ok") == 1);
    drop(peer);
    server.events.disconnected(id);
    assert_eq!(ask(&server, id, &[("ok", None)]).recv_timeout(PATIENCE).unwrap(), Err(Unsettled::Gone));
}

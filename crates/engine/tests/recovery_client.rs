//! Recovery as clients ask for it (`subscriptions: 'acl'`): the engine answers, and replay, reply and live frames are one sequence.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use wse_engine::Payloads;
use wse_engine::config::{Config, Recovery, Snapshots, Subscriptions};
use wse_protocol::topic::Pattern;
use wse_testkit::{Event, Peer, Server, config, recovery, wait_until};

fn with(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), subscriptions: Subscriptions::Acl, ..config() }
}

fn send(peer: &mut Peer, p: &Value) {
    peer.send_text(&json!({ "c": "WSE", "t": "subscription_update", "p": p }).to_string());
}

/// Reads up to the reply; what came before it, and its payload.
fn reply(peer: &mut Peer) -> (Vec<Value>, Value) {
    let mut before = Vec::new();
    loop {
        let mut message = peer.json();
        if message["t"] == "subscription_update" {
            return (before, message["p"].take());
        }
        before.push(message);
    }
}

fn offsets(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["o"].as_u64().unwrap()).collect()
}

fn publish(server: &Server, topic: &str, count: usize) {
    for n in 0..count {
        server.engine.broadcast(topic, &format!(r#"{{"t":"tick","p":{n}}}"#));
    }
}

fn subscribe(peer: &mut Peer, topics: &[&str]) -> Value {
    send(peer, &json!({ "action": "subscribe", "topics": topics }));
    let (before, reply) = reply(peer);
    assert_eq!(before, [] as [Value; 0]);
    reply
}

#[test]
fn who_comes_back_asks_itself_and_misses_nothing() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, id) = server.connect();
    let first = subscribe(&mut peer, &["a", "b"]);
    let epoch = first["recovery"]["a"]["epoch"].as_str().unwrap().to_owned();
    let start = json!({ "epoch": epoch, "offset": 0, "recovered": false, "count": 0 });
    assert_eq!(
        (&first["recovery"]["a"], &first["recoverable"], &first["recovered"]),
        (&start, &json!(true), &json!(false))
    );
    assert!(matches!(server.events.event(), Event::Subscribe(to, _) if to == id), "the host hears of it");
    publish(&server, "a", 3);
    assert_eq!(offsets(&(0..3).map(|_| peer.json()).collect::<Vec<_>>()), [1, 2, 3]);
    drop(peer);
    server.events.disconnected(id);
    publish(&server, "a", 30);
    let (mut peer, _) = server.connect();
    let positions = json!({ "a": { "epoch": epoch, "offset": 3 }, "b": first["recovery"]["b"] });
    send(&mut peer, &json!({ "action": "subscribe", "topics": ["a", "b"], "recover": true, "recovery": positions }));
    let (replayed, reply) = reply(&mut peer);
    assert_eq!(offsets(&replayed), (4..=33).collect::<Vec<u64>>());
    assert_eq!((&reply["success"], &reply["recovered"]), (&json!(true), &json!(true)));
    assert_eq!(reply["recovery"]["a"], json!({ "epoch": epoch, "offset": 33, "recovered": true, "count": 30 }));
    publish(&server, "a", 1);
    assert_eq!(peer.json()["o"], 34);
}

#[test]
fn malformed_positions_cost_their_topic_its_recovery_and_nothing_else() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, _) = server.connect();
    publish(&server, "a", 5);
    let epoch = format!("{:08x}", server.engine.topic_position("a").unwrap().epoch);
    for wrong in [
        json!(null),
        json!(7),
        json!([]),
        json!({}),
        json!({ "epoch": epoch }),
        json!({ "epoch": epoch, "offset": -1 }),
        json!({ "epoch": epoch, "offset": 1.5 }),
        json!({ "epoch": epoch, "offset": "1" }),
        json!({ "epoch": epoch, "offset": 6 }),
        json!({ "epoch": epoch, "offset": 1_u64 << 53 }),
        json!({ "epoch": epoch, "offset": u64::MAX }),
        json!({ "epoch": format!("0{epoch}"), "offset": 1 }),
        json!({ "epoch": "zzzzzzzz", "offset": 1 }),
        json!({ "epoch": 17, "offset": 1 }),
    ] {
        let asked = json!({ "action": "subscribe", "topics": ["a"], "recover": true, "recovery": { "a": wrong } });
        send(&mut peer, &asked);
        let (before, reply) = reply(&mut peer);
        assert_eq!((before.len(), &reply["success"], &reply["recovered"]), (0, &json!(true), &json!(false)), "{asked}");
        assert_eq!(
            reply["recovery"]["a"],
            json!({ "epoch": epoch, "offset": 5, "recovered": false, "count": 0 }),
            "{asked}"
        );
    }
    assert_eq!(server.engine.topic_subscribers("a"), 1);
}

/// A published client asks again with each frame behind the gap until it is answered.
#[test]
fn a_gap_is_filled_once_however_often_it_is_asked_for() {
    let mut server = Server::start(Config { shards: 1, max_outbound_bytes: 64 << 10, ..with(recovery()) });
    // Another one of the shard stands still, and loses all the while.
    let (_stalled, other) = server.connect();
    let large = "x".repeat(32 << 10);
    let (mut peer, _) = server.connect();
    subscribe(&mut peer, &["a", "p*"]);
    publish(&server, "a", 20);
    publish(&server, "px", 20);
    assert_eq!((0..40).map(|_| peer.json()).count(), 40);
    for topic in ["a", "px"] {
        let epoch = format!("{:08x}", server.engine.topic_position(topic).unwrap().epoch);
        let asked = json!({ "action": "subscribe", "topics": [topic], "recover": true,
            "recovery": { (topic): { "epoch": epoch, "offset": 12 } } });
        for _ in 0..100 {
            send(&mut peer, &asked);
            server.engine.send(other, &large);
        }
        let (replayed, first) = reply(&mut peer);
        assert_eq!((offsets(&replayed), &first["recovered"]), ((13..=20).collect::<Vec<u64>>(), &json!(true)));
        for _ in 1..100 {
            let (replayed, again) = reply(&mut peer);
            assert_eq!(
                (replayed.len(), &again["recovered"], &again["recovery"][topic]["count"]),
                (0, &json!(true), &json!(0))
            );
        }
    }
    assert!(server.counter("wse_slow_consumer_drops_total") > 0);
    assert_eq!(["a", "px"].map(|topic| server.engine.topic_subscribers(topic)), [1, 0]);
    assert_eq!(server.counter("wse_recovery_coalesced_total"), 198);
    assert_eq!(server.counter("wse_recovery_replayed_total"), 16);
}

/// A client that is in debt for its replay asks again meanwhile, and hears at once that it is on its way.
#[test]
fn a_gap_that_is_asked_for_again_is_paid_for_once() {
    let mut server = Server::start(with(Recovery { connection_replay_rate: 5_000, ..recovery() }));
    let (mut peer, _) = server.connect();
    subscribe(&mut peer, &["a"]);
    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat(1000));
    for _ in 0..20 {
        server.engine.broadcast("a", &text);
    }
    assert_eq!((0..20).map(|_| peer.json()).count(), 20);
    let epoch = format!("{:08x}", server.engine.topic_position("a").unwrap().epoch);
    let at = json!({ "a": { "epoch": epoch, "offset": 0 } });
    for _ in 0..8 {
        send(&mut peer, &json!({ "action": "subscribe", "topics": ["a"], "recover": true, "recovery": at }));
    }
    for n in 0..8 {
        let (replayed, reply) = reply(&mut peer);
        assert_eq!((replayed.len(), &reply["recovered"]), (if n == 0 { 20 } else { 0 }, &json!(true)), "{n}");
    }
    assert_eq!(server.counter("wse_recovery_coalesced_total"), 7);
}

#[test]
fn a_pattern_brings_the_topics_whose_positions_are_named() {
    let mut server = Server::start(with(recovery()));
    for topic in ["px", "py", "qx"] {
        publish(&server, topic, 10);
    }
    let at = |topic: &str, offset: u64| {
        let epoch = format!("{:08x}", server.engine.topic_position(topic).unwrap().epoch);
        json!({ "epoch": epoch, "offset": offset })
    };
    let positions = json!({ "px": at("px", 8), "py": at("py", 10), "qx": at("qx", 1) });
    let more = json!({ "py": at("py", 7), "qx": at("qx", 1) });
    let (mut peer, _) = server.connect();
    send(&mut peer, &json!({ "action": "subscribe", "topics": ["p*"], "recover": true, "recovery": positions }));
    let (replayed, reply) = reply(&mut peer);
    assert_eq!(
        replayed
            .iter()
            .map(|message| (message["tp"].as_str().unwrap(), message["o"].as_u64().unwrap()))
            .collect::<Vec<_>>(),
        [("px", 9), ("px", 10)]
    );
    assert_eq!((&reply["recovery"]["px"]["recovered"], &reply["recovery"]["py"]["count"]), (&json!(true), &json!(0)));
    assert_eq!(
        reply["recovery"]["qx"],
        json!({ "epoch": null, "offset": 0, "recovered": false, "count": 0 }),
        "it is not subscribed"
    );
    publish(&server, "py", 1);
    assert_eq!(peer.json()["o"], 11);
    // More than a request may bring come with the pattern again, which is held by now.
    send(&mut peer, &json!({ "action": "subscribe", "topics": ["p*"], "recover": true, "recovery": more }));
    let (replayed, reply) = self::reply(&mut peer);
    assert_eq!(replayed.iter().map(|message| message["o"].as_u64().unwrap()).collect::<Vec<_>>(), [8, 9, 10, 11]);
    assert_eq!(
        (&reply["recovery"]["py"]["recovered"], &reply["recovery"]["qx"]["epoch"]),
        (&json!(true), &json!(null))
    );
    publish(&server, "py", 1);
    assert_eq!(peer.json()["o"], 12, "it comes once");
}

#[test]
fn requests_of_one_connection_keep_their_order() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, _) = server.connect();
    for _ in 0..50 {
        send(&mut peer, &json!({ "action": "subscribe", "topics": ["a"] }));
        send(&mut peer, &json!({ "action": "unsubscribe", "topics": ["a"] }));
    }
    for n in 0..100 {
        let (_, reply) = reply(&mut peer);
        assert_eq!(reply["action"], ["subscribe", "unsubscribe"][n % 2]);
    }
    assert_eq!(server.engine.topic_subscribers("a"), 0);
    publish(&server, "a", 1);
    peer.expect_silence(Duration::from_millis(50));
}

#[test]
fn last_values_come_with_the_subscription_and_again_when_asked_for() {
    let last = Recovery { last_values: vec![Pattern::new("*").unwrap()], ..recovery() };
    let mut server = Server::start(Config { snapshots: Some(Snapshots::Last), ..with(last) });
    publish(&server, "a", 7);
    let (mut peer, _) = server.connect();
    let first = subscribe(&mut peer, &["a", "b"]);
    assert_eq!(first["recovery"]["a"]["offset"], 6, "what comes next is the last value");
    let value = peer.json();
    assert_eq!((&value["o"], &value["p"]), (&json!(7), &json!(6)));
    assert_eq!(peer.json()["p"], json!({ "topics": ["a"], "count": 1 }));
    publish(&server, "a", 1);
    assert_eq!(peer.json()["o"], 8);
    peer.send_text(r#"{"t":"sync_request","p":{"topics":["a","b","c"],"include_snapshots":true}}"#);
    let (before, rebased) = reply(&mut peer);
    assert_eq!((before.len(), &rebased["recovery"]["a"]["offset"]), (0, &json!(7)));
    assert_eq!(peer.json()["o"], 8);
    let complete = peer.json();
    assert_eq!((&complete["t"], &complete["p"]["count"]), (&json!("snapshot_complete"), &json!(1)));
    server.engine.publish("a", Payloads::Texts(&["{}"]), None);
    assert_eq!(peer.json()["o"], 9);
}

/// A replay that did not happen, or that was followed by a loss, is not "on its way".
#[test]
fn what_was_not_replayed_is_not_said_to_be() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, id) = server.connect();
    subscribe(&mut peer, &["a"]);
    server.events.event();
    publish(&server, "a", 300);
    let epoch = format!("{:08x}", server.engine.topic_position("a").unwrap().epoch);
    assert_eq!((0..300).map(|_| peer.json()).count(), 300);
    let ask = |peer: &mut Peer, epoch: &str, offset: u64| {
        let at = json!({ "a": { "epoch": epoch, "offset": offset } });
        send(peer, &json!({ "action": "subscribe", "topics": ["a"], "recover": true, "recovery": at }));
        reply(peer)
    };
    for _ in 0..3 {
        for (epoch, offset) in [(epoch.as_str(), 5), ("00000000", 299), (&epoch, 301)] {
            let (replayed, reply) = ask(&mut peer, epoch, offset);
            assert_eq!((replayed.len(), &reply["recovered"]), (0, &json!(false)), "{epoch} {offset}");
        }
    }
    assert_eq!(ask(&mut peer, &epoch, 290).0.len(), 10);
    send(&mut peer, &json!({ "action": "unsubscribe", "topics": ["a"] }));
    reply(&mut peer);
    publish(&server, "a", 5);
    let (replayed, reply) = ask(&mut peer, &epoch, 290);
    assert_eq!(
        (replayed.len(), &reply["recovered"]),
        (15, &json!(true)),
        "what was published meanwhile is no repetition"
    );
    assert!(server.engine.connection_info(id).is_some());
}

/// The host changes what it may have while it asks for states: neither waits for the other for ever.
#[test]
fn rights_that_change_while_it_asks_for_everything_stop_nobody() {
    let last = Recovery { last_values: vec![Pattern::new("*").unwrap()], ..recovery() };
    let mut server = Server::start(Config { snapshots: Some(Snapshots::Last), ..with(last) });
    let (mut peer, id) = server.connect();
    let topics: Vec<String> = (0..500).map(|n| format!("t{n}")).collect();
    subscribe(&mut peer, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    let changes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            for _ in 0..200 {
                let before = changes.load(Relaxed);
                peer.send_text(r#"{"t":"sync_request"}"#);
                while peer.json()["t"] != "snapshot_complete" {}
                wait_until("the host is at it", || changes.load(Relaxed) > before);
            }
        });
        while !client.is_finished() {
            server.engine.set_topic_acl(id, &[], &["none".into()]).unwrap();
            changes.fetch_add(1, Relaxed);
        }
    });
}

//! The current state of topics, as a host knows it (`snapshots`): who is told it and when, and that a host that knows none costs
//! its client an error and nothing else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wse_engine::config::{Config, Questions, SnapshotProvider, Snapshots, Subscriptions};
use wse_protocol::topic::Pattern;
use wse_testkit::{Event, Host, Peer, Server, config, wait_until};

fn knowing(questions: Questions) -> Config {
    let topics = ["room:*", "board"].map(|pattern| Pattern::new(pattern).unwrap());
    let provider = SnapshotProvider { topics: Arc::new(topics), questions };
    Config {
        shards: 1,
        subscriptions: Subscriptions::Acl,
        snapshots: Some(Snapshots::Host(provider)),
        max_subscriptions: 8,
        ..config()
    }
}

const PATIENT: Questions = Questions { timeout: Duration::from_secs(600), max_waiting: 8 };

fn subscribe(topics: impl Into<Value>) -> String {
    json!({ "t": "subscription_update", "p": { "action": "subscribe", "topics": topics.into() } }).to_string()
}

fn sync(p: Value) -> String {
    json!({ "c": "WSE", "t": "sync_request", "p": p }).to_string()
}

/// Says of each topic its name and the number of the question; what it was asked is in the list.
fn teller(server: &Server) -> (Host, Arc<Mutex<Vec<Value>>>) {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let list = Arc::clone(&asked);
    let host = Host::of(&server.engine, move |question| {
        list.lock().unwrap().push(question.clone());
        let topics = question["topics"].as_array().unwrap();
        let known: Vec<Value> =
            topics.iter().enumerate().map(|(place, topic)| json!([place, { "of": topic }])).collect();
        json!({ "id": question["id"], "states": { "known": known, "unsaid": [], "pins": [[0, "0a1b2c3d", 7]] } })
    });
    (host, asked)
}

fn kinds(peer: &mut Peer, count: usize) -> Vec<(Value, Value)> {
    (0..count).map(|_| peer.json()).map(|message| (message["t"].clone(), message["p"].clone())).collect()
}

fn complete(topics: Value) -> (Value, Value) {
    let count = topics.as_array().unwrap().len();
    (json!("snapshot_complete"), json!({ "topics": topics, "count": count }))
}

fn failed(topics: Value, reason: &str) -> (Value, Value) {
    let message = "The current state of these topics cannot be told";
    let details = json!({ "reason": reason });
    let p = json!({ "code": "SNAPSHOT_FAILED", "message": message, "recoverable": true, "details": details, "topics": topics });
    (json!("error"), p)
}

#[test]
fn a_new_subscriber_gets_the_reply_then_the_state_then_what_is_live() {
    let mut server = Server::start(knowing(PATIENT));
    let (_host, asked) = teller(&server);
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["room:held"]);
    server.engine.set_topic_acl(id, &[], &["room:no".to_owned()]).unwrap();
    peer.send_text(&subscribe(json!(["room:1", "else", "room:no", "room:*", "board", "room:held"])));
    let reply = peer.json();
    assert_eq!(reply["p"]["success_topics"], json!(["room:1", "else", "room:*", "board", "room:held"]));
    server.engine.broadcast("board", "\"live\"");
    assert_eq!(
        peer.text(),
        r#"{"c":"S","p":{"data":{"of":"room:1"},"epoch":"0a1b2c3d","offset":7,"topic":"room:1"},"t":"topic_snapshot","v":1}"#
    );
    assert_eq!(
        peer.text(),
        r#"{"c":"S","p":{"data":{"of":"board"},"epoch":null,"offset":null,"topic":"board"},"t":"topic_snapshot","v":1}"#
    );
    assert_eq!(kinds(&mut peer, 1), [complete(json!(["room:1", "board"]))]);
    assert_eq!(peer.text(), "\"live\"");
    let question = asked.lock().unwrap()[0].clone();
    assert_eq!(
        question,
        json!({ "id": 1, "kind": "snapshot", "conn": id.as_u64(), "user": null, "topics": ["room:1", "board"] })
    );
    // What is held already, or has no state, asks nothing.
    peer.send_text(&subscribe(json!(["room:1", "other"])));
    assert_eq!(peer.json()["t"], "subscription_update");
    peer.send_text(r#"{"t":"ping"}"#);
    assert_eq!(peer.json()["t"], "PONG");
    assert_eq!(asked.lock().unwrap().len(), 1);
    // The limit is found when the update is applied: no state of what is refused.
    peer.send_text(&subscribe(json!(["room:2", "room:3", "room:4"])));
    let heard = kinds(&mut peer, 4);
    assert_eq!(heard[0].1["failed_topics"], json!(["room:4"]));
    assert_eq!(heard[3], complete(json!(["room:2", "room:3"])));
    assert_eq!(asked.lock().unwrap()[1]["topics"], json!(["room:2", "room:3"]));
    peer.send_text(&subscribe(json!(["room:5", "room:\t"])));
    assert_eq!(peer.json()["p"]["failed_reasons"], json!(["too_many_subscriptions", "invalid_name"]));
    peer.send_text(r#"{"t":"ping"}"#);
    assert_eq!(peer.json()["t"], "PONG");
    assert_eq!(asked.lock().unwrap().len(), 2, "nobody is asked about what cannot be had");
}

#[test]
fn a_sync_request_is_answered_with_what_is_received() {
    let mut server = Server::start(knowing(PATIENT));
    let (_host, asked) = teller(&server);
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["room:1", "board", "else", "room:x*"]);
    server.engine.set_topic_acl(id, &[], &["room:xno".to_owned()]).unwrap();
    let told = |peer: &mut Peer, p: Value| {
        peer.send_text(&sync(p));
        let mut told = Vec::new();
        loop {
            let message = peer.json();
            match message["t"].as_str() {
                Some("topic_snapshot") => told.push(message["p"]["topic"].as_str().unwrap().to_owned()),
                _ => {
                    assert_eq!(message["p"], json!({ "topics": told, "count": told.len() }));
                    return told;
                }
            }
        }
    };
    assert_eq!(told(&mut peer, json!({})), ["room:1", "board"]);
    assert_eq!(told(&mut peer, json!({ "include_snapshots": true, "last_sequence": 0 })), ["room:1", "board"]);
    let named = json!(["board", "room:2", "room:xy", "room:xno", "else", "room:x*", "board", ""]);
    assert_eq!(told(&mut peer, json!({ "topics": named })), ["board", "room:xy"]);
    let before = asked.lock().unwrap().len();
    for p in [json!({ "topics": [] }), json!({ "topics": ["nothing"] }), json!({ "include_snapshots": false })] {
        assert!(told(&mut peer, p).is_empty());
    }
    assert_eq!(asked.lock().unwrap().len(), before, "nobody is asked for nothing");
    for p in [json!("x"), json!({ "topics": "board" }), json!({ "topics": [1] }), json!(null)] {
        assert_eq!(told(&mut peer, p), ["room:1", "board"], "without a list, all");
    }
    // It is the host's where the engine knows no state.
    let mut plain = Server::start(Config { subscriptions: Subscriptions::Acl, ..config() });
    let (mut peer, id) = plain.connect();
    peer.send_text(r#"{"t":"sync_request"}"#);
    assert_eq!(plain.events.event(), Event::Message(id, r#"{"t":"sync_request"}"#.into()));
}

#[test]
fn a_host_that_fails_or_is_late_or_busy_costs_its_client_the_state_and_nothing_else() {
    let mut server = Server::start(knowing(Questions { timeout: Duration::from_millis(300), max_waiting: 1 }));
    let _host = Host::of(&server.engine, |question| match question["topics"][0].as_str() {
        Some("room:fails") => json!({ "id": question["id"], "failed": true }),
        Some("room:unfit") => json!({ "id": question["id"], "refused": [] }),
        Some("room:partly") => json!({ "id": question["id"], "states": {
            "known": [[1, null], [1, 2], [9, 0]], "unsaid": [[0, "too_large"], [9, "x"]], "pins": [[1, "zz", 1]] } }),
        _ => Value::Null,
    });
    let (mut peer, _) = server.connect();
    let (mut other, other_id) = server.connect();
    for topic in ["room:fails", "room:unfit"] {
        peer.send_text(&subscribe(json!([topic])));
        let heard = kinds(&mut peer, 3);
        assert_eq!(heard[0].1["success_topics"], json!([topic]));
        assert_eq!(heard[1..], [failed(json!([topic]), "failed"), complete(json!([]))]);
        server.engine.broadcast(topic, "\"subscribed all the same\"");
        assert_eq!(peer.text(), "\"subscribed all the same\"");
    }
    peer.send_text(&subscribe(json!(["room:partly", "board"])));
    let heard = kinds(&mut peer, 4);
    assert_eq!(heard[1].1, json!({ "topic": "board", "data": 2, "epoch": null, "offset": null }));
    assert_eq!(heard[2..], [failed(json!(["room:partly"]), "too_large"), complete(json!(["board"]))]);
    // One waits in vain; the other finds no place, and is subscribed at once.
    peer.send_text(&subscribe(json!(["room:late"])));
    wait_until("it waits", || server.health("waiting_snapshots") == 1);
    other.send_text(&subscribe(json!(["room:busy"])));
    assert_eq!(kinds(&mut other, 3)[1..], [failed(json!(["room:busy"]), "busy"), complete(json!([]))]);
    server.engine.send(other_id, "\"mine\"");
    assert_eq!(other.text(), "\"mine\"");
    let heard = kinds(&mut peer, 3);
    assert_eq!(heard[0].1["success_topics"], json!(["room:late"]));
    assert_eq!(heard[1..], [failed(json!(["room:late"]), "timeout"), complete(json!([]))]);
    for (name, count) in [("overflow", 1), ("unanswered", 1), ("failed", 2)] {
        assert_eq!(server.counter(&format!("wse_snapshots_{name}_total")), count, "{name}");
    }
    assert_eq!((server.health("waiting_snapshots"), server.health("reassembly_bytes")), (0, 0));
}

#[test]
fn both_questions_are_put_one_after_the_other_and_the_acl_counts_at_the_end() {
    let mut server = Server::start(Config { authorize: Some(PATIENT), ..knowing(PATIENT) });
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let list = Arc::clone(&asked);
    let engine = Arc::downgrade(&server.engine);
    let _host = Host::of(&server.engine, move |question| {
        list.lock().unwrap().push(question.clone());
        if question["kind"] == "authorize" {
            return json!({ "id": question["id"], "refused": [[1, "closed"]] });
        }
        // While the state is collected the client loses one of its topics, and then its subscription.
        let id = wse_engine::ConnId::from_u64(question["conn"].as_u64().unwrap());
        engine.upgrade().unwrap().set_topic_acl(id, &[], &["room:3".to_owned()]).unwrap();
        let known = json!([[0, "one"], [1, "three"]]);
        json!({ "id": question["id"], "states": { "known": known, "unsaid": [], "pins": [] } })
    });
    let (mut peer, _) = server.connect();
    peer.send_text(&subscribe(json!(["room:1", "room:2", "room:3"])));
    let heard = kinds(&mut peer, 3);
    assert_eq!(heard[0].1["success_topics"], json!(["room:1"]));
    assert_eq!(heard[0].1["failed_topics"], json!(["room:2", "room:3"]));
    assert_eq!(heard[0].1["failed_reasons"], json!(["closed", "not_allowed"]));
    assert_eq!(heard[1].1["data"], "one");
    assert_eq!(heard[2], complete(json!(["room:1"])));
    let asked = asked.lock().unwrap();
    assert_eq!((asked[0]["kind"].as_str(), &asked[1]["topics"]), (Some("authorize"), &json!(["room:1", "room:3"])));
}

#[test]
fn a_state_that_does_not_fit_the_budget_is_lost_as_any_message_is() {
    let mut server = Server::start(Config { max_outbound_bytes: 64 * 1024, high_water_mark: 1024, ..knowing(PATIENT) });
    let _host = Host::of(&server.engine, |question| {
        let known = json!([[0, "x".repeat(1 << 20)]]);
        json!({ "id": question["id"], "states": { "known": known, "unsaid": [], "pins": [] } })
    });
    let (mut peer, _) = server.connect();
    peer.send_text(&subscribe(json!(["board"])));
    let heard = kinds(&mut peer, 3);
    assert_eq!(heard[0].0, "subscription_update");
    assert_eq!(heard[1..], [failed(json!(["board"]), "too_large"), complete(json!([]))]);
    let heard = server.events.collect_until(|events| events.len() == 2);
    assert!(heard.iter().any(|event| matches!(event, Event::SlowConsumer(..))), "{heard:?}");
    assert_eq!((server.health("reassembly_bytes"), server.health("outbound_bytes")), (0, 0));
}

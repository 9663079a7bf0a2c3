//! The host is asked who may have which topic (`authorize`): what its answers do, what waits meanwhile and what does not, and what
//! the host hears of it all.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_engine::config::{Config, InboundOverflow, Questions, Subscriptions};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Event, Host, Peer, Server, config, wait_until};

fn acl() -> Config {
    Config { shards: 1, subscriptions: Subscriptions::Acl, ..config() }
}

fn asking() -> Config {
    Config { authorize: Some(Questions { timeout: Duration::from_secs(600), max_waiting: 8 }), ..acl() }
}

fn update(action: &str, topics: impl Into<Value>) -> String {
    json!({ "t": "subscription_update", "p": { "action": action, "topics": topics.into() } }).to_string()
}

fn reply(peer: &mut Peer) -> Value {
    let reply = peer.json();
    assert_eq!((&reply["c"], &reply["t"]), (&json!("WSE"), &json!("subscription_update")));
    reply["p"].clone()
}

fn ask(peer: &mut Peer, action: &str, topics: Value) -> Value {
    peer.send_text(&update(action, topics));
    reply(peer)
}

fn outcome(reply: &Value) -> (Value, Value, Value) {
    (reply["success_topics"].clone(), reply["failed_topics"].clone(), reply["failed_reasons"].clone())
}

/// A host that says nothing; what it was asked is in the list.
fn silent(server: &Server) -> (Host, Arc<Mutex<Vec<Value>>>) {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let list = Arc::clone(&asked);
    let host = Host::of(&server.engine, move |question| {
        list.lock().unwrap().push(question.clone());
        Value::Null
    });
    (host, asked)
}

fn allow(server: &Server, question: &Value) {
    let answer = json!([{ "id": question["id"], "refused": [] }]);
    assert_eq!(server.engine.answer(&answer.to_string()).unwrap(), []);
}

fn ping(peer: &mut Peer, number: u64) {
    peer.send_text(&format!(r#"{{"t":"ping","p":{{"timestamp":{number}}}}}"#));
}

fn pong(peer: &mut Peer) -> Value {
    let pong = peer.json();
    assert_eq!(pong["t"], "PONG");
    pong["p"]["client_timestamp"].clone()
}

#[test]
fn the_host_is_asked_about_what_the_acl_lets_through_and_hears_what_came_of_it() {
    let mut server = Server::start(asking());
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let list = Arc::clone(&asked);
    let _host = Host::of(&server.engine, move |question| {
        list.lock().unwrap().push(question.clone());
        json!({ "id": question["id"], "refused": [[1, null], [2, "not yours"]] })
    });
    let (mut peer, id) = server.connect();
    server.engine.set_topic_acl(id, &[], &["secret".to_owned()]).unwrap();
    server.subscribe(id, &["held"]);
    let wanted = json!(["a", "secret", "", "held", "b", "c*", "a", "d"]);
    assert_eq!(
        outcome(&ask(&mut peer, "subscribe", wanted)),
        (
            json!(["a", "held", "d"]),
            json!(["secret", "", "b", "c*"]),
            json!(["not_allowed", "invalid_name", "not_authorized", "not yours"])
        )
    );
    let question = asked.lock().unwrap().pop().unwrap();
    assert_eq!(
        question,
        json!({ "id": 1, "kind": "authorize", "conn": id.as_u64(), "user": null, "topics": ["a", "b", "c*", "d"] })
    );
    let refused = json!([
        { "topic": "secret", "reason": "not_allowed" }, { "topic": "", "reason": "invalid_name" },
        { "topic": "b", "reason": "not_authorized" }, { "topic": "c*", "reason": "not yours" },
    ]);
    let heard = Event::Subscribe(id, json!({ "topics": ["a", "d"], "refused": refused }));
    assert_eq!(server.events.event(), heard);
    // Nobody is asked where nothing is left to ask about, and nobody hears of what changes nothing.
    assert_eq!(outcome(&ask(&mut peer, "subscribe", json!(["a", "held"]))).0, json!(["a", "held"]));
    assert_eq!(outcome(&ask(&mut peer, "unsubscribe", json!(["never"]))).0, json!(["never"]));
    assert_eq!(outcome(&ask(&mut peer, "subscribe", json!(["secret"]))).2, json!(["not_allowed"]));
    assert_eq!(outcome(&ask(&mut peer, "unsubscribe", json!(["a", "", "never"]))).0, json!(["a", "never"]));
    assert!(asked.lock().unwrap().is_empty());
    let refusal = |topic: &str, reason: &str| json!([{ "topic": topic, "reason": reason }]);
    let heard = json!({ "topics": [], "refused": refusal("secret", "not_allowed") });
    assert_eq!(server.events.event(), Event::Subscribe(id, heard));
    let heard = json!({ "topics": ["a"], "refused": refusal("", "invalid_name") });
    assert_eq!(server.events.event(), Event::Unsubscribe(id, heard));
    server.engine.broadcast("d", "\"live\"");
    assert_eq!(peer.text(), "\"live\"");
}

#[test]
fn a_host_that_fails_or_is_late_or_busy_refuses_what_it_was_asked_about_and_nothing_else() {
    let questions = Questions { timeout: Duration::from_millis(300), max_waiting: 1 };
    let mut server = Server::start(Config { authorize: Some(questions), ..acl() });
    let host = Host::of(&server.engine, |question| match question["topics"][0].as_str() {
        Some("fails") => json!({ "id": question["id"], "failed": true }),
        Some("unfit") => json!({ "id": question["id"], "user": "ada" }),
        Some("key") => json!({ "id": question["id"], "key": null }),
        Some("states") => json!({ "id": question["id"], "states": { "known": [], "unsaid": [], "pins": [] } }),
        Some("places") => json!({ "id": question["id"], "refused": [[7, null], [18446744073709551615_u64, "x"]] }),
        _ => Value::Null,
    });
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["held"]);
    for topic in ["fails", "unfit", "key", "states"] {
        let reply = ask(&mut peer, "subscribe", json!(["held", topic]));
        assert_eq!(outcome(&reply), (json!(["held"]), json!([topic]), json!(["authorize_failed"])));
    }
    assert_eq!(server.counter("wse_authorize_failed_total"), 4);
    assert_eq!(outcome(&ask(&mut peer, "subscribe", json!(["places"]))).0, json!(["places"]), "no such places");

    // One waits in vain, and the other is not even asked about.
    peer.send_text(&update("subscribe", json!(["silence", "held"])));
    wait_until("it waits", || server.health("waiting_authorize") == 1);
    let (mut other, _) = server.connect_anew();
    assert_eq!(outcome(&ask(&mut other, "subscribe", json!(["x"]))).2, json!(["busy"]));
    assert_eq!(outcome(&reply(&mut peer)), (json!(["held"]), json!(["silence"]), json!(["timeout"])));
    assert_eq!(server.counter("wse_authorize_overflow_total"), 1);
    assert_eq!(server.counter("wse_authorize_unanswered_total"), 1);
    wait_until("the host hears so", || host.late.load(std::sync::atomic::Ordering::SeqCst) == 1);
    assert_eq!((server.health("waiting_authorize"), server.health("reassembly_bytes")), (0, 0));
    // A reason that is none costs the whole answer.
    let long = "x".repeat(300);
    let (host, asked) = {
        drop(host);
        silent(&server)
    };
    peer.send_text(&update("subscribe", json!(["long"])));
    wait_until("it is asked", || asked.lock().unwrap().len() == 1);
    let answer = json!([{ "id": asked.lock().unwrap()[0]["id"], "refused": [[0, long]] }]);
    assert_eq!(server.engine.answer(&answer.to_string()).unwrap()[0].path, "refused[0]");
    assert_eq!(outcome(&reply(&mut peer)).2, json!(["authorize_failed"]));
    drop(host);
}

#[test]
fn what_comes_behind_a_waiting_update_waits_in_order_and_nobody_else_does() {
    let mut server = Server::start(asking());
    let (_host, asked) = silent(&server);
    let (mut peer, id) = server.connect();
    let (mut other, other_id) = server.connect();
    peer.send_text(&update("subscribe", json!(["a", "b"])));
    peer.send_text(&update("unsubscribe", json!(["a"])));
    peer.send_text(&update("subscribe", json!(["c"])));
    wait_until("it is asked", || asked.lock().unwrap().len() == 1);
    // Pings are answered, messages heard, and another is served.
    for number in 1..=3 {
        ping(&mut peer, number);
        assert_eq!(pong(&mut peer), number);
    }
    peer.send_text(r#"{"t":"heard"}"#);
    assert_eq!(server.events.event(), Event::Message(id, r#"{"t":"heard"}"#.into()));
    assert_eq!(outcome(&ask(&mut other, "unsubscribe", json!(["x"]))).0, json!(["x"]));
    server.engine.send(other_id, "\"to the other\"");
    assert_eq!(other.text(), "\"to the other\"");
    // Nothing of it is subscribed before the answer.
    server.engine.broadcast("a", "\"early\"");
    let first = asked.lock().unwrap()[0].clone();
    allow(&server, &first);
    assert_eq!(outcome(&reply(&mut peer)).0, json!(["a", "b"]));
    assert_eq!(reply(&mut peer)["action"], "unsubscribe");
    wait_until("the next is asked about", || asked.lock().unwrap().len() == 2);
    server.engine.broadcast("a", "\"gone\"");
    server.engine.broadcast("b", "\"live\"");
    assert_eq!(peer.text(), "\"live\"");
    let second = asked.lock().unwrap()[1].clone();
    assert_eq!(second["topics"], json!(["c"]));
    allow(&server, &second);
    assert_eq!(outcome(&reply(&mut peer)).0, json!(["c"]));
    let kinds = server.events.collect_until(|events| events.len() == 3);
    assert!(matches!(&kinds[..], [Event::Subscribe(..), Event::Unsubscribe(..), Event::Subscribe(..)]), "{kinds:?}");
    // An answer that comes twice is nobody's.
    allow(&server, &second);
    ping(&mut peer, 9);
    assert_eq!(pong(&mut peer), 9);
}

#[test]
fn a_long_line_stops_its_connection_from_being_read_until_the_answer() {
    let mut server = Server::start(asking());
    let (_host, asked) = silent(&server);
    for (count, size) in [(20, 1), (3, 30_000)] {
        let before = asked.lock().unwrap().len();
        let (mut peer, id) = server.connect_anew();
        peer.send_text(&update("subscribe", json!(["a"])));
        wait_until("it is asked", || asked.lock().unwrap().len() == before + 1);
        let topic = "x".repeat(size);
        for _ in 0..count {
            peer.send_text(&update("unsubscribe", json!([topic])));
        }
        // In a segment of its own, or it may be read with what fills the line.
        let full = || server.health("reassembly_bytes") > (count * size) as u64;
        wait_until("the line is long", full);
        std::thread::sleep(Duration::from_millis(20));
        peer.send_text(r#"{"t":"unread"}"#);
        std::thread::sleep(Duration::from_millis(100));
        let message = |event: &Event| matches!(event, Event::Message(..));
        assert!(!server.events.drain().iter().any(message), "it is not read");
        let question = asked.lock().unwrap()[before].clone();
        allow(&server, &question);
        for number in 0..=count {
            assert_eq!(reply(&mut peer)["action"], if number == 0 { "subscribe" } else { "unsubscribe" });
        }
        let heard = server.events.collect_until(|events| events.iter().any(message));
        assert_eq!(heard.last().unwrap().connection(), id);
        assert_eq!(server.health("reassembly_bytes"), 0);
    }
}

#[test]
fn an_acl_that_changes_meanwhile_counts() {
    let mut server = Server::start(asking());
    let (_host, asked) = silent(&server);
    let (mut peer, id) = server.connect();
    server.engine.set_topic_acl(id, &[], &["later".to_owned()]).unwrap();
    server.subscribe(id, &["held"]);
    peer.send_text(&update("subscribe", json!(["a", "b", "later", "held"])));
    wait_until("it is asked", || asked.lock().unwrap().len() == 1);
    // What it forbids now is refused; what it allows now was not asked about; what was taken away is not given back unasked.
    server.engine.set_topic_acl(id, &[], &["b".to_owned()]).unwrap();
    server.engine.unsubscribe(id, Some(&["held".to_owned()]));
    let question = asked.lock().unwrap()[0].clone();
    assert_eq!(question["topics"], json!(["a", "b"]));
    allow(&server, &question);
    assert_eq!(
        outcome(&reply(&mut peer)),
        (json!(["a"]), json!(["b", "later", "held"]), json!(["not_allowed", "not_allowed", "not_authorized"]))
    );
}

#[test]
fn whoever_goes_is_not_waited_for_and_leaves_nothing_behind() {
    let server = Server::start(asking());
    let (host, asked) = silent(&server);
    for round in 1..=20 {
        let mut peer = Peer::connect(server.address);
        peer.send_text(&update("subscribe", json!(["a"])));
        peer.send_text(&update("subscribe", json!(["b"])));
        wait_until("it is asked", || asked.lock().unwrap().len() == round);
        match round % 2 {
            0 => drop(peer),
            _ => {
                // Its Close is answered although the host is not.
                peer.send_close(1000);
                peer.expect_close(1000);
                drop(peer);
            }
        }
        let held = || server.health("waiting_authorize") + server.health("reassembly_bytes");
        wait_until("it is gone", || server.health("connections") == 0 && held() == 0);
    }
    wait_until("the host hears of each", || host.gone.load(std::sync::atomic::Ordering::SeqCst) == 20);
    let last = asked.lock().unwrap()[19].clone();
    allow(&server, &last);
    assert_eq!(server.health("topics"), 0);
}

#[test]
fn the_end_of_the_engine_is_no_answer_and_waits_for_none() {
    let mut server = Server::start(asking());
    let (_host, asked) = silent(&server);
    let (mut peer, _) = server.connect();
    peer.send_text(&update("subscribe", json!(["a"])));
    wait_until("it is asked", || asked.lock().unwrap().len() == 1);
    let began = Instant::now();
    server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::from_millis(500));
    assert!(began.elapsed() < Duration::from_secs(4));
    // What it hears before the end, if anything, is a refusal.
    for frame in peer.expect_close(1012) {
        let heard: Value = serde_json::from_str(frame.text()).unwrap();
        assert_eq!(heard["p"]["failed_reasons"], json!(["authorize_failed"]));
    }
}

#[test]
fn a_host_that_is_behind_and_may_lose_messages_loses_these() {
    let mut server = Server::start(Config { inbound_overflow: InboundOverflow::Drop, max_inbound_events: 4, ..acl() });
    let (mut peer, id) = server.connect();
    for n in 0..20 {
        assert_eq!(outcome(&ask(&mut peer, "subscribe", json!([n.to_string()]))).0, json!([n.to_string()]));
    }
    let heard = server.events.drain();
    assert!((1..=5).contains(&heard.len()), "{}", heard.len());
    assert_eq!(heard[0], Event::Subscribe(id, json!({ "topics": ["0"], "refused": [] })));
    assert_eq!(server.counter("wse_inbound_dropped_total") + heard.len() as u64, 20);
}

#[test]
fn storms_of_updates_leave_nothing_behind_and_let_others_in_between() {
    let server = Server::start(Config { discard_inbound: true, max_subscriptions: 1024, ..asking() });
    let _host = Host::of(&server.engine, |question| json!({ "id": question["id"], "refused": [] }));
    let mut other = Peer::connect(server.address);
    let mut peer = Peer::connect(server.address);
    // Ten thousand names each time: what fits the budget comes and goes.
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let names: Vec<String> = (0..10_000).map(|n| format!("{round}:{n}")).collect();
        peer.send_text(&update("subscribe", names.clone()));
        peer.send_text(&update("unsubscribe", names));
        let began = Instant::now();
        ping(&mut other, round);
        assert_eq!(pong(&mut other), round);
        assert_eq!(outcome(&ask(&mut other, "subscribe", json!(["mine"]))).0, json!(["mine"]));
        slowest = slowest.max(began.elapsed());
        let subscribed = reply(&mut peer);
        assert_eq!(subscribed["success_topics"].as_array().unwrap().len(), 1024);
        assert_eq!(reply(&mut peer)["success_topics"].as_array().unwrap().len(), 10_000);
    }
    assert!(slowest < Duration::from_secs(2), "another waited for {slowest:?}");
    assert_eq!((server.health("topics"), server.health("reassembly_bytes")), (1, 0));
    assert_eq!(server.health("waiting_authorize"), 0);
    // A storm of small ones, and nobody reads the replies until they are all sent.
    let mut storm = Peer::connect(server.address);
    for n in 0..5_000 {
        storm.send_text(&update(if n % 2 == 0 { "subscribe" } else { "unsubscribe" }, json!(["t"])));
    }
    ping(&mut other, 7);
    assert_eq!(pong(&mut other), 7);
    for n in 0..5_000 {
        assert_eq!(reply(&mut storm)["action"], if n % 2 == 0 { "subscribe" } else { "unsubscribe" });
    }
    assert_eq!(server.health("topics"), 1);
}

#[test]
fn what_a_client_wants_recovered_is_said_not_to_be() {
    let mut server = Server::start(acl());
    let (mut peer, _) = server.connect();
    let p = json!({
        "action": "subscribe", "topics": ["a"], "recover": true,
        "recovery": { "a": { "epoch": "0a1b2c3d", "offset": 7 }, "b": { "epoch": "x", "offset": -1 }, "c": [[]] },
    });
    peer.send_text(&json!({ "t": "subscription_update", "p": p }).to_string());
    let reply = reply(&mut peer);
    assert_eq!(
        (&reply["success"], &reply["recovered"], &reply["recoverable"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let none = json!({ "epoch": null, "offset": 0, "recovered": false, "count": 0 });
    assert_eq!(reply["recovery"], json!({ "a": none, "b": none, "c": none }));
}

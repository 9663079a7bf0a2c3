//! `subscription_update` where the engine answers it: what the reply says, and what a flood of them costs the others.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_engine::config::{Config, Subscriptions};
use wse_engine::{ConnId, Subscribed};
use wse_testkit::{Event, Peer, Server, config, wait_until};

fn acl() -> Config {
    Config { shards: 1, subscriptions: Subscriptions::Acl, ..config() }
}

fn update(action: &str, topics: impl Into<Value>) -> String {
    json!({ "t": "subscription_update", "p": { "action": action, "topics": topics.into() } }).to_string()
}

/// The `p` of the reply.
fn ask(peer: &mut Peer, action: &str, topics: Value) -> Value {
    peer.send_text(&update(action, topics));
    let reply = peer.json();
    assert_eq!((&reply["c"], &reply["t"]), (&json!("WSE"), &json!("subscription_update")));
    reply["p"].clone()
}

#[test]
fn a_reply_names_each_topic_once_and_says_why_not() {
    let mut server = Server::start(Config {
        max_subscriptions: 5,
        max_patterns: 1,
        max_subscription_bytes: 1 << 20,
        max_connections: 1024,
        ..acl()
    });
    let (mut peer, id) = server.connect();
    server.engine.set_topic_acl(id, &[], &["secret".to_owned()]).unwrap();
    // Partly refused is a success: clients confirm what is in the list.
    let wanted = json!(["a", "", "a", "tab\t", "secret", "p*", "q*", "b", "secret"]);
    assert_eq!(
        ask(&mut peer, "subscribe", wanted),
        json!({
            "action": "subscribe", "success": true, "success_topics": ["a", "p*", "b"],
            "failed_topics": ["", "tab\t", "secret", "q*"],
            "failed_reasons": ["invalid_name", "invalid_name", "not_allowed", "too_many_patterns"],
        })
    );
    // Twice the same costs one.
    let reply = ask(&mut peer, "subscribe", json!(["c", "c", "d", "d", "e", "a", "e"]));
    assert_eq!((&reply["success"], &reply["success_topics"]), (&json!(true), &json!(["c", "d", "a"])));
    assert_eq!(
        (&reply["failed_topics"], &reply["failed_reasons"]),
        (&json!(["e"]), &json!(["too_many_subscriptions"]))
    );
    // All refused is none; none asked for is a success.
    assert_eq!(
        ask(&mut peer, "subscribe", json!([""])),
        json!({
            "action": "subscribe", "success": false, "success_topics": [],
            "failed_topics": [""], "failed_reasons": ["invalid_name"],
        })
    );
    let nothing = json!({ "action": "subscribe", "success": true, "success_topics": [], "failed_topics": [] });
    assert_eq!(ask(&mut peer, "subscribe", json!([])), nothing);
    assert_eq!(
        ask(&mut peer, "unsubscribe", json!(["a", "", "a", "never", "p*"])),
        json!({
            "action": "unsubscribe", "success": true, "success_topics": ["a", "never", "p*"],
            "failed_topics": [""], "failed_reasons": ["invalid_name"],
        })
    );
    assert_eq!(ask(&mut peer, "unsubscribe", json!([""]))["success"], false);
    assert_eq!(server.health("topics"), 3);
    // Others have used up the memory of all; its own part of it, 1 KiB, holds no more than it has.
    let (_greedy, greedy) = server.connect_anew();
    let names: Vec<String> = (0..5).map(|n| format!("{n}{}", "x".repeat(60_000))).collect();
    assert_eq!(server.engine.subscribe(greedy, &names, None), Subscribed::Accepted(5));
    let (_another, another) = server.connect();
    let names: Vec<String> = (5..10).map(|n| format!("{n}{}", "x".repeat(60_000))).collect();
    assert_eq!(server.engine.subscribe(another, &names, None), Subscribed::Accepted(4));
    let long = "y".repeat(2000);
    let reply = ask(&mut peer, "subscribe", json!([long, "z"]));
    assert_eq!(
        (&reply["success_topics"], &reply["failed_reasons"]),
        (&json!([]), &json!(["server_limit", "server_limit"]))
    );
}

#[test]
fn what_an_update_costs_does_not_depend_on_what_is_held() {
    let mut server = Server::start(acl());
    let asked: String = update("subscribe", json!(["a"]));
    let mut peers = [1, 1024].map(|held| {
        let (mut peer, id) = server.connect_anew();
        let names: Vec<String> = (0..held).map(|n| format!("{n}:{}", "x".repeat(1000))).collect();
        assert_eq!(server.engine.subscribe(id, &names, None), Subscribed::Accepted(held));
        ask(&mut peer, "subscribe", json!(["a"]));
        peer
    });
    let mut timed = |which: usize| {
        let started = Instant::now();
        (0..100).for_each(|_| peers[which].send_text(&asked));
        (0..100).for_each(|_| assert_eq!(peers[which].json()["p"]["success"], true));
        started.elapsed()
    };
    // In turn, and the best of each: others need the processor too.
    let [few, many] = (0..20).fold([Duration::MAX; 2], |[few, many], _| [few.min(timed(0)), many.min(timed(1))]);
    assert!(many < few * 5 + Duration::from_millis(5), "{few:?} with 1 held, {many:?} with 1,024");
}

/// Holds the shard on its own thread while `meanwhile` happens.
fn held(server: &Server, meanwhile: impl FnOnce()) {
    let ((tell, told), (go, gone)) = (channel(), channel::<()>());
    let held = Mutex::new(Some((tell, gone)));
    server.engine.on_writable(std::sync::Arc::new(move || {
        if let Some((tell, gone)) = held.lock().unwrap().take() {
            tell.send(()).unwrap();
            gone.recv().unwrap();
        }
    }));
    server.engine.broadcast_all("kick");
    told.recv().unwrap();
    meanwhile();
    go.send(()).unwrap();
}

#[test]
fn a_flood_of_updates_lets_others_have_their_turn() {
    let mut server = Server::start(Config { high_water_mark: 1, ..acl() });
    let (mut flooding, flooder) = server.connect();
    let (mut other, other_id) = server.connect();
    held(&server, || {
        // Two reads of the shard's 64 KiB, all handled in one turn of this connection if nothing ends it.
        for n in 0..800 {
            flooding.send_text(&update("subscribe", json!([format!("topic:{n:020}")])));
        }
        flooding.send_text(r#"{"t":"flooded"}"#);
        std::thread::sleep(Duration::from_millis(50));
        other.send_text(r#"{"t":"other"}"#);
        std::thread::sleep(Duration::from_millis(50));
    });
    // Beside what the host hears of each update.
    let from = |event: &Event| match event {
        Event::Message(id, _) => Some(*id),
        Event::Subscribe(..) => None,
        other => panic!("not a message: {other:?}"),
    };
    let messages = |events: &[Event]| events.iter().filter_map(from).collect::<Vec<ConnId>>();
    let heard = messages(&server.events.collect_until(|events| messages(events).len() == 2));
    assert_eq!(heard, [other_id, flooder]);
    // And each is answered, in order.
    assert_eq!(flooding.text(), "kick");
    for n in 0..800 {
        assert_eq!(flooding.json()["p"]["success_topics"], json!([format!("topic:{n:020}")]));
    }
    assert_eq!((server.health("topics"), server.health("reassembly_bytes")), (800, 0));
    // One that leaves in the middle leaves nothing behind.
    for n in 0..3000 {
        flooding.send_text(&update("subscribe", json!([format!("more:{n}")])));
    }
    drop(flooding);
    wait_until("nothing is left", || {
        ["topics", "subscription_bytes", "reassembly_bytes"].iter().all(|gauge| server.health(gauge) == 0)
    });
}

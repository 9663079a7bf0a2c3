//! Who is present: several connections as one member, what subscribers and the host hear and in which order, limits, and that
//! nobody stays behind however connections end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_engine::config::{Config, Presence, Subscriptions};
use wse_engine::{ConnId, Engine, PresenceError, PresenceRefused, Present, Step, Subscribed};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Event, Events, Peer, Request, Server, auth, config, token, wait_until};

mod again;
mod endings;

const ROOM: &str = "room";

fn limits() -> Presence {
    Presence { max_data: 4096, max_members: 0, grace: Duration::ZERO }
}

fn with(presence: Presence) -> Config {
    Config { auth: Some(auth()), presence: Some(presence), ..config() }
}

fn request(user: &str) -> Request {
    Request::default().field("Authorization", &format!("Bearer {}", token(user, json!({}))))
}

/// Connects a user; the greeting is read, and whatever the host hears of others before is thrown away.
fn connect(server: &mut Server, user: &str) -> (Peer, ConnId) {
    let mut peer = Peer::connect_with(server.address, &request(user));
    assert_eq!(peer.json()["t"], "server_ready");
    loop {
        if let Event::AuthConnect(id, known) = server.events.event() {
            assert_eq!(known, user);
            return (peer, id);
        }
    }
}

fn enter(server: &Server, id: ConnId, topics: &[&str], data: &Value) -> Present {
    let names: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let (subscribed, present) = server.engine.subscribe_present(id, &names, Some(&data.to_string()));
    assert_eq!(subscribed, Subscribed::Accepted(topics.len()));
    present
}

fn on(topics: usize) -> Present {
    Present { topics, ..Present::default() }
}

/// The same without what was published for it.
fn told(present: Present) -> Present {
    Present { bytes: 0, ..present }
}

fn frame(what: &str, topic: &str, user: &str, data: &Value) -> Value {
    json!({ "c": "WSE", "t": what, "p": { "data": data, "topic": topic, "user_id": user } })
}

/// What the host hears of presence until there are so many.
fn heard(server: &mut Server, count: usize) -> Vec<Event> {
    let is_presence = |event: &&Event| matches!(event, Event::PresenceJoin(_) | Event::PresenceLeave(_));
    let events = server.events.collect_until(|events| events.iter().filter(is_presence).count() >= count);
    events.into_iter().filter(|event| is_presence(&event)).collect()
}

fn members(server: &Server, topic: &str) -> BTreeMap<String, (Value, u32)> {
    let members = server.engine.presence(topic).into_iter();
    members.map(|m| (m.user.to_string(), (serde_json::from_str(&m.data).unwrap(), m.connections))).collect()
}

fn assert_empty(server: &Server) {
    for gauge in ["presence_topics", "presence_total_users", "presence_waiting", "presence_departing", "presence_bytes"]
    {
        assert_eq!(server.health(gauge), 0, "{gauge}");
    }
    assert_eq!((server.health("topics"), server.health("subscription_bytes")), (0, 0));
}

fn nobody(server: &Server) {
    let engine = &server.engine;
    wait_until("nobody is left", || engine.health()["presence_total_users"] == 0 && engine.health()["topics"] == 0);
    assert_empty(server);
}

#[test]
fn a_user_with_several_connections_joins_once_and_leaves_once() {
    let mut server = Server::start(with(limits()));
    let (mut watcher, id) = connect(&mut server, "watcher");
    server.subscribe(id, &[ROOM]);
    let (mut first, one) = connect(&mut server, "ada");
    let (second, two) = connect(&mut server, "ada");
    assert_eq!(told(enter(&server, one, &[ROOM], &json!({ "n": 1 }))), on(1));
    // At once, and for the joiner as for all others.
    assert_eq!(members(&server, ROOM), [("ada".into(), (json!({ "n": 1 }), 1))].into());
    let join = frame("presence_join", ROOM, "ada", &json!({ "n": 1 }));
    assert_eq!((watcher.json(), first.json()), (join.clone(), join));
    // One more does not join, its newer data count; the same once more is none.
    assert_eq!(told(enter(&server, two, &[ROOM], &json!({ "n": 2 }))), on(1));
    assert_eq!(told(enter(&server, two, &[ROOM], &json!({ "n": 3 }))), on(1));
    for n in [2, 3] {
        assert_eq!(watcher.json(), frame("presence_update", ROOM, "ada", &json!({ "n": n })));
    }
    assert_eq!(members(&server, ROOM), [("ada".into(), (json!({ "n": 3 }), 2))].into());
    assert_eq!(server.engine.presence_stats(ROOM), (1, 2));
    assert!(server.engine.unsubscribe(one, Some(&[ROOM.into()])));
    assert_eq!(server.engine.presence_stats(ROOM), (1, 1));
    drop(second);
    assert_eq!(watcher.json(), frame("presence_leave", ROOM, "ada", &json!({ "n": 3 })), "with the last data");
    let payload = |n: u8| json!({ "topic": ROOM, "user_id": "ada", "data": { "n": n } });
    assert_eq!(heard(&mut server, 2), [Event::PresenceJoin(payload(1)), Event::PresenceLeave(payload(3))]);
    // Who was unsubscribed heard nothing of it.
    assert_eq!([first.json(), first.json()].map(|heard| heard["p"]["data"]["n"].clone()), [2, 3]);
    assert!(first.frames_until_pong("quiet").is_empty());
    server.engine.unsubscribe(id, None);
    nobody(&server);
    assert_eq!(server.counter("wse_presence_joins_total"), 1);
    assert_eq!(server.counter("wse_presence_leaves_total"), 1);
}

#[test]
fn data_change_on_all_topics_of_a_connection() {
    let mut server = Server::start(with(limits()));
    let (mut peer, id) = connect(&mut server, "ada");
    let data = |n: u8| json!({ "n": n });
    let update = |n: u8| server.engine.update_presence(id, &data(n).to_string());
    assert_eq!(update(0), Err(PresenceError::NotPresent));
    // Patterns are subscriptions, and nobody is present on them.
    assert_eq!(told(enter(&server, id, &["a", "b", "c:*"], &data(1))), on(2));
    assert_eq!(update(2), Ok(2));
    let frames: Vec<Value> = (0..4).map(|_| peer.json()).collect();
    let all = [
        ("presence_join", "a", 1),
        ("presence_join", "b", 1),
        ("presence_update", "a", 2),
        ("presence_update", "b", 2),
    ];
    assert_eq!(frames, all.map(|(what, topic, n)| frame(what, topic, "ada", &data(n))));
    assert_eq!(
        server.engine.update_presence(id, &"x".repeat(4097)),
        Err(PresenceError::Refused(PresenceRefused::TooLarge))
    );
    assert_eq!(server.engine.update_presence(ConnId::from_u64(7), "{}"), Err(PresenceError::UnknownConnection));
    assert_eq!(members(&server, "a"), [("ada".into(), (data(2), 1))].into());
    // No event for an update.
    server.engine.disconnect(id, CloseCode(4000), "");
    assert_eq!(heard(&mut server, 4).len(), 4);
    nobody(&server);
    assert_eq!(server.counter("wse_presence_updates_total"), 2);
}

#[test]
fn what_is_refused_is_subscribed_all_the_same_and_counted() {
    let mut server = Server::start(with(Presence { max_data: 32, max_members: 1, ..limits() }));
    let (mut ada, one) = connect(&mut server, "ada");
    let (mut eve, two) = connect(&mut server, "eve");
    enter(&server, one, &[ROOM], &json!({}));
    let refused = |why, refused| Present { refused, why: Some(why), ..Present::default() };
    assert_eq!(enter(&server, two, &[ROOM], &json!({})), refused(PresenceRefused::Full, 1));
    let large = json!({ "x": "y".repeat(40) });
    assert_eq!(enter(&server, two, &["p", "q"], &large), refused(PresenceRefused::TooLarge, 2));
    // Ten megabytes, and what was not even handed over.
    let huge = format!(r#"{{"x":"{}"}}"#, "y".repeat(10 << 20));
    assert_eq!(
        server.engine.subscribe_present(two, &["r".into()], Some(&huge)).1,
        refused(PresenceRefused::TooLarge, 1)
    );
    assert_eq!(server.engine.subscribe_present(two, &["s".into()], None).1, refused(PresenceRefused::TooLarge, 1));
    assert_eq!(
        enter(&server, two, &[ROOM, "t"], &json!({})),
        Present { topics: 1, refused: 1, why: Some(PresenceRefused::Full), bytes: enter_bytes("t", "eve", "{}") }
    );
    for topic in [ROOM, "p", "q", "r", "s", "t"] {
        server.engine.broadcast(topic, &json!({ "t": topic }).to_string());
    }
    let all: Vec<String> = (0..7).map(|_| eve.json()["t"].as_str().unwrap().to_owned()).collect();
    assert_eq!(all, ["presence_join", ROOM, "p", "q", "r", "s", "t"]);
    assert_eq!((ada.json()["t"].clone(), ada.json()["t"].clone()), (json!("presence_join"), json!(ROOM)));
    assert_eq!(server.counter("wse_presence_full_total"), 2);
    assert_eq!(server.counter("wse_presence_too_large_total"), 4);
    // A member is let in again, whoever else is not.
    let (_second, three) = connect(&mut server, "ada");
    assert_eq!(enter(&server, three, &[ROOM], &json!({})), on(1));
}

/// What an announcement counts for.
fn enter_bytes(topic: &str, user: &str, data: &str) -> usize {
    96 + topic.len() + user.len() + data.len()
}

#[test]
fn without_a_user_or_presence_nobody_is_present() {
    let mut server = Server::start(Config { presence: Some(limits()), ..config() });
    let (_peer, id) = server.connect();
    let refused = |why| Present { refused: 1, why: Some(why), ..Present::default() };
    assert_eq!(enter(&server, id, &[ROOM], &json!({})), refused(PresenceRefused::NoUser));
    assert_eq!(server.counter("wse_presence_no_user_total"), 1);
    assert_eq!(server.engine.update_presence(id, "{}"), Err(PresenceError::NotPresent));

    let mut server = Server::start(Config { presence: None, ..with(limits()) });
    let (_peer, id) = connect(&mut server, "ada");
    assert_eq!(enter(&server, id, &[ROOM], &json!({})), refused(PresenceRefused::Off));
    assert_eq!(server.engine.update_presence(id, "{}"), Err(PresenceError::Refused(PresenceRefused::Off)));
    let health = server.engine.health();
    assert_eq!((&health["presence_enabled"], health.get("presence_topics")), (&json!(false), None));
    assert!(!server.engine.prometheus().contains("wse_presence"));
}

#[test]
fn unsubscribing_and_subscribing_again_is_what_the_calls_say_whatever_the_shard_has_done_by_then() {
    let mut server = Server::start(with(limits()));
    let (mut watcher, id) = connect(&mut server, "watcher");
    server.subscribe(id, &[ROOM]);
    let (_peer, id) = connect(&mut server, "ada");
    for round in 0..200 {
        enter(&server, id, &[ROOM], &json!({ "n": round }));
        server.engine.unsubscribe(id, (round % 2 == 0).then_some(&[ROOM.into()]));
    }
    enter(&server, id, &[ROOM], &json!({ "n": 200 }));
    assert_eq!(members(&server, ROOM), [("ada".into(), (json!({ "n": 200 }), 1))].into());
    for n in 0..200 {
        assert_eq!(watcher.json(), frame("presence_join", ROOM, "ada", &json!({ "n": n })));
        assert_eq!(watcher.json(), frame("presence_leave", ROOM, "ada", &json!({ "n": n })));
    }
    assert_eq!(watcher.json(), frame("presence_join", ROOM, "ada", &json!({ "n": 200 })));
    // When the shard has done all of it she is there still.
    wait_until("it has", || server.engine.topic_subscribers(ROOM) == 2);
    assert_eq!(server.engine.presence_stats(ROOM), (1, 1));
    // What her ACL forbids ends her presence, too.
    server.engine.set_topic_acl(id, &[], &[ROOM.to_owned()]).unwrap();
    assert_eq!(watcher.json(), frame("presence_leave", ROOM, "ada", &json!({ "n": 200 })));
    assert_eq!(server.health("presence_total_users"), 0);
}

#[test]
fn clients_that_subscribe_themselves_are_present_with_their_data() {
    let mut server = Server::start(Config {
        subscriptions: Subscriptions::Acl,
        shards: 1,
        ..with(Presence { max_data: 64, ..limits() })
    });
    let (mut ada, _) = connect(&mut server, "ada");
    let update = |action: &str, topics: Value, presence: Value| {
        json!({ "t": "subscription_update", "p": { "action": action, "topics": topics, "presence": presence } })
            .to_string()
    };
    let reply = |peer: &mut Peer| {
        loop {
            let message = peer.json();
            if message["t"] == "subscription_update" {
                return message["p"].clone();
            }
        }
    };
    ada.send_text(&update("subscribe", json!(["a", "b:*"]), json!({ "n": 1 })));
    assert_eq!(reply(&mut ada)["success_topics"], json!(["a", "b:*"]));
    assert_eq!(ada.json(), frame("presence_join", "a", "ada", &json!({ "n": 1 })));
    assert_eq!(members(&server, "a"), [("ada".into(), (json!({ "n": 1 }), 1))].into());
    // What cannot be is refused, and the subscription succeeds.
    for (presence, why) in [
        (json!({ "x": "y".repeat(100) }), "too_large"),
        (json!({ "x": "y".repeat(900_000) }), "too_large"),
        (json!("text"), "invalid"),
        (json!(null), "invalid"),
        (json!([{}]), "invalid"),
    ] {
        ada.send_text(&update("subscribe", json!(["c"]), presence));
        let reply = reply(&mut ada);
        assert_eq!((&reply["success"], &reply["presence_refused"]), (&json!(true), &json!(why)));
    }
    assert_eq!(server.engine.presence_stats("c"), (0, 0));
    ada.send_text(&update("unsubscribe", json!(["a"]), json!({})));
    assert_eq!(reply(&mut ada)["success"], true);
    nobody_present(&server);
    // And again, and gone.
    ada.send_text(&update("subscribe", json!(["a"]), json!({})));
    reply(&mut ada);
    drop(ada);
    nobody(&server);
}

fn nobody_present(server: &Server) {
    wait_until("nobody is present", || server.health("presence_total_users") == 0);
}

#[test]
fn all_who_hear_of_a_topic_hear_the_same_in_the_same_order() {
    const ROUNDS: usize = 200;
    let mut server = Server::start(with(limits()));
    let mut watchers: Vec<Peer> = (0..4)
        .map(|n| {
            let (peer, id) = connect(&mut server, &format!("watcher {n}"));
            server.subscribe(id, &[ROOM]);
            peer
        })
        .collect();
    // One user, whom several threads move in and out by connections of several shards.
    let (peers, ids): (Vec<Peer>, Vec<ConnId>) = (0..3).map(|_| connect(&mut server, "ada")).unzip();
    std::thread::scope(|scope| {
        for id in &ids {
            let engine = Arc::clone(&server.engine);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    engine.subscribe_present(*id, &[ROOM.into()], Some(&format!(r#"{{"n":{round}}}"#)));
                    let _ = engine.update_presence(*id, &format!(r#"{{"m":{round}}}"#));
                    engine.unsubscribe(*id, None);
                }
            });
        }
    });
    drop(peers);
    nobody_present(&server);
    server.engine.broadcast(ROOM, r#"{"t":"end"}"#);
    let all: Vec<Vec<Value>> = watchers
        .iter_mut()
        .map(|peer| std::iter::from_fn(|| Some(peer.json()).filter(|message| message["t"] != "end")).collect())
        .collect();
    assert!(all.iter().all(|heard| *heard == all[0]), "every watcher, on every shard");
    // In and out take turns, and the host hears them as the watchers do.
    let whole: Vec<&str> =
        all[0].iter().map(|message| message["t"].as_str().unwrap()).filter(|what| *what != "presence_update").collect();
    assert!(!whole.is_empty() && whole.len().is_multiple_of(2));
    assert!(whole.chunks(2).all(|pair| pair == ["presence_join", "presence_leave"]));
    let events = heard(&mut server, whole.len());
    assert!(events.chunks(2).all(|pair| matches!(pair, [Event::PresenceJoin(_), Event::PresenceLeave(_)])));
}

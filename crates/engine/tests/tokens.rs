//! The life of a token on an open connection (docs/protocol.md §2.5): another one is given to it over its own socket or by the host,
//! in one step of its stream; nothing else of it changes.

#![expect(clippy::disallowed_methods, reason = "tokens that expire soon are made by the wall clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wse_engine::config::{Auth, Config, Endpoint, Subscriptions};
use wse_engine::{ConnId, Pressure, RefreshError, Refreshed, Subscribed};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Event, Frame, Peer, Request, Server, auth, config, token, wait_until};

fn server() -> Server {
    server_with(auth(), config())
}

fn server_with(auth: Auth, config: Config) -> Server {
    Server::start(Config { auth: Some(auth), ..config })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A connection of `ada`, greeted, with these claims on top.
fn connect(server: &mut Server, claims: Value) -> (Peer, ConnId) {
    let bearer = format!("Bearer {}", token("ada", claims));
    let (mut peer, id) = server.connect_with(&Request::default().field("Authorization", &bearer));
    assert_eq!(peer.json()["t"], "server_ready");
    (peer, id)
}

fn message(token: &str) -> String {
    json!({ "c": "WSE", "t": "auth_refresh", "p": { "token": token }, "v": 1 }).to_string()
}

fn ask(peer: &mut Peer, token: &str) -> Value {
    peer.send_text(&message(token));
    peer.json()
}

fn reason(answer: &Value) -> &str {
    assert_eq!(answer["p"]["code"], "AUTH_REFRESH_FAILED", "{answer}");
    answer["p"]["reason"].as_str().unwrap()
}

/// What becomes of a token the host gives to a connection.
fn refresh(server: &Server, id: ConnId, token: &str) -> Result<Refreshed, RefreshError> {
    let (tell, told) = channel();
    server.engine.refresh_token(id, token, move |outcome| tell.send(outcome).unwrap());
    told.recv_timeout(Duration::from_secs(60)).expect("an outcome")
}

/// Publishes, and reads until the last of it has come: what is heard before.
fn heard(server: &Server, peer: &mut Peer, id: ConnId, topics: &[&str]) -> Vec<String> {
    for topic in topics {
        server.engine.broadcast(topic, &format!(r#"{{"c":"U","t":"{topic}"}}"#));
    }
    server.engine.send(id, "mark");
    let mut texts = Vec::new();
    loop {
        match peer.text() {
            text if text == "mark" => return texts,
            text => texts.push(serde_json::from_str::<Value>(&text).unwrap()["t"].as_str().unwrap().to_owned()),
        }
    }
}

#[test]
fn a_new_token_ends_what_it_does_not_allow_and_nothing_else() {
    let mut server = server();
    let (mut peer, id) = connect(&mut server, json!({ "wse_topics": { "allow": ["*"] } }));
    server.subscribe(id, &["a", "b", "x.*", "y.*", "n*"]);
    let group = ["work".to_owned(), "a".to_owned()];
    assert_eq!(server.engine.subscribe(id, &group, Some("g")), Subscribed::Accepted(2));
    assert_eq!(heard(&server, &mut peer, id, &["a", "b", "x.1", "y.1", "no", "nb", "work"]).len(), 8);

    let next =
        token("ada", json!({ "exp": now() + 7200, "wse_topics": { "allow": ["a", "x.*", "n*"], "deny": ["nb"] } }));
    let answer = ask(&mut peer, &next);
    assert_eq!((&answer["t"], answer["p"]["expires_at"].as_u64()), (&json!("auth_refreshed"), Some(now() + 7200)));
    let ended = peer.json();
    assert_eq!((&ended["t"], &ended["p"]["action"]), (&json!("subscription_update"), &json!("unsubscribe")));
    let mut topics: Vec<String> = serde_json::from_value(ended["p"]["success_topics"].clone()).unwrap();
    topics.sort();
    assert_eq!(topics, ["b", "work", "y.*"]);
    let Event::Unsubscribe(whose, event) = server.events.event() else { panic!("no unsubscribe") };
    assert_eq!((whose, &event["topics"], &event["reason"]), (id, &ended["p"]["success_topics"], &json!("not_allowed")));

    let info = server.engine.connection_info(id).unwrap();
    let mut held: Vec<&str> = info.topics.iter().map(|topic| &**topic).collect();
    held.sort_unstable();
    assert_eq!((held, info.groups.len()), (vec!["a", "n*", "x.*"], 1));
    assert_eq!((server.engine.topic_subscribers("b"), server.engine.queue_groups("work").len()), (0, 0));
    // `nb` is found by a pattern that stays, and is asked about at delivery.
    assert_eq!(heard(&server, &mut peer, id, &["a", "b", "x.1", "y.1", "no", "nb", "work"]), ["a", "a", "x.1", "no"]);
    server.subscribe(id, &["x.9"]);
    assert_eq!(server.engine.subscribe(id, &["b".into()], None), Subscribed::Accepted(0));

    // More rights bring nothing back by themselves, and patterns find more at once.
    ask(&mut peer, &token("ada", json!({})));
    assert_eq!(heard(&server, &mut peer, id, &["nb", "b"]), ["nb"]);
    server.subscribe(id, &["b"]);
    assert_eq!(heard(&server, &mut peer, id, &["b"]), ["b"]);
    assert_eq!(server.counter("wse_token_refreshes_total"), 2);
    assert_eq!(server.counter("wse_topics_ended_total"), 3);
    assert!(server.events.drain().is_empty());
}

/// The numbers of a topic's frames, in order.
fn numbers(frames: &[Frame], topic: &str) -> Vec<u64> {
    let of = |frame: &Frame| {
        let message: Value = serde_json::from_str(frame.text()).unwrap();
        (message["t"] == topic).then(|| message["n"].as_u64().unwrap())
    };
    frames.iter().filter_map(of).collect()
}

#[test]
fn a_flood_stops_at_one_point_where_it_must_and_goes_on_without_a_pause_where_it_may() {
    for by_host in [false, true] {
        let mut server = server();
        let (mut peer, id) = connect(&mut server, json!({}));
        server.subscribe(id, &["keep", "lose", "p.*"]);
        let over = Arc::new(AtomicBool::new(false));
        let publishers: Vec<_> = [["keep", "lose"], ["p.keep", "p.lose"]]
            .into_iter()
            .map(|topics| {
                let (engine, over) = (Arc::clone(&server.engine), Arc::clone(&over));
                let publish = move || {
                    let mut n = 0_u64;
                    while !over.load(SeqCst) {
                        // Long ones go another way to the socket than short ones.
                        let pad = "x".repeat(if n.is_multiple_of(50) { 3000 } else { 10 });
                        for topic in topics {
                            let text = format!(r#"{{"c":"U","t":"{topic}","n":{n},"pad":"{pad}"}}"#);
                            while engine.broadcast(topic, &text) == Pressure::Refused {
                                std::thread::yield_now();
                            }
                        }
                        n += 1;
                        while engine.pressure() != Pressure::Fine && !over.load(SeqCst) {
                            std::thread::yield_now();
                        }
                    }
                    n
                };
                std::thread::spawn(publish)
            })
            .collect();
        let mut frames = Vec::new();
        let read = |peer: &mut Peer, frames: &mut Vec<Frame>, until: &dyn Fn(&Frame) -> bool| loop {
            let frame = peer.frame();
            let found = until(&frame);
            frames.push(frame);
            if found {
                return;
            }
        };
        let about = |topic: &'static str, from: u64| {
            move |frame: &Frame| {
                let message: Value = serde_json::from_str(frame.text()).unwrap();
                message["t"] == topic && message["n"].as_u64().is_some_and(|n| n >= from)
            }
        };
        read(&mut peer, &mut frames, &about("lose", 300));
        let next = token("ada", json!({ "wse_topics": { "allow": ["keep", "p.*"], "deny": ["p.lose"] } }));
        if by_host {
            assert!(refresh(&server, id, &next).is_ok());
        } else {
            peer.send_text(&message(&next));
        }
        let is_answer = |frame: &Frame| frame.text().contains(r#""t":"auth_refreshed""#);
        read(&mut peer, &mut frames, &is_answer);
        let point = frames.len();
        let last = numbers(&frames, "keep").last().copied().unwrap();
        read(&mut peer, &mut frames, &about("keep", last + 300));
        let last = numbers(&frames, "p.keep").last().copied().unwrap();
        read(&mut peer, &mut frames, &about("p.keep", last + 300));
        over.store(true, SeqCst);
        let published: Vec<u64> = publishers.into_iter().map(|thread| thread.join().unwrap()).collect();
        server.engine.send(id, r#"{"t":"end"}"#);
        read(&mut peer, &mut frames, &|frame| frame.text() == r#"{"t":"end"}"#);

        let all = |count: u64| (0..count).collect::<Vec<_>>();
        assert_eq!(numbers(&frames, "keep"), all(published[0]), "none lost, none twice");
        assert_eq!(numbers(&frames, "p.keep"), all(published[1]), "none lost, none twice");
        for topic in ["lose", "p.lose"] {
            let before = numbers(&frames[..point], topic);
            assert_eq!(before, all(before.len() as u64), "whole up to the point");
            assert_eq!(numbers(&frames[point..], topic), [0; 0], "nothing behind it");
        }
    }
}

#[test]
fn a_token_that_is_not_believed_changes_nothing_and_the_fifth_closes() {
    let mut server = server();
    let (mut peer, id) = connect(&mut server, json!({}));
    server.subscribe(id, &["a"]);
    let cases = [
        ("garbage", message("nonsense"), "invalid_token"),
        ("another user's", message(&token("bob", json!({}))), "other_user"),
        ("expired", message(&token("ada", json!({ "exp": 1_000_000 }))), "invalid_token"),
        ("one megabyte", message(&"x".repeat((1 << 20) - 100)), "invalid_token"),
    ];
    for (name, text, expected) in cases {
        peer.send_text(&text);
        let answer = peer.json();
        assert_eq!((reason(&answer), &answer["p"]["recoverable"]), (expected, &json!(true)), "{name}");
        assert_eq!(heard(&server, &mut peer, id, &["a"]), ["a"], "{name}");
    }
    // One that is believed makes up for them.
    assert_eq!(ask(&mut peer, &token("ada", json!({})))["t"], "auth_refreshed");
    let odd = [
        r#"{"t":"auth_refresh"}"#,
        r#"{"t":"auth_refresh","p":null}"#,
        r#"{"t":"auth_refresh","p":{"token":7}}"#,
        r#"{"t":"auth_refresh","p":[]}"#,
        r#"{"t":"auth_refresh","p":{"token":""}}"#,
    ];
    for (index, text) in odd.into_iter().enumerate() {
        // In a binary frame too.
        if index % 2 == 0 {
            peer.send_text(text)
        } else {
            peer.send_binary(text.as_bytes())
        }
        let answer = peer.json();
        assert_eq!(
            (reason(&answer), answer["p"]["recoverable"].as_bool()),
            ("invalid_token", Some(index < 4)),
            "{text}"
        );
    }
    assert!(peer.expect_close(4401).is_empty());
    peer.send_close(4401);
    assert_eq!(server.events.event(), Event::Disconnect(id), "the host has heard of none of them");
    assert_eq!(server.counter("wse_token_refresh_failures_total"), 9);
    assert_eq!(server.health("reassembly_bytes"), 0);
}

#[test]
fn a_thousand_in_one_read_cost_little_and_nobody_elses_turn() {
    let mut server = server();
    let (mut flooder, id) = connect(&mut server, json!({}));
    let (mut other, _) = connect(&mut server, json!({}));
    let good = message(&token("ada", json!({})));
    // As one write, masked with a key of zeros.
    let length = u16::try_from(good.len()).unwrap().to_be_bytes();
    let frame = [&[0x81, 0x80 | 126], &length[..], &[0; 4], good.as_bytes()].concat();
    let flood = std::thread::spawn(move || {
        flooder.send_raw(&frame.repeat(1000));
        flooder
    });
    for round in 0..50 {
        let mark = format!("{round}");
        assert!(other.frames_until_pong(&mark).is_empty());
    }
    let mut flooder = flood.join().unwrap();
    let answers: Vec<Value> = (0..1000).map(|_| flooder.json()).collect();
    let refreshed = answers.iter().filter(|answer| answer["t"] == "auth_refreshed").count();
    let limited = answers.iter().filter(|answer| answer["p"]["code"] == "RATE_LIMITED").count();
    assert_eq!(refreshed + limited, 1000);
    assert!((1..=100).contains(&refreshed), "{refreshed}: ten in ten seconds");
    assert!(server.engine.connection_info(id).is_some(), "it is not closed for it");
    assert_eq!(flooder.frames_until_pong("alive"), []);
}

#[test]
fn an_expiry_is_announced_once_per_token_and_put_off_by_another() {
    let mut server = server_with(Auth { expiry_warning_secs: 60, ..auth() }, config());
    let exp = now() + 6;
    let (mut peer, id) = connect(&mut server, json!({ "exp": exp }));
    let announced = peer.json();
    assert_eq!((&announced["t"], announced["p"]["expires_at"].as_u64()), (&json!("auth_expiring"), Some(exp)));
    assert!(announced["p"]["expires_in"].as_u64().unwrap() <= 6);
    let Event::AuthExpiring(whose, event) = server.events.event() else { panic!("no event") };
    assert_eq!((whose, event["expiresAt"].as_u64()), (id, Some(exp)));
    // Not announced: it is far away.
    assert_eq!(ask(&mut peer, &token("ada", json!({})))["t"], "auth_refreshed");
    while now() <= exp {
        peer.expect_silence(Duration::from_millis(500));
    }
    let exp = now() + 5;
    let answer = refresh(&server, id, &token("ada", json!({ "exp": exp })));
    assert_eq!(answer, Ok(Refreshed { expires_at: Some(exp) }));
    assert_eq!(peer.json()["t"], "auth_refreshed");
    assert_eq!(peer.json()["t"], "auth_expiring");
    assert!(peer.expect_close(4401).is_empty());
    peer.send_close(4401);
    let events = server.events.collect_until(|events| events.contains(&Event::Disconnect(id)));
    assert_eq!(events.len(), 2);
    assert!(matches!(events[0], Event::AuthExpiring(..)));
}

#[test]
fn a_token_that_ends_no_connection_is_exchanged_and_never_announced() {
    let auth = Auth { expiry_warning_secs: 60, close_on_expiry: false, ..auth() };
    let mut server = server_with(auth, config());
    let (mut peer, id) = connect(&mut server, json!({ "exp": now() + 5 }));
    let exp = now() + 5;
    assert_eq!(ask(&mut peer, &token("ada", json!({ "exp": exp })))["p"], json!({ "expires_at": null }));
    while now() <= exp {
        peer.expect_silence(Duration::from_millis(500));
    }
    assert_eq!(refresh(&server, id, &token("ada", json!({}))), Ok(Refreshed { expires_at: None }));
    assert_eq!(server.events.drain(), []);
}

#[test]
fn the_host_hears_why_and_its_client_only_of_success() {
    let mut server = server();
    let (mut peer, id) = connect(&mut server, json!({}));
    let cases = [
        ("nonsense".to_owned(), RefreshError::Invalid),
        ("x".repeat(1 << 20), RefreshError::Invalid),
        (token("ada", json!({ "exp": 1_000_000 })), RefreshError::Invalid),
        (token("ada", json!({ "wse_topics": {} })), RefreshError::Invalid),
        (token("bob", json!({})), RefreshError::OtherUser),
    ];
    // As often as it likes: its mistakes are not its client's.
    for _ in 0..3 {
        for (token, error) in &cases {
            assert_eq!(refresh(&server, id, token), Err(*error), "{}", &token[..token.len().min(20)]);
        }
    }
    assert!(peer.frames_until_pong("nothing").is_empty());
    assert!(refresh(&server, id, &token("ada", json!({}))).is_ok());
    assert_eq!(peer.json()["t"], "auth_refreshed");
    let nobody = ConnId::from_u64(id.as_u64() + (1 << 27));
    assert_eq!(refresh(&server, nobody, &token("ada", json!({}))), Err(RefreshError::UnknownConnection));
    let plain = Server::plain();
    assert_eq!(refresh(&plain, id, &token("ada", json!({}))), Err(RefreshError::NoAuth));
}

#[test]
fn what_the_host_has_said_a_connection_may_have_is_not_a_tokens_to_change() {
    let mut server = server();
    let (mut peer, id) = connect(&mut server, json!({ "wse_topics": { "allow": ["a", "b"] } }));
    server.subscribe(id, &["a", "b"]);
    assert!(server.engine.set_topic_acl(id, &["a".into()], &[]).unwrap());
    ask(&mut peer, &token("ada", json!({})));
    assert_eq!(heard(&server, &mut peer, id, &["a", "b"]), ["a"]);
    // Subscriptions stay with an ACL of the host's.
    assert_eq!(server.engine.connection_info(id).unwrap().topics.len(), 2);
    assert!(server.engine.set_topic_acl(id, &[], &[]).unwrap());
    assert_eq!(heard(&server, &mut peer, id, &["a", "b"]), ["a", "b"]);
}

#[test]
fn what_was_promised_before_is_looked_at_again_when_it_comes() {
    let mut server = server();
    let (mut peer, id) = connect(&mut server, json!({}));
    for round in 0..200 {
        ask_both(&mut server, &mut peer, id, round);
    }
}

/// The host subscribes it while it loses the right to that; then it gets it back.
fn ask_both(server: &mut Server, peer: &mut Peer, id: ConnId, round: u32) {
    let topics: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
    let (narrow, wide) = (token("ada", json!({ "wse_topics": { "allow": ["none"] } })), token("ada", json!({})));
    let engine = Arc::clone(&server.engine);
    let host = std::thread::spawn(move || engine.subscribe(id, &topics, None));
    assert!(refresh(server, id, &narrow).is_ok(), "{round}");
    host.join().unwrap();
    // Behind the last command.
    server.engine.send(id, "mark");
    while peer.text() != "mark" {}
    let held = server.engine.connection_info(id).unwrap().topics;
    server.engine.broadcast("t0", r#"{"c":"U","t":"t0"}"#);
    server.engine.send(id, "mark");
    assert_eq!((peer.text().as_str(), held.len()), ("mark", 0), "round {round}");
    assert!(refresh(server, id, &wide).is_ok(), "{round}");
    server.engine.send(id, "mark");
    while peer.text() != "mark" {}
    server.events.drain();
}

#[test]
fn a_refresh_comes_before_what_its_client_asks_for_behind_it() {
    let mut server = server_with(auth(), Config { subscriptions: Subscriptions::Acl, ..config() });
    let (mut peer, _) = connect(&mut server, json!({ "wse_topics": { "allow": ["a"] } }));
    let subscribe = |topic: &str| {
        json!({ "t": "subscription_update", "p": { "action": "subscribe", "topics": [topic] } }).to_string()
    };
    peer.send_text(&subscribe("b"));
    peer.send_text(&message(&token("ada", json!({ "wse_topics": { "allow": ["b"] } }))));
    peer.send_text(&subscribe("b"));
    peer.send_text(&subscribe("a"));
    let answers: Vec<Value> = (0..4).map(|_| peer.json()).collect();
    assert_eq!(answers[0]["p"]["failed_topics"], json!(["b"]));
    assert_eq!(answers[1]["t"], "auth_refreshed");
    assert_eq!(answers[2]["p"]["success_topics"], json!(["b"]));
    assert_eq!(answers[3]["p"]["failed_topics"], json!(["a"]));
}

#[test]
fn without_tokens_the_message_is_the_applications() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    let text = message("t");
    peer.send_text(&text);
    assert_eq!(server.events.event(), Event::Message(id, text));
}

#[test]
fn on_a_raw_connection_only_the_host_speaks() {
    let endpoints = vec![Endpoint { raw: true, ..Endpoint::default() }];
    let auth = Auth { expiry_warning_secs: 60, ..auth() };
    let mut server = server_with(auth, Config { endpoints, ..config() });
    let bearer = format!("Bearer {}", token("ada", json!({})));
    let (mut peer, id) = server.connect_with(&Request::default().field("Authorization", &bearer));
    server.subscribe(id, &["a"]);
    let text = message(&token("ada", json!({})));
    peer.send_text(&text);
    assert_eq!(server.events.event(), Event::Raw(id, text));
    let next = token("ada", json!({ "exp": now() + 30, "wse_topics": { "deny": ["a"] } }));
    assert!(refresh(&server, id, &next).is_ok());
    assert!(matches!(server.events.event(), Event::Unsubscribe(..)));
    assert!(matches!(server.events.event(), Event::AuthExpiring(..)));
    assert!(peer.frames_until_pong("nothing").is_empty());
}

#[test]
fn who_is_sent_away_is_given_no_token_any_more() {
    let mut server = server();
    let (mut peer, id) = connect(&mut server, json!({}));
    let engine = Arc::clone(&server.engine);
    let drain = std::thread::spawn(move || engine.drain(CloseCode::RECONNECT, "", Duration::from_secs(60)));
    peer.expect_close(4300);
    peer.send_text(&message(&token("ada", json!({}))));
    assert_eq!(refresh(&server, id, &token("ada", json!({}))), Err(RefreshError::UnknownConnection));
    peer.send_close(4300);
    peer.expect_end();
    drain.join().unwrap().unwrap();
    assert_eq!(server.counter("wse_token_refreshes_total"), 0);
    wait_until("it is gone", || server.engine.connection_count() == 0);
    assert_eq!(refresh(&server, id, &token("ada", json!({}))), Err(RefreshError::UnknownConnection));
}

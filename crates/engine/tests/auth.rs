//! Authentication through a real socket (docs/protocol.md §2): the upgrade succeeds, a TEXT error says why, Close 4401 ends it.

#![expect(clippy::disallowed_methods, reason = "tokens that expire soon are made by the wall clock")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_engine::config::{Auth, Config, Endpoint};
use wse_testkit::{Event, Peer, Request, Server, auth, config, token, wait_until};

fn server() -> Server {
    Server::start(Config { auth: Some(auth()), ..config() })
}

fn cookie(value: &str) -> Request {
    Request::default().field("Cookie", &format!("access_token={value}"))
}

fn bearer(value: &str) -> Request {
    Request::default().field("Authorization", &format!("Bearer {value}"))
}

/// The error and the close of a refused token; the keys of the error stand in alphabetical order.
fn refused(server: &Server, request: &Request) -> (String, String) {
    let mut peer = Peer::connect_with(server.address, request);
    let text = peer.text();
    let error: Value = serde_json::from_str(&text).unwrap();
    let (code, message) = (error["p"]["code"].as_str().unwrap(), error["p"]["message"].as_str().unwrap());
    let timestamp = error["p"]["timestamp"].as_str().unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"c":"WSE","p":{{"code":"{code}","message":"{message}","timestamp":"{timestamp}"}},"t":"error","v":1}}"#
        )
    );
    assert!(timestamp.ends_with('Z') && timestamp.len() == 24);
    let close = peer.frame();
    assert_eq!((close.close_code(), &close.payload[2..]), (Some(4401), &b"Authentication failed"[..]));
    peer.expect_end();
    (code.to_owned(), message.to_owned())
}

#[test]
fn every_failure_has_its_code_and_message() {
    let server = server();
    let required = ("AUTH_REQUIRED".to_owned(), "No JWT cookie or Authorization header".to_owned());
    let failed = ("AUTH_FAILED".to_owned(), "Authentication failed".to_owned());
    let nobody = ("AUTH_FAILED".to_owned(), "Token missing user ID".to_owned());
    let good = token("u", json!({}));
    let mut tampered = good.clone().into_bytes();
    let at = good.rfind('.').unwrap() + 3;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let cases = [
        ("no header", Request::default(), &required),
        ("other cookie", Request::default().field("Cookie", "other=1; ACCESS_TOKEN=x"), &required),
        ("unusable cookies", Request::default().field("Cookie", "access_token=; access_token=null"), &required),
        ("other scheme", Request::default().field("Authorization", &format!("Basic {good}")), &required),
        ("no token at all", cookie("nonsense"), &failed),
        ("tampered", cookie(std::str::from_utf8(&tampered).unwrap()), &failed),
        ("expired", bearer(&token("u", json!({ "exp": 1_000_000 }))), &failed),
        ("no expiry", bearer(&token("u", json!({ "exp": null }))), &failed),
        ("not yet", bearer(&token("u", json!({ "nbf": 4_000_000_000_u64 }))), &failed),
        ("nbf as a string", bearer(&token("u", json!({ "nbf": "4000000000" }))), &failed),
        ("too long", bearer(&token(&"u".repeat(9000), json!({}))), &failed),
        ("no sub", bearer(&token("u", json!({ "sub": null }))), &nobody),
        ("empty sub", bearer(&token("", json!({}))), &nobody),
        ("numeric sub", bearer(&token("u", json!({ "sub": 7 }))), &nobody),
        ("bad cookie, good header", cookie("bad").field("Authorization", &format!("Bearer {good}")), &failed),
    ];
    let count = cases.len() as u64;
    for (name, request, expected) in cases {
        assert_eq!(refused(&server, &request), *expected, "{name}");
    }
    assert_eq!(server.counter("wse_auth_failures_total"), count);
    assert_eq!(server.engine.connection_count(), 0);
    wait_until("no handshake is left", || server.health("pending_handshakes") == 0);
}

#[test]
fn cookie_first_then_bearer() {
    let mut server = server();
    let mut user = |request: Request| {
        let mut peer = Peer::connect_with(server.address, &request);
        let ready = peer.json();
        let Event::AuthConnect(_, user) = server.events.event() else { panic!("not authenticated") };
        assert_eq!(ready["p"]["details"]["user_id"], user.as_str());
        drop(peer);
        assert!(matches!(server.events.event(), Event::Disconnect(_)));
        user
    };
    let (a, b) = (token("from-cookie", json!({})), token("from-header", json!({})));
    assert_eq!(user(cookie(&a)), "from-cookie");
    assert_eq!(user(bearer(&b)), "from-header");
    assert_eq!(user(Request::default().field("Authorization", &format!("bEaReR {b}"))), "from-header");
    assert_eq!(user(cookie(&a).field("Authorization", &format!("Bearer {b}"))), "from-cookie");
    assert_eq!(user(cookie("undefined").field("Authorization", &format!("Bearer {b}"))), "from-header");
    assert_eq!(
        user(Request::default().field("Cookie", &format!("x=1; access_token=; access_token={a}"))),
        "from-cookie"
    );
}

#[test]
fn server_ready_is_the_first_frame_and_hello_is_answered() {
    let mut server = server();
    let mut peer = Peer::connect_with(server.address, &bearer(&token("é \"u\"", json!({}))));
    let id = server.events.connected();
    let ready = peer.json();
    assert_eq!(
        (&ready["t"], &ready["c"], &ready["v"], &ready["seq"]),
        (&json!("server_ready"), &json!("WSE"), &json!(1), &json!(1))
    );
    assert_eq!(ready["p"]["details"]["features"]["rust_jwt"], true);
    let uuid = server.engine.connection_uuid(id).unwrap();
    assert_eq!(ready["p"]["details"]["connection_id"], uuid.as_str());
    assert_eq!(ready["p"]["details"]["user_id"], "é \"u\"");
    for version in [1, 2, 9] {
        peer.send_text(&json!({"c":"WSE","t":"client_hello","p":{"protocol_version":version}}).to_string());
        let hello = peer.json();
        assert_eq!((&hello["t"], &hello["p"]["protocol_version"]), (&json!("server_hello"), &json!(version.min(2))));
        assert_eq!((&hello["p"]["connection_id"], &hello["p"]["ping_interval"]), (&json!(uuid), &json!(500_000_000)));
    }
    assert_eq!(server.events.drain(), [], "the host hears nothing of it");
}

#[test]
fn a_live_connection_whose_token_expires_is_closed() {
    let mut server = server();
    let began = Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // Whole seconds: two and something are left to connect in.
    let mut peer = Peer::connect_with(server.address, &bearer(&token("u", json!({ "exp": now + 3 }))));
    let id = server.events.connected();
    let mut lasting = Peer::connect_with(server.address, &bearer(&token("v", json!({}))));
    let other = server.events.connected();
    assert_eq!(peer.json()["t"], "server_ready");
    peer.expect_close(4401);
    assert!(began.elapsed() >= Duration::from_millis(1900), "not before its time");
    peer.send_close(4401);
    peer.expect_end();
    assert_eq!(server.events.event(), Event::Disconnect(id));
    lasting.json();
    assert_eq!(lasting.frames_until_pong("still here"), []);
    assert!(server.engine.send(other, "x").is_some());
}

#[test]
fn expiry_can_be_left_to_the_host() {
    let mut server = Server::start(Config { auth: Some(Auth { close_on_expiry: false, ..auth() }), ..config() });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut peer = Peer::connect_with(server.address, &bearer(&token("u", json!({ "exp": now + 3 }))));
    server.events.connected();
    peer.json();
    peer.expect_silence(Duration::from_millis(3600));
}

#[test]
fn the_topics_claim_is_the_acl() {
    let mut server = server();
    let claim = json!({ "wse_topics": { "allow": ["user:1:*", "news"], "deny": ["*:secret"] } });
    let mut peer = Peer::connect_with(server.address, &bearer(&token("1", claim)));
    let id = server.events.connected();
    peer.json();
    let topics = ["user:1:a", "news", "user:2:a", "user:1:secret", "*", "user:1:*"].map(String::from);
    assert_eq!(server.engine.subscribe(id, &topics, None), wse_engine::Subscribed::Accepted(3));
    for topic in ["user:2:a", "user:1:secret", "user:1:b", "news"] {
        server.engine.broadcast(topic, topic);
    }
    assert_eq!((peer.text(), peer.text()), ("user:1:b".into(), "news".into()), "the pattern does not reach the secret");
    assert_eq!(peer.frames_until_pong("end"), []);
    // A claim that cannot be read is no permission.
    assert_eq!(refused(&server, &bearer(&token("1", json!({ "wse_topics": { "allow": 1 } })))).0, "AUTH_FAILED");
}

#[test]
fn on_a_raw_endpoint_a_refused_token_is_answered_over_http() {
    let raw = Endpoint { raw: true, ..Endpoint::default() };
    let mut server = Server::start(Config { auth: Some(auth()), endpoints: vec![raw], ..config() });
    for request in [Request::default(), cookie("nonsense"), bearer(&token("u", json!({ "exp": 1_000_000 })))] {
        let mut peer = Peer::open(server.address);
        peer.send_raw(&request.bytes());
        let response = peer.response();
        assert_eq!((response.status, response.field("WWW-Authenticate")), (401, Some("Bearer")));
    }
    assert_eq!(server.metric("wse_auth_failures_total"), 3.0);
    let (mut peer, id) = {
        let peer = Peer::connect_with(server.address, &bearer(&token("ann", json!({}))));
        let Event::AuthConnect(id, user) = server.events.event() else { panic!("not let in") };
        assert_eq!(user, "ann");
        (peer, id)
    };
    server.engine.send(id, "first");
    assert_eq!(peer.text(), "first", "no greeting");
}

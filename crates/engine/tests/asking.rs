//! A host that is asked who may in, without JavaScript: what its answers do, what becomes of those who wait, and that one question
//! serves all who wait for a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use wse_crypto::jwt::{Algorithm, JwtConfig, JwtVerifier, encode};
use wse_engine::config::{Auth, Config, ForwardedField, TrustedProxies};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Event, Host, Peer, Request, SECRET, Server, auth, config, wait_until};

fn asking() -> Config {
    Config { ask_upgrade: true, ..config() }
}

fn parked(server: &Server) -> Peer {
    let before = server.health("waiting_upgrades");
    let mut peer = Peer::open(server.address);
    peer.send_raw(&Request::default().bytes());
    wait_until("it waits", || server.health("waiting_upgrades") == before + 1);
    peer
}

#[test]
fn lets_in_on_terms_and_refuses_with_a_response() {
    let mut server = Server::start(asking());
    let _host = Host::of(&server.engine, |asked| match asked["path"].as_str() {
        Some("/no") => json!({ "id": asked["id"], "status": 418, "headers": [["X-A", "b"]], "body": "tea" }),
        _ => {
            json!({ "id": asked["id"], "user": "ada", "data": "[1]", "topics": ["a", "b.*", "c"], "acl": { "deny": ["c"] } })
        }
    });
    let mut peer = Peer::connect_with(server.address, &Request::new("/yes"));
    let Event::AuthConnect(id, user) = server.events.event() else { panic!("no connect") };
    let info = server.engine.connection_info(id).unwrap();
    assert_eq!((user.as_str(), info.user.as_deref(), info.data.as_deref()), ("ada", Some("ada"), Some("[1]")));
    assert_eq!(info.topics.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["a", "b.*"]);
    server.engine.broadcast("b.x", "\"hello\"");
    assert_eq!(peer.json()["t"], "server_ready");
    assert_eq!(peer.text(), "\"hello\"");

    let mut refused = Peer::open(server.address);
    refused.send_raw(&Request::new("/no").bytes());
    let response = refused.response();
    assert_eq!((response.status, response.field("x-a"), response.body.as_str()), (418, Some("b"), "tea"));
}

#[test]
fn whoever_waits_in_vain_is_told_and_leaves_no_place_taken() {
    let server = Server::start(Config { answer_timeout: Duration::from_millis(100), max_waiting: 8, ..asking() });
    let _host = Host::of(&server.engine, |_| Value::Null);
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::open(server.address)).collect();
    for peer in &mut peers {
        peer.send_raw(&Request::default().bytes());
    }
    for peer in &mut peers {
        assert_eq!(peer.response().status, 503);
    }
    wait_until("their places", || server.health("waiting_upgrades") == 0);
    assert_eq!(server.counter("wse_upgrades_unanswered_total"), 8);
    drop(peers);
    wait_until("no handshake", || server.health("pending_handshakes") == 0);
}

#[test]
fn a_peer_that_dies_is_given_up_at_once() {
    let server = Server::start(Config { answer_timeout: Duration::from_secs(600), ..asking() });
    let _host = Host::of(&server.engine, |_| Value::Null);
    for _ in 0..5 {
        drop(parked(&server));
        wait_until("its place", || server.health("waiting_upgrades") + server.health("pending_handshakes") == 0);
    }
}

#[test]
fn the_end_of_the_engine_is_an_answer() {
    let server = Server::start(Config { answer_timeout: Duration::from_secs(600), ..asking() });
    let _host = Host::of(&server.engine, |_| Value::Null);
    let mut peers: Vec<Peer> = (0..3).map(|_| parked(&server)).collect();
    server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::from_secs(5));
    for peer in &mut peers {
        assert_eq!(peer.response().status, 503);
    }
}

#[test]
fn many_cross_with_few_wakes() {
    let mut server = Server::start(Config { answer_timeout: Duration::from_secs(600), ..asking() });
    let engine = Arc::downgrade(&server.engine);
    let first = AtomicBool::new(true);
    // Busy with the first until all of them wait, however slowly they come: a host that keeps up is woken for each.
    let host = Host::of(&server.engine, move |asked| {
        if first.swap(false, SeqCst) {
            wait_until("all wait", || {
                engine.upgrade().is_none_or(|engine| engine.health()["waiting_upgrades"].as_u64() == Some(300))
            });
        }
        json!({ "id": asked["id"] })
    });
    let mut peers: Vec<Peer> = (0..300).map(|_| Peer::open(server.address)).collect();
    for peer in &mut peers {
        peer.send_raw(&Request::default().bytes());
    }
    for peer in &mut peers {
        assert_eq!(peer.response().status, 101);
        server.events.connected();
    }
    assert!(host.woken.load(SeqCst) < 150, "{} wakes", host.woken.load(SeqCst));
}

#[test]
fn one_question_serves_all_who_wait_for_a_key() {
    let verifier = JwtVerifier::keyless(JwtConfig::new(Algorithm::HS256, "")).unwrap();
    let auth = Auth { verifier, ask_keys: Some(Duration::from_secs(600)), ..auth() };
    let mut server = Server::start(Config { auth: Some(auth), ..config() });
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let _host = Host::of(&server.engine, move |question| {
        count.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        let known = question["kid"] == "k1";
        json!({ "id": question["id"], "key": known.then(|| std::str::from_utf8(SECRET).unwrap()) })
    });
    let claims = json!({ "sub": "ada", "exp": 4_000_000_000_u64 });
    let request = |kid: &str| {
        let token = encode(&claims, SECRET, Algorithm::HS256, Some(kid)).unwrap();
        Request::default().field("Authorization", &format!("Bearer {token}"))
    };
    let mut peers: Vec<Peer> = (0..50).map(|_| Peer::open(server.address)).collect();
    for peer in &mut peers {
        peer.send_raw(&request("k1").bytes());
    }
    for peer in &mut peers {
        assert_eq!(peer.response().status, 101);
        assert!(matches!(server.events.event(), Event::AuthConnect(_, user) if user == "ada"));
    }
    assert_eq!(asked.load(SeqCst), 1);
    let mut unknown = Peer::connect_with(server.address, &request("k2"));
    unknown.text();
    unknown.expect_close(4401);
}

#[test]
fn a_proxy_names_its_client_before_anything_else() {
    let networks = vec!["127.0.0.1".parse().unwrap()];
    let proxies = TrustedProxies { networks, field: ForwardedField::ProxyProtocol };
    let mut server = Server::start(Config { trusted_proxies: Some(proxies), ..config() });
    let mut peers = Vec::new();
    for pieces in [1, 3, 1000] {
        let mut peer = Peer::open(server.address);
        let bytes = [b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n", &*Request::default().bytes()].concat();
        for piece in bytes.chunks(pieces) {
            peer.send_raw(piece);
        }
        assert_eq!(peer.response().status, 101);
        let id = server.events.connected();
        assert_eq!(server.engine.connection_info(id).unwrap().address.to_string(), "203.0.113.7");
        peers.push(peer);
    }
    let mut liar = Peer::open(server.address);
    liar.send_raw(&Request::default().bytes());
    liar.expect_end();
    wait_until("the count", || server.counter("wse_proxy_errors_total") == 1);
}

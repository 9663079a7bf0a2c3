//! Tokens that are revoked: refused in the handshake and at a refresh, and their open connections closed. And tokens that name keys
//! nobody knows yet.

#![expect(clippy::disallowed_methods, reason = "tokens are issued by the wall clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wse_crypto::jwt::{Algorithm, JwtConfig, JwtVerifier, encode};
use wse_engine::config::{Auth, Config};
use wse_engine::{ConnId, Engine, RefreshError, Refreshed, Revocation, RevocationsFull};
use wse_testkit::{Event, Peer, Request, SECRET, Server, auth, config, token, wait_until};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn server(auth: Auth) -> Server {
    Server::start(Config { auth: Some(auth), ..config() })
}

fn bearer(token: &str) -> Request {
    Request::default().field("Authorization", &format!("Bearer {token}"))
}

fn connect(server: &mut Server, token: &str) -> (Peer, ConnId) {
    let mut peer = Peer::connect_with(server.address, &bearer(token));
    assert_eq!(peer.json()["t"], "server_ready");
    // Others may leave meanwhile.
    let is_connect = |event: &Event| matches!(event, Event::AuthConnect(..));
    let events = server.events.collect_until(|events| events.last().is_some_and(is_connect));
    (peer, events[events.len() - 1].connection())
}

/// The code of the error a handshake is refused with.
fn refused(server: &Server, token: &str) -> Value {
    let mut peer = Peer::connect_with(server.address, &bearer(token));
    let error = peer.json();
    peer.expect_close(4401);
    error["p"]["code"].clone()
}

fn told(server: &Server, id: ConnId, token: &str) -> Receiver<Result<Refreshed, RefreshError>> {
    let (tell, told) = channel();
    server.engine.refresh_token(id, token, move |outcome| {
        // Whoever asked may not wait any more.
        let _ = tell.send(outcome);
    });
    told
}

fn refresh(server: &Server, id: ConnId, token: &str) -> Result<Refreshed, RefreshError> {
    told(server, id, token).recv_timeout(Duration::from_secs(60)).expect("an outcome")
}

fn message(token: &str) -> String {
    json!({ "t": "auth_refresh", "p": { "token": token } }).to_string()
}

fn of(sub: &str, before: u64) -> Revocation {
    Revocation { sub: Some(sub.into()), jti: None, before: Some(before) }
}

#[test]
fn a_user_is_thrown_out_and_comes_back_with_a_later_token_only() {
    let mut server = server(auth());
    let old = token("ada", json!({ "iat": now() - 10 }));
    let undated = token("ada", json!({}));
    let later = token("ada", json!({ "iat": now() + 5 }));
    let (mut first, _) = connect(&mut server, &old);
    let (mut second, _) = connect(&mut server, &undated);
    let (mut stays, own) = connect(&mut server, &later);
    let (mut bob, bobs) = connect(&mut server, &token("bob", json!({ "iat": now() - 10 })));
    assert_eq!(server.engine.revoke(&of("ada", now())), Ok(2));
    for peer in [&mut first, &mut second] {
        assert!(peer.expect_close(4401).is_empty());
        peer.send_close(4401);
    }
    for token in [&old, &undated] {
        assert_eq!(refused(&server, token), "AUTH_FAILED");
        assert_eq!(refresh(&server, own, token), Err(RefreshError::Revoked));
    }
    stays.send_text(&message(&old));
    assert_eq!(stays.json()["p"]["reason"], "invalid_token", "which thing is not said");
    connect(&mut server, &later);
    assert!(bob.frames_until_pong("still there").is_empty());
    assert_eq!(server.counter("wse_revoked_connections_total"), 2);
    // An old token, given up for a later one, is not what a connection is revoked by.
    let fresh = token("bob", json!({ "iat": now() + 5 }));
    assert!(refresh(&server, bobs, &fresh).is_ok());
    assert_eq!(server.engine.revoke(&of("bob", now())), Ok(0));
    assert_eq!(bob.json()["t"], "auth_refreshed");
    assert!(bob.frames_until_pong("still there").is_empty());
}

#[test]
fn one_token_is_revoked_by_its_id() {
    let mut server = server(auth());
    let named = |sub: &str, jti: &str| token(sub, json!({ "jti": jti, "iat": now() }));
    let (mut first, _) = connect(&mut server, &named("ada", "1"));
    let (mut other, _) = connect(&mut server, &named("ada", "2"));
    let (mut bob, _) = connect(&mut server, &named("bob", "1"));
    let revocation = |sub: Option<&str>| Revocation { sub: sub.map(Into::into), jti: Some("1".into()), before: None };
    assert_eq!(server.engine.revoke(&revocation(Some("ada"))), Ok(1));
    first.expect_close(4401);
    assert!(bob.frames_until_pong("not his").is_empty());
    assert_eq!(server.engine.revoke(&revocation(None)), Ok(1), "hers is closing already");
    bob.expect_close(4401);
    assert!(other.frames_until_pong("another token").is_empty());
    assert_eq!(refused(&server, &named("eve", "1")), "AUTH_FAILED");
    connect(&mut server, &named("eve", "2"));
    assert_eq!(server.engine.revoke(&Revocation::default()), Ok(0), "it names nobody");
    connect(&mut server, &named("ada", "3"));
}

#[test]
fn a_full_list_says_so_and_nobody_is_closed() {
    let mut server = server(Auth { max_revocations: 3, max_lifetime_secs: Some(3600), ..auth() });
    let (mut peer, _) = connect(&mut server, &token("ada", json!({ "iat": now() })));
    for user in ["x", "y", "z"] {
        assert_eq!(server.engine.revoke(&of(user, now())), Ok(0));
    }
    assert_eq!(server.engine.revoke(&of("ada", now())), Err(RevocationsFull(3)));
    assert!(peer.frames_until_pong("untouched").is_empty());
    assert_eq!((server.health("revocations"), server.health("revocations_limit")), (3, 3));
    for before in [0, (1 << 53) - 1, 1 << 53, u64::MAX] {
        // One that is there is extended, however far.
        assert_eq!(server.engine.revoke(&of("x", before)), Ok(0));
    }
    connect(&mut server, &token("ada", json!({ "iat": now() })));
}

#[test]
fn with_a_longest_life_tokens_say_when_they_were_issued_and_live_no_longer() {
    let mut server = server(Auth { max_lifetime_secs: Some(3600), ..auth() });
    let (_peer, id) = connect(&mut server, &token("ada", json!({ "iat": now() })));
    for bad in [json!({}), json!({ "iat": now() - 10 }), json!({ "iat": "1" }), json!({ "iat": 0 })] {
        assert_eq!(refused(&server, &token("ada", bad.clone())), "AUTH_FAILED", "{bad}");
        assert_eq!(refresh(&server, id, &token("ada", bad)), Err(RefreshError::Invalid));
    }
    // Its users can be forgotten once none of their tokens can be valid.
    assert_eq!(server.engine.revoke(&of("bob", 1000)), Ok(0));
}

/// Handshakes and revocations at the same time: whoever is let in before is closed, whoever comes later is refused.
#[test]
fn nobody_slips_in_while_a_user_is_revoked() {
    let mut server = server(auth());
    for round in 0..40 {
        let user = format!("user {round}");
        let token = token(&user, json!({ "iat": now() }));
        let mut peers: Vec<Peer> = (0..8).map(|_| Peer::open(server.address)).collect();
        let engine = Arc::clone(&server.engine);
        let revoke = std::thread::spawn(move || engine.revoke(&of(&user, u64::MAX)).unwrap());
        for peer in &mut peers {
            peer.send_raw(&bearer(&token).bytes());
        }
        revoke.join().unwrap();
        for peer in &mut peers {
            assert_eq!(peer.response().status, 101);
            peer.expect_close(4401);
            peer.send_close(4401);
        }
    }
    wait_until("they are gone", || server.engine.connection_count() == 0);
    server.events.drain();
}

/// Whoever exchanges a token while it is revoked ends too.
#[test]
fn nobody_gets_away_with_a_token_that_is_revoked_while_it_is_exchanged() {
    let mut server = server(auth());
    for round in 0..40 {
        let user = format!("user {round}");
        let (mut peer, id) = connect(&mut server, &token(&user, json!({ "jti": "old" })));
        let next = format!("{round}");
        let engine = Arc::clone(&server.engine);
        let revocation = Revocation { sub: None, jti: Some(next.clone()), before: None };
        let revoke = std::thread::spawn(move || engine.revoke(&revocation).unwrap());
        let outcome = refresh(&server, id, &token(&user, json!({ "jti": next })));
        revoke.join().unwrap();
        match outcome {
            Err(RefreshError::Revoked) => assert!(peer.frames_until_pong("as before").is_empty()),
            Ok(_) => {
                let before = peer.expect_close(4401);
                assert!(before.len() == 1 && before[0].text().contains("auth_refreshed"));
                peer.send_close(4401);
            }
            Err(other) => panic!("{other}"),
        }
        server.events.drain();
    }
}

/// A host that answers questions for keys when it is let.
struct Host {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    fn of(engine: &Arc<Engine>, let_go: &Arc<AtomicBool>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (engine, let_go, ended) = (Arc::clone(engine), Arc::clone(let_go), Arc::clone(&over));
        engine.on_questions(Some(Arc::new(|| {})));
        let work = move || {
            let mut asked: Vec<Value> = Vec::new();
            while !ended.load(SeqCst) {
                if let Some(batch) = engine.take_questions() {
                    let batch: Value = serde_json::from_str(&batch).unwrap();
                    asked.extend(batch["asked"].as_array().unwrap().iter().cloned());
                }
                if let_go.load(SeqCst) && !asked.is_empty() {
                    let answer = |question: &Value| {
                        let known = question["kid"].as_str().is_some_and(|kid| kid.starts_with('k'));
                        json!({ "id": question["id"], "key": known.then(|| std::str::from_utf8(SECRET).unwrap()) })
                    };
                    let answers: Vec<Value> = asked.drain(..).map(|question| answer(&question)).collect();
                    assert_eq!(engine.answer(&json!(answers).to_string()).unwrap(), []);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        Self { over, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn keyless() -> Auth {
    let verifier = JwtVerifier::keyless(JwtConfig::new(Algorithm::HS256, "")).unwrap();
    Auth { verifier, ask_keys: Some(Duration::from_secs(600)), ..auth() }
}

fn signed(sub: &str, kid: &str) -> String {
    let claims = json!({ "sub": sub, "exp": 4_000_000_000_u64 });
    encode(&claims, SECRET, Algorithm::HS256, Some(kid)).unwrap()
}

#[test]
fn a_token_waits_for_its_key_and_its_connection_goes_on() {
    let mut server = Server::start(Config {
        auth: Some(keyless()),
        answer_timeout: Duration::from_secs(600),
        max_waiting: 2,
        ..config()
    });
    let let_go = Arc::new(AtomicBool::new(true));
    let _host = Host::of(&server.engine, &let_go);
    let (mut peer, id) = connect(&mut server, &signed("ada", "k0"));
    let (_second, other) = connect(&mut server, &signed("ada", "k0"));
    let (_third, third) = connect(&mut server, &signed("ada", "k0"));
    let_go.store(false, SeqCst);
    peer.send_text(&message(&signed("ada", "k1")));
    wait_until("it waits", || server.health("waiting_refreshes") == 1);
    peer.send_text(r#"{"t":"hello"}"#);
    assert_eq!(server.events.message()["t"], "hello");
    assert!(server.engine.send(id, r#"{"t":"live"}"#).is_some());
    assert_eq!(peer.json()["t"], "live");
    // One at a time, whoever asks.
    peer.send_text(&message(&signed("ada", "k0")));
    assert_eq!(peer.json()["p"]["reason"], "busy");
    assert_eq!(refresh(&server, id, &signed("ada", "k0")), Err(RefreshError::Busy));
    // A bounded number waits, and who needs no key does not.
    let waits = told(&server, other, &signed("ada", "unknown"));
    wait_until("both wait", || server.health("waiting_refreshes") == 2);
    assert_eq!(refresh(&server, third, &signed("ada", "k2")), Err(RefreshError::Unavailable));
    assert!(refresh(&server, third, &signed("ada", "k0")).is_ok());
    let_go.store(true, SeqCst);
    assert_eq!(peer.json()["t"], "auth_refreshed");
    assert_eq!(waits.recv_timeout(Duration::from_secs(60)).unwrap(), Err(RefreshError::Invalid));
    assert_eq!(server.health("waiting_refreshes"), 0);
}

#[test]
fn a_host_that_does_not_name_the_key_costs_its_time_and_a_connection_that_leaves_nothing() {
    let timeout = Duration::from_millis(500);
    let mut server = Server::start(Config { auth: Some(keyless()), answer_timeout: timeout, ..config() });
    let let_go = Arc::new(AtomicBool::new(true));
    let _host = Host::of(&server.engine, &let_go);
    let (mut peer, _) = connect(&mut server, &signed("ada", "k0"));
    let (leaves, leaving) = connect(&mut server, &signed("ada", "k0"));
    let_go.store(false, SeqCst);
    let waits = told(&server, leaving, &signed("ada", "k8"));
    wait_until("it waits", || server.health("waiting_refreshes") == 1);
    drop(leaves);
    assert_eq!(waits.recv_timeout(Duration::from_secs(60)).unwrap(), Err(RefreshError::UnknownConnection));
    wait_until("its place is free", || server.health("waiting_refreshes") == 0);
    // As often as it likes: that is not its fault.
    for round in 0..7 {
        peer.send_text(&message(&signed("ada", &format!("k{round}x"))));
        let answer = peer.json();
        assert_eq!((&answer["p"]["reason"], &answer["p"]["recoverable"]), (&json!("unavailable"), &json!(true)));
    }
    assert!(peer.frames_until_pong("still there").is_empty());
    let gone = server.events.collect_until(|events| !events.is_empty());
    assert_eq!(gone, [Event::Disconnect(leaving)]);
}

//! A shard that never rests: publishers that do not pause must not stop handshakes, pings, timers or the slow.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wse_engine::config::{Config, Subscriptions};
use wse_engine::{Engine, Subscribed};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::Opcode;
use wse_testkit::{Certificate, Peer, Request, Server, config, wait_until};

#[test]
fn sockets_and_timers_have_their_turn_while_publishers_never_pause() {
    let mut server = Server::start(Config {
        shards: 1,
        high_water_mark: 1,
        ping_interval: Duration::from_millis(300),
        idle_timeout: Duration::from_secs(20),
        ..config()
    });
    // Interest without a delivery: nobody's socket may fill up and end the game.
    let (_peer, id) = server.connect();
    server.subscribe(id, &["t"]);
    server.engine.set_topic_acl(id, &[], &["t".to_owned()]).unwrap();
    // The shard tells us at the end of each turn that the pressure is gone, on its own thread: what is published there waits
    // before the turn is over, so the inbox is never found empty, whatever the machine does.
    let (engine, stop) = (Arc::downgrade(&server.engine), Arc::new(AtomicBool::new(false)));
    let (stopped, turns) = (Arc::clone(&stop), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&turns);
    server.engine.on_writable(Arc::new(move || {
        if let Some(engine) = engine.upgrade().filter(|_| !stopped.load(Relaxed)) {
            counted.fetch_add(1, Relaxed);
            engine.broadcast("t", "x");
        }
    }));
    server.engine.broadcast("t", "x");
    // Each wait ends in time or fails by the peer's own deadline: a starved socket is never answered.
    for round in 0..5 {
        let before = turns.load(Relaxed);
        let mut peer = Peer::connect(server.address);
        peer.send_text(&format!(r#"{{"t":"ping","p":{{"timestamp":{round}}}}}"#));
        let answer = loop {
            let frame = peer.frame();
            if frame.opcode == Opcode::Text && frame.text().contains("PONG") {
                break serde_json::from_slice::<serde_json::Value>(&frame.payload).unwrap();
            }
        };
        assert_eq!(answer["p"]["client_timestamp"], round);
        // The wheel turns as well.
        while peer.frame().opcode != Opcode::Ping {}
        assert!(turns.load(Relaxed) > before, "it never paused");
    }
    stop.store(true, Relaxed);
}

#[test]
fn a_slow_reader_that_gets_on_hears_the_close_however_long_it_takes() {
    /// Longer than a thread of a busy machine waits for a processor.
    const LIMIT: Duration = Duration::from_millis(1500);
    for secure in [false, true] {
        let authority = Certificate::new();
        let mut server = Server::start(Config {
            shards: 1,
            close_timeout: LIMIT,
            tls: secure.then(|| authority.server()),
            ..config()
        });
        let mut peer = match secure {
            true => Peer::open_tls(server.address, &authority).unwrap().upgraded(&Request::default()),
            false => Peer::open_narrow(server.address, 16 * 1024).upgraded(&Request::default()),
        };
        let id = server.events.connected();
        let chunk = vec![7; 100 * 1024];
        for _ in 0..120 {
            server.engine.send_bytes(id, &chunk);
        }
        wait_until("it is queued", || server.health("inbox_bytes") == 0 && server.health("outbound_bytes") > 1 << 20);
        server.engine.disconnect(id, CloseCode::RECONNECT, "bye");
        let began = Instant::now();
        let mut chunks = 0;
        let code = loop {
            // A frame each few milliseconds: slower in all than the time a peer that stands still is given.
            std::thread::sleep(LIMIT / 100);
            let frame = peer.frame();
            match frame.opcode {
                Opcode::Binary => chunks += 1,
                Opcode::Close => break frame.close_code(),
                _ => {}
            }
        };
        assert_eq!((chunks, code), (120, Some(4300)), "tls: {secure}");
        assert!(began.elapsed() > LIMIT, "slower than the time limit");
    }
}

#[test]
fn a_queue_group_asks_the_acl_at_delivery_and_skips_who_is_closing() {
    let mut server = Server::start(Config { shards: 1, close_timeout: Duration::from_secs(5), ..config() });
    let (mut first, one) = server.connect();
    let (mut second, two) = server.connect();
    let jobs = ["jobs".to_owned()];
    for id in [one, two] {
        server.engine.subscribe(id, &jobs, Some("g"));
    }
    server.engine.set_topic_acl(one, &[], &jobs).unwrap();
    for n in 0..4 {
        server.engine.broadcast("jobs", &n.to_string());
        assert_eq!(second.text(), n.to_string());
    }
    // Told to leave, but it has not answered: it is no member any more.
    server.engine.set_topic_acl(one, &[], &[]).unwrap();
    server.engine.disconnect(two, CloseCode::RECONNECT, "");
    wait_until("it is closing", || server.engine.send(two, "late").is_none());
    for n in 0..4 {
        server.engine.broadcast("jobs", &n.to_string());
        assert_eq!(first.text(), n.to_string());
    }
    server.engine.disconnect(one, CloseCode::RECONNECT, "");
    wait_until("nobody is left", || server.engine.send(one, "late").is_none());
    server.engine.broadcast("jobs", "lost");
    assert_eq!(server.metric("wse_group_unserved_total"), 1.0);
}

/// Holds the shard between two batches, lets `meanwhile` happen, then has `step` publish on the shard's own thread: one batch.
fn one_batch(server: &Server, meanwhile: impl FnOnce(), step: impl FnOnce(&Engine) + Send + 'static) {
    let (engine, step) = (Arc::downgrade(&server.engine), Mutex::new(Some(step)));
    let (held, is_held) = channel();
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    server.engine.on_writable(Arc::new(move || {
        if let (Some(engine), Some(step)) = (engine.upgrade(), step.lock().unwrap().take()) {
            held.send(()).unwrap();
            gone.lock().unwrap().recv().unwrap();
            step(&engine);
        }
    }));
    server.engine.broadcast_all("kick");
    is_held.recv().unwrap();
    meanwhile();
    // What was sent over loopback is there long before.
    std::thread::sleep(Duration::from_millis(50));
    go.send(()).unwrap();
}

/// The first of the two texts that `wanted` knows.
fn first(peer: &mut Peer, wanted: [&str; 2]) -> usize {
    loop {
        let text = peer.text();
        if let Some(which) = wanted.iter().position(|wanted| text.contains(wanted)) {
            return which;
        }
    }
}

/// The ping of a peer that came before `work` began is answered before the shard is through with it.
fn answered_within(server: &mut Server, work: impl FnOnce(&Engine) + Send + 'static, why: &str) {
    let (mut observer, id) = server.connect();
    one_batch(
        server,
        || observer.send_text(r#"{"t":"ping","p":{"timestamp":1}}"#),
        move |engine| {
            work(engine);
            engine.send(id, "end");
        },
    );
    assert_eq!(first(&mut observer, ["PONG", "end"]), 0, "{why}");
}

#[test]
fn sockets_have_their_turn_within_a_batch_for_peers_that_stand_still() {
    let mut server = Server::start(Config {
        shards: 1,
        high_water_mark: 1,
        max_outbound_bytes: 256 << 20,
        hard_limit: 512 << 20,
        ..config()
    });
    let standing: Vec<_> = (0..20)
        .map(|_| {
            let peer = Peer::open_narrow(server.address, 4096).upgraded(&Request::default());
            let id = server.events.connected();
            server.subscribe(id, &["a", "b"]);
            for _ in 0..12 {
                server.engine.send_bytes(id, &[7; 512 * 1024]);
            }
            peer
        })
        .collect();
    wait_until("it is queued", || server.health("inbox_bytes") == 0);
    assert!(server.health("outbound_bytes") > 20 << 20, "they do stand still");
    answered_within(
        &mut server,
        move |engine| {
            for n in 0..40_000 {
                engine.broadcast(if n % 2 == 0 { "a" } else { "b" }, "x");
            }
        },
        "the ping was answered before the batch was over",
    );
    drop(standing);
}

#[test]
fn nothing_published_before_comes_behind_the_answer_to_an_unsubscribe() {
    // More than are flushed before the sockets have their turn.
    let mut server =
        Server::start(Config { shards: 1, high_water_mark: 1, subscriptions: Subscriptions::Acl, ..config() });
    let mut peers: Vec<_> = (0..1100).map(|_| server.connect()).collect();
    for (_, id) in &peers {
        server.subscribe(*id, &["t"]);
    }
    let (mut last, _) = peers.pop().unwrap();
    one_batch(
        &server,
        || last.send_text(r#"{"t":"subscription_update","p":{"action":"unsubscribe","topics":["t"]}}"#),
        |engine| {
            engine.broadcast("t", "published");
        },
    );
    assert_eq!(first(&mut last, ["published", "subscription_update"]), 0);
}

#[test]
fn sockets_have_their_turn_among_publications_that_reach_nobody() {
    let mut server = Server::start(Config { shards: 1, high_water_mark: 1, hard_limit: 512 << 20, ..config() });
    let (_crowd, id) = server.connect();
    // They begin and end alike, so each is tried for each topic.
    let names: Vec<String> = (0..1000).map(|n| format!("*x{n}*")).collect();
    assert_eq!(server.engine.subscribe(id, &names, None), Subscribed::Accepted(1000));
    answered_within(
        &mut server,
        move |engine| {
            for n in 0..2000 {
                engine.broadcast(&format!("nobody:{n}"), "x");
            }
        },
        "2,000,000 patterns were tried without a turn of the sockets",
    );
}

#[test]
fn sockets_have_their_turn_among_subscriptions() {
    let mut server = Server::start(Config { shards: 1, high_water_mark: 1, hard_limit: 512 << 20, ..config() });
    let (_holder, holder) = server.connect();
    answered_within(
        &mut server,
        move |engine| {
            for n in 0..40_000 {
                let name = [format!("topic:{n}")];
                engine.subscribe(holder, &name, None);
                engine.unsubscribe(holder, Some(&name));
            }
        },
        "80,000 changes were made without a turn of the sockets",
    );
}

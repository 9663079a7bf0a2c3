//! An engine's life: start, drain, stop, drop; two engines side by side; and that cycles leave nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wse_engine::config::Config;
use wse_engine::{ConnId, Engine, EngineError, State};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Event, Events, Peer, PeerError, Server, config, is_inline, wait_until};

const RESTART: CloseCode = CloseCode::SERVICE_RESTART;

/// Answers the Close and reads to the end, as a proper client does.
fn leave(mut peer: Peer, code: u16) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        peer.expect_close(code);
        peer.send_close(code);
        peer.expect_end();
    })
}

fn refuses(server: &Server) -> bool {
    match std::net::TcpStream::connect(server.address) {
        Err(_) => true,
        Ok(_) => {
            let mut peer = Peer::open(server.address);
            peer.send_raw(&wse_testkit::Request::default().bytes());
            peer.try_response().map_or(true, |response| response.status == 503)
        }
    }
}

#[test]
fn stop_closes_with_1012_and_joins_its_threads() {
    let mut server = Server::start(Config { shards: 3, ..config() });
    let leaving: Vec<_> = (0..10).map(|_| leave(server.connect().0, 1012)).collect();
    // Dropped when the last thread that could call it is gone.
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    server.engine.on_writable(Arc::new(move || drop(Arc::clone(&held))));
    let began = Instant::now();
    server.engine.stop(RESTART, "bye", Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(8), "nobody was waited for in vain");
    leaving.into_iter().for_each(|peer| peer.join().unwrap());
    assert_eq!(server.engine.state(), State::Stopped);
    assert!(std::net::TcpStream::connect(server.address).is_err());
    let gone = server.events.drain();
    assert_eq!(gone.len(), 10, "each disconnect can still be taken");
    assert!(gone.iter().all(|event| matches!(event, Event::Disconnect(_))));
    assert_eq!((server.engine.connection_count(), server.health("outbound_bytes")), (0, 0));
    // Again, and everything else, is harmless.
    server.engine.stop(RESTART, "", Duration::ZERO);
    assert!(matches!(server.engine.start(), Err(EngineError::Stopped)));
    assert!(matches!(server.engine.check_running(), Err(EngineError::Stopped)));
    assert!(matches!(server.engine.drain(RESTART, "", Duration::ZERO), Err(EngineError::Stopped)));
    assert_eq!(server.engine.send(ConnId::from_u64(1), "x"), None);
    server.engine.broadcast("t", "x");
    server.engine.prometheus();
    drop(server);
    wait_until("no thread holds the engine's parts", || Arc::strong_count(&alive) == 1);
}

#[test]
fn stop_does_not_wait_for_a_peer_that_does_not_answer() {
    let mut server = Server::start(Config { close_timeout: Duration::from_secs(60), ..config() });
    let (mut rude, _) = server.connect();
    let _stuck = Peer::open(server.address);
    let began = Instant::now();
    server.engine.stop(RESTART, "", Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    rude.expect_close(1012);
    rude.expect_end();
}

#[test]
fn drain_tells_every_client_and_lets_nobody_in() {
    let mut server = Server::plain();
    let mut peers: Vec<(Peer, ConnId)> = (0..20).map(|_| server.connect()).collect();
    for (_, id) in &peers {
        server.engine.send(*id, "queued before");
    }
    let (mut rude, _) = peers.pop().unwrap();
    for (peer, _) in &mut peers {
        assert_eq!(peer.text(), "queued before");
    }
    let leaving: Vec<_> = peers.into_iter().map(|(peer, _)| leave(peer, 4300)).collect();
    assert!(!server.engine.drain(CloseCode(4300), "moving", Duration::from_millis(300)).unwrap(), "one is left");
    leaving.into_iter().for_each(|peer| peer.join().unwrap());
    assert_eq!(server.engine.state(), State::Draining);
    assert!(refuses(&server));
    assert_eq!(rude.text(), "queued before");
    let close = rude.frame();
    assert_eq!((close.close_code(), &close.payload[2..]), (Some(4300), &b"moving"[..]));
    rude.send_close(4300);
    rude.expect_end();
    assert!(server.engine.drain(CloseCode(4300), "", Duration::from_secs(10)).unwrap());
    assert_eq!(server.engine.connection_count(), 0);
    assert_eq!(server.engine.health()["draining"], true);
}

#[test]
fn two_engines_do_not_mix() {
    let (mut a, mut b) = (Server::plain(), Server::plain());
    let ((mut peer_a, id_a), (mut peer_b, id_b)) = (a.connect(), b.connect());
    assert_eq!(id_a, id_b, "the first of each has the same number");
    a.subscribe(id_a, &["t"]);
    b.subscribe(id_b, &["t"]);
    a.engine.broadcast("t", "from a");
    b.engine.send(id_b, "from b");
    peer_b.send_text("to b");
    assert_eq!((peer_a.text(), peer_b.text()), ("from a".into(), "from b".into()));
    assert_eq!(b.events.event(), Event::Raw(id_b, "to b".into()));
    assert_eq!(a.events.drain(), []);
    wait_until("what was sent is counted", || a.health("messages_sent") > 0);
    assert_eq!((a.health("messages_sent"), a.health("messages_received")), (1, 0));
    a.engine.stop(RESTART, "", Duration::ZERO);
    b.engine.broadcast("t", "still here");
    assert_eq!(peer_b.text(), "still here");
}

#[test]
fn start_fails_in_words_and_can_be_tried_again() {
    let server = Server::plain();
    assert!(matches!(server.engine.start(), Err(EngineError::AlreadyRunning)));
    let taken = Engine::new(Config { port: Some(server.address.port()), ..config() });
    let error = taken.start().unwrap_err();
    assert_eq!((error.code(), taken.state()), ("WSE_ADDR_IN_USE", State::Created));
    assert!(error.to_string().contains(&server.address.port().to_string()), "{error}");
    assert!(matches!(taken.check_running(), Err(EngineError::NotRunning)));
    drop(server);
    wait_until("the port is free again", || taken.start().is_ok());
    let elsewhere = Engine::new(Config { host: "203.0.113.1".into(), ..config() });
    assert_eq!(elsewhere.start().unwrap_err().code(), "WSE_ADDR_NOT_AVAILABLE");
    let nowhere = Engine::new(Config { host: "no such host".into(), ..config() });
    assert_eq!(nowhere.start().unwrap_err().code(), "WSE_ADDR_NOT_AVAILABLE");
    drop(Engine::new(config()));
    let never = Engine::new(config());
    never.stop(RESTART, "", Duration::ZERO);
    assert!(matches!(never.start(), Err(EngineError::Stopped)));
}

#[test]
fn an_engine_that_is_dropped_ends_its_connections() {
    let engine = Arc::new(Engine::new(config()));
    let mut events = Events::join(&engine);
    let address = engine.start().unwrap().unwrap();
    let mut peers: Vec<Peer> = (0..5).map(|_| Peer::connect(address)).collect();
    for _ in &peers {
        events.connected();
    }
    drop((events, engine));
    for peer in &mut peers {
        match peer.try_frame() {
            Ok(frame) => assert_eq!(frame.close_code(), Some(1012)),
            Err(error) => assert!(matches!(error, PeerError::End | PeerError::Broken)),
        }
    }
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn many_cycles_leave_nothing_behind() {
    let mut server = Server::start(Config { shards: 4, ..config() });
    for round in 0..20 {
        let mut peers: Vec<(Peer, ConnId)> = (0..15).map(|_| server.connect()).collect();
        for (index, (peer, id)) in peers.iter_mut().enumerate() {
            server.subscribe(*id, &["t", &format!("{round}:{index}"), "p*"]);
            server.engine.subscribe(*id, &["t".to_owned()], Some("g"));
            peer.send_frame(false, wse_protocol::frame::Opcode::Text, &[b'x'; 100]);
            // Every way to go: by Close, by kick, by violation, by cutting the line.
            match index % 4 {
                0 => peer.send_close(1000),
                1 => assert!(server.engine.disconnect(*id, CloseCode(4300), "")),
                2 => peer.send_raw(&[0xFF; 20]),
                _ => {}
            }
        }
        server.engine.broadcast("t", "x");
        drop(peers);
        wait_until("all are gone", || server.engine.connection_count() == 0);
        let events = server
            .events
            .collect_until(|events| events.iter().filter(|event| matches!(event, Event::Disconnect(_))).count() == 15);
        assert_eq!(events.len(), 15, "one disconnect each");
        // An upgrade that fails in each possible place.
        for request in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GET", b""] {
            Peer::open(server.address).send_raw(request);
        }
    }
    wait_until("no handshake is left", || server.health("pending_handshakes") == 0);
    for name in ["connections", "topics", "outbound_bytes", "reassembly_bytes", "inbox_bytes", "congested_connections"]
    {
        wait_until(name, || server.health(name) == 0);
    }
    assert!(server.engine.connections().is_empty());
    assert_eq!((server.metric("wse_connections"), server.metric("wse_topics")), (0.0, 0.0));
    assert_eq!(server.metric("wse_connections_accepted_total"), 300.0);
    assert_eq!(server.metric("wse_panics_total"), 0.0);
    // Each shard counts what it serves; if any count were off, the next ones would not be spread evenly.
    let peers: Vec<(Peer, ConnId)> = (0..40).map(|_| server.connect()).collect();
    let mut per_shard = [0; 4];
    peers.iter().for_each(|(_, id)| per_shard[(id.as_u64() >> 21) as usize & 63] += 1);
    assert_eq!(per_shard, if is_inline() { [40, 0, 0, 0] } else { [10; 4] });
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_connections_that_are_gone() {
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
    let mut server = Server::plain();
    let mut cycle = |count: usize| {
        for n in 0..count {
            let (mut peer, id) = server.connect();
            server.subscribe(id, &[&format!("topic {n}"), "shared", &format!("p{n}*")]);
            server.engine.broadcast("shared", &"x".repeat(10_000));
            peer.text();
            drop(peer);
            assert_eq!(server.events.event(), Event::Disconnect(id));
        }
    };
    cycle(200);
    let before = resident();
    cycle(600);
    let grown = resident().saturating_sub(before);
    // Other tests share the process; a leak of one connection's parts would show as megabytes.
    assert!(grown < 24 << 20, "{grown} bytes after 600 connections");
}

#[test]
fn an_abandoning_stop_waits_for_nobody_and_ends_the_waiting_of_others() {
    let mut server = Server::start(Config { close_timeout: Duration::from_secs(60), ..config() });
    // Answers no Close.
    let (mut rude, _) = server.connect();
    let engine = Arc::clone(&server.engine);
    let stopping = std::thread::spawn(move || engine.stop(RESTART, "first", Duration::from_secs(60)));
    rude.expect_close(1012);
    let engine = Arc::clone(&server.engine);
    let draining = std::thread::spawn(move || engine.drain(RESTART, "", Duration::from_secs(60)));
    let began = Instant::now();
    server.engine.abandon(RESTART, "second", Duration::from_millis(100));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    stopping.join().unwrap();
    // Where its thread had to wait for the processor, it came too late to wait for anybody.
    assert!(matches!(draining.join().unwrap(), Ok(_) | Err(EngineError::Stopped)));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(server.engine.state(), State::Stopped);
    rude.expect_end();
}

#[test]
fn two_starts_at_once_and_a_stop_in_between_leave_one_outcome() {
    for _ in 0..20 {
        let engine = Arc::new(Engine::new(config()));
        let starts: Vec<_> = (0..2)
            .map(|_| {
                let engine = Arc::clone(&engine);
                std::thread::spawn(move || engine.start())
            })
            .collect();
        let stopped = Arc::clone(&engine);
        let stopping = std::thread::spawn(move || stopped.stop(RESTART, "", Duration::ZERO));
        let started: Vec<_> = starts.into_iter().map(|thread| thread.join().unwrap()).collect();
        stopping.join().unwrap();
        assert!(started.iter().filter(|outcome| outcome.is_ok()).count() <= 1, "{started:?}");
        assert_eq!(engine.state(), State::Stopped);
        for outcome in started.into_iter().flatten() {
            assert!(std::net::TcpStream::connect(outcome.unwrap()).is_err());
        }
    }
}

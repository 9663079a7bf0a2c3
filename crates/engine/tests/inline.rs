//! An engine on an event loop of the host: what that loop may rely on. Everything else about it is what every other test says,
//! run with `WSE_TEST_DRIVER=inline`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wse_engine::config::Config;
use wse_engine::{Engine, Inline, State, Step};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, push_masked_frame};
use wse_testkit::{Certificate, Event, Events, Peer, Request, Server, config, wait_until};

/// Longer than any test takes: a loop that waits so long without being woken shows.
const FOR_EVER: Duration = Duration::from_secs(60);

/// An engine, where it listens, and the number of calls its loop has made.
struct Hosted {
    engine: Arc<Engine>,
    address: SocketAddr,
    events: Events,
    calls: Arc<AtomicUsize>,
}

/// An engine on a loop that sleeps until it is woken, unless the engine asks for ticks.
fn host(config: Config) -> Hosted {
    let engine = Arc::new(Engine::new(Config { shards: 1, ..config }));
    let events = Events::join(&engine);
    let calls = Arc::new(AtomicUsize::new(0));
    let (tell, told) = channel();
    let (hosted, counter, bound) = (Arc::clone(&engine), Arc::clone(&calls), engine.bind().unwrap());
    std::thread::spawn(move || {
        let mut inline = hosted.start_inline(bound).unwrap();
        drop(hosted);
        tell.send(inline.address().expect("a port")).unwrap();
        while inline.step(true) != Step::Ended {
            counter.fetch_add(1, SeqCst);
            if !inline.has_work() {
                inline.wait(if inline.needs_ticks() { Duration::from_millis(100) } else { FOR_EVER });
            }
        }
    });
    Hosted { engine, address: told.recv().unwrap(), events, calls }
}

/// Steps until there is nothing to do.
fn settle(inline: &mut Inline) {
    while inline.step(true) == Step::More || inline.has_work() {}
}

#[test]
fn a_loop_that_sleeps_is_woken_by_a_connect_and_by_commands_of_other_threads() {
    let Hosted { engine, address, mut events, calls } = host(config());
    // Nobody is connected: nothing but the connect itself wakes it.
    wait_until("it sleeps", || {
        let before = calls.load(SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        calls.load(SeqCst) == before
    });
    let mut peer = Peer::connect(address);
    let id = events.connected();
    for round in 0..200 {
        let text = format!("{round}");
        let began = Instant::now();
        assert!(engine.send(id, &text).is_some());
        assert_eq!(peer.text(), text);
        assert!(began.elapsed() < Duration::from_secs(5), "round {round}");
    }
    // From several threads at once: each of them wakes it, or finds it awake.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..250 {
                    assert!(engine.send(id, &format!("{thread}-{n}")).is_some());
                }
            });
        }
        for _ in 0..1000 {
            peer.text();
        }
    });
    engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
    assert_eq!(engine.state(), State::Stopped);
}

#[test]
fn a_slow_tls_handshake_holds_nobody_up() {
    let certificate = Certificate::new();
    let mut server = Server::start_inline(Config {
        tls: Some(certificate.server()),
        handshake_timeout: Duration::from_secs(3),
        ..config()
    });
    let hello = certificate.client_hello();
    let mut slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut socket = TcpStream::connect(server.address).unwrap();
            socket.write_all(&hello[..hello.len() / 2]).unwrap();
            socket
        })
        .collect();
    wait_until("their handshakes are under way", || server.health("pending_handshakes") == 20);
    let mut peer = Peer::open_tls(server.address, &certificate).unwrap().upgraded(&Request::default());
    let id = server.events.connected();
    let mut round = 0;
    // Until the last of them has run out of time, which only the engine's own clock can tell.
    while server.health("pending_handshakes") > 0 {
        peer.send_text("ping");
        assert_eq!(server.events.event(), Event::Raw(id, "ping".into()));
        assert!(server.engine.send(id, "pong").is_some());
        assert_eq!(peer.text(), "pong");
        round += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(round > 10, "only {round} round trips while twenty handshakes hung");
    for socket in &mut slow {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(ended.as_ref().is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_step_keeps_its_budget_whoever_floods() {
    const PEERS: usize = 200;
    const TIME: Duration = Duration::from_secs(2);
    let engine = Arc::new(Engine::new(Config { shards: 1, rate_limit: unlimited(), ..config() }));
    let consumer = engine.join();
    let bound = engine.bind().unwrap();
    let mut inline = engine.start_inline(bound).unwrap();
    let address = inline.address().expect("a port");
    let over = Arc::new(AtomicBool::new(false));
    let flooding = std::thread::spawn({
        let over = Arc::clone(&over);
        move || flood(address, PEERS, &over)
    });
    let mut out = vec![0; 1 << 20];
    while engine.connection_count() < PEERS {
        settle(&mut inline);
        engine.take_batch(&consumer, 1024, false, &mut out);
        inline.wait(Duration::from_millis(1));
    }
    let began = Instant::now();
    // By what a step reads, not by the clock: others take their part of the machine.
    let read = || engine.health()["messages_received"].as_u64().unwrap();
    let (mut took, mut heard) = (Vec::new(), 0_usize);
    while began.elapsed() < TIME {
        let before = read();
        inline.step(true);
        took.push(read() - before);
        if let wse_engine::Taken::Bytes(_) = engine.take_batch(&consumer, 1024, false, &mut out) {
            heard += u32::from_le_bytes([out[0], out[1], out[2], out[3]]) as usize;
        }
    }
    over.store(true, SeqCst);
    engine.abandon_inline(&mut inline, CloseCode::SERVICE_RESTART, "", Duration::from_millis(100));
    flooding.join().unwrap();
    took.sort_unstable();
    took.sort_unstable();
    // Some 5,000 in a millisecond; 130,000 when a step serves all who are ready.
    let most = took[took.len() - 1];
    assert!(most < 30_000, "one step read {most} messages");
    assert!(heard > 10_000, "only {heard} messages came through: no flood");
}

/// Opens connections and writes messages into all of them as fast as they take them, until it is over.
fn flood(address: SocketAddr, peers: usize, over: &AtomicBool) {
    let mut sockets: Vec<TcpStream> = (0..peers)
        .map(|_| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(&Request::default().bytes()).unwrap();
            socket
        })
        .collect();
    let mut packet = Vec::new();
    for _ in 0..100 {
        push_masked_frame(&mut packet, true, Opcode::Text, br#"{"t":"tick","p":{"symbol":"ABC","price":1.5}}"#, [3; 4]);
    }
    // What a socket has not taken of a packet goes before the next.
    let mut written = vec![0; peers];
    for socket in &mut sockets {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(socket.read(&mut [0; 1024]).unwrap() > 0, "an upgrade");
        socket.set_nonblocking(true).unwrap();
    }
    while !over.load(SeqCst) {
        for (socket, at) in sockets.iter_mut().zip(&mut written) {
            if let Ok(count) = socket.write(&packet[*at..]) {
                *at = (*at + count) % packet.len();
            }
        }
    }
}

#[test]
fn an_abandoned_engine_says_good_bye_and_frees_its_port_in_time() {
    let engine = Arc::new(Engine::new(Config { shards: 1, ..config() }));
    let bound = engine.bind().unwrap();
    let mut inline = engine.start_inline(bound).unwrap();
    let address = inline.address().expect("a port");
    let connecting = std::thread::spawn(move || (Peer::connect(address), Peer::connect(address)));
    while engine.connection_count() < 2 || inline.has_work() {
        inline.step(true);
        inline.wait(Duration::from_millis(1));
    }
    let (mut honest, mut deaf) = connecting.join().unwrap();
    let leaving = std::thread::spawn(move || {
        honest.expect_close(1012);
        honest.send_close(1012);
        honest.expect_end();
    });
    let began = Instant::now();
    engine.abandon_inline(&mut inline, CloseCode::SERVICE_RESTART, "", Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5), "one of them never answers");
    assert_eq!((engine.state(), inline.step(true), inline.has_work()), (State::Stopped, Step::Ended, false));
    leaving.join().unwrap();
    deaf.expect_close(1012);
    drop(TcpListener::bind(address).expect("the port is free"));
    drop(inline);
    deaf.expect_end();
    assert_eq!(engine.connection_count(), 0);
}

#[test]
fn an_engine_that_is_dropped_in_the_middle_closes_its_sockets() {
    let engine = Arc::new(Engine::new(Config { shards: 1, ..config() }));
    let bound = engine.bind().unwrap();
    let mut inline = engine.start_inline(bound).unwrap();
    let address = inline.address().expect("a port");
    let connecting = std::thread::spawn(move || Peer::connect(address));
    while engine.connection_count() < 1 || inline.has_work() {
        inline.step(true);
        inline.wait(Duration::from_millis(1));
    }
    let mut peer = connecting.join().unwrap();
    drop(inline);
    peer.expect_end();
    // Nobody works for it any more, and nobody who asks waits for that.
    engine.broadcast_all("nobody hears this");
    let began = Instant::now();
    engine.stop(CloseCode::SERVICE_RESTART, "", Duration::from_millis(100));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(engine.state(), State::Stopped);
}

/// Instructions of one message's way through an inline shard, as one call of the event loop after another makes it: socket,
/// event, answer, socket.
#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn echo() {
    let repeat: usize = std::env::var("REPEAT").map_or(1, |repeat| repeat.parse().unwrap());
    let engine = Arc::new(Engine::new(Config { shards: 1, rate_limit: unlimited(), ..config() }));
    let consumer = engine.join();
    let bound = engine.bind().unwrap();
    let mut inline = engine.start_inline(bound).unwrap();
    let mut out = vec![0; 1 << 16];
    let mut socket = TcpStream::connect(inline.address().expect("a port")).unwrap();
    socket.write_all(&Request::default().bytes()).unwrap();
    while engine.connection_count() < 1 {
        settle(&mut inline);
    }
    settle(&mut inline);
    engine.take_batch(&consumer, 1024, true, &mut out);
    let id = engine.connections()[0];
    let mut answer = [0; 1024];
    assert!(socket.read(&mut answer).unwrap() > 0, "an upgrade");
    let text = format!(r#"{{"t":"echo","p":"{}"}}"#, "x".repeat(128 - 19));
    let mut message = Vec::new();
    push_masked_frame(&mut message, true, Opcode::Text, text.as_bytes(), [3; 4]);
    for _ in 0..repeat * 10 {
        socket.write_all(&message).unwrap();
        inline.step(true);
        assert!(matches!(engine.take_batch(&consumer, 1024, true, &mut out), wse_engine::Taken::Bytes(_)));
        assert!(engine.send(wse_engine::ConnId::from_u64(id), &text).is_some());
        inline.step(false);
        assert_eq!(socket.read(&mut answer).unwrap(), text.len() + 4);
    }
}

fn unlimited() -> wse_engine::config::RateLimit {
    wse_engine::config::RateLimit { capacity: 1e9, refill: 1e9 }
}

#[test]
fn a_host_that_stood_still_holds_that_against_no_subscriber() {
    let config = Config { max_outbound_bytes: 4 << 20, target_delay: Duration::from_millis(1), ..config() };
    let engine = Arc::new(Engine::new(Config { shards: 1, ..config }));
    let mut inline = engine.start_inline(engine.bind().unwrap()).unwrap();
    let mut events = Events::join(&engine);
    let address = inline.address().expect("a port");
    // Nine that read whatever comes, and one that reads once it is told to.
    let connecting = std::thread::spawn(move || {
        let eager: Vec<Peer> = (0..9).map(|_| Peer::connect(address)).collect();
        (eager, Peer::open_narrow(address, 4096).upgraded(&Request::default()))
    });
    let mut connected = 0;
    while connected < 10 {
        settle(&mut inline);
        for event in events.drain() {
            if let Event::Connect(id, ..) = event {
                engine.subscribe(id, &["t".to_owned()], None);
                connected += 1;
            }
        }
    }
    let (eager, _late) = connecting.join().unwrap();
    for mut peer in eager {
        std::thread::spawn(move || while peer.try_frame().is_ok() {});
    }
    let health = |name: &str| engine.health()[name].as_u64().unwrap();
    let text = "x".repeat(1000);
    let began = Instant::now();
    while health("pressing_connections") == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody is behind");
        engine.broadcast("t", &text);
        inline.step(true);
    }
    // A handler that blocks.
    std::thread::sleep(Duration::from_millis(1500));
    inline.step(false);
    inline.step(true);
    assert_eq!(health("slow_consumers"), 0);
}

#[test]
fn an_engine_nobody_has_called_yet_is_woken_by_another_thread() {
    let engine = Arc::new(Engine::new(Config { shards: 1, ..config() }));
    let bound = engine.bind().unwrap();
    let mut inline = engine.start_inline(bound).unwrap();
    let commanding = Arc::clone(&engine);
    let thread = std::thread::spawn(move || commanding.broadcast_all("nobody is there"));
    let began = Instant::now();
    inline.wait(Duration::from_secs(20));
    assert!(began.elapsed() < Duration::from_secs(10), "it slept on");
    thread.join().unwrap();
    settle(&mut inline);
}

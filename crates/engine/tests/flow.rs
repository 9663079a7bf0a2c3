//! Flow control outwards: budgets, both policies for slow consumers, and what a publisher feels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use wse_engine::config::{Config, SlowConsumer};
use wse_engine::{ConnId, Pressure};
use wse_protocol::frame::Opcode;
use wse_testkit::{Event, Peer, Request, Server, config, wait_until};

/// A peer that takes a few kilobytes and no more until it reads.
fn narrow(server: &mut Server) -> (Peer, ConnId) {
    let peer = Peer::open_narrow(server.address, 4096).upgraded(&Request::default());
    let id = server.events.connected();
    (peer, id)
}

/// A numbered message of 1000 bytes whose every byte says which number it has.
fn numbered(n: u32) -> String {
    format!("{n:010}").repeat(100)
}

fn number(frame: &wse_testkit::Frame) -> u32 {
    let text = frame.text();
    let n = text[..10].parse().unwrap();
    assert_eq!(text, numbered(n), "a whole frame");
    n
}

/// Reads numbered frames until a text of another size; they must ascend.
fn read_numbers(peer: &mut Peer) -> Vec<u32> {
    peer.widen();
    let mut numbers = Vec::new();
    loop {
        let frame = peer.frame();
        assert_eq!(frame.opcode, Opcode::Text);
        if frame.payload.len() != 1000 {
            assert!(numbers.is_sorted_by(|a, b| a < b));
            return numbers;
        }
        numbers.push(number(&frame));
    }
}

fn settled(server: &Server) {
    wait_until("the inbox is worked off", || server.health("inbox_bytes") == 0);
}

#[test]
fn what_a_slow_consumer_loses_is_counted_to_the_frame() {
    const BUDGET: usize = 256 * 1024;
    let mut server = Server::start(Config { max_outbound_bytes: BUDGET, shards: 1, ..config() });
    let (mut peer, id) = narrow(&mut server);
    let (mut fast, fast_id) = server.connect();
    server.subscribe(id, &["t"]);
    let total = 12_000_u32;
    for n in 0..total {
        // Through the topic and to the connection itself: one budget for both.
        if n % 3 == 0 {
            assert!(server.engine.send(id, &numbered(n)).is_some());
        } else {
            assert_ne!(server.engine.broadcast("t", &numbered(n)), Pressure::Refused);
        }
        if n % 50 == 0 {
            settled(&server);
            assert!(server.health("outbound_bytes") <= BUDGET as u64, "the budget is never exceeded");
        }
    }
    settled(&server);
    let dropped = server.health("slow_consumer_drops");
    assert!(dropped > 1000 && server.counter("wse_slow_consumer_drops_total") == dropped);
    assert_eq!(server.health("messages_sent"), u64::from(total) - dropped);
    // It reads at last: everything that was taken comes, whole and in order.
    let reader = std::thread::spawn(move || (read_numbers(&mut peer), peer));
    wait_until("the queue is empty", || server.health("outbound_bytes") == 0);
    server.engine.send(id, "end");
    let (numbers, mut peer) = reader.join().unwrap();
    assert_eq!(numbers.len() as u64 + dropped, u64::from(total), "sent = delivered + dropped");
    // Nobody else lost anything, and it gets the next one.
    server.subscribe(fast_id, &["t"]);
    server.engine.broadcast("t", "next");
    assert_eq!((peer.text(), fast.text()), ("next".into(), "next".into()));
    // The host was told, at most once a second, and of no more than what was lost.
    let reports: Vec<_> = server.events.drain();
    assert!(!reports.is_empty());
    let mut told = 0;
    for report in &reports {
        let Event::SlowConsumer(of, report) = report else { panic!("{report:?}") };
        assert_eq!((*of, &report["policy"]), (id, &serde_json::json!("drop")));
        assert!(report["queuedBytes"].as_u64().unwrap() <= BUDGET as u64);
        told += report["droppedMessages"].as_u64().unwrap();
    }
    assert!(told > 0 && told <= dropped);
}

#[test]
fn large_frames_and_runs_are_split_at_the_budget() {
    const BUDGET: usize = 64 * 1024;
    let mut server = Server::start(Config { max_outbound_bytes: BUDGET, shards: 1, ..config() });
    let (mut peer, id) = narrow(&mut server);
    let mut total = 0;
    let mut publish = |count: u32| {
        for n in total..total + count {
            // No pause: many of them become one run of the inbox, larger than the budget.
            server.engine.send(id, &numbered(n));
            assert!(server.health("outbound_bytes") <= BUDGET as u64);
        }
        total += count;
        settled(&server);
    };
    wait_until("its budget is used up", || {
        publish(500);
        server.health("slow_consumer_drops") > 0
    });
    publish(500);
    assert!(server.health("outbound_bytes") > BUDGET as u64 / 2, "what fits of a run is taken");
    let dropped = server.health("slow_consumer_drops");
    let reader = std::thread::spawn(move || (read_numbers(&mut peer), peer));
    wait_until("the queue is empty", || server.health("outbound_bytes") == 0);
    server.engine.send(id, "end");
    let (numbers, mut peer) = reader.join().unwrap();
    assert_eq!(numbers.len() as u64 + dropped, u64::from(total));
    // A single message above the budget reaches a connection that owes nothing.
    let large = "x".repeat(4 * BUDGET);
    server.engine.send(id, &large);
    assert_eq!(peer.text(), large);
    assert_eq!(server.health("slow_consumer_drops"), dropped);
}

#[test]
fn a_burst_above_the_budget_reaches_a_socket_that_takes_it() {
    let policies = [SlowConsumer::Drop, SlowConsumer::Close];
    for slow_consumer in policies {
        let mut server = Server::start(Config { max_outbound_bytes: 4096, slow_consumer, ..config() });
        let (mut peer, id) = server.connect();
        server.subscribe(id, &["t"]);
        for n in 0..60 {
            if n % 20 < 10 {
                server.engine.broadcast("t", &numbered(n));
            } else {
                server.engine.send(id, &numbered(n));
            }
        }
        for n in 0..60 {
            assert_eq!(number(&peer.frame()), n);
        }
        assert_eq!((server.health("slow_consumer_drops"), server.events.drain()), (0, vec![]));
        // Counted once they are written.
        wait_until("all are counted", || server.health("messages_sent") >= 60);
        assert_eq!(server.health("messages_sent"), 60);
    }
}

#[test]
fn the_close_policy_closes_with_4300() {
    let mut server =
        Server::start(Config { max_outbound_bytes: 128 * 1024, slow_consumer: SlowConsumer::Close, ..config() });
    let (mut peer, id) = narrow(&mut server);
    let (mut other, other_id) = server.connect();
    server.subscribe(id, &["t"]);
    server.subscribe(other_id, &["u"]);
    let mut n = 0;
    wait_until("its budget is used up", || {
        for _ in 0..50 {
            server.engine.broadcast("t", &numbered(n));
            n += 1;
        }
        server.health("slow_consumer_drops") > 0
    });
    let Event::SlowConsumer(of, report) = server.events.event() else { panic!("no report") };
    assert_eq!((of, &report["policy"]), (id, &serde_json::json!("close")));
    let before = peer.expect_close(4300);
    let numbers: Vec<u32> = before.iter().map(number).collect();
    assert!(numbers.iter().copied().eq(0..u32::try_from(numbers.len()).unwrap()), "whole frames, then the Close");
    peer.send_close(4300);
    assert_eq!(server.events.event(), Event::Disconnect(id));
    assert_eq!(server.health("outbound_bytes"), 0);
    server.engine.broadcast("u", "unharmed");
    assert_eq!(other.text(), "unharmed");
}

#[test]
fn a_message_above_the_budget_does_not_close_an_idle_connection() {
    let mut server =
        Server::start(Config { max_outbound_bytes: 64 * 1024, slow_consumer: SlowConsumer::Close, ..config() });
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["t"]);
    let large = "x".repeat(100_000);
    server.engine.broadcast("t", &large);
    assert_eq!(peer.text(), large);
    wait_until("it went out", || server.health("outbound_bytes") == 0);
    server.engine.send(id, &large);
    assert_eq!(peer.text(), large);
    assert_eq!((server.health("slow_consumer_drops"), server.events.drain()), (0, vec![]));
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    let mut server = Server::start(Config {
        max_outbound_bytes: 64 * 1024,
        ping_interval: Duration::from_millis(200),
        close_timeout: Duration::from_millis(200),
        ..config()
    });
    let (_peer, id) = narrow(&mut server);
    wait_until("two pings found its queue full", || {
        for n in 0..50 {
            server.engine.send(id, &numbered(n));
        }
        // Short ones fill what is left: the queue is full when a short reply has no room.
        for _ in 0..20 {
            server.engine.send(id, "x");
        }
        server.engine.connection_count() == 0
    });
    server.events.collect_until(|events| events.contains(&Event::Disconnect(id)));
    assert_eq!(server.health("outbound_bytes"), 0);
    assert!(server.metric("wse_zombies_total") >= 1.0);
}

#[test]
fn silent_peers_are_closed_and_pings_go_out() {
    let mut server = Server::start(Config {
        ping_interval: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(1500),
        close_timeout: Duration::from_millis(200),
        ..config()
    });
    let (mut silent, silent_id) = server.connect();
    let (mut lively, _) = server.connect();
    let alive = std::thread::spawn(move || {
        // Whoever talks WSE is pinged both ways.
        lively.send_text(r#"{"c":"WSE","t":"PONG","p":{}}"#);
        let (mut texts, mut pings) = (0, 0);
        while texts < 20 || pings < 20 {
            let frame = lively.frame();
            if frame.opcode == Opcode::Ping {
                pings += 1;
                continue;
            }
            let ping = frame.text();
            assert!(ping.starts_with(r#"{"c":"WSE","t":"ping","p":{"server_time":""#), "{ping}");
            texts += 1;
            lively.send_text(r#"{"c":"WSE","t":"PONG","p":{}}"#);
        }
        lively
    });
    let pings = silent.expect_close(4300);
    assert!(pings.iter().all(|ping| ping.opcode == Opcode::Ping && ping.payload.is_empty()), "{pings:?}");
    assert!((3..=12).contains(&pings.len()), "{} pings", pings.len());
    assert_eq!(server.events.event(), Event::Disconnect(silent_id));
    alive.join().unwrap();
}

#[test]
fn publishers_feel_a_subscriber_that_is_behind_and_hear_when_it_is_not() {
    let mut server = Server::start(Config { max_outbound_bytes: 1 << 20, shards: 1, ..config() });
    let (mut peer, id) = narrow(&mut server);
    server.subscribe(id, &["t"]);
    let drained = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&drained);
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        counter.fetch_add(1, SeqCst);
    });
    server.engine.on_writable(Arc::clone(&wake));
    assert_eq!(server.engine.broadcast("t", &numbered(0)), Pressure::Fine);
    let mut n = 1;
    // A shard that has to wait for the processor is behind itself now and then: that passes, and is told too.
    wait_until("the subscriber is what is behind", || {
        for _ in 0..50 {
            if server.engine.pressure() == Pressure::Fine {
                n += 1;
                server.engine.broadcast("t", &numbered(n));
            }
        }
        server.health("inbox_bytes") == 0 && server.health("pressing_connections") == 1
    });
    let before = drained.load(SeqCst);
    assert_eq!((server.engine.pressure(), drained.load(SeqCst)), (Pressure::High, before));
    let reader = std::thread::spawn(move || (read_numbers(&mut peer), peer));
    wait_until("the publisher is told", || drained.load(SeqCst) > before);
    wait_until("it reads faster than we wait", || server.engine.pressure() == Pressure::Fine);
    server.engine.send(id, "end");
    assert_eq!(u32::try_from(reader.join().unwrap().0.len()).unwrap(), n, "what was taken under pressure is delivered");
    server.engine.off_writable(&wake);
    assert_eq!(Arc::strong_count(&drained), 2, "only this test and the closure it holds");
}

#[test]
fn many_that_stand_still_get_everything_in_order_once_they_read() {
    const PEERS: usize = 80;
    const TOTAL: u32 = 5000;
    let mut server = Server::start(Config { shards: 1, max_outbound_bytes: 16 << 20, ..config() });
    let mut peers: Vec<_> = (0..PEERS).map(|_| narrow(&mut server)).collect();
    let (mut fast, fast_id) = server.connect();
    for (_, id) in &peers {
        server.subscribe(*id, &["t"]);
    }
    server.subscribe(fast_id, &["t"]);
    for n in 0..TOTAL {
        // To all, and now and then to one of those that stand still: one order for both.
        match n % 10 {
            9 => peers.iter().for_each(|(_, id)| assert!(server.engine.send(*id, &numbered(n)).is_some())),
            _ => assert!(server.engine.broadcast("t", &numbered(n)) <= Pressure::High),
        }
        // Few at a time, as at a steady pace.
        if n % 4 == 0 {
            settled(&server);
        }
    }
    server.engine.broadcast("t", "end");
    assert!(read_numbers(&mut fast).into_iter().eq((0..TOTAL).filter(|n| n % 10 != 9)));
    assert!(server.health("outbound_bytes") > 0, "they do stand still");
    for (peer, _) in &mut peers {
        let numbers = read_numbers(peer);
        let differs = (0..TOTAL).zip(&numbers).find(|(expected, got)| expected != *got);
        assert_eq!((numbers.len(), differs), (TOTAL as usize, None));
    }
    wait_until("nothing is owed", || server.health("outbound_bytes") == 0);
    assert_eq!(server.metric("wse_slow_consumer_drops_total"), 0.0);
}

#[test]
fn answers_of_the_engine_itself_that_overflow_close_with_the_right_report_and_at_once() {
    let mut server = Server::start(Config {
        max_outbound_bytes: 64 * 1024,
        slow_consumer: SlowConsumer::Close,
        close_timeout: Duration::from_secs(2),
        shards: 1,
        ..config()
    });
    let (mut peer, id) = narrow(&mut server);
    // Each ping is answered by a PONG it does not read.
    wait_until("it overflows", || {
        for _ in 0..200 {
            peer.send_text(r#"{"t":"ping"}"#);
        }
        server.health("slow_consumer_drops") > 0
    });
    let Event::SlowConsumer(of, report) = server.events.event() else { panic!("no report before the disconnect") };
    assert_eq!((of, &report["policy"]), (id, &serde_json::json!("close")));
    assert!(report["droppedMessages"].as_u64().unwrap() >= 1);
    // It is told while it is still there: the disconnect comes with the end of the close handshake.
    assert_eq!(server.engine.connection_count(), 1);
    assert_eq!(server.events.event(), Event::Disconnect(id));
}

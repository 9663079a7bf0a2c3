//! The end of a connection that its peer began: what the host answers to messages of before goes out before our Close, and
//! nobody waits for a host that does not answer.

use std::time::{Duration, Instant};

use wse_engine::ConnId;
use wse_engine::config::Config;
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::Opcode;
use wse_testkit::{Event, Peer, Server, config, wait_until};

/// Sends three questions and what ends the connection, in one piece.
fn ask(peer: &mut Peer, end: &[u8]) {
    let mut bytes = Vec::new();
    for n in 0..3 {
        wse_protocol::frame::push_masked_frame(&mut bytes, true, Opcode::Text, format!("q{n}").as_bytes(), [7; 4]);
    }
    bytes.extend_from_slice(end);
    peer.send_raw(&bytes);
}

fn close_1001() -> Vec<u8> {
    let mut bytes = Vec::new();
    wse_protocol::frame::push_masked_frame(&mut bytes, true, Opcode::Close, &[3, 0xE9, b'b', b'y', b'e'], [7; 4]);
    bytes
}

/// Answers each question, as a host in a loop does before it looks for more. Whether each could be answered still.
fn answer_all(server: &mut Server, id: ConnId) -> bool {
    let mut all = true;
    for n in 0..3 {
        assert_eq!(server.events.event(), Event::Raw(id, format!("q{n}")));
        all &= server.engine.send(id, &format!("a{n}")).is_some();
    }
    all
}

/// Below the 100 ms that a Close waits for a host: one that has answered within it was in time.
const IN_TIME: Duration = Duration::from_millis(80);

const VIOLATION: &[u8] = &[0xFF, 0xFF];

#[test]
fn answers_to_what_came_before_go_out_before_our_close() {
    for shards in [1, 2] {
        let mut server = Server::start(Config { shards, ..config() });
        let mut late = 0;
        for (end, code) in [(close_1001(), 1001), (VIOLATION.to_vec(), 1002)] {
            for half_closed in [false, true] {
                // A host that had to wait for the processor is tried again.
                let (mut peer, id) = loop {
                    let (mut peer, id) = server.connect();
                    let asked = Instant::now();
                    ask(&mut peer, &end);
                    if half_closed {
                        peer.end_sending();
                    }
                    let answered = answer_all(&mut server, id);
                    if asked.elapsed() < IN_TIME {
                        assert!(answered, "it can still be sent to");
                        break (peer, id);
                    }
                    late += 1;
                    assert!(late < 50, "this host is never in time");
                    drop(peer);
                    assert_eq!(server.events.event(), Event::Disconnect(id));
                };
                let began = Instant::now();
                // The host comes back for more: it has answered what it was going to.
                let next = std::thread::scope(|scope| {
                    let next = scope.spawn(|| server.events.event());
                    let before = peer.expect_close(code);
                    let texts: Vec<&str> = before.iter().map(|frame| frame.text()).collect();
                    assert_eq!(texts, ["a0", "a1", "a2"]);
                    if code == 1002 && !half_closed {
                        peer.send_close(1002);
                        peer.end_sending();
                    }
                    peer.expect_end();
                    next.join().unwrap()
                });
                assert_eq!(next, Event::Disconnect(id));
                assert!(began.elapsed() < Duration::from_secs(3));
            }
        }
        assert!(late > 0 || server.metric("wse_too_late_total") == 0.0);
    }
}

/// The best of ten Closes, on however busy a machine: whoever waits for a host waits 100 ms each time. `back`: the host comes
/// back from the event of the connect before.
fn assert_closes_at_once(server: &mut Server, back: bool) {
    let mut took = Vec::new();
    for _ in 0..10 {
        let (mut peer, _) = server.connect();
        if back {
            assert_eq!(server.events.drain(), []);
        }
        let began = Instant::now();
        peer.send_raw(&close_1001());
        peer.expect_close(1001);
        peer.expect_end();
        took.push(began.elapsed());
        assert!(matches!(server.events.event(), Event::Disconnect(_)));
    }
    assert!(took.iter().min().unwrap() < &Duration::from_millis(80), "{took:?}");
}

#[test]
fn a_host_that_owes_nothing_is_not_waited_for_and_a_slow_one_not_for_long() {
    let mut server = Server::start(Config { shards: 1, close_timeout: Duration::from_secs(60), ..config() });
    assert_closes_at_once(&mut server, true);
    assert_eq!(server.events.drain(), []);
    // It never comes back.
    let (mut peer, id) = server.connect();
    let began = Instant::now();
    ask(&mut peer, &close_1001());
    peer.expect_close(1001);
    assert!((80..5000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    wait_until("it is gone", || server.engine.connection_count() == 0);
    assert_eq!(server.engine.send(id, "too late"), None);
    for n in 0..3 {
        assert_eq!(server.events.event(), Event::Raw(id, format!("q{n}")), "messages before a Close are delivered");
    }
    assert_eq!(server.events.event(), Event::Disconnect(id));
    // The engine ends.
    let (mut peer, _) = server.connect();
    server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::from_millis(1));
    peer.expect_close(1012);
}

#[test]
fn what_was_queued_before_the_peers_close_goes_out_before_ours() {
    let mut server = Server::start(Config { shards: 1, ..config() });
    let mut peer = Peer::open_narrow(server.address, 4096).upgraded(&Default::default());
    let id = server.events.connected();
    let chunk = vec![1; 256 * 1024];
    for _ in 0..40 {
        server.engine.send_bytes(id, &chunk);
    }
    wait_until("it is queued", || server.health("inbox_bytes") == 0 && server.health("outbound_bytes") > 1 << 20);
    peer.send_raw(&close_1001());
    peer.widen();
    assert_eq!(peer.expect_close(1001).len(), 40);
    peer.expect_end();
}

#[test]
fn stop_in_the_grace_answers_at_once() {
    let mut server = Server::start(Config { shards: 1, ..config() });
    let (mut peer, id) = server.connect();
    ask(&mut peer, &close_1001());
    assert_eq!(server.events.event(), Event::Raw(id, "q0".into()));
    server.engine.stop(CloseCode::SERVICE_RESTART, "bye", Duration::from_secs(10));
    // Its own Close, answered; not ours on top.
    peer.expect_close(1001);
    peer.expect_end();
}

#[test]
fn who_never_asked_is_answered_at_once() {
    let mut server = Server::start(Config { shards: 1, ..config() });
    // The host has the connect event, and does not come back.
    assert_closes_at_once(&mut server, false);
}

//! How many streams there may be, whose they are, and how long they are remembered.

use super::*;

#[test]
fn users_do_not_share_streams() {
    let mut server = Server::start(Config { auth: Some(auth()), ..config() });
    let mut peers = Vec::new();
    for (user, fresh) in [("anna", true), ("bert", true), ("anna", false)] {
        let request = Request::new("/").field("Authorization", &format!("Bearer {}", token(user, json!({}))));
        let (mut peer, _) = server.connect_with(&request);
        assert_eq!(peer.json()["t"], "server_ready");
        assert!(hello(&mut peer));
        peer.send_text(&message(STREAM, 1));
        assert_eq!(peer.text(), ack(STREAM, 1));
        if fresh {
            assert_eq!(server.events.message(), plain(1), "{user}");
        }
        peers.push(peer);
    }
    assert_eq!((server.counter("wse_outbox_repeats_total"), server.metric("wse_outbox_streams")), (1, 2.0));
}

#[test]
fn a_connection_uses_so_many_streams_and_no_more() {
    let mut server = Server::start(config());
    let (mut peer, _) = greeted(&mut server);
    for n in 0..64 {
        let stream = format!("stream-of-{n}");
        peer.send_text(&message(&stream, 1));
        assert_eq!(peer.text(), ack(&stream, 1));
        server.events.message();
    }
    peer.send_text(&message("stream-of-64", 1));
    let error = peer.json();
    assert_eq!(error["p"]["code"], "OUTBOX_STREAMS");
    assert_eq!((&error["p"]["stream"], &error["p"]["n"]), (&json!("stream-of-64"), &json!(1)));
    peer.send_text(&message("stream-of-0", 2));
    assert_eq!(peer.text(), ack("stream-of-0", 2));
}

#[test]
fn what_was_not_used_for_long_is_forgotten_when_the_table_is_full() {
    let outbox = Some(Outbox { max_streams: 4, ttl: Duration::from_secs(600) });
    let mut server = Server::start(Config { outbox, ..config() });
    let (mut peer, _) = greeted(&mut server);
    let mut send = |stream: &str, n: u64, fresh: bool| {
        peer.send_text(&message(stream, n));
        assert_eq!(peer.text(), ack(stream, n));
        if fresh {
            assert_eq!(server.events.message(), plain(n), "{stream}");
        }
    };
    send("forgotten", 1, true);
    std::thread::sleep(Duration::from_millis(5));
    for n in 1..=3 {
        send(&format!("stream-{n}"), 1, true);
    }
    for n in 4..=8 {
        std::thread::sleep(Duration::from_millis(5));
        send("stream-1", n, true);
        send(&format!("stream-{n}"), 1, true);
    }
    send("stream-1", 8, false);
    send("forgotten", 1, true);
    assert_eq!((server.metric("wse_outbox_streams"), server.counter("wse_outbox_evicted_total")), (4.0, 6));
}

#[test]
fn what_was_not_used_for_the_ttl_is_forgotten() {
    on_both(
        || Config { outbox: Some(Outbox { max_streams: 4, ttl: Duration::from_millis(300) }), ..config() },
        |mut server| {
            let (mut peer, id) = greeted(&mut server);
            peer.send_text(&message(STREAM, 1));
            assert_eq!(peer.text(), ack(STREAM, 1));
            assert_eq!(server.events.message(), plain(1));
            // Also where there is nobody any more for whose sake its shard looks at the time.
            drop(peer);
            server.events.disconnected(id);
            wait_until("it is forgotten", || server.metric("wse_outbox_streams") == 0.0);
            assert_eq!(server.counter("wse_outbox_expired_total"), 1);
            let (mut peer, _) = greeted(&mut server);
            peer.send_text(&message(STREAM, 1));
            assert_eq!(peer.text(), ack(STREAM, 1));
            assert_eq!(server.events.message(), plain(1));
        },
    );
}

#[test]
fn a_stream_of_another_shard_is_forgotten_though_the_first_one_sleeps() {
    let outbox = Some(Outbox { max_streams: 4, ttl: Duration::from_millis(300) });
    let mut server = Server::start(Config { outbox, shards: 2, ..config() });
    // One that is there takes up the first shard, and the next goes to the other.
    let (first, id) = server.connect();
    let (mut peer, other) = greeted(&mut server);
    drop(first);
    server.events.disconnected(id);
    std::thread::sleep(Duration::from_millis(300));
    peer.send_text(&message(STREAM, 1));
    assert_eq!(peer.text(), ack(STREAM, 1));
    assert_eq!(server.events.message(), plain(1));
    drop(peer);
    server.events.disconnected(other);
    wait_until("it is forgotten", || server.metric("wse_outbox_streams") == 0.0);
}

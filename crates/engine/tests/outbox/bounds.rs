//! What an outbox may not do: malformed numbers, more streams than it may have, streams nobody uses, a host that sheds.

use super::*;

#[test]
fn who_has_not_asked_has_no_outbox() {
    for (config, asks) in [
        (config(), false),
        (Config { outbox: None, ..config() }, true),
        (Config { discard_inbound: true, ..config() }, true),
    ] {
        let discards = config.discard_inbound;
        let mut server = Server::start(config);
        let (mut peer, id) = if discards {
            (Peer::connect(server.address), None)
        } else {
            let (peer, id) = server.connect();
            (peer, Some(id))
        };
        if asks {
            assert!(!hello(&mut peer));
        } else {
            peer.send_text(r#"{"t":"client_hello","p":{"features":{"outbox":1}}}"#);
            assert!(peer.json()["p"]["features"].get("outbox").is_none());
        }
        // Many, in case their shape is learned: then somebody else's would pass for it.
        for n in 1..=40 {
            peer.send_text(&message(STREAM, 1 + n % 3));
            if let Some(id) = id {
                assert_eq!(server.events.event(), Event::Message(id, message(STREAM, 1 + n % 3)), "as it came");
            }
        }
        if id.is_some() && !asks {
            let (mut other, _) = greeted(&mut server);
            other.send_text(&message(STREAM, 1));
            assert_eq!(other.text(), ack(STREAM, 1));
        }
        // All of it was looked at.
        peer.send_text(r#"{"t":"ping"}"#);
        assert_eq!(peer.json()["t"], "PONG");
        assert_eq!(server.metric("wse_outbox_messages_total"), f64::from(u8::from(id.is_some() && !asks)));
    }
}

#[test]
fn what_is_malformed_is_refused_and_changes_nothing() {
    let mut server = Server::start(config());
    let (mut peer, _) = greeted(&mut server);
    peer.send_text(&message(STREAM, 5));
    assert_eq!(peer.text(), ack(STREAM, 5));
    assert_eq!(server.events.message(), plain(5));
    let long = "x".repeat(65);
    let deep = format!(r#"{{"ob":["{STREAM}",6],"p":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    let bad = [
        r#"{"ob":["stream-1",0],"t":"x"}"#,
        r#"{"ob":["stream-1",-6],"t":"x"}"#,
        r#"{"ob":["stream-1",06],"t":"x"}"#,
        r#"{"ob":["stream-1",6.5],"t":"x"}"#,
        r#"{"ob":["stream-1",6e0],"t":"x"}"#,
        r#"{"ob":["stream-1",9007199254740992],"t":"x"}"#,
        r#"{"ob":["stream-1",18446744073709551617],"t":"x"}"#,
        r#"{"ob":["short",6],"t":"x"}"#,
        r#"{"ob":["stream 1",6],"t":"x"}"#,
        r#"{"ob":["str\u0065am-1",6],"t":"x"}"#,
        r#"{"ob":["stream-ü1",6],"t":"x"}"#,
        r#"{"ob":["stream-1"],"t":"x"}"#,
        r#"{"ob":["stream-1",6,7],"t":"x"}"#,
        r#"{"ob":["stream-1", 6],"t":"x"}"#,
        r#"{"ob":["stream-1",6]}"#,
        r#"{"ob":["stream-1",6],}"#,
        r#"{"ob":["stream-1",6],"t":"x""#,
        r#"{"ob":["stream-1",6],nonsense}"#,
        &format!(r#"{{"ob":["{long}",6],"t":"x"}}"#),
        &deep,
    ];
    for text in bad {
        peer.send_text(text);
        let error = peer.json();
        assert_eq!((&error["c"], &error["t"]), (&json!("WSE"), &json!("error")), "{text}");
        assert_eq!(error["p"]["code"], "MALFORMED_OUTBOX", "{text}");
    }
    assert_eq!(server.counter("wse_outbox_refused_total"), bad.len() as u64);
    peer.send_text(&message(STREAM, 6));
    assert_eq!(peer.text(), ack(STREAM, 6), "no number was taken by any of them");
    assert_eq!(server.events.message(), plain(6));
    // Where `ob` is not first, or not a list, it is the application's.
    for text in [r#"{ "ob":["stream-1",7],"t":"x"}"#, r#"{"t":"x","ob":["stream-1",7]}"#, r#"{"ob":7,"t":"x"}"#] {
        peer.send_text(text);
        assert_eq!(server.events.message(), serde_json::from_str::<Value>(text).unwrap());
    }
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

#[test]
fn what_is_shed_is_not_acknowledged_and_nothing_overtakes_it() {
    const COUNT: u64 = 2000;
    let mut server = Server::start(Config {
        max_inbound_events: 100,
        inbound_overflow: InboundOverflow::Drop,
        shards: 1,
        ..config()
    });
    let (mut peer, _) = greeted(&mut server);
    let pad = "x".repeat(1000);
    let (mut seen, mut rounds) = (0, 0);
    while seen < COUNT {
        rounds += 1;
        // As a client does that has heard nothing for a while: all of it again, from the first it has heard nothing of.
        for n in seen + 1..=COUNT {
            peer.send_text(&format!(r#"{{"ob":["{STREAM}",{n}],"n":{n},"pad":"{pad}"}}"#));
        }
        let taken = acknowledged(&mut peer, seen);
        for event in server.events.drain() {
            let Event::Message(_, text) = event else { panic!("not a message") };
            let n = serde_json::from_str::<Value>(&text).unwrap()["n"].as_u64().unwrap();
            assert_eq!(n, seen + 1, "each once, and in order");
            seen = n;
        }
        assert_eq!(seen, taken, "what is acknowledged is there, and nothing else");
    }
    assert!(rounds > 3, "{rounds} rounds: much was shed");
    // The first of each round is shed, and what is behind it must not overtake it.
    assert!(server.counter("wse_inbound_dropped_total") > 0 && server.counter("wse_outbox_deferred_total") > 0);
}

#[test]
fn what_was_shed_is_not_forgotten_with_its_stream() {
    let mut server = Server::start(Config {
        max_inbound_events: 16,
        inbound_overflow: InboundOverflow::Drop,
        outbox: Some(Outbox { max_streams: 4, ttl: Duration::from_secs(600) }),
        shards: 1,
        ..config()
    });
    let (mut peer, _) = greeted(&mut server);
    let (mut other, _) = greeted(&mut server);
    // Until nothing more is taken.
    while server.counter("wse_inbound_dropped_total") == 0 {
        (0..100).for_each(|_| other.send_text(r#"{"t":"flood"}"#));
        acknowledged(&mut other, 0);
    }
    peer.send_text(&message(STREAM, 1));
    assert_eq!(acknowledged(&mut peer, 0), 0);
    (0..8).for_each(|n| other.send_text(&message(&format!("other-{n:03}"), 1)));
    acknowledged(&mut other, 0);
    assert!(server.counter("wse_outbox_evicted_total") >= 4, "its stream is forgotten");
    server.events.drain();
    peer.send_text(&message(STREAM, 2));
    assert_eq!(acknowledged(&mut peer, 0), 0, "1 has not come");
    for n in 1..=2 {
        peer.send_text(&message(STREAM, n));
        assert_eq!(peer.text(), ack(STREAM, n));
        assert_eq!(server.events.message(), plain(n));
    }
}

//! A host that sheds: what is not taken is not acknowledged, and nothing overtakes it.

use super::*;

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

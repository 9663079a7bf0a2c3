//! One stream by several connections: after each other, on other shards, all at once.

use super::*;

#[test]
fn an_older_connection_goes_on_when_the_newer_one_is_gone() {
    on_both(config, |mut server| {
        let (mut old, _) = greeted(&mut server);
        let (mut middle, _) = greeted(&mut server);
        let (mut new, id) = greeted(&mut server);
        for n in 1..=2 {
            new.send_text(&message(STREAM, n));
            assert_eq!(new.text(), ack(STREAM, n));
            assert_eq!(server.events.message(), plain(n));
        }
        for n in [3, 4] {
            old.send_text(&message(STREAM, n));
        }
        assert_eq!(acknowledged(&mut old, 0), 0, "both are there");
        drop(new);
        server.events.disconnected(id);
        // What it was refused comes first, or it would be acknowledged by what is behind it.
        old.send_text(&message(STREAM, 5));
        assert_eq!(acknowledged(&mut old, 0), 0);
        for n in 3..=5 {
            old.send_text(&message(STREAM, n));
            assert_eq!(old.text(), ack(STREAM, n));
            assert_eq!(server.events.message(), plain(n));
        }
        middle.send_text(&message(STREAM, 6));
        assert_eq!(middle.text(), ack(STREAM, 6));
        assert_eq!(server.events.message(), plain(6));
        old.send_text(&message(STREAM, 7));
        assert_eq!(acknowledged(&mut old, 0), 0, "a newer one has taken it over");
        assert_eq!(server.events.drain(), []);
    });
}

/// Bits 21 to 26 of an id.
fn shard_of(id: ConnId) -> u64 {
    (id.as_u64() >> 21) & 63
}

#[test]
fn a_stream_that_begins_anew_while_it_is_read_is_held_by_nobody_afterwards() {
    let outbox = Some(Outbox { max_streams: 1, ttl: Duration::from_secs(600) });
    let mut server = Server::start(Config { shards: 2, outbox, ..config() });
    let (mut first, id) = greeted(&mut server);
    let (mut second, other) = greeted(&mut server);
    assert!(is_inline() || shard_of(id) != shard_of(other));
    // In one read: the stream in between takes the only place, and the first one begins anew.
    let together = [message(STREAM, 1), message("stream-2", 1), message(STREAM, 2)];
    first.send_raw(&together.iter().flat_map(|text| frame(text)).collect::<Vec<_>>());
    for n in [1, 1, 2] {
        assert_eq!(server.events.message(), plain(n));
    }
    drop(first);
    server.events.disconnected(id);
    second.send_text(&message(STREAM, 3));
    assert_eq!(server.events.message(), plain(3));
    await_ack(&mut second, 3);
}

#[test]
fn a_new_connection_goes_on_whatever_its_shard() {
    let mut server = Server::start(Config { shards: 4, ..config() });
    let mut shards = std::collections::HashSet::new();
    // One that is there takes up its shard, and the next goes to the one with the fewest: two of them are of two shards.
    let (_other, other) = server.connect();
    shards.insert(shard_of(other));
    for round in 0..12u64 {
        let (mut peer, id) = greeted(&mut server);
        shards.insert(shard_of(id));
        for n in round..round + 3 {
            peer.send_text(&message(STREAM, n + 1));
        }
        await_ack(&mut peer, round + 3);
        let fresh = if round == 0 { 1..=3 } else { round + 3..=round + 3 };
        for n in fresh {
            assert_eq!(server.events.message(), plain(n));
        }
        if round % 2 == 0 {
            drop(peer);
            server.events.disconnected(id);
        } else {
            // The other half stays: a client that has lost its network leaves connections behind.
            std::mem::forget(peer);
        }
    }
    // An inline engine is one shard.
    assert!(is_inline() || shards.len() > 1);
    assert_eq!(server.events.drain(), []);
}

#[test]
fn connections_at_once_deliver_each_number_once_and_in_order() {
    const COUNT: u64 = 3000;
    let mut server = Server::start(Config { shards: 2, ..config() });
    for round in 0..5 {
        let stream = format!("racing-{round}");
        let over = Arc::new(AtomicBool::new(false));
        let peers: Vec<Peer> = (0..3).map(|_| greeted(&mut server).0).collect();
        let senders: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                let (stream, over) = (stream.clone(), Arc::clone(&over));
                // All of it, again and again, as a client does that hears nothing. The last to have said hello takes the stream
                // over from the others, whose numbers do not count from there on.
                std::thread::spawn(move || {
                    while !over.load(Relaxed) {
                        (1..=COUNT).for_each(|n| peer.send_text(&message(&stream, n)));
                    }
                })
            })
            .collect();
        for n in 1..=COUNT {
            let Event::Message(_, text) = server.events.event() else { panic!("not a message") };
            let got = serde_json::from_str::<Value>(&text).unwrap()["p"]["n"].as_u64();
            assert_eq!(got, Some(n), "each once, and in order");
        }
        over.store(true, Relaxed);
        for sender in senders {
            sender.join().unwrap();
        }
        for _ in 0..3 {
            let event = server.events.event();
            assert!(matches!(event, Event::Disconnect(_)), "{event:?}");
        }
    }
    assert_eq!(server.counter("wse_outbox_messages_total"), 5 * COUNT);
}

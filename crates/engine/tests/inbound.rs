//! Flow control inwards: a host that does not drain stops the sockets, and nothing is lost; or data is shed and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use wse_engine::config::{Config, InboundOverflow};
use wse_engine::{ConnId, Engine, Taken};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, push_masked_frame};
use wse_testkit::{Event, Events, Peer, Server, config, decode_batch, wait_until};

fn text(n: usize) -> String {
    format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(1000))
}

/// Sends numbered messages from a thread of its own, because the server will stop reading.
fn sender(mut peer: Peer, count: usize) -> std::thread::JoinHandle<Peer> {
    std::thread::spawn(move || {
        for n in 0..count {
            peer.send_text(&text(n));
        }
        peer
    })
}

#[test]
fn a_host_that_does_not_drain_stops_the_sockets_and_loses_nothing() {
    const LIMIT: usize = 200;
    const COUNT: usize = 15_000;
    // By number of events, and by bytes.
    for (max_inbound_events, max_inbound_bytes) in [(LIMIT, usize::MAX / 2), (usize::MAX / 2, LIMIT * 1020)] {
        let mut server = Server::start(Config { max_inbound_events, max_inbound_bytes, shards: 2, ..config() });
        let (first, first_id) = server.connect();
        let (second, second_id) = server.connect();
        let senders = [sender(first, COUNT), sender(second, COUNT)];
        wait_until("reading is paused", || server.metric("wse_read_pauses_total") >= 2.0);
        let mut depth = 0;
        let until = Instant::now() + Duration::from_millis(300);
        wait_until("time passes", || {
            depth = depth.max(server.engine.inbound_queue_depth());
            Instant::now() > until
        });
        // Each of the two shards may hold an open batch (128 KiB) and finish the read it is in (64 KiB).
        assert!((LIMIT..=LIMIT + 2 * 192).contains(&depth), "{depth} events wait");
        assert!(server.health("bytes_received") < 2 * 1_000_000, "the rest stays in the sockets");
        let mut next = [0; 2];
        while next != [COUNT; 2] {
            let Event::Message(id, got) = server.events.event() else { panic!("not a message") };
            let place = &mut next[usize::from(id == second_id)];
            assert!(id == first_id || id == second_id);
            assert_eq!(got, text(*place));
            *place += 1;
        }
        for sender in senders {
            sender.join().unwrap();
        }
        assert!(matches!((server.events.event(), server.events.event()), (Event::Disconnect(_), Event::Disconnect(_))));
        assert_eq!((server.engine.inbound_dropped(), server.engine.inbound_queue_depth()), (0, 0));
    }
}

#[test]
fn a_paused_connection_still_gets_its_messages_and_is_not_idle() {
    let mut server = Server::start(Config {
        max_inbound_events: 10,
        idle_timeout: Duration::from_millis(400),
        close_timeout: Duration::from_millis(200),
        shards: 1,
        ..config()
    });
    let (peer, id) = server.connect();
    let mut peer = sender(peer, 2000).join().unwrap();
    wait_until("reading is paused", || server.metric("wse_read_pauses_total") >= 1.0);
    let until = Instant::now() + Duration::from_millis(1000);
    wait_until("longer than the idle time limit", || Instant::now() > until);
    server.engine.send(id, "outwards nothing is paused");
    assert_eq!(peer.text(), "outwards nothing is paused", "and it was not closed for the host's silence");
    for n in 0..2000 {
        assert_eq!(server.events.event(), Event::Message(id, text(n)));
    }
    // Now it is silent itself.
    peer.expect_close(4300);
}

#[test]
fn shedding_counts_what_it_sheds_and_never_a_connect_or_disconnect() {
    const COUNT: usize = 3000;
    let mut server = Server::start(Config {
        max_inbound_events: 100,
        inbound_overflow: InboundOverflow::Drop,
        shards: 1,
        ..config()
    });
    let (peer, id) = server.connect();
    let (other, other_id) = server.connect();
    drop(sender(peer, COUNT).join().unwrap());
    drop(other);
    wait_until("both are gone", || server.engine.connection_count() == 0);
    let events =
        server.events.collect_until(|events| [id, other_id].iter().all(|id| events.contains(&Event::Disconnect(*id))));
    let delivered: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Message(..))).collect();
    let dropped = server.engine.inbound_dropped();
    assert!(dropped > 0);
    assert_eq!(delivered.len() as u64 + dropped, COUNT as u64, "sent = delivered + dropped");
    assert_eq!(delivered[0], &Event::Message(id, text(0)), "the oldest are kept");
    let gone: Vec<_> = events.iter().filter(|event| matches!(event, Event::Disconnect(_))).collect();
    assert!(
        gone.len() == 2 && events.contains(&Event::Disconnect(id)) && events.contains(&Event::Disconnect(other_id))
    );
    assert_eq!(server.counter("wse_inbound_dropped_total"), dropped);
    assert_eq!(server.health("inbound_dropped"), dropped);
    server.connect();
}

#[test]
fn the_engines_own_messages_are_answered_while_the_host_sleeps() {
    let mut server = Server::plain();
    let (mut peer, _) = server.connect();
    for _ in 0..3 {
        peer.send_text(r#"{"c":"WSE","t":"ping","p":{"timestamp":17},"v":1}"#);
        let pong = peer.text();
        assert!(pong.starts_with(r#"{"c":"WSE","t":"PONG","p":{"client_timestamp":17,"server_timestamp":"#), "{pong}");
    }
    peer.send_text(r#"{"t":"pong"}"#);
    peer.send_text(r#"{"t":"PONG"}"#);
    peer.send_binary(br#"{"t":"ping"}"#);
    assert!(peer.text().contains("PONG"));
    peer.send_text(r#"WSE{"t":"ping"}"#);
    assert!(peer.text().contains("PONG"));
    assert_eq!(server.events.drain(), []);
    // A type spelled with escapes is the same type, also among messages whose shape is known.
    for n in 0..100 {
        peer.send_text(&format!(r#"{{"t":"other","p":{{"n":{n}}}}}"#));
        peer.send_text(&format!(r#"{{"t":"p\u0069ng","p":{{"n":{n}}}}}"#));
        assert!(peer.text().contains("PONG"));
    }
    for n in 0..100 {
        assert_eq!(server.events.message(), serde_json::json!({"t": "other", "p": {"n": n}}));
    }
    // These are not the engine's.
    for text in [r#"{"type":"ping"}"#, r#"{"t":"PING"}"#, r#"{"t":"subscription_update","p":{}}"#] {
        peer.send_text(text);
        assert!(matches!(server.events.event(), Event::Message(..)), "{text}");
    }
}

#[test]
fn a_paused_connection_hears_the_answer_to_our_close() {
    let mut server =
        Server::start(Config { max_inbound_events: 10, close_timeout: Duration::from_secs(60), shards: 1, ..config() });
    let (peer, id) = server.connect();
    let mut peer = sender(peer, 200).join().unwrap();
    wait_until("reading is paused", || server.metric("wse_read_pauses_total") >= 1.0);
    let began = Instant::now();
    assert!(server.engine.disconnect(id, CloseCode::RECONNECT, "go"));
    peer.expect_close(4300);
    peer.send_close(4300);
    peer.expect_end();
    wait_until("it is gone", || server.engine.connection_count() == 0);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the close time limit was not waited for: {:?}",
        began.elapsed()
    );
    // The same for everybody at once.
    server.events.collect_until(|events| events.contains(&Event::Disconnect(id)));
    let (peer, _) = server.connect();
    let mut peer = sender(peer, 200).join().unwrap();
    wait_until("reading is paused", || server.metric("wse_read_pauses_total") >= 2.0);
    let leaving = std::thread::spawn(move || {
        peer.expect_close(4300);
        peer.send_close(4300);
        peer.expect_end();
    });
    assert!(server.engine.drain(CloseCode::RECONNECT, "", Duration::from_secs(30)).unwrap());
    leaving.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// A server of one shard with a second reader beside its own, and a connection of each: `[(peer, id); 2]`, the server's first.
fn two_readers(max_inbound_events: usize) -> (Server, Events, [(Peer, ConnId); 2]) {
    let mut server = Server::start(Config { max_inbound_events, shards: 1, ..config() });
    let mut second = Events::join(&server.engine);
    let mut peers = [Peer::connect(server.address), Peer::connect(server.address)].map(Some);
    let ids = [server.events.connected(), second.connected()];
    // Readers have as many connections each, and who is first is not settled: each peer says who it is.
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.as_mut().unwrap().send_text(&text(number));
    }
    let first = server.events.message()["n"] == 0;
    second.message();
    let mut peer = |first: bool| peers[usize::from(!first)].take().unwrap();
    let own = [(peer(first), ids[0]), (peer(!first), ids[1])];
    (server, second, own)
}

#[test]
fn a_reader_that_gets_on_does_not_resume_what_another_leaves_alone() {
    const LIMIT: usize = 10;
    const COUNT: usize = 2000;
    let (mut server, mut second, [(mut first_peer, first_id), (second_peer, second_id)]) = two_readers(LIMIT);
    let second_peer = sender(second_peer, COUNT).join().unwrap();
    wait_until("reading is paused", || server.counter("wse_read_pauses_total") == 1);
    for n in 0..200 {
        first_peer.send_text(&text(n));
        assert_eq!(server.events.event(), Event::Message(first_id, text(n)));
    }
    assert_eq!(server.counter("wse_read_pauses_total"), 1, "what is paused stays so");
    // Half of the limit has to be read, whatever the other does meanwhile.
    let depth = server.engine.inbound_queue_depth();
    for n in 0..COUNT {
        assert_eq!(second.event(), Event::Message(second_id, text(n)));
    }
    assert!((LIMIT..COUNT).contains(&depth), "{depth} events waited");
    drop(second_peer);
    assert_eq!(second.event(), Event::Disconnect(second_id));
}

#[test]
fn what_a_reader_left_alone_is_read_for_its_successor_once_that_has_caught_up() {
    const COUNT: usize = 1000;
    let (mut server, second, [(first_peer, first_id), (second_peer, second_id)]) = two_readers(10);
    let peers = [first_peer, second_peer].map(|peer| sender(peer, COUNT));
    wait_until("both are paused", || server.counter("wse_read_pauses_total") == 2);
    // Its successor is behind itself and cannot take the connection over at once.
    second.leave();
    let mut next = [0; 2];
    let mut adopted = Vec::new();
    while next != [COUNT; 2] {
        let (id, got) = match server.events.event() {
            Event::Message(id, got) => (id, got),
            Event::Adopt(id, _) => {
                adopted.push(id);
                continue;
            }
            other => panic!("not a message: {other:?}"),
        };
        assert!(id == first_id || id == second_id);
        let place = &mut next[usize::from(id == second_id)];
        assert_eq!(got, text(*place));
        *place += 1;
    }
    assert_eq!(adopted, [second_id]);
    peers.into_iter().for_each(|peer| drop(peer.join().unwrap()));
}

#[test]
fn nobody_stays_paused_however_readers_come_and_go() {
    const COUNT: usize = 300;
    const PEERS: usize = 12;
    let mut server = Server::start(Config { max_inbound_events: 4, shards: 2, ..config() });
    let mut readers = vec![Events::join(&server.engine), Events::join(&server.engine)];
    let mut ids: HashMap<ConnId, usize> = HashMap::new();
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            // Nobody is let in while all readers are behind.
            readers.iter_mut().for_each(|reader| drop(reader.drain()));
            server.events.drain();
            Peer::connect(server.address)
        })
        .collect();
    let senders: Vec<_> = peers.into_iter().map(|peer| sender(peer, COUNT)).collect();
    let mut turn = 0;
    let mut hear = |events: Vec<Event>| {
        for event in events {
            if let Event::Message(id, got) = event {
                let next = ids.entry(id).or_default();
                assert_eq!(got, text(*next));
                *next += 1;
            }
        }
        ids.values().sum::<usize>()
    };
    wait_until("everything has been read", || {
        turn += 1;
        // One reads, the others stand still; now and then one leaves and another comes.
        let which = turn % (readers.len() + 1);
        let events = readers.get_mut(which).unwrap_or(&mut server.events).drain();
        if turn % 20 == 0 {
            readers.push(Events::join(&server.engine));
            hear(readers.swap_remove(0).leave());
        }
        hear(events) == PEERS * COUNT
    });
    assert!(server.counter("wse_read_pauses_total") > 0, "there was nothing to wake");
    senders.into_iter().for_each(|sender| drop(sender.join().unwrap()));
}

#[test]
fn nobody_starves_while_others_keep_a_busy_host_busy() {
    const PEERS: usize = 20;
    const TOTAL: usize = 800_000;
    // The host runs the engine itself: it takes a little, then the engine reads a little, as JavaScript's thread does.
    let engine = Engine::new(Config { shards: 1, max_inbound_events: 2000, ..config() });
    let consumer = engine.join();
    let mut inline = engine.start_inline(engine.bind().unwrap()).unwrap();
    let address = inline.address().expect("a port");
    let over = Arc::new(AtomicBool::new(false));
    let mut burst = Vec::new();
    (0..100).for_each(|_| push_masked_frame(&mut burst, true, Opcode::Text, b"0123456789", [1, 2, 3, 4]));
    let senders: Vec<_> = (0..PEERS)
        .map(|_| {
            let (over, burst) = (Arc::clone(&over), burst.clone());
            std::thread::spawn(move || {
                let mut peer = Peer::connect(address);
                while !over.load(Relaxed) && peer.try_send_raw(&burst).is_ok() {}
            })
        })
        .collect();
    let mut heard: HashMap<ConnId, usize> = HashMap::new();
    let mut out = vec![0; 1 << 20];
    let mut total = 0;
    let began = Instant::now();
    while total < TOTAL {
        assert!(began.elapsed() < Duration::from_secs(60), "{total} messages");
        inline.step(true);
        let Taken::Bytes(bytes) = engine.take_batch(&consumer, 512, false, &mut out) else { continue };
        for event in decode_batch(&out[..bytes]) {
            if let Event::Raw(id, _) = event {
                total += 1;
                // From when all are there.
                *heard.entry(id).or_default() += usize::from(heard.len() == PEERS);
            }
        }
        if heard.len() < PEERS {
            total = 0;
        }
    }
    over.store(true, Relaxed);
    engine.abandon_inline(&mut inline, CloseCode::SERVICE_RESTART, "", Duration::ZERO);
    drop(inline);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let least = heard.values().min().unwrap();
    assert!(*least > TOTAL / PEERS / 20, "{heard:?}");
}

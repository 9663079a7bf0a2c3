//! Several host threads on one engine: all events of a connection reach the same one, and nothing is lost or reordered when
//! one of them goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use wse_engine::config::Config;
use wse_engine::{ConnId, Taken};
use wse_testkit::{Event, Events, Peer, Server, config, wait_until};

fn send_numbers(peers: &mut [Peer], from: u32, to: u32) {
    for n in from..to {
        for peer in peers.iter_mut() {
            peer.send_text(&format!("{{\"n\":{n}}}"));
        }
    }
}

fn number(text: &str) -> u32 {
    text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// Numbers per connection, in the order of the events.
fn numbers(events: &[Event]) -> HashMap<ConnId, Vec<u32>> {
    let mut numbers = HashMap::<_, Vec<u32>>::new();
    for event in events {
        if let Event::Message(id, text) = event {
            numbers.entry(*id).or_default().push(number(text));
        }
    }
    numbers
}

#[test]
fn a_connection_belongs_to_one_consumer() {
    let mut server = Server::plain();
    let mut second = Events::join(&server.engine);
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::connect(server.address)).collect();
    send_numbers(&mut peers, 0, 500);
    drop(peers);
    let (mut first_events, mut second_events) = (Vec::new(), Vec::new());
    wait_until("everything is there", || {
        first_events.extend(server.events.drain());
        second_events.extend(second.drain());
        first_events.len() + second_events.len() == 8 * 502
    });
    let mut connections = Vec::new();
    for events in [&first_events, &second_events] {
        let numbers = numbers(events);
        assert_eq!(numbers.len(), 4, "connections are shared evenly");
        for (id, numbers) in numbers {
            assert_eq!(numbers, (0..500).collect::<Vec<_>>());
            let own: Vec<&Event> = events.iter().filter(|event| event.connection() == id).collect();
            assert!(matches!(own[0], Event::Connect(..)) && matches!(own[501], Event::Disconnect(_)));
            connections.push(id);
        }
    }
    connections.sort();
    connections.dedup();
    assert_eq!(connections.len(), 8);
}

#[test]
fn a_consumer_that_leaves_hands_over_without_loss_or_reordering() {
    let server = &mut Server::plain();
    let mut second = Events::join(&server.engine);
    let mut peers: Vec<Peer> = (0..6).map(|_| Peer::connect(server.address)).collect();
    wait_until("all are connected", || server.engine.connection_count() == 6);
    let sender = std::thread::spawn(move || {
        send_numbers(&mut peers, 0, 2000);
        peers
    });
    // The second takes a little, leaves the rest in its queue, and goes while more is coming.
    let mut taken = Vec::new();
    while numbers(&taken).values().map(Vec::len).sum::<usize>() < 300 {
        taken.push(second.event());
    }
    taken.extend(second.leave());
    drop(sender.join().unwrap());
    let mut rest = Vec::new();
    wait_until("the heir has everything else", || {
        rest.extend(server.events.drain());
        taken.len() + rest.len() == 6 * 2002
    });
    let (before, after) = (numbers(&taken), numbers(&rest));
    assert!((1..=3).contains(&before.len()) && after.len() == 6, "half of the connections were its own");
    for (id, mut all) in after {
        let mut whole = before.get(&id).cloned().unwrap_or_default();
        whole.append(&mut all);
        assert_eq!(whole, (0..2000).collect::<Vec<_>>());
    }
    assert_eq!(server.engine.inbound_queue_depth(), 0);
}

#[test]
fn what_the_last_consumer_leaves_waits_for_the_next() {
    let mut server = Server::plain();
    let (peer, id) = server.connect();
    let mut peers = [peer];
    send_numbers(&mut peers, 0, 10);
    wait_until("they wait", || server.engine.inbound_queue_depth() == 10);
    let next = Events::join(&server.engine);
    let old = std::mem::replace(&mut server.events, next);
    assert_eq!(old.leave(), []);
    assert_eq!(server.events.event(), Event::Message(id, "{\"n\":0}".into()));
    let mut events = server.events.drain();
    let next = Events::join(&server.engine);
    assert_eq!(std::mem::replace(&mut server.events, next).leave(), []);
    send_numbers(&mut peers, 10, 20);
    wait_until("they arrive", || {
        events.extend(server.events.drain());
        events.len() == 19
    });
    assert_eq!(numbers(&events)[&id], (1..20).collect::<Vec<_>>());
    // Nobody at all, then somebody.
    let last = std::mem::replace(&mut server.events, Events::join(&server.engine));
    last.leave();
    let only = std::mem::replace(&mut server.events, Events::join(&server.engine));
    only.leave();
    send_numbers(&mut peers, 20, 30);
    wait_until("they arrive", || {
        events.extend(server.events.drain());
        events.len() == 29
    });
    assert_eq!(numbers(&events)[&id], (1..30).collect::<Vec<_>>());
}

#[test]
fn the_wake_comes_once_after_an_empty_take() {
    let mut server = Server::plain();
    let (peer, _) = server.connect();
    let mut peers = [peer];
    let consumer = server.engine.join();
    let other = Peer::connect(server.address);
    let mut peers_of_second = [other];
    let mut buffer = vec![0; 1 << 20];
    wait_until("its connect is taken", || {
        matches!(server.engine.take_batch(&consumer, 10, true, &mut buffer), Taken::Bytes(_))
    });
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&woken);
    server.engine.on_batch(
        &consumer,
        Some(Arc::new(move || {
            counter.fetch_add(1, SeqCst);
        })),
    );
    assert_eq!(server.engine.take_batch(&consumer, 10, true, &mut buffer), Taken::Nothing);
    assert_eq!(woken.load(SeqCst), 0);
    send_numbers(&mut peers, 0, 5);
    send_numbers(&mut peers_of_second, 0, 5);
    wait_until("both have got theirs", || server.engine.inbound_queue_depth() == 10);
    assert_eq!(woken.load(SeqCst), 1, "one wake until the host has looked");
    // A buffer that is too small takes nothing and says what it needs.
    let Taken::Needs(size) = server.engine.take_batch(&consumer, 10, true, &mut []) else { panic!("nothing needed") };
    assert_eq!(server.engine.inbound_queue_depth(), 10);
    assert!(
        matches!(server.engine.take_batch(&consumer, 10, true, &mut buffer[..size]), Taken::Bytes(written) if written <= size)
    );
    assert_eq!(server.engine.inbound_queue_depth(), 5);
    assert_eq!(server.engine.take_batch(&consumer, 10, true, &mut buffer), Taken::Nothing);
    send_numbers(&mut peers_of_second, 5, 6);
    wait_until("the next wake", || woken.load(SeqCst) == 2);
    assert_eq!(server.events.drain().len(), 5);
}

#[test]
fn waiting_ends_with_an_event_a_time_limit_or_the_engine() {
    let mut server = Server::plain();
    assert_eq!(server.events.next_within(Duration::from_millis(20)), None);
    let engine = Arc::clone(&server.engine);
    let waiting = std::thread::spawn(move || {
        let consumer = engine.join();
        engine.wait_batch(&consumer, 10, true, Duration::from_secs(60), &mut [])
    });
    let began = std::time::Instant::now();
    server.engine.stop(wse_protocol::close_code::CloseCode(1012), "", Duration::from_secs(1));
    assert_eq!(waiting.join().unwrap(), Taken::Nothing);
    assert_eq!(server.events.next_within(Duration::from_secs(60)), None);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_consumer_that_left_is_forgotten_also_behind_connections_that_say_nothing() {
    let mut server = Server::start(Config { shards: 2, ..config() });
    let mut silent = Vec::new();
    let mut left = Vec::new();
    let mut last = server.engine.join();
    for _ in 0..50 {
        // Connections of every generation, which never say a word.
        silent.extend((0..4).map(|_| Peer::connect(server.address)));
        let next = server.engine.join();
        server.engine.leave(&last);
        left.push(Arc::downgrade(&std::mem::replace(&mut last, next)));
    }
    wait_until("all that left are gone", || left.iter().all(|consumer| consumer.upgrade().is_none()));
    // Nothing of them is lost: who is left has every connect.
    let mut buffer = vec![0; 1 << 20];
    let mut connects = 0;
    wait_until("all connects are there", || {
        connects += server.events.drain().len();
        if let Taken::Bytes(size) = server.engine.take_batch(&last, 4096, false, &mut buffer) {
            connects += wse_testkit::decode_batch(&buffer[..size]).len();
        }
        connects == silent.len()
    });
}

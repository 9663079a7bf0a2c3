//! Several host threads on one engine: all events of a connection reach the same one, and nothing is lost or reordered when
//! one of them goes or stands still.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use wse_engine::config::Config;
use wse_engine::{ConnId, Consumer, Engine, Taken};
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

/// The connections these events adopt. Each adoption must be the first of its connection here, and name where that came from.
#[track_caller]
fn adopted(events: &[Event]) -> Vec<ConnId> {
    let adoptions = events.iter().enumerate().filter_map(|(index, event)| match event {
        Event::Adopt(id, info) => Some((index, *id, info)),
        _ => None,
    });
    let check = |(index, id, info): (usize, ConnId, &Value)| {
        assert!(events[..index].iter().all(|event| event.connection() != id), "something came before {info}");
        assert_eq!(
            [&info["address"], &info["path"], &info["user"]],
            ["127.0.0.1", "/wse", "null"].map(json).each_ref()
        );
        assert_eq!(info["id"].as_str().map(str::len), Some(36));
        id
    };
    adoptions.map(check).collect()
}

fn json(text: &str) -> Value {
    if text == "null" { Value::Null } else { text.into() }
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
        let adoptions = rest.iter().filter(|event| matches!(event, Event::Adopt(..))).count();
        taken.len() + rest.len() == 6 * 2002 + adoptions
    });
    assert_eq!((adopted(&taken).len(), adopted(&rest).len()), (0, 3));
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
    assert_eq!(adopted(&[server.events.event()]), [id]);
    assert_eq!(server.events.event(), Event::Message(id, "{\"n\":0}".into()));
    let mut events = server.events.drain();
    let next = Events::join(&server.engine);
    assert_eq!(std::mem::replace(&mut server.events, next).leave(), []);
    send_numbers(&mut peers, 10, 20);
    wait_until("they arrive", || {
        events.extend(server.events.drain());
        numbers(&events)[&id].len() == 19
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
        numbers(&events)[&id].len() == 29
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
    // Counted first, and then the host is woken.
    wait_until("both have got theirs", || server.engine.inbound_queue_depth() == 10 && woken.load(SeqCst) > 0);
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
            let events = wse_testkit::decode_batch(&buffer[..size]);
            connects += events.iter().filter(|event| matches!(event, Event::Connect(..))).count();
        }
        connects == silent.len()
    });
}

/// Everything there is for each, until it is so many messages.
fn hear_all(readers: &mut [&mut Events], heard: &mut [Vec<Event>], messages: usize) {
    wait_until("all is heard", || {
        readers.iter_mut().zip(&mut *heard).for_each(|(reader, heard)| heard.extend(reader.drain()));
        heard.iter().flatten().filter(|event| matches!(event, Event::Message(..))).count() == messages
    });
}

#[test]
fn the_connections_of_one_that_leaves_are_spread_over_all_others() {
    let mut server = Server::plain();
    let mut others: Vec<_> = (0..3).map(|_| Events::join(&server.engine)).collect();
    let mut peers: Vec<Peer> = (0..24).map(|_| Peer::connect(server.address)).collect();
    wait_until("all are connected", || server.engine.connection_count() == 24);
    let mut gone = others.pop().unwrap();
    assert_eq!(gone.collect_until(|events| events.len() == 6).len(), 6);
    assert_eq!(gone.leave(), []);
    let [second, third] = &mut others[..] else { panic!("two are left") };
    let mut heard = [const { Vec::new() }; 3];
    send_numbers(&mut peers, 0, 3);
    hear_all(&mut [&mut server.events, second, third], &mut heard, 72);
    for events in &heard {
        assert_eq!((numbers(events).len(), adopted(events).len()), (8, 2), "all have as many");
    }
    assert_eq!(server.counter("wse_connections_adopted_total"), 6);
    // Who comes anew gets those who come anew.
    let mut fresh = Events::join(&server.engine);
    let _more: Vec<Peer> = (0..8).map(|_| Peer::connect(server.address)).collect();
    assert_eq!(fresh.collect_until(|events| events.len() == 8).len(), 8);
}

#[test]
fn one_that_stands_still_loses_its_connections_and_gets_nobody_new_until_it_reads() {
    // The other one must not stand still so long, however busy the machine is.
    let config = Config { shards: 2, reader_timeout: Duration::from_secs(3), ..config() };
    let mut server = Server::start(config);
    let mut still = Events::join(&server.engine);
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::connect(server.address)).collect();
    // It takes one event, and leaves the rest.
    let first = still.event().connection();
    send_numbers(&mut peers, 0, 50);
    let mut heard = [Vec::new()];
    // What it has taken already stays with it: a few at most, and in front of everything the other gets.
    let reading = std::time::Instant::now();
    wait_until("it is found out", || {
        heard[0].extend(server.events.drain());
        server.counter("wse_reader_stalls_total") == 1
    });
    assert!(reading.elapsed() >= Duration::from_millis(500));
    let own = still.leave_alone();
    let before: usize = own.iter().filter(|event| matches!(event, Event::Message(..))).count();
    hear_all(&mut [&mut server.events], &mut heard, 8 * 50 - before);
    assert_eq!(server.counter("wse_readers_stalled"), 1);
    let adoptions = adopted(&heard[0]);
    assert!(adoptions.contains(&first) && adoptions.len() <= 4, "{adoptions:?}");
    for (id, mut after) in numbers(&heard[0]) {
        let mut whole = numbers(&own).remove(&id).unwrap_or_default();
        whole.append(&mut after);
        assert_eq!(whole, (0..50).collect::<Vec<_>>());
    }
    let stalls = server.engine.take_stalls();
    assert!(matches!(&stalls[..], [stall] if stall.moved && stall.thread == 0 && stall.events > 0), "{stalls:?}");
    assert_eq!(server.engine.take_stalls(), []);
    // Nobody new, although it has none.
    peers.extend((0..4).map(|_| Peer::connect(server.address)));
    send_numbers(&mut peers, 50, 60);
    hear_all(&mut [&mut server.events], &mut heard, 8 * 50 - before + 12 * 10);
    // It comes back, as one that has nothing to do, and is the first choice for those who come now.
    assert_eq!(still.drain(), []);
    wait_until("it counts again", || server.counter("wse_readers_stalled") == 0);
    let _new = Peer::connect(server.address);
    assert!(matches!(still.event(), Event::Connect(..)));
}

#[test]
fn the_only_one_that_stands_still_is_reported_and_keeps_everything() {
    let config = Config { reader_timeout: Duration::from_millis(600), ..config() };
    let mut server = Server::start(config);
    let (peer, id) = server.connect();
    let mut peers = [peer];
    send_numbers(&mut peers, 0, 5);
    wait_until("it is found out", || server.counter("wse_reader_stalls_total") == 1);
    assert!(matches!(&server.engine.take_stalls()[..], [stall] if !stall.moved && stall.events == 5));
    assert_eq!(server.engine.inbound_queue_depth(), 5);
    // Who comes now gets it all.
    let mut second = Events::join(&server.engine);
    let mut heard = [Vec::new()];
    hear_all(&mut [&mut second], &mut heard, 5);
    assert_eq!(adopted(&heard[0]), [id]);
    assert_eq!(numbers(&heard[0])[&id], (0..5).collect::<Vec<_>>());
    assert_eq!(server.events.drain(), []);
}

#[test]
fn one_that_comes_back_before_anybody_else_is_told_nothing() {
    let engine = Arc::new(Engine::new(config()));
    let address = engine.start().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut take = |consumer: &Consumer| {
        let mut events = Vec::new();
        wait_until("something is there", || {
            if let Taken::Bytes(size) = engine.take_batch(consumer, 10, false, &mut buffer) {
                events = wse_testkit::decode_batch(&buffer[..size]);
            }
            !events.is_empty()
        });
        events
    };
    let first = engine.join();
    let mut peers = [Peer::connect(address.unwrap())];
    let id = take(&first)[0].connection();
    engine.leave(&first);
    send_numbers(&mut peers, 0, 1);
    let again = engine.join_as(0, Some(&first));
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(take(&again), [Event::Message(id, "{\"n\":0}".into())]);
    // Somebody has come meanwhile: the two are others to each other.
    engine.leave(&again);
    let other = engine.join_as(0, None);
    engine.leave(&other);
    let third = engine.join_as(0, Some(&again));
    assert_eq!(adopted(&take(&third)), [id]);
}

#[test]
fn what_has_ended_is_introduced_to_the_heir_of_its_last_events() {
    let mut server = Server::plain();
    let (peer, id) = server.connect();
    let mut peers = [peer];
    send_numbers(&mut peers, 0, 3);
    drop(peers);
    wait_until("it has ended", || server.engine.connection_count() == 0 && server.engine.inbound_queue_depth() == 4);
    let next = Events::join(&server.engine);
    std::mem::replace(&mut server.events, next).leave();
    let events = server.events.collect_until(|events| events.len() == 5);
    assert_eq!(adopted(&events), [id]);
    assert_eq!(events[4], Event::Disconnect(id));
    // The same from one to the next to the next, and once the engine is over.
    let (mut peer, id) = server.connect();
    peer.send_text("{\"n\":9}");
    wait_until("it waits", || server.engine.inbound_queue_depth() == 1);
    let next = Events::join(&server.engine);
    std::mem::replace(&mut server.events, next).leave();
    server.engine.stop(wse_protocol::close_code::CloseCode(1012), "", Duration::from_secs(1));
    let next = Events::join(&server.engine);
    std::mem::replace(&mut server.events, next).leave();
    let events = server.events.drain();
    assert_eq!((adopted(&events), events.len()), (vec![id], 3), "{events:?}");
}

#[test]
fn events_nobody_is_to_read_are_counted_and_thrown_away() {
    let server = Server::start(Config { discard_inbound: true, max_inbound_events: 2, ..config() });
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::connect(server.address)).collect();
    send_numbers(&mut peers, 0, 100);
    peers.iter_mut().for_each(|peer| peer.send_text("{\"t\":\"ping\"}"));
    peers.iter_mut().for_each(|peer| assert_eq!(peer.json()["t"], "PONG", "its ping is served"));
    drop(peers);
    wait_until("all is counted", || server.counter("wse_inbound_discarded_total") == 3 * 102);
    assert_eq!((server.engine.inbound_queue_depth(), server.counter("wse_read_pauses_total")), (0, 0));
}

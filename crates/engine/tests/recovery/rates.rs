//! How fast is replayed, and what is replayed once however often it is asked for.

use super::*;

#[test]
fn a_gap_is_repaired_without_a_second_subscription() {
    let mut server = Server::start(with(recovery()));
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["a", "p*"]);
    publish(&server, "a", 10);
    publish(&server, "px", 10);
    assert_eq!(offsets(&mut peer, 20).len(), 20);
    for topic in ["a", "px"] {
        let head = position(&server, topic);
        assert!(recover(&server, id, &[(topic, Some(Position { offset: 4, ..head }))])[topic].recovered);
        assert_eq!(offsets(&mut peer, 6), [5, 6, 7, 8, 9, 10]);
        publish(&server, topic, 1);
        assert_eq!(offsets(&mut peer, 1), [11], "live goes on, once");
    }
    let subscribers = ["a", "px"].map(|topic| server.engine.topic_subscribers(topic));
    assert_eq!(subscribers, [1, 0], "who holds a pattern needs no name");
    server.engine.unsubscribe(id, Some(&["p*".to_owned()]));
    publish(&server, "px", 1);
    publish(&server, "a", 1);
    assert_eq!(peer.json()["tp"], "a");
}

#[test]
fn a_host_that_asks_again_for_what_is_on_its_way_has_it_replayed_once() {
    let mut server = Server::start(with(recovery()));
    publish(&server, "a", 20);
    let (mut peer, id) = server.connect();
    let from = Position { offset: 12, ..position(&server, "a") };
    let counts: Vec<u32> = (0..50).map(|_| recover(&server, id, &[("a", Some(from))])["a"].count).collect();
    assert_eq!((counts[0], counts[1..].iter().sum::<u32>()), (8, 0));
    assert!(recover(&server, id, &[("a", Some(from))])["a"].recovered);
    publish(&server, "a", 1);
    assert_eq!(offsets(&mut peer, 9), (13..=21).collect::<Vec<u64>>());
    assert_eq!(server.counter("wse_recovery_coalesced_total"), 50);
    // Another position is another request, and so is one behind the end of the subscription.
    let other = Position { offset: 20, ..from };
    assert_eq!(recover(&server, id, &[("a", Some(other))])["a"].count, 1);
    server.engine.unsubscribe(id, None);
    assert_eq!(recover(&server, id, &[("a", Some(other))])["a"].count, 1);
    // What was kept from it for a while is not on its way.
    server.engine.set_topic_acl(id, &["*".into()], &["a".into()]).unwrap();
    publish(&server, "a", 5);
    server.engine.set_topic_acl(id, &["*".into()], &[]).unwrap();
    assert_eq!(recover(&server, id, &[("a", Some(other))])["a"].count, 6);
}

/// What is not replayed again costs nothing of what may be replayed, and waits for nothing.
#[test]
fn what_is_on_its_way_is_paid_for_once() {
    // A second's worth is less than one replay.
    let mut server = Server::start(with(Recovery { connection_replay_rate: 5_000, ..recovery() }));
    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat(1000));
    for _ in 0..20 {
        server.engine.broadcast("a", &text);
    }
    let (mut peer, id) = server.connect();
    let from = Position { offset: 0, ..position(&server, "a") };
    // A few: what was replayed is remembered for two seconds, on a busy machine, too.
    let counts: Vec<u32> = (0..8).map(|_| recover(&server, id, &[("a", Some(from))])["a"].count).collect();
    assert_eq!((counts[0], counts[1..].iter().sum::<u32>()), (20, 0));
    assert_eq!(offsets(&mut peer, 20), (1..=20).collect::<Vec<u64>>());
    assert_eq!(server.counter("wse_recovery_coalesced_total"), 7);
    assert_eq!(server.counter("wse_recovery_replayed_total"), 20);
    // Another position waits for what was replayed, and for no more than that.
    let other = Position { offset: 19, ..from };
    assert_eq!(recover(&server, id, &[("a", Some(other))])["a"].count, 1);
}

#[test]
fn storms_are_slowed_down_and_everybody_is_served_in_the_end() {
    let mut server =
        Server::start(with(Recovery { replay_rate: 200_000, connection_replay_rate: 1 << 30, ..recovery() }));
    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat(1000));
    for _ in 0..100 {
        server.engine.broadcast("a", &text);
    }
    let start = Position { offset: 0, ..position(&server, "a") };
    let peers: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let began = std::time::Instant::now();
    let asked: Vec<_> = peers.iter().map(|(_, id)| ask(&server, *id, &[("a", Some(start))])).collect();
    for told in asked {
        assert!(told.recv_timeout(PATIENCE).unwrap().unwrap().recovered());
    }
    // 8 times 100 KB at 200 KB a second, of which the first second's worth and the last debt are free.
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    for (mut peer, _) in peers {
        assert_eq!(offsets(&mut peer, 100), (1..=100).collect::<Vec<u64>>());
    }
}

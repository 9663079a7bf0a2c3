//! What is kept of topics, for how long, and in how much memory.

use super::*;

#[test]
fn rules_say_what_is_kept_and_last_values_are_there_for_whoever_comes() {
    let rule = |topics: &str, ring| RecoveryRule { topics: Pattern::new(topics).unwrap(), ring };
    let mut server = Server::start(with(Recovery {
        rules: vec![rule("off:*", None), rule("small:*", Some(RingPolicy { size: 4, ttl: None }))],
        last_values: vec![Pattern::new("last:*").unwrap()],
        ..recovery()
    }));
    let (mut peer, id) = server.connect();
    for topic in ["off:1", "small:1", "last:1", "last:2"] {
        publish(&server, topic, if topic == "last:2" { 0 } else { 50 });
    }
    assert_eq!(server.engine.topic_position("off:1"), None);
    let small = position(&server, "small:1");
    for (missing, recovered) in [(4, true), (6, false)] {
        let from = Position { offset: small.offset - missing, ..small };
        assert_eq!(recover(&server, id, &[("small:1", Some(from))])["small:1"].recovered, recovered, "{missing}");
    }
    assert_eq!(offsets(&mut peer, 4), [47, 48, 49, 50]);
    let last = position(&server, "last:1");
    let found = recover(&server, id, &[("last:1", None), ("last:2", None), ("off:1", None)]);
    let before = TopicOutcome { position: Some(Position { offset: 49, ..last }), recovered: false, count: 0 };
    assert_eq!((found["last:1"], found["off:1"].position), (before, None));
    assert_eq!(found["last:2"].position.unwrap().offset, 0);
    assert_eq!(offsets(&mut peer, 1), [50], "its last value");
    assert_eq!(recover(&server, id, &[("last:1", None)])["last:1"].position, Some(last), "who holds it has it");
    publish(&server, "last:1", 1);
    assert_eq!(offsets(&mut peer, 1), [51]);
}

#[test]
fn age_and_memory_are_bounded_while_rings_fill() {
    let ttl = Some(Duration::from_millis(300));
    let mut server = Server::start(with(Recovery { ring: Some(RingPolicy { size: 16, ttl }), ..recovery() }));
    let (_peer, id) = server.connect();
    let kept = recover(&server, id, &[("held", None)])["held"].position.unwrap();
    publish(&server, "held", 5);
    (0..1000).for_each(|n| publish(&server, &format!("t{n}"), 1));
    wait_until("what is old is forgotten", || server.health("recovery_topic_count") == 1);
    assert_eq!(server.engine.topic_position("t1"), None);
    let found = recover(&server, id, &[("held", Some(kept))])["held"];
    assert_eq!((found.recovered, found.position), (false, Some(Position { offset: 5, ..kept })), "its epoch goes on");
    // Memory: what was written longest ago goes first, and the gauge never says more than a little over the budget.
    let budget = 1 << 20;
    let mut server = Server::start(with(Recovery { memory_budget: budget, ..recovery() }));
    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat(1000));
    for n in 0..5000 {
        server.engine.broadcast(&format!("t{n}"), &text);
        server.engine.broadcast("often", &text);
        assert!(server.health("recovery_total_bytes") < budget as u64 + 70_000);
    }
    assert!(server.health("recovery_topic_count") > 100);
    assert_eq!(server.engine.topic_position("t0"), None, "the oldest is gone");
    assert!(server.engine.topic_position("t4999").is_some() && position(&server, "often").offset == 5000);
    let (_peer, id) = server.connect();
    let often = position(&server, "often");
    assert!(recover(&server, id, &[("often", Some(Position { offset: 4900, ..often }))])["often"].recovered);
    assert!(server.counter("wse_recovery_evicted_total") > 1000);
}

#[test]
fn a_million_topics_subscribed_once_each_leave_no_more_than_their_budget() {
    let budget = 4 << 20;
    let mut server = Server::start(with(Recovery { memory_budget: budget, ..recovery() }));
    let (peer, id) = server.connect();
    for thousand in 0..1000 {
        let names: Vec<_> = (0..1000).map(|n| (format!("room:{thousand}:{n}"), None)).collect();
        let (tell, told) = channel();
        server.engine.subscribe_with_recovery(id, &names, Settle::new(move |outcome| tell.send(outcome).unwrap()));
        told.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(server.health("recovery_total_bytes") < budget as u64 + 70_000);
    }
    drop(peer);
    server.events.disconnected(id);
    publish(&server, "other", 1);
    assert!(server.health("recovery_total_bytes") < budget as u64 + 70_000);
}

#[test]
fn history_and_positions_are_there_for_the_host() {
    let server = Server::start(with(recovery()));
    assert_eq!(server.engine.history("a", HistoryQuery { since: 0, limit: 10, reverse: false }), None);
    publish(&server, "a", 30);
    let look = |since, limit, reverse| {
        let history = server.engine.history("a", HistoryQuery { since, limit, reverse }).unwrap();
        assert_eq!(history.position.offset, server.engine.topic_position("a").unwrap().offset);
        for (offset, text) in &history.messages {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap()["o"].as_u64(), Some(*offset));
        }
        (history.complete, history.messages.iter().map(|(offset, _)| *offset).collect::<Vec<_>>())
    };
    assert_eq!(look(0, 3, false), (true, vec![1, 2, 3]));
    assert_eq!(look(27, 10, false), (true, vec![28, 29, 30]));
    assert_eq!(look(0, 2, true), (true, vec![30, 29]));
    assert_eq!(look(30, 2, true), (true, vec![]));
    assert_eq!(look(u64::MAX, 2, false), (true, vec![]));
    publish(&server, "a", 300);
    assert!(!look(0, 1, false).0, "the first are not kept");
}

#[test]
fn where_a_topic_begins_is_known_before_anybody_publishes() {
    let mut server = Server::start(with(Recovery { memory_budget: 8192, ..recovery() }));
    let begun = server.engine.begin_topic("a").unwrap();
    assert_eq!(
        (begun.offset, server.engine.topic_position("a"), server.engine.begin_topic("a")),
        (0, Some(begun), Some(begun))
    );
    publish(&server, "a", 3);
    let (_peer, id) = server.connect();
    assert_eq!(recover(&server, id, &[("a", Some(begun))])["a"].count, 3);
    assert_eq!(server.engine.begin_topic("a*"), None, "a pattern has no position");
    // Topics nobody needs are no more than the budget has room for.
    for n in 0..1000 {
        server.engine.begin_topic(&format!("room:{n}"));
    }
    assert!(server.health("recovery_total_bytes") < 8192 + 2048, "{}", server.health("recovery_total_bytes"));
    assert!(server.health("topics") < 100, "{}", server.health("topics"));
}

/// Nobody is there for whose sake a shard looks at the time.
#[test]
fn what_is_old_goes_where_nobody_is_connected() {
    let ring = Some(RingPolicy { size: 8, ttl: Some(Duration::from_millis(100)) });
    let server = Server::start(with(Recovery { ring, ..recovery() }));
    std::thread::sleep(Duration::from_millis(300));
    publish(&server, "a", 3);
    wait_until("it is forgotten", || server.health("recovery_topic_count") == 0);
}

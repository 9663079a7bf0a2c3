//! What subscriptions may cost: patterns, memory, and that neither grows faster than what is held.

use std::time::Instant;

use wse_engine::Subscribed;
use wse_engine::config::Config;
use wse_testkit::{Server, config, wait_until};

fn names(count: usize, name: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(name).collect()
}

#[test]
fn patterns_have_a_limit_of_their_own() {
    let mut server = Server::start(Config { max_subscriptions: 10, max_patterns: 3, ..config() });
    let (_peer, id) = server.connect();
    let wanted = ["a*", "b*", "c*", "d*", "e", "e?", "f"].map(String::from);
    assert_eq!(server.engine.subscribe(id, &wanted, None), Subscribed::Accepted(5));
    assert_eq!(server.metric("wse_subscriptions_refused_total"), 2.0);
    server.engine.unsubscribe(id, Some(&["a*".to_owned()]));
    wait_until("it is gone", || server.health("topics") == 4);
    assert_eq!(
        server.engine.subscribe(id, &wanted[2..4], None),
        Subscribed::Accepted(1),
        "one is held: no room for two"
    );
    wait_until("the repetition is given back", || {
        server.engine.subscribe(id, &wanted[3..4], None) == Subscribed::Accepted(1)
    });
}

#[test]
fn the_work_patterns_can_make_is_bounded() {
    let mut server = Server::start(Config { shards: 1, ..config() });
    let (mut peer, id) = server.connect();
    let limit = server.health("pattern_work_limit");
    let count = usize::try_from(limit).unwrap();
    let alike = names(count + 1000, |n| format!("*x{n}*"));
    assert_eq!(server.engine.subscribe(id, &alike, None), Subscribed::Accepted(count));
    assert_eq!((server.health("pattern_work"), server.metric("wse_subscriptions_refused_total")), (limit, 1000.0));
    // What is told apart by its ends costs nothing, and exact names are no patterns.
    let (mut other, other_id) = server.connect();
    let apart = names(2000, |n| format!("*{}", n + 1000));
    assert_eq!(server.engine.subscribe(other_id, &apart, None), Subscribed::Accepted(0), "of a new length");
    assert_eq!(server.engine.subscribe(other_id, &alike[..10], None), Subscribed::Accepted(10), "others have them");
    assert_eq!(server.engine.subscribe(other_id, &["exact".to_owned()], None), Subscribed::Accepted(1));
    let before = server.metric("wse_match_work_total");
    server.engine.broadcast("abcx9!", "x");
    assert_eq!((peer.text(), other.text()), ("x".into(), "x".into()));
    let work = server.metric("wse_match_work_total") - before;
    assert!(work <= 2.0 * f64::from(u32::try_from(limit).unwrap()), "{work}");
    drop(peer);
    wait_until("they are given back", || server.health("pattern_work") == 10);
    assert_eq!(server.engine.subscribe(other_id, &apart, None), Subscribed::Accepted(2000));
    assert_eq!(server.health("pattern_work"), 11, "one more pair of lengths");
}

#[test]
fn the_memory_of_subscriptions_is_counted_and_bounded() {
    let limit = 1024 * 1024;
    let mut server = Server::start(Config {
        max_connections: 8,
        max_subscription_bytes: usize::try_from(limit).unwrap(),
        ..config()
    });
    let topic = |who: &str, n: usize| format!("{who}:{n}:{}", "x".repeat(1000));
    let (greedy, greedy_id) = server.connect();
    let Subscribed::Accepted(many) = server.engine.subscribe(greedy_id, &names(10_000, |n| topic("greedy", n)), None)
    else {
        panic!("a known connection")
    };
    let held = server.health("subscription_bytes");
    assert!(many > 300 && held >= limit && held < limit + 4096, "{many} topics, {held} bytes");
    assert_eq!(server.metric("wse_subscriptions_refused_total"), 10_000.0 - f64::from(u32::try_from(many).unwrap()));
    assert_eq!(server.engine.subscribe(greedy_id, &["one more".to_owned()], Some("g")), Subscribed::Accepted(0));
    // The others still have their equal part, an eighth each.
    let (fair, fair_id) = server.connect();
    let Subscribed::Accepted(few) = server.engine.subscribe(fair_id, &names(10_000, |n| topic("fair", n)), None) else {
        panic!("a known connection")
    };
    let part = server.health("subscription_bytes") - held;
    assert!(few > 30 && part <= limit / 8 && part > limit / 8 - 4096, "{few} topics, {part} bytes");
    drop((greedy, fair));
    wait_until("all is given back", || server.health("subscription_bytes") == 0);
    // A connection that has gone before its subscriptions reach the shard gives them back too.
    let mut late = Vec::new();
    server.events.collect_until(|events| {
        [greedy_id, fair_id].iter().all(|id| events.contains(&wse_testkit::Event::Disconnect(*id)))
    });
    for _ in 0..8 {
        late.push(server.connect());
    }
    for (peer, id) in late {
        drop(peer);
        server.engine.subscribe(id, &names(50, |n| topic("late", n)), None);
        server.engine.subscribe(id, &names(50, |n| topic("late", n)), Some("g"));
        server.engine.subscribe(id, &names(50, |n| topic("later", n)), None);
    }
    wait_until("all is given back", || server.health("subscription_bytes") == 0 && server.health("topics") == 0);
}

#[test]
fn exact_names_may_be_as_long_as_names_may_be() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    let long = "x".repeat(65_535);
    let wanted = [long.clone(), format!("{long}x"), format!("{}*", "y".repeat(1024)), format!("{}*", "y".repeat(1023))];
    assert_eq!(server.engine.subscribe(id, &wanted, None), Subscribed::Accepted(2));
    server.engine.broadcast(&long, "long");
    assert_eq!(peer.text(), "long");
}

/// 100 connections with 1,024 patterns each that begin with a wildcard subscribe, hang up, and are never in each other's way:
/// walks through what the others hold would be 10^10 steps.
#[test]
fn very_many_patterns_come_and_go() {
    let mut server = Server::start(Config { shards: 1, ..config() });
    let mut peers = Vec::new();
    let started = Instant::now();
    for who in 0..100 {
        let (peer, id) = server.connect();
        let own = names(1024, |n| format!("*:{who}:{n}"));
        assert_eq!(server.engine.subscribe(id, &own, None), Subscribed::Accepted(1024));
        peers.push(peer);
    }
    for n in 0..200 {
        server.engine.broadcast(&format!("nobody:{n}"), "x");
    }
    wait_until("all is applied", || server.health("inbox_bytes") == 0);
    assert!(server.metric("wse_match_work_total") < 200.0 * 20.0, "a few lookups each");
    drop(peers);
    wait_until("all are gone", || server.health("topics") == 0);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

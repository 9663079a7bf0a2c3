//! Topics through the whole engine: who receives what, exactly once, in order; and that nothing is left behind.

use std::collections::BTreeSet;

use wse_engine::config::Config;
use wse_engine::{ConnId, Pressure, Subscribed};
use wse_testkit::{Event, Peer, Server, config, wait_until};

fn names(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

/// Every text the peer has got by now.
fn texts(server: &Server, peer: &mut Peer, id: ConnId) -> Vec<String> {
    server.engine.send(id, "\u{4}").expect("a connection");
    let mut texts = Vec::new();
    loop {
        match peer.text() {
            end if end == "\u{4}" => return texts,
            text => texts.push(text),
        }
    }
}

#[test]
fn exact_and_pattern_subscribers_get_it_once() {
    let mut server = Server::plain();
    let (mut greedy, greedy_id) = server.connect();
    let (mut exact, exact_id) = server.connect();
    let (mut glob, glob_id) = server.connect();
    let (mut nobody, nobody_id) = server.connect();
    server.subscribe(greedy_id, &["news", "news", "n*", "?ews", "*", "news*"]);
    server.subscribe(exact_id, &["news"]);
    server.subscribe(glob_id, &["n?w?", "*:x:*"]);
    wait_until("patterns are not counted, repetitions are given back", || server.engine.topic_subscribers("news") == 2);
    for topic in ["news", "newt", "a:x:b", "NEWS", "new", ""] {
        assert_ne!(server.engine.broadcast(topic, topic), Pressure::Refused);
    }
    assert_eq!(texts(&server, &mut greedy, greedy_id), ["news", "newt", "a:x:b", "NEWS", "new", ""]);
    assert_eq!(texts(&server, &mut exact, exact_id), ["news"]);
    assert_eq!(texts(&server, &mut glob, glob_id), ["news", "newt", "a:x:b"]);
    assert_eq!(texts(&server, &mut nobody, nobody_id), [""; 0]);
    server.engine.unsubscribe(greedy_id, Some(&names(&["*", "n*", "unknown"])));
    server.engine.unsubscribe(exact_id, None);
    server.engine.broadcast("news", "again");
    server.engine.broadcast("newt", "newt");
    assert_eq!(texts(&server, &mut greedy, greedy_id), ["again"]);
    assert_eq!(texts(&server, &mut exact, exact_id), [""; 0]);
    server.engine.broadcast_all("all");
    assert_eq!(texts(&server, &mut nobody, nobody_id), ["all"]);
}

#[test]
fn the_category_is_added_to_broadcasts_and_to_nothing_else() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["t"]);
    server.engine.broadcast("t", r#"{"t":"error","p":1}"#);
    server.engine.broadcast_all(r#"{"t":"x_snapshot"}"#);
    server.engine.send(id, r#"{"t":"error"}"#);
    server.engine.send_bytes(id, br#"{"t":"error"}"#);
    server.engine.broadcast_all_bytes(br#"{"t":"error"}"#);
    assert_eq!(peer.text(), r#"{"c":"WSE","t":"error","p":1}"#);
    assert_eq!(peer.text(), r#"{"c":"S","t":"x_snapshot"}"#);
    assert_eq!(peer.text(), r#"{"t":"error"}"#);
    assert_eq!((peer.binary(), peer.binary()), (br#"{"t":"error"}"#.to_vec(), br#"{"t":"error"}"#.to_vec()));
}

#[test]
fn names_that_are_no_topics_are_left_out() {
    let mut server = Server::plain();
    let (_peer, id) = server.connect();
    let topics = ["ok", "tab\t", "\u{0}", &"x".repeat(70_000), "é ok", "__proto__"].map(String::from);
    assert_eq!(server.engine.subscribe(id, &topics, None), Subscribed::Accepted(3));
    assert_eq!(server.engine.subscribe(id, &names(&["g*", "bad\n"]), Some("g")), Subscribed::Accepted(0));
    assert_eq!(server.engine.subscribe(ConnId::from_u64(12345), &topics, None), Subscribed::UnknownConnection);
}

#[test]
fn the_acl_is_asked_at_subscribe_and_at_delivery() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    let (mut free, free_id) = server.connect();
    server.subscribe(free_id, &["secret", "user:1", "user:2"]);
    assert_eq!(server.engine.set_topic_acl(id, &names(&["*"]), &names(&["secret"])), Ok(true));
    assert_eq!(server.engine.subscribe(id, &names(&["secret", "s*", "user:1"]), None), Subscribed::Accepted(2));
    let publish = |server: &Server| {
        for topic in ["secret", "stuff", "user:1", "user:2"] {
            server.engine.broadcast(topic, topic);
        }
    };
    publish(&server);
    assert_eq!(texts(&server, &mut peer, id), ["stuff", "user:1"], "the pattern does not reach what is denied");
    assert_eq!(server.metric("wse_acl_denied_total"), 1.0);
    // Existing subscriptions stay but deliver only what the new ACL allows.
    assert_eq!(server.engine.set_topic_acl(id, &names(&["user:2"]), &[]), Ok(true));
    assert_eq!(server.engine.subscribe(id, &names(&["user:1", "user:2"]), None), Subscribed::Accepted(1));
    publish(&server);
    assert_eq!(texts(&server, &mut peer, id), ["user:2"]);
    // And come back with it.
    assert_eq!(server.engine.set_topic_acl(id, &[], &[]), Ok(true));
    publish(&server);
    assert_eq!(texts(&server, &mut peer, id), ["secret", "stuff", "user:1", "user:2"]);
    assert_eq!(texts(&server, &mut free, free_id).len(), 9, "others are not concerned");
    assert_eq!(server.engine.set_topic_acl(ConnId::from_u64(99), &[], &[]), Ok(false));
    assert!(server.engine.set_topic_acl(id, &names(&["a"; 2000]), &[]).is_err());
    // A queue group asks as well.
    assert_eq!(server.engine.set_topic_acl(id, &names(&["jobs"]), &[]), Ok(true));
    assert_eq!(server.engine.subscribe(id, &names(&["jobs", "other"]), Some("g")), Subscribed::Accepted(1));
}

#[test]
fn each_queue_group_gets_one_copy_across_shards() {
    let mut server = Server::start(Config { shards: 4, ..config() });
    let mut members: Vec<(Peer, ConnId)> = (0..8).map(|_| server.connect()).collect();
    for (index, (_, id)) in members.iter().enumerate() {
        let group = if index < 6 { "a" } else { "b" };
        assert_eq!(server.engine.subscribe(*id, &names(&["jobs"]), Some(group)), Subscribed::Accepted(1));
        assert_eq!(server.engine.subscribe(*id, &names(&["jobs"]), Some(group)), Subscribed::Accepted(1), "once more");
    }
    // One is a direct subscriber too: it gets its copy beside the group's.
    server.subscribe(members[0].1, &["jobs"]);
    let mut groups = server.engine.queue_groups("jobs");
    groups.sort();
    assert_eq!(groups, [("a".into(), 6), ("b".into(), 2)]);
    assert_eq!(server.engine.topic_subscribers("jobs"), 1);
    for n in 0..600 {
        server.engine.broadcast("jobs", &n.to_string());
    }
    let got: Vec<Vec<u32>> = members
        .iter_mut()
        .map(|(peer, id)| texts(&server, peer, *id).iter().map(|text| text.parse().unwrap()).collect())
        .collect();
    let all: Vec<u32> = (0..600).collect();
    for (from, to, direct) in [(0, 6, 1), (6, 8, 0)] {
        let mut work: Vec<u32> = got[from..to].concat();
        work.sort_unstable();
        let expected: Vec<u32> = all.iter().flat_map(|n| vec![*n; 1 + direct]).collect();
        assert_eq!(work, expected, "each exactly once per group");
    }
    assert!(got[1..6].iter().all(|work| work.len() == 100 && work.is_sorted()), "in turn, in order");
    // A member that leaves is not picked again.
    drop(members.remove(1));
    wait_until("the group has noticed", || server.engine.queue_groups("jobs").contains(&("a".into(), 5)));
    server.engine.unsubscribe(members[6].1, Some(&names(&["jobs"])));
    server.engine.unsubscribe(members[5].1, None);
    assert_eq!(server.engine.queue_groups("jobs"), [("a".into(), 5)]);
    for n in 0..100 {
        server.engine.broadcast("jobs", &n.to_string());
    }
    let mut work: Vec<String> = Vec::new();
    for (peer, id) in &mut members[1..5] {
        work.extend(texts(&server, peer, *id));
    }
    assert_eq!(work.len(), 80);
}

#[test]
fn a_group_skips_members_that_are_behind() {
    let mut server = Server::start(Config { max_outbound_bytes: 256 * 1024, shards: 1, ..config() });
    let _stuck = Peer::open_narrow(server.address, 4096).upgraded(&Default::default());
    let stuck = server.events.connected();
    let (mut working, id) = server.connect();
    for id in [stuck, id] {
        server.engine.subscribe(id, &names(&["jobs"]), Some("g"));
    }
    let filler = "x".repeat(10_000);
    wait_until("it is congested", || {
        server.engine.send(stuck, &filler);
        server.health("congested_connections") == 1
    });
    for n in 0..50 {
        server.engine.broadcast("jobs", &n.to_string());
    }
    assert_eq!(texts(&server, &mut working, id).len(), 50);
}

#[test]
fn order_holds_per_publisher_across_sends_and_broadcasts() {
    let mut server = Server::plain();
    let mut peers: Vec<(Peer, ConnId)> = (0..3).map(|_| server.connect()).collect();
    for (_, id) in &peers {
        server.subscribe(*id, &["a", "b*"]);
    }
    let total = 3000;
    for n in 0..total {
        let text = n.to_string();
        match n % 5 {
            0 => assert_ne!(server.engine.broadcast_all(&text), Pressure::Refused),
            1 => peers.iter().for_each(|(_, id)| assert!(server.engine.send(*id, &text).is_some())),
            2 => assert_ne!(server.engine.broadcast("b1", &text), Pressure::Refused),
            _ => assert_ne!(server.engine.broadcast("a", &text), Pressure::Refused),
        }
    }
    let expected: Vec<String> = (0..total).map(|n: u32| n.to_string()).collect();
    for (peer, id) in &mut peers {
        assert_eq!(texts(&server, peer, *id), expected);
    }
    // Counted once they are written.
    wait_until("all are counted", || server.health("messages_sent") == 3 * u64::from(total) + 3);
}

#[test]
fn order_holds_for_each_of_several_publishers() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["t"]);
    let engine = &server.engine;
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            scope.spawn(move || {
                for n in 0..1000 {
                    engine.broadcast("t", &format!("{publisher} {n}"));
                }
            });
        }
    });
    let mut next = [0; 4];
    for text in texts(&server, &mut peer, id) {
        let (publisher, n) = text.split_once(' ').unwrap();
        let place: &mut u32 = &mut next[publisher.parse::<usize>().unwrap()];
        assert_eq!(n, place.to_string());
        *place += 1;
    }
    assert_eq!(next, [1000; 4]);
}

#[test]
fn a_budget_of_subscriptions_holds() {
    let mut server = Server::start(Config { max_subscriptions: 3, ..config() });
    let (mut peer, id) = server.connect();
    assert_eq!(server.engine.subscribe(id, &names(&["a", "b", "c", "d"]), None), Subscribed::Accepted(3));
    assert_eq!(server.engine.subscribe(id, &names(&["d"]), None), Subscribed::NoBudget);
    assert_eq!(server.engine.subscribe(id, &names(&["d"]), Some("g")), Subscribed::NoBudget);
    server.engine.unsubscribe(id, Some(&names(&["b"])));
    texts(&server, &mut peer, id);
    assert_eq!(server.engine.subscribe(id, &names(&["d", "e"]), Some("g")), Subscribed::Accepted(1));
    assert_eq!(server.engine.subscribe(id, &names(&["e"]), None), Subscribed::NoBudget);
    server.engine.unsubscribe(id, None);
    texts(&server, &mut peer, id);
    assert_eq!(server.engine.subscribe(id, &names(&["a", "a", "a"]), None), Subscribed::Accepted(3));
    texts(&server, &mut peer, id);
    assert_eq!(
        server.engine.subscribe(id, &names(&["b", "c"]), None),
        Subscribed::Accepted(2),
        "repetitions cost nothing"
    );
}

#[test]
fn a_disconnect_leaves_nothing_behind() {
    let mut server = Server::plain();
    let mut peers = Vec::new();
    for n in 0..20 {
        let (peer, id) = server.connect();
        server.subscribe(id, &["shared", &format!("own:{n}"), "p*", &format!("own:{n}:*")]);
        server.engine.subscribe(id, &names(&["shared", "jobs"]), Some("g"));
        peers.push((peer, id));
    }
    wait_until("all are there", || server.engine.topic_subscribers("shared") == 20);
    assert_eq!(server.health("topics"), 20 + 20 + 3);
    let ids: BTreeSet<u64> = server.engine.connections().into_iter().collect();
    assert_eq!(ids, peers.iter().map(|(_, id)| id.as_u64()).collect());
    let stale: Vec<ConnId> = peers.drain(..).map(|(_, id)| id).collect();
    wait_until("nothing is left", || server.health("topics") == 0 && server.engine.connection_count() == 0);
    assert_eq!(server.engine.topic_subscribers("shared"), 0);
    assert!(server.engine.queue_groups("jobs").is_empty());
    let events = server.events.collect_until(|events| events.len() == 20);
    assert!(events.iter().all(|event| matches!(event, Event::Disconnect(_))));
    // Their slots are used again; their ids find nobody.
    let mut next: Vec<(Peer, ConnId)> = (0..20).map(|_| server.connect()).collect();
    let slot = |id: ConnId| id.as_u64() & ((1 << 27) - 1);
    let reused: BTreeSet<u64> = stale.iter().map(|id| slot(*id)).collect();
    assert!(next.iter().all(|(_, id)| reused.contains(&slot(*id)) && !stale.contains(id)));
    for id in stale {
        assert_eq!(server.engine.send(id, "x"), None);
        assert_eq!(server.engine.subscribe(id, &names(&["shared"]), None), Subscribed::UnknownConnection);
        assert!(!server.engine.unsubscribe(id, None));
        assert!(!server.engine.disconnect(id, wse_protocol::close_code::CloseCode(4300), ""));
        assert_eq!(server.engine.connection_uuid(id), None);
    }
    server.engine.broadcast("shared", "x");
    for (peer, id) in &mut next {
        assert_eq!(texts(&server, peer, *id), [""; 0]);
    }
}

#[test]
fn subscribing_and_unsubscribing_fast_ends_with_the_last_word() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    let churn = names(&["a", "b*"]);
    for n in 0..2000 {
        server.engine.subscribe(id, &churn, None);
        server.engine.broadcast("a", &n.to_string());
        server.engine.unsubscribe(id, Some(&churn));
        server.engine.broadcast("a", "unheard");
    }
    let expected: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    assert_eq!(texts(&server, &mut peer, id), expected);
    assert_eq!(server.health("topics"), 0);
}

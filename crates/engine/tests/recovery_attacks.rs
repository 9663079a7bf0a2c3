//! Recovery under attack: rights that end while a request waits, requests of those who have gone, an engine that stops, memory that
//! nobody gives back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use wse_engine::config::{Config, Recovery, RingPolicy};
use wse_engine::{ConnId, Outcome, Position, Settle, Unsettled};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Peer, Server, config, recovery, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn with(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), ..config() }
}

type Told = Receiver<Result<Outcome, Unsettled>>;

fn ask(server: &Server, id: ConnId, topics: &[(&str, Option<Position>)]) -> Told {
    let (tell, told) = channel();
    let topics: Vec<_> = topics.iter().map(|(name, from)| ((*name).to_owned(), *from)).collect();
    server.engine.subscribe_with_recovery(id, &topics, Settle::new(move |outcome| drop(tell.send(outcome))));
    told
}

fn await_outcome(told: &Told) -> Outcome {
    told.recv_timeout(PATIENCE).unwrap().unwrap()
}

/// Publishes `count` of about a kilobyte, and tells where the topic was before.
fn fill(server: &Server, topic: &str, count: usize) -> Position {
    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat(1000));
    for _ in 0..count {
        server.engine.broadcast(topic, &text);
    }
    Position { offset: 0, ..server.engine.topic_position(topic).unwrap() }
}

#[test]
fn who_may_no_longer_have_a_topic_when_its_turn_comes_gets_nothing_of_it() {
    let mut server = Server::start(with(Recovery { replay_rate: 100_000, ..recovery() }));
    let (mut peer, id) = server.connect();
    let start = fill(&server, "secret", 100);
    let open = fill(&server, "open", 100);
    // Uses up what may be replayed, and more.
    let (_other, other) = server.connect();
    await_outcome(&ask(&server, other, &[("open", Some(open))]));
    await_outcome(&ask(&server, other, &[("open", Some(open))]));
    let waiting = ask(&server, id, &[("secret", Some(start))]);
    server.engine.set_topic_acl(id, &["*".into()], &["secret".into()]).unwrap();
    let outcome = await_outcome(&waiting);
    assert!(!outcome.recovered(), "{outcome:?}");
    server.engine.send(id, r#"{"t":"mark"}"#);
    assert_eq!(peer.json()["t"], "mark", "nothing came before it");
}

#[test]
fn requests_of_those_who_have_gone_use_up_nothing() {
    let mut server = Server::start(with(Recovery { replay_rate: 100_000, ..recovery() }));
    let start = fill(&server, "a", 100);
    let (_first, first) = server.connect();
    await_outcome(&ask(&server, first, &[("a", Some(start))]));
    let gone: Vec<(Peer, Told)> = (0..100)
        .map(|_| {
            let (peer, id) = server.connect();
            let told = ask(&server, id, &[("a", Some(start))]);
            (peer, told)
        })
        .collect();
    let told: Vec<Told> = gone.into_iter().map(|(_, told)| told).collect();
    let began = Instant::now();
    for told in told {
        // One or two may have had their turn.
        let _ = told.recv_timeout(PATIENCE).unwrap();
    }
    let (_peer, id) = server.connect_again();
    assert!(await_outcome(&ask(&server, id, &[("a", Some(start))])).recovered());
    assert!(began.elapsed() < Duration::from_secs(10), "100 of the dead would take 100 seconds: {:?}", began.elapsed());
}

trait ConnectAgain {
    /// Connects while others leave.
    fn connect_again(&mut self) -> (Peer, ConnId);
}

impl ConnectAgain for Server {
    fn connect_again(&mut self) -> (Peer, ConnId) {
        let peer = Peer::connect(self.address);
        loop {
            if let wse_testkit::Event::Connect(id, _) = self.events.event() {
                return (peer, id);
            }
        }
    }
}

#[test]
fn whoever_asks_while_the_engine_stops_is_told() {
    for round in 0..20 {
        let mut server = Server::start(with(recovery()));
        fill(&server, "a", 10);
        let peers: Vec<_> = (0..4).map(|_| server.connect()).collect();
        let over = Arc::new(AtomicBool::new(false));
        let askers: Vec<_> = peers
            .iter()
            .map(|(_, id)| {
                let (engine, id, over) = (Arc::clone(&server.engine), *id, Arc::clone(&over));
                std::thread::spawn(move || {
                    let mut asked = Vec::new();
                    while !over.load(Relaxed) && asked.len() < 20_000 {
                        let (tell, told) = channel();
                        let settle = Settle::new(move |outcome| drop(tell.send(outcome)));
                        engine.subscribe_with_recovery(id, &[("a".to_owned(), None)], settle);
                        asked.push(told);
                    }
                    asked
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(round % 5));
        server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        over.store(true, Relaxed);
        for asker in askers {
            for (index, told) in asker.join().unwrap().into_iter().enumerate() {
                assert!(told.recv_timeout(PATIENCE).is_ok(), "round {round}, request {index} is never told");
            }
        }
    }
}

#[test]
fn memory_of_topics_nobody_subscribes_to_is_not_that_of_subscriptions() {
    let limit = 200_000;
    let mut server =
        Server::start(Config { max_subscription_bytes: limit, max_connections: 10_000, ..with(recovery()) });
    let rooms = |server: &mut Server, house: usize| {
        let (peer, id) = server.connect();
        let names: Vec<String> = (0..1000).map(|n| format!("house:{house}:{n}")).collect();
        let topics: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let rooms = await_outcome(&ask(server, id, &topics)).topics.len();
        drop(peer);
        server.events.disconnected(id);
        wait_until("nobody is subscribed", || server.engine.topic_subscribers(&names[0]) == 0);
        rooms
    };
    let first = rooms(&mut server, 1);
    assert!((100..1000).contains(&first), "{first}");
    assert_eq!(rooms(&mut server, 2), first, "as many as if nobody had been there before");
    assert_eq!(server.health("subscription_bytes"), 0);
    // Who comes back takes them over, and gives them back.
    assert_eq!(rooms(&mut server, 1), first);
    assert_eq!(server.health("subscription_bytes"), 0);
}

#[test]
fn what_all_rings_take_adds_up_to_nothing_when_they_are_gone() {
    let ttl = Some(Duration::from_millis(30));
    let mut server =
        Server::start(with(Recovery { ring: Some(RingPolicy { size: 8, ttl }), memory_budget: 60_000, ..recovery() }));
    let peers: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let until = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        for seed in 0..2_u64 {
            let engine = &server.engine;
            scope.spawn(move || {
                let mut n = seed;
                while Instant::now() < until {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat((n >> 40) as usize % 2000));
                    engine.broadcast(&format!("t{}", (n >> 33) % 64), &text);
                }
            });
        }
        for (_, id) in &peers {
            let engine = &server.engine;
            scope.spawn(move || {
                let mut n = id.as_u64();
                while Instant::now() < until {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let name = format!("t{}", (n >> 33) % 64);
                    let from =
                        engine.topic_position(&name).map(|at| Position { offset: at.offset.saturating_sub(3), ..at });
                    engine.subscribe_with_recovery(*id, &[(name.clone(), from)], Settle::new(|_| ()));
                    if n >> 63 == 0 {
                        engine.unsubscribe(*id, Some(&[name]));
                    }
                }
            });
        }
    });
    assert!(server.counter("wse_recovery_evicted_total") > 0);
    for (_, id) in &peers {
        server.engine.unsubscribe(*id, None);
    }
    drop(peers);
    wait_until("all is given back", || {
        ["recovery_topic_count", "recovery_total_bytes", "recovery_idle_bytes", "topics"]
            .map(|name| server.health(name))
            == [0; 4]
    });
    wait_until("subscriptions, too", || server.health("subscription_bytes") == 0);
    assert!(server.health("recovery_waiting") == 0);
}

#[test]
fn where_nobody_knows_stamps_nothing_is_kept() {
    let raw = Config {
        endpoints: vec![wse_engine::config::Endpoint { raw: true, ..Default::default() }],
        ..with(recovery())
    };
    let server = Server::start(raw);
    for n in 0..100 {
        server.engine.broadcast(&format!("t{n}"), "{}");
    }
    assert_eq!(["topics", "recovery_total_bytes"].map(|name| server.health(name)), [0; 2]);
}

#[test]
fn who_ends_a_subscription_that_waits_has_none() {
    let mut server = Server::start(with(Recovery { replay_rate: 100_000, ..recovery() }));
    let (mut peer, id) = server.connect();
    let start = fill(&server, "a", 110);
    let (_other, other) = server.connect();
    await_outcome(&ask(&server, other, &[("a", Some(start))]));
    let waiting = ask(&server, id, &[("a", Some(start))]);
    server.engine.unsubscribe(id, Some(&["a".to_owned()]));
    let _ = waiting.recv_timeout(PATIENCE).unwrap();
    server.engine.broadcast("a", r#"{"t":"later"}"#);
    server.engine.send(id, r#"{"t":"mark"}"#);
    loop {
        let message = peer.json();
        assert_ne!(message["t"], "later", "it has left before");
        if message["t"] == "mark" {
            break;
        }
    }
}

#[test]
fn a_topic_that_is_named_twice_has_one_outcome() {
    let mut server = Server::start(with(recovery()));
    let (_peer, id) = server.connect();
    let start = fill(&server, "a", 5);
    let outcome = await_outcome(&ask(&server, id, &[("a", None), ("a", Some(start)), ("a", None)]));
    assert!(outcome.recovered() && outcome.topics.len() == 1, "{outcome:?}");
}

/// Names of a client's own making, subscribed to and left: they must not push out what others have published.
#[test]
fn who_subscribes_to_everything_erases_nothing_that_was_published() {
    let mut server = Server::start(with(Recovery { memory_budget: 1 << 20, ..recovery() }));
    for n in 0..100 {
        server.engine.broadcast("real", &format!(r#"{{"n":{n}}}"#));
    }
    let before = server.engine.topic_position("real").unwrap();
    let (_peer, id) = server.connect();
    for thousand in 0..20 {
        let names: Vec<_> = (0..1000).map(|n| (format!("made-up:{thousand}:{n}"), None)).collect();
        let (tell, told) = channel();
        server.engine.subscribe_with_recovery(id, &names, Settle::new(move |outcome| tell.send(outcome).unwrap()));
        told.recv_timeout(PATIENCE).unwrap().unwrap();
        server.engine.unsubscribe(id, None);
        server.engine.broadcast("other", "{}");
    }
    let from = Position { offset: 0, ..before };
    let (tell, told) = channel();
    server.engine.subscribe_with_recovery(
        id,
        &[("real".to_owned(), Some(from))],
        Settle::new(move |outcome| tell.send(outcome).unwrap()),
    );
    let outcome = told.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((outcome.recovered(), outcome.topics[0].1.count), (true, 100));
    assert!(server.health("recovery_topic_count") > 100, "others have had their share");
    let idle = server.health("recovery_idle_bytes");
    assert!((400_000..600_000).contains(&idle), "half of the budget: {idle}");
}

//! How presence ends: the grace, the end of the engine, and many connections at once.

use super::*;

#[test]
fn who_comes_back_within_the_grace_neither_leaves_nor_joins() {
    let grace = Duration::from_secs(3);
    let mut server = Server::start(with(Presence { grace, ..limits() }));
    let (mut watcher, id) = connect(&mut server, "watcher");
    server.subscribe(id, &[ROOM]);
    let (peer, id) = connect(&mut server, "ada");
    enter(&server, id, &[ROOM], &json!({ "n": 1 }));
    assert_eq!(watcher.json(), frame("presence_join", ROOM, "ada", &json!({ "n": 1 })));
    drop(peer);
    let waiting = |server: &Server| server.health("presence_waiting");
    wait_until("she has her grace", || waiting(&server) == 1);
    assert_eq!(members(&server, ROOM), [("ada".into(), (json!({ "n": 1 }), 0))].into());
    let (peer, id) = connect(&mut server, "ada");
    enter(&server, id, &[ROOM], &json!({ "n": 1 }));
    assert_eq!(waiting(&server), 0);
    drop(peer);
    wait_until("and once more", || waiting(&server) == 1);
    let (peer, id) = connect(&mut server, "ada");
    enter(&server, id, &[ROOM], &json!({ "n": 2 }));
    assert_eq!(watcher.json(), frame("presence_update", ROOM, "ada", &json!({ "n": 2 })), "other data are told");
    let began = Instant::now();
    drop(peer);
    assert_eq!(watcher.json(), frame("presence_leave", ROOM, "ada", &json!({ "n": 2 })));
    assert!(began.elapsed() >= grace, "{:?}", began.elapsed());
    // Who unsubscribes leaves at once.
    let (_peer, id) = connect(&mut server, "ada");
    enter(&server, id, &[ROOM], &json!({}));
    server.engine.unsubscribe(id, None);
    assert_eq!(server.health("presence_total_users"), 0);
    // The shard without a connection still looks at the time.
    enter(&server, id, &["other"], &json!({}));
    drop((_peer, watcher));
    nobody(&server);
}

#[test]
fn stopping_leaves_nobody_behind() {
    for grace in [Duration::ZERO, Duration::from_secs(600)] {
        let mut server = Server::start(with(Presence { grace, ..limits() }));
        let (_first, one) = connect(&mut server, "ada");
        let (second, two) = connect(&mut server, "bob");
        enter(&server, one, &["a", "b"], &json!({}));
        enter(&server, two, &["a", "b"], &json!({}));
        drop(second);
        server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        assert_empty(&server);
        assert_eq!(heard(&mut server, 8).len(), 8, "everybody has left");
    }
}

/// Topics [`crash`] spreads its clients over: of ten thousand on a single one each would be told of ten thousand before they go.
const ROOMS: usize = 30;

/// Clients who are all gone at once; how long it takes until nothing is left of them.
fn crash(server: &mut Server, count: usize) -> Duration {
    let (peers, ids): (Vec<Peer>, Vec<ConnId>) = (0..count).map(|n| connect(server, &format!("user {n}"))).unzip();
    for (n, id) in ids.iter().enumerate() {
        enter(server, *id, &[&format!("room {}", n % ROOMS)], &json!({ "n": n }));
    }
    assert_eq!(server.health("presence_total_users"), u64::try_from(count).unwrap());
    // All joins are told: only what follows is measured.
    wait_until("nothing waits", || server.health("inbox_bytes") == 0);
    let began = Instant::now();
    peers.iter().for_each(Peer::reset_on_drop);
    drop(peers);
    let engine = &server.engine;
    let is_left = |gauge: &str| engine.health()[gauge] != 0;
    while engine.connection_count() > 0 || is_left("presence_total_users") || is_left("topics") {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", engine.health());
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    assert_empty(server);
    server.events.drain();
    took
}

/// Files this process may have open.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

#[test]
fn many_abrupt_disconnects_leave_nobody_and_take_no_square_of_their_time() {
    // Two files for each. Ten thousand and more in all, where the limit of open files allows it.
    let many = ((open_files() - 500) / 2).min(9000);
    let few = many / 10;
    let limit =
        Config { max_connections: many, max_pending: many, max_pending_per_address: many, shards: 1, ..with(limits()) };
    let mut server = Server::start(limit);
    crash(&mut server, few);
    // Less than a few ticks is no measure.
    let few_took = crash(&mut server, few).max(Duration::from_millis(400));
    let many_took = crash(&mut server, many);
    assert!(many_took < few_took * 50, "{few}: {few_took:?}, {many}: {many_took:?}");
}

#[test]
fn those_who_go_together_are_not_told_of_each_other() {
    const COUNT: usize = 400;
    let engine = Arc::new(Engine::new(Config { shards: 1, ..with(limits()) }));
    let mut events = Events::join(&engine);
    let mut inline = engine.start_inline(engine.bind().unwrap()).unwrap();
    let address = inline.address().unwrap();
    let clients = std::thread::spawn(move || {
        let connect = |n| Peer::connect_with(address, &request(&format!("user {n}")));
        (0..COUNT).map(connect).collect::<Vec<Peer>>()
    });
    let mut connected = 0;
    while connected < COUNT {
        inline.step(true);
        for event in events.drain() {
            if let Event::AuthConnect(id, _) = event {
                engine.subscribe_present(id, &[ROOM.into()], Some("{}"));
                connected += 1;
            }
        }
    }
    let peers = clients.join().unwrap();
    let sent = |engine: &Engine| {
        let text = engine.prometheus();
        let line = text.lines().find_map(|line| line.strip_prefix("wse_messages_sent_total ")).unwrap();
        line.parse::<usize>().unwrap()
    };
    while inline.step(true) == Step::More || inline.has_work() {}
    let before = sent(&engine);
    // The engine hears of it when all of them are gone.
    peers.iter().for_each(Peer::reset_on_drop);
    drop(peers);
    let mut turns = 0;
    while engine.health()["presence_total_users"] != 0 {
        inline.step(true);
        turns += 1;
        if !inline.has_work() {
            inline.wait(Duration::from_millis(10));
        }
    }
    assert!(turns > 1 && engine.connection_count() == 0);
    let told = sent(&engine) - before;
    assert!(told < COUNT * COUNT / 4, "{told} frames to those who were about to go, of {}", COUNT * COUNT);
    // The host has heard of each of them all the same.
    let left = events.drain().into_iter().filter(|event| matches!(event, Event::PresenceLeave(_))).count();
    assert_eq!(left, COUNT);
}

/// Its subscription comes behind the new token, its presence was there before.
#[test]
fn who_gets_a_token_without_the_topic_while_it_subscribes_is_not_present_there() {
    let engine = Arc::new(Engine::new(Config { shards: 1, ..with(limits()) }));
    let mut events = Events::join(&engine);
    let mut inline = engine.start_inline(engine.bind().unwrap()).unwrap();
    let address = inline.address().unwrap();
    let client = std::thread::spawn(move || Peer::connect_with(address, &request("ada")));
    let id = loop {
        inline.step(true);
        if let Some(Event::AuthConnect(id, _)) = events.drain().pop() {
            break id;
        }
    };
    let _peer = client.join().unwrap();
    let narrow = token("ada", json!({ "wse_topics": { "deny": [ROOM] } }));
    engine.refresh_token(id, &narrow, |refreshed| assert!(refreshed.is_ok()));
    assert_eq!(engine.subscribe_present(id, &[ROOM.into()], Some("{}")).0, Subscribed::Accepted(1));
    while inline.step(true) == Step::More || inline.has_work() {}
    assert_eq!((engine.topic_subscribers(ROOM), engine.presence(ROOM)), (0, Vec::new()));
}

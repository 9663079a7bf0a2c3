//! Who is present already and says it once more: other data are told, the same are not.

use super::*;

fn n(n: u8) -> Value {
    json!({ "n": n })
}

fn update(to: u8) -> Value {
    frame("presence_update", ROOM, "ada", &n(to))
}

#[test]
fn other_data_of_who_is_present_are_told_and_the_same_are_not() {
    let mut server = Server::start(with(Presence { max_data: 32, ..limits() }));
    let (mut watcher, id) = connect(&mut server, "watcher");
    server.subscribe(id, &[ROOM]);
    let (mut ada, one) = connect(&mut server, "ada");
    enter(&server, one, &[ROOM], &n(1));
    assert_eq!(enter(&server, one, &[ROOM], &n(1)), on(1), "nothing is told");
    let other = enter(&server, one, &[ROOM, "new"], &n(2));
    let bytes = enter_bytes(ROOM, "ada", r#"{"n":2}"#) + enter_bytes("new", "ada", r#"{"n":2}"#);
    assert_eq!(other, Present { bytes, ..on(2) });
    assert_eq!(members(&server, ROOM), [("ada".into(), (n(2), 1))].into());
    // Too large: those of before stay.
    let large = enter(&server, one, &[ROOM], &json!({ "x": "y".repeat(40) }));
    assert_eq!((large.refused, large.why), (1, Some(PresenceRefused::TooLarge)));
    // The teller hears it as all others do.
    assert_eq!(ada.json(), frame("presence_join", ROOM, "ada", &n(1)));
    assert_eq!(ada.json(), update(2));
    assert_eq!(ada.json(), frame("presence_join", "new", "ada", &n(2)));
    // By whichever connection: the newer data count, and all see those that count.
    let (second, two) = connect(&mut server, "ada");
    assert_eq!(enter(&server, two, &[ROOM], &n(2)), on(1));
    assert_eq!(told(enter(&server, two, &[ROOM], &n(3))), on(1));
    assert_eq!(told(enter(&server, one, &[ROOM], &n(4))), on(1));
    let (_third, three) = connect(&mut server, "ada");
    assert_eq!(told(enter(&server, three, &[ROOM], &n(5))), on(1));
    assert_eq!(members(&server, ROOM), [("ada".into(), (n(5), 3))].into());
    drop(second);
    server.engine.unsubscribe(one, None);
    server.engine.unsubscribe(three, None);
    let heard: Vec<Value> = (0..6).map(|_| watcher.json()).collect();
    let (join, leave) = (frame("presence_join", ROOM, "ada", &n(1)), frame("presence_leave", ROOM, "ada", &n(5)));
    assert_eq!(heard, [join, update(2), update(3), update(4), update(5), leave]);
    assert_eq!(server.counter("wse_presence_updates_total"), 4);
    server.engine.unsubscribe(id, None);
    nobody(&server);
}

#[test]
fn clients_that_subscribe_again_are_answered_and_then_all_are_told() {
    let mut server = Server::start(Config {
        subscriptions: Subscriptions::Acl,
        recovery: Some(wse_testkit::recovery()),
        ..with(Presence { max_data: 64, ..limits() })
    });
    let (mut watcher, id) = connect(&mut server, "watcher");
    server.subscribe(id, &[ROOM]);
    let (mut ada, id) = connect(&mut server, "ada");
    let mut positions = json!({});
    let mut say = |presence: &Value, recover: bool| {
        let mut p = json!({ "action": "subscribe", "topics": [ROOM], "presence": presence });
        if recover {
            p["recover"] = json!(true);
            p["recovery"] = positions.clone();
        }
        ada.send_text(&json!({ "t": "subscription_update", "p": p }).to_string());
        let mut types = Vec::new();
        loop {
            let message = ada.json();
            match message["t"].as_str().unwrap() {
                "end" => return types,
                kind => types.push(kind.to_owned()),
            }
            // What is told of it waits by then.
            if message["t"] == "subscription_update" {
                positions = message["p"]["recovery"].clone();
                assert_eq!(message["p"]["recovered"], recover);
                server.engine.send(id, r#"{"t":"end"}"#);
            }
        }
    };
    assert_eq!(say(&n(1), false), ["subscription_update", "presence_join"]);
    for recover in [false, true] {
        let data = n(2 + u8::from(recover));
        assert_eq!(say(&data, recover), ["subscription_update", "presence_update"]);
        assert_eq!(say(&data, recover), ["subscription_update"]);
    }
    for refused in [json!({ "x": "y".repeat(100) }), json!("text"), json!(null)] {
        assert_eq!(say(&refused, false), ["subscription_update"]);
    }
    // Who may not be there tells nobody anything.
    server.engine.set_topic_acl(id, &[], &[ROOM.to_owned()]).unwrap();
    assert_eq!(say(&n(9), false), ["subscription_update"]);
    server.engine.broadcast(ROOM, r#"{"t":"end"}"#);
    let heard: Vec<Value> = (0..5).map(|_| watcher.json()).collect();
    let (join, leave) = (frame("presence_join", ROOM, "ada", &n(1)), frame("presence_leave", ROOM, "ada", &n(3)));
    assert_eq!(heard[..4], [join, update(2), update(3), leave]);
    assert_eq!(heard[4]["t"], "end", "and nothing else");
}

/// It subscribes again before the engine has seen that its former connection is gone.
#[test]
fn who_comes_back_before_it_was_missed_is_seen_with_its_new_data() {
    let mut server = Server::start(with(limits()));
    let (mut watcher, id) = connect(&mut server, "watcher");
    server.subscribe(id, &[ROOM]);
    let (former, one) = connect(&mut server, "ada");
    enter(&server, one, &[ROOM], &n(1));
    let (_ada, two) = connect(&mut server, "ada");
    enter(&server, two, &[ROOM], &n(2));
    drop(former);
    wait_until("one connection is left", || server.engine.presence_stats(ROOM) == (1, 1));
    assert_eq!([watcher.json(), watcher.json()], [frame("presence_join", ROOM, "ada", &n(1)), update(2)]);
}

#[test]
fn what_there_is_no_room_for_changes_nothing() {
    let limited = Config { shards: 1, high_water_mark: 1000, hard_limit: 2000, ..with(limits()) };
    let engine = Arc::new(Engine::new(limited));
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
    let enter = |data: &str| engine.subscribe_present(id, &[ROOM.into()], Some(data)).1;
    assert_eq!(told(enter(r#"{"n":1}"#)), on(1));
    while inline.step(true) == Step::More || inline.has_work() {}
    engine.broadcast(ROOM, &json!({ "t": "x", "p": "y".repeat(1900) }).to_string());
    let refused = Present { refused: 1, why: Some(PresenceRefused::Overloaded), ..Present::default() };
    assert_eq!(enter(r#"{"n":2}"#), refused);
    assert_eq!(enter(r#"{"n":1}"#), on(1), "nothing is to be told");
    assert_eq!(&*engine.presence(ROOM)[0].data, r#"{"n":1}"#);
    while inline.step(true) == Step::More || inline.has_work() {}
    assert_eq!(told(enter(r#"{"n":2}"#)), on(1));
    assert_eq!(&*engine.presence(ROOM)[0].data, r#"{"n":2}"#);
}

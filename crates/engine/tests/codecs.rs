//! Encodings at the edge: what `send_event` puts on the wire, what inbound frames become, and the `acl` mode of
//! subscriptions.

use serde_json::{Map, Value, json};
use wse_engine::config::{Config, InboundOverflow, RateLimit, Subscriptions};
use wse_engine::{SendEventOutcome as Sent, Subscribed};
use wse_protocol::codec::{MsgpackLimits, ZLIB_PREFIX, compress, decompress, from_json, to_json};
use wse_protocol::frame::{Opcode, push_masked_frame};
use wse_testkit::{Event, Peer, Request, Server, config, wait_until};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn msgpack_to_value(bytes: &[u8]) -> Value {
    let limits = MsgpackLimits { max_out: 1 << 20, max_depth: 64, max_elements: 100_000 };
    serde_json::from_slice(&to_json(bytes, limits).unwrap()).unwrap()
}

#[test]
fn send_event_completes_the_envelope_and_compresses_above_the_threshold() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    // Only who has said hello knows what to do with bytes.
    peer.send_text(r#"{"t":"client_hello"}"#);
    assert_eq!(peer.json()["t"], "server_hello");
    let Sent::Sent(size) = server.engine.send_event(id, object(json!({"t":"tick","p":{"b":1,"a":2}})), 1024) else {
        panic!("not sent")
    };
    let bytes = peer.binary();
    assert_eq!(bytes.len(), size);
    let event: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&event["c"], &event["v"], &event["seq"]), (&json!("U"), &json!(1), &json!(0)));
    assert!(event["id"].as_str().unwrap().len() == 36 && event["ts"].as_str().unwrap().ends_with('Z'));
    assert_eq!(event.as_object().unwrap().keys().collect::<Vec<_>>(), ["c", "id", "p", "seq", "t", "ts", "v"]);

    let exact = |text: &str| object(json!({"t":"x","p":text,"id":"i","ts":"t","seq":1}));
    let frame = |server: &Server, peer: &mut wse_testkit::Peer, fill: usize, id_suffix: &str, threshold| {
        let mut event = exact(&"x".repeat(fill));
        event["id"] = json!(format!("{id_suffix:0>8}"));
        assert!(matches!(server.engine.send_event(id, event, threshold), Sent::Sent(_)));
        peer.binary()
    };
    let overhead = frame(&server, &mut peer, 0, "a", 0).len();
    assert_eq!(frame(&server, &mut peer, 1024 - overhead, "b", 1024).len(), 1024, "strictly above");
    let compressed = frame(&server, &mut peer, 1025 - overhead, "c", 1024);
    let text = decompress(compressed.strip_prefix(ZLIB_PREFIX).unwrap(), 1 << 20).unwrap();
    assert_eq!(text.len(), 1025);
    assert_eq!(frame(&server, &mut peer, 100_000, "d", 0).len(), 100_000 + overhead, "0 never compresses");
}

#[test]
fn numbers_arrive_with_every_bit() {
    let mut server = Server::plain();
    let (mut text, text_id) = server.connect();
    let (mut packed, packed_id) = server.connect_with(&Request::new("/?format=msgpack"));
    for number in [-2.315_841_784_746_323_1e77, 0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, 5e-324, -0.0, 1.0 / 3.0] {
        // As a host passes it: JSON text.
        let event: Map<String, Value> = serde_json::from_str(&format!("{{\"t\":\"n\",\"p\":{number:?}}}")).unwrap();
        server.engine.send_event(text_id, event.clone(), 0);
        server.engine.send_event(packed_id, event, 0);
        let json = text.text();
        let digits = json.split("\"p\":").nth(1).unwrap().split(',').next().unwrap();
        assert_eq!(digits.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{json}");
        let packed = packed.binary();
        assert!(packed.windows(8).any(|bytes| bytes == number.to_be_bytes()), "{number} is not in {packed:x?}");
    }
}

#[test]
fn events_are_deduplicated_and_limited_per_connection() {
    let limit = RateLimit { capacity: 5.0, refill: 0.0 };
    let mut server = Server::start(Config { rate_limit: limit, ..config() });
    let (mut peer, id) = server.connect();
    let (_other, other) = server.connect();
    let event = |name: &str| object(json!({"t":"e","id":name}));
    assert!(matches!(server.engine.send_event(id, event("1"), 0), Sent::Sent(_)));
    assert_eq!(server.engine.send_event(id, event("1"), 0), Sent::Duplicate);
    assert!(
        matches!(server.engine.send_event(other, event("1"), 0), Sent::Sent(_)),
        "the window is per connection and id"
    );
    for name in ["2", "3", "4", "5"] {
        assert!(matches!(server.engine.send_event(id, event(name), 0), Sent::Sent(_)), "{name}");
    }
    assert_eq!(server.engine.send_event(id, event("6"), 0), Sent::RateLimited);
    assert_eq!(
        server.engine.send_event(id, event("6"), 0),
        Sent::RateLimited,
        "it was not sent, so it is no repetition"
    );
    assert_eq!(server.engine.send_event(wse_engine::ConnId::from_u64(5), event("9"), 0), Sent::UnknownConnection);
    assert_eq!(server.metric("wse_rate_limited_total"), 2.0);
    assert_eq!(server.metric("wse_events_deduplicated_total"), 1.0);
    // The peer hears the error once a second. No warning: below a fifth of five there is no whole token to take.
    server.engine.send(id, "end");
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "end") {
        let text = peer.text();
        // The events themselves are of another category.
        if !text.starts_with(r#"{"c":"U""#) {
            texts.push(text);
        }
    }
    texts.pop();
    assert_eq!(
        texts,
        [
            r#"{"c":"WSE","t":"error","p":{"code":"RATE_LIMITED","message":"Rate limit exceeded","retry_after":1.0},"v":1}"#
        ]
    );
}

#[test]
fn a_msgpack_connection_gets_events_as_msgpack_and_all_else_as_text() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect_with(&Request::new("/wse?x=1&format=msgpack"));
    server.subscribe(id, &["t"]);
    server.engine.send_event(id, object(json!({"t":"e","p":{"text":"y".repeat(5000)}})), 1024);
    let bytes = peer.binary();
    let event = msgpack_to_value(bytes.strip_prefix(b"M:").unwrap());
    assert_eq!((&event["t"], event["p"]["text"].as_str().unwrap().len()), (&json!("e"), 5000));
    server.engine.broadcast("t", r#"{"t":"b"}"#);
    assert_eq!(peer.text(), r#"{"c":"U","t":"b"}"#);
    // Raw and prefixed msgpack both become messages; what is neither stays bytes.
    let message = from_json(&json!({"t":"up","p":{"n":[1,2,{"deep":true}]}}));
    let raw = message.strip_prefix(b"M:").unwrap_or(&message).to_vec();
    for bytes in [raw.clone(), [b"M:", &raw[..]].concat()] {
        peer.send_binary(&bytes);
        assert_eq!(server.events.message(), json!({"t":"up","p":{"n":[1,2,{"deep":true}]}}));
    }
    peer.send_binary(&raw[..raw.len() - 1]);
    assert_eq!(server.events.event(), Event::Binary(id, raw[..raw.len() - 1].to_vec()));
    let ping = from_json(&json!({"t":"ping","p":{"timestamp":5}}));
    peer.send_binary(ping.strip_prefix(b"M:").unwrap_or(&ping));
    assert_eq!(peer.json()["p"]["client_timestamp"], 5, "answered in text");
    assert_eq!(server.events.drain(), []);
}

#[test]
fn inbound_text_is_normalised_or_raw() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    let message = |text: &str| Event::Message(id, text.into());
    let raw = |text: &str| Event::Raw(id, text.into());
    for (sent, heard) in [
        (r#"{"t":"x","p":1}"#, message(r#"{"t":"x","p":1}"#)),
        (r#"WSE{"t":"x"}"#, message(r#"{"t":"x"}"#)),
        (r#"S{"type":"x"}"#, message(r#"{"t":"x"}"#)),
        (r#"{"type":"x","payload":{"type":1}}"#, message(r#"{"t":"x","p":{"type":1}}"#)),
        (r#"{"__proto__":{"a":1},"t":"x"}"#, message(r#"{"__proto__":{"a":1},"t":"x"}"#)),
        (r#"{"t":["array","for","a","name"]}"#, message(r#"{"t":["array","for","a","name"]}"#)),
        ("[1]", raw("[1]")),
        ("hello", raw("hello")),
        ("", raw("")),
        (r#"{"t":}"#, raw(r#"{"t":}"#)),
        (r#"U{"t":"#, raw(r#"U{"t":"#)),
        (r#"{"t":"x"} {}"#, raw(r#"{"t":"x"} {}"#)),
    ] {
        peer.send_text(sent);
        assert_eq!(server.events.event(), heard);
    }
    let deep = |levels: usize| format!("{}{}{}", "{\"a\":".repeat(levels), 1, "}".repeat(levels));
    peer.send_text(&deep(64));
    assert_eq!(server.events.event(), Event::Message(id, deep(64)));
    peer.send_text(&deep(65));
    assert_eq!(server.events.event(), Event::Raw(id, deep(65)));
}

#[test]
fn bombs_stay_bytes_and_cost_no_more_than_the_limit() {
    let mut server = Server::start(Config { max_message_size: 64 * 1024, ..config() });
    let (mut peer, id) = server.connect();
    let compressed = compress(br#"{"t":"zipped"}"#);
    peer.send_binary(&compressed);
    assert_eq!(server.events.message(), json!({"t":"zipped"}));
    let bomb = compress(format!("{{\"a\":\"{}\"}}", "0".repeat(20 << 20)).as_bytes());
    assert!(bomb.len() < 64 * 1024 || bomb.len() > 64 * 1024);
    let packs: [&[u8]; 4] = [
        b"M:\xdd\xff\xff\xff\xff",
        &[b"M:".as_slice(), &[0x91; 2000]].concat(),
        b"M:\xdb\xff\xff\xff\xffx",
        b"C:\x78\x9c",
    ];
    for bytes in packs {
        peer.send_binary(bytes);
        assert_eq!(server.events.event(), Event::Binary(id, bytes.to_vec()));
    }
    if bomb.len() <= 64 * 1024 {
        peer.send_binary(&bomb);
        assert_eq!(server.events.event(), Event::Binary(id, bomb));
    } else {
        peer.send_binary(&bomb[..64 * 1024]);
        assert_eq!(server.events.event(), Event::Binary(id, bomb[..64 * 1024].to_vec()));
    }
    peer.send_binary(b"C:");
    assert_eq!(server.events.event(), Event::Binary(id, b"C:".to_vec()));
    // Without the option everything stays bytes.
    let mut plain = Server::start(Config { inbound_codecs: false, ..config() });
    let (mut peer, id) = plain.connect();
    peer.send_binary(&compressed);
    assert_eq!(plain.events.event(), Event::Binary(id, compressed));
}

#[test]
fn the_acl_mode_answers_before_later_frames() {
    let mut server = Server::start(Config { subscriptions: Subscriptions::Acl, max_subscriptions: 3, ..config() });
    let (mut peer, id) = server.connect();
    server.engine.set_topic_acl(id, &[], &["secret*".to_owned()]).unwrap();
    let mut ask = |action: &str, topics: Value| {
        let request = json!({"c":"WSE","t":"subscription_update","p":{"action":action,"topics":topics},"v":1});
        peer.send_text(&request.to_string());
        let reply = peer.json();
        assert_eq!(
            (&reply["c"], &reply["t"], &reply["p"]["action"]),
            (&json!("WSE"), &json!("subscription_update"), &json!(action))
        );
        reply["p"].clone()
    };
    let reply = ask("subscribe", json!(["a", "secret:1", "b*"]));
    assert_eq!(reply["success"], true, "partly refused");
    assert_eq!((&reply["success_topics"], &reply["failed_topics"]), (&json!(["a", "b*"]), &json!(["secret:1"])));
    let reply = ask("subscribe", json!(["c", "d"]));
    assert_eq!((&reply["success_topics"], &reply["failed_topics"]), (&json!(["c"]), &json!(["d"])), "the budget is 3");
    let reply = ask("unsubscribe", json!(["a", "c", "never"]));
    assert_eq!((&reply["success"], &reply["success_topics"]), (&json!(true), &json!(["a", "c", "never"])));
    for nonsense in [json!("a"), json!([1]), json!({"a":1}), json!(null)] {
        assert_eq!(ask("subscribe", nonsense)["success"], false);
    }
    assert_eq!(ask("upgrade", json!(["a"]))["success"], false);
    assert_eq!(server.engine.subscribe(id, &["x".to_owned()], None), Subscribed::Accepted(1));
    server.engine.broadcast("b1", "through the pattern");
    server.engine.broadcast("a", "not any more");
    server.engine.broadcast("x", "end");
    assert_eq!((peer.text(), peer.text()), ("through the pattern".into(), "end".into()));
    // No message of these was the host's: it hears what came of them.
    let changes = |event: &Event| matches!(event, Event::Subscribe(..) | Event::Unsubscribe(..));
    assert_eq!(server.events.drain().iter().filter(|event| !changes(event)).count(), 0);
    // While another thread publishes, no frame of the topic comes before the reply.
    let (mut late, _) = server.connect_anew();
    let engine = &server.engine;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                engine.broadcast("live", "tick");
            }
        });
        late.send_text(r#"{"t":"subscription_update","p":{"action":"subscribe","topics":["live"]}}"#);
        let first = late.text();
        let second = late.text();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(first.contains("success_topics") && second == "tick", "{first} then {second}");
    });
}

/// Frames of some eighty bytes that become 64 KiB each, as one text to send.
fn bombs(count: usize) -> Vec<u8> {
    let text = format!(r#"{{"t":"x","p":"{}"}}"#, "a".repeat((64 << 10) - 20));
    let mut bytes = Vec::new();
    for _ in 0..count {
        push_masked_frame(&mut bytes, true, Opcode::Binary, &compress(text.as_bytes()), [0; 4]);
    }
    bytes
}

#[test]
fn who_sends_what_inflates_leaves_the_others_their_turn() {
    const COUNT: usize = 90;
    let mut server = Server::start(Config { shards: 1, ..config() });
    let (mut bystander, _) = server.connect();
    let (mut attacker, id) = server.connect();
    let bytes = bombs(COUNT);
    assert!(bytes.len() < 60 << 10, "all of it comes in one read: {}", bytes.len());
    // How many were inflated while the bystander waited; more where this thread has to wait for the processor.
    let waited: Vec<u64> = (0..5)
        .map(|_| {
            let before = server.health("messages_received");
            attacker.send_raw(&bytes);
            wait_until("it has begun", || server.health("messages_received") > before);
            bystander.send_text(r#"{"t":"ping"}"#);
            assert!(bystander.text().contains("PONG"));
            let inflated = server.health("messages_received") - before;
            // Nothing is lost for the attacker, and what follows waits its turn.
            attacker.send_text("end");
            for _ in 0..COUNT {
                assert!(matches!(server.events.event(), Event::Message(of, text) if of == id && text.len() > 60_000));
            }
            assert_eq!(server.events.event(), Event::Raw(id, "end".into()));
            assert_eq!(server.health("reassembly_bytes"), 0);
            inflated
        })
        .collect();
    assert!(waited.iter().any(|inflated| *inflated < COUNT as u64 / 2), "{waited:?} of {COUNT} messages each time");
}

#[test]
fn what_is_shed_is_not_inflated_first() {
    let mut server =
        Server::start(Config { shards: 1, max_inbound_events: 1, inbound_overflow: InboundOverflow::Drop, ..config() });
    // The connect of the second is what the host has not read.
    let (mut attacker, _) = server.connect();
    let _second = Peer::connect(server.address);
    wait_until("the host is behind", || server.engine.inbound_queue_depth() == 1);
    attacker.send_raw(&bombs(300));
    wait_until("all are shed", || server.engine.inbound_dropped() == 300);
    assert!(server.metric("wse_decoded_bytes_total") < 300.0 * 16.0 * 1024.0 + 1024.0);
    // What is the engine's own is short, and is answered all the same.
    attacker.send_binary(&compress(br#"{"t":"ping","p":{"timestamp":5}}"#));
    assert!(attacker.text().contains(r#""client_timestamp":5"#));
}

#[test]
fn a_hello_is_answered_with_the_lower_version_and_nonsense_with_1() {
    let mut server = Server::plain();
    let (mut peer, _) = server.connect();
    for (sent, answered) in [
        ("0", 0),
        ("1", 1),
        ("2", 2),
        ("7", 2),
        ("-1", 1),
        ("-9007199254740993", 1),
        ("1.5", 1),
        ("\"2\"", 1),
        ("null", 1),
    ] {
        peer.send_text(&format!(r#"{{"t":"client_hello","p":{{"protocol_version":{sent}}}}}"#));
        assert_eq!(peer.json()["p"]["protocol_version"], answered, "{sent}");
    }
}

//! Clients that know nothing of WSE: every frame of theirs is life, events reach them as text, and on a raw endpoint the engine
//! says and reads nothing but RFC 6455.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wse_engine::config::{Config, Endpoint, RateLimit};
use wse_engine::{ConnId, SendEventOutcome};
use wse_protocol::frame::Opcode;
use wse_testkit::{Event, Frame, Peer, Request, Server, config};

fn raw() -> Endpoint {
    Endpoint { raw: true, ..Endpoint::default() }
}

fn speaking(protocols: &[&str], require_protocol: bool) -> Endpoint {
    Endpoint { protocols: protocols.iter().map(|name| Arc::from(*name)).collect(), require_protocol, ..raw() }
}

fn raw_server() -> Server {
    Server::start(Config { endpoints: vec![raw()], server_ready: true, ..config() })
}

/// Longer than a peer's thread waits for the processor of a busy machine.
const IDLE: Duration = Duration::from_millis(1500);

/// A shard that pings often and soon gives up who is silent.
fn impatient() -> Config {
    Config { ping_interval: Duration::from_millis(150), idle_timeout: IDLE, ..config() }
}

/// Does something with every ping for three idle times; the code it is closed with, if it is.
fn persist(peer: &mut Peer, mut with: impl FnMut(&mut Peer)) -> Option<u16> {
    let until = Instant::now() + 3 * IDLE;
    while Instant::now() < until {
        let frame = peer.frame();
        if frame.opcode == Opcode::Close {
            return frame.close_code();
        }
        with(peer);
    }
    None
}

#[test]
fn every_kind_of_frame_is_life_and_bytes_within_one_are_not() {
    type Way = (&'static str, fn(&mut Peer), Option<u16>);
    let ways: [Way; 7] = [
        ("pings", |peer| peer.send_frame(true, Opcode::Ping, b""), None),
        ("pongs", |peer| peer.send_frame(true, Opcode::Pong, b""), None),
        ("text", |peer| peer.send_text("x"), None),
        ("bytes", |peer| peer.send_binary(b"x"), None),
        ("fragments", |peer| peer.send_frame(false, Opcode::Continuation, b"x"), None),
        ("bytes of a frame", |peer| peer.send_raw(b"x"), Some(4300)),
        ("nothing", |_| {}, Some(4300)),
    ];
    let mut server = Server::start(impatient());
    // All of them before the first says something.
    let peers = ways.map(|way| (server.connect().0, way));
    std::thread::scope(|scope| {
        for (mut peer, (name, way, expected)) in peers {
            scope.spawn(move || {
                match name {
                    "fragments" => peer.send_frame(false, Opcode::Text, b"x"),
                    // The header of a frame of 1000 bytes.
                    "bytes of a frame" => peer.send_raw(&[0x82, 0xFE, 3, 0xE8, 1, 2, 3, 4]),
                    _ => {}
                }
                assert_eq!(persist(&mut peer, way), expected, "{name}");
            });
        }
    });
}

#[test]
fn who_only_answers_pings_as_any_stack_does_stays_and_hears_no_text() {
    let mut server = Server::start(impatient());
    let (mut peer, id) = server.connect();
    let until = Instant::now() + 3 * IDLE;
    let mut pings = 0;
    while Instant::now() < until {
        let frame = peer.frame();
        assert_eq!((frame.opcode, frame.payload.as_slice()), (Opcode::Ping, &b""[..]), "no ping in text");
        peer.send_frame(true, Opcode::Pong, b"");
        pings += 1;
    }
    assert!(pings >= 10, "{pings} pings");
    assert!(server.engine.send(id, "still here").is_some());
}

#[test]
fn text_pings_go_to_whoever_has_said_something_of_wse() {
    let mut server = Server::start(Config { ping_interval: Duration::from_millis(100), ..config() });
    let mut peers = Vec::new();
    for word in [r#"{"t":"client_hello"}"#, r#"{"t":"ping"}"#, r#"{"t":"pong"}"#, "WSE{\"t\":\"PONG\"}"] {
        let (mut peer, _) = server.connect();
        peer.send_text(word);
        let text = std::iter::repeat_with(|| peer.frame())
            .filter(|frame| frame.opcode == Opcode::Text)
            .find(|frame| frame.text().contains(r#""t":"ping""#));
        assert!(text.is_some_and(|frame| frame.text()[..25].contains(r#""t":"ping""#)), "{word}");
        peers.push(peer);
    }
    let (mut packed, _) = server.connect_with(&Request::new("/?format=msgpack"));
    assert!(std::iter::repeat_with(|| packed.frame()).take(8).any(|frame| frame.opcode == Opcode::Text));
}

/// What a `send_event` looks like on the wire.
fn event_frame(server: &Server, id: ConnId, peer: &mut Peer, fill: usize) -> Frame {
    let event = json!({"t":"e","p":"x".repeat(fill)});
    let sent = server.engine.send_event(id, event.as_object().unwrap().clone(), 1024);
    let SendEventOutcome::Sent(size) = sent else { panic!("{sent:?}") };
    let frame = peer.frame();
    assert_eq!(frame.payload.len(), size);
    frame
}

#[test]
fn events_are_text_until_the_client_says_hello() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    for fill in [0, 5000] {
        let frame = event_frame(&server, id, &mut peer, fill);
        assert_eq!(frame.opcode, Opcode::Text);
        let event: Value = serde_json::from_str(frame.text()).unwrap();
        assert_eq!((&event["t"], event["p"].as_str().unwrap().len()), (&json!("e"), fill));
    }
    // To talk is not enough: bytes are for who has said what it is.
    peer.send_text(r#"{"t":"ping"}"#);
    assert_eq!(peer.json()["t"], "PONG");
    assert_eq!(event_frame(&server, id, &mut peer, 0).opcode, Opcode::Text);
    peer.send_text(r#"{"t":"client_hello"}"#);
    assert_eq!(peer.json()["t"], "server_hello");
    assert_eq!(event_frame(&server, id, &mut peer, 0).opcode, Opcode::Binary);
    assert!(event_frame(&server, id, &mut peer, 5000).payload.starts_with(b"C:"));
    let (mut packed, packed_id) = server.connect_with(&Request::new("/?format=msgpack"));
    assert!(event_frame(&server, packed_id, &mut packed, 0).payload.starts_with(b"M:"));
}

#[test]
fn on_a_raw_endpoint_every_message_is_the_hosts_as_it_came() {
    let mut server = raw_server();
    let (mut peer, id) = server.connect_with(&Request::new("/?format=msgpack"));
    let texts = [
        r#"{"t":"ping"}"#,
        r#"{"t":"client_hello"}"#,
        r#"{"t":"PONG"}"#,
        r#"{"type":"x","payload":1}"#,
        r#"WSE{"t":"x"}"#,
        " {}",
        "",
        "\u{0}\u{10FFFF}",
    ];
    // Twice: the shapes of messages are remembered elsewhere.
    for text in texts.iter().chain(&texts) {
        peer.send_text(text);
        assert_eq!(server.events.event(), Event::Raw(id, (*text).to_owned()));
    }
    for bytes in [&b"C:\x78\x9c\x03\x00"[..], b"M:\x81\xa1t\xa1x", br#"{"t":"ping"}"#, b"", &[0xFF; 300]] {
        peer.send_binary(bytes);
        assert_eq!(server.events.event(), Event::Binary(id, bytes.to_vec()));
    }
    // Nothing was answered, and no greeting came.
    peer.expect_silence(Duration::from_millis(100));
}

#[test]
fn a_raw_connection_hears_what_the_host_says_and_nothing_else() {
    let limit = RateLimit { capacity: 2.0, refill: 0.0 };
    let mut server = Server::start(Config { endpoints: vec![raw()], rate_limit: limit, ..config() });
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["t", "g*"]);
    server.engine.subscribe(id, &["group".to_owned()], Some("q"));
    let text = r#"{"t":"error","p":1}"#;
    server.engine.broadcast("t", text);
    server.engine.broadcast_all(text);
    server.engine.broadcast("group", text);
    for _ in 0..4 {
        assert_eq!(peer.text(), text, "once of each, and by pattern and group");
    }
    for _ in 0..4 {
        server.engine.send_event(id, json!({"t":"e"}).as_object().unwrap().clone(), 1);
    }
    server.engine.send(id, "end");
    assert_eq!((peer.json()["t"].clone(), peer.json()["t"].clone()), (json!("e"), json!("e")));
    assert_eq!(peer.text(), "end", "no notice of a rate limit");
    assert_eq!(server.metric("wse_rate_limited_total"), 2.0);
}

#[test]
fn a_path_has_its_own_speech() {
    let at = |path: &str, endpoint: Endpoint| Endpoint { path: Some(path.into()), ..endpoint };
    let endpoints = vec![at("/ws", Endpoint::default()), at("/feed", raw())];
    let mut server = Server::start(Config { endpoints, server_ready: true, ..config() });
    let (mut wse, wse_id) = server.connect_with(&Request::new("/ws?x"));
    let (mut feed, feed_id) = server.connect_with(&Request::new("/feed"));
    assert_eq!(wse.json()["t"], "server_ready");
    let mut other = Peer::open(server.address);
    other.send_raw(&Request::new("/").bytes());
    assert_eq!(other.response().status, 404);
    for peer in [&mut wse, &mut feed] {
        peer.send_text(r#"{"t":"ping"}"#);
    }
    assert_eq!(wse.json()["t"], "PONG");
    assert_eq!(server.events.event(), Event::Raw(feed_id, r#"{"t":"ping"}"#.into()));
    // A publication is framed once: where some speak WSE, everybody gets the category.
    for id in [wse_id, feed_id] {
        server.subscribe(id, &["t"]);
    }
    server.engine.broadcast("t", r#"{"t":"x"}"#);
    for peer in [&mut wse, &mut feed] {
        assert_eq!(peer.text(), r#"{"c":"U","t":"x"}"#);
    }
}

#[test]
fn the_first_subprotocol_offered_that_is_spoken_is_agreed_on() {
    let mut server = Server::start(Config { endpoints: vec![speaking(&["chat.v1", "chat.v2"], false)], ..config() });
    for (offered, agreed) in [
        (&["chat.v2, chat.v1"][..], Some("chat.v2")),
        (&["mqtt,chat.v1"], Some("chat.v1")),
        (&["mqtt", " ,, chat.v2\t"], Some("chat.v2")),
        (&["CHAT.V1"], None),
        (&["chat.v1 chat.v2"], None),
        (&["\"chat.v1\""], None),
        (&[""], None),
        (&[], None),
    ] {
        let request =
            offered.iter().fold(Request::new("/"), |request, value| request.field("Sec-WebSocket-Protocol", value));
        let mut peer = Peer::open(server.address);
        peer.send_raw(&request.bytes());
        let response = peer.response();
        assert_eq!((response.status, response.field("Sec-WebSocket-Protocol")), (101, agreed), "{offered:?}");
        let id = server.events.connected();
        assert_eq!(server.engine.connection_protocol(id).as_deref(), agreed);
        drop(peer);
        assert_eq!(server.events.event(), Event::Disconnect(id));
        assert_eq!(server.engine.connection_protocol(id), None);
    }
}

#[test]
fn without_a_common_subprotocol_a_server_may_refuse() {
    let server = Server::start(Config { endpoints: vec![speaking(&["chat.v1"], true)], ..config() });
    for (offered, status) in [("chat.v1", 101), ("mqtt, chat.v1", 101), ("mqtt", 400), ("", 400)] {
        let mut peer = Peer::open(server.address);
        peer.send_raw(&Request::new("/").field("Sec-WebSocket-Protocol", offered).bytes());
        let response = peer.response();
        assert_eq!(response.status, status, "{offered}");
        assert_eq!(response.body.contains("subprotocols"), status == 400);
    }
    let mut peer = Peer::open(server.address);
    peer.send_raw(&Request::new("/").bytes());
    assert_eq!(peer.response().status, 400);
}

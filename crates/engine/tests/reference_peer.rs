//! The engine beside tokio-tungstenite's client, a second reading of RFC 6455: fragments, pings, close codes, sizes, and an
//! extension that is offered and not taken.

use std::time::Duration;

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use wse_engine::ConnId;
use wse_engine::config::Config;
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Event, ReferencePeer, Server, config};

fn connect(server: &mut Server) -> (ReferencePeer, ConnId) {
    let peer = ReferencePeer::connect(server.address);
    (peer, server.events.connected())
}

/// What the host got, which must be text, sent back.
#[track_caller]
fn echo(server: &mut Server) {
    match server.events.event() {
        Event::Raw(id, text) => drop(server.engine.send(id, &text)),
        other => panic!("not a text: {other:?}"),
    }
}

#[test]
fn fragments_come_back_as_one_message() {
    let mut server = Server::plain();
    let (mut peer, _) = connect(&mut server);
    let text = "é€𝄞 plain ".repeat(200);
    for size in [1, 3, 125, 126, 1000, 65_536] {
        let fragments: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        peer.send_fragments(&fragments);
        echo(&mut server);
        assert_eq!(peer.message(), Message::text(text.as_str()), "{size}");
    }
    peer.send_fragments(&[b"", b"a", b"", b""]);
    echo(&mut server);
    assert_eq!(peer.message(), Message::text("a"));
}

#[test]
fn pings_are_answered_in_order_also_between_fragments() {
    let mut server = Server::plain();
    let (mut peer, id) = connect(&mut server);
    for payload in [&b""[..], b"1", b"\xff\x00", &[b'x'; 125]] {
        peer.send(Message::Ping(Bytes::copy_from_slice(payload)));
        assert_eq!(peer.message(), Message::Pong(Bytes::copy_from_slice(payload)));
    }
    peer.send_fragment(true, false, b"he");
    peer.send(Message::Ping("between".into()));
    assert_eq!(peer.message(), Message::Pong("between".into()));
    peer.send_fragment(false, true, b"y");
    assert_eq!(server.events.event(), Event::Raw(id, "hey".into()));
    // The engine's own ping is a message; the peer need not answer it to stay.
    server.engine.send(id, "after");
    assert_eq!(peer.message(), Message::text("after"));
}

#[test]
fn the_peer_closes_with_a_code_and_gets_it_back() {
    let mut server = Server::plain();
    for code in [1000, 1001, 1003, 1007, 1008, 1011, 3000, 4000, 4999] {
        let (mut peer, id) = connect(&mut server);
        server.engine.send(id, "last words");
        assert_eq!(peer.message(), Message::text("last words"));
        peer.close(code, "bye");
        assert_eq!(peer.closed().map(|(code, _)| code), Some(code));
        assert_eq!(server.events.event(), Event::Disconnect(id), "{code}");
    }
}

#[test]
fn the_server_closes_with_a_code_and_a_reason() {
    let mut server = Server::plain();
    let longest = "é".repeat(61);
    for (code, reason) in [(1000, ""), (1012, "restart"), (4300, longest.as_str()), (4401, "expired")] {
        let (mut peer, id) = connect(&mut server);
        server.engine.send(id, "first");
        assert!(server.engine.disconnect(id, CloseCode(code), reason));
        assert_eq!(peer.message(), Message::text("first"));
        assert_eq!(peer.closed(), Some((code, reason.to_owned())));
        assert_eq!(server.events.event(), Event::Disconnect(id));
    }
    let (mut peer, _) = connect(&mut server);
    server.engine.stop(CloseCode::SERVICE_RESTART, "stopping", Duration::ZERO);
    assert_eq!(peer.closed(), Some((1012, "stopping".into())));
}

#[test]
fn large_messages_pass_whole_in_both_directions_up_to_the_limit() {
    let mut server = Server::plain();
    let (mut peer, id) = connect(&mut server);
    for size in [125, 126, 65_535, 65_536, 1 << 20] {
        let bytes: Vec<u8> = (0..251).cycle().take(size).collect();
        peer.send(Message::binary(bytes.clone()));
        assert_eq!(server.events.event(), Event::Binary(id, bytes.clone()));
        server.engine.send_bytes(id, &bytes);
        assert_eq!(peer.message(), Message::binary(bytes), "{size}");
    }
    let text = "€".repeat(2 << 20);
    server.engine.send(id, &text);
    assert_eq!(peer.message(), Message::text(text));
    peer.send(Message::binary(vec![0; (1 << 20) + 1]));
    assert_eq!(peer.closed().map(|(code, _)| code), Some(1009));
    assert_eq!(server.events.event(), Event::Disconnect(id));
}

#[test]
fn offered_extensions_and_protocols_are_not_taken() {
    let mut server = Server::plain();
    let offers = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let mut peer = ReferencePeer::connect_with(server.address, &offers);
    let id = server.events.connected();
    assert_eq!((peer.field("Sec-WebSocket-Extensions"), peer.field("Sec-WebSocket-Protocol")), (None, None));
    assert_eq!(peer.field("Upgrade"), Some("websocket"));
    // Compressible, and as it is on the wire: tungstenite refuses a frame with a reserved bit.
    let text = "{\"t\":\"x\"}".repeat(1000);
    server.engine.send(id, &text);
    assert_eq!(peer.message(), Message::text(text));
    peer.send(Message::text("plain"));
    assert_eq!(server.events.event(), Event::Raw(id, "plain".into()));
}

#[test]
fn a_flood_of_broadcasts_arrives_in_order_and_valid() {
    let server = &mut Server::start(Config { shards: 1, ..config() });
    let mut peers: Vec<_> = (0..3).map(|_| connect(server)).collect();
    for (_, id) in &peers {
        server.subscribe(*id, &["t"]);
    }
    let texts: Vec<String> =
        (0..2000).map(|at| format!(r#"{{"t":"n","p":{at},"pad":"{}"}}"#, "€".repeat(at % 90))).collect();
    for text in &texts {
        server.engine.broadcast("t", text);
    }
    for (peer, _) in &mut peers {
        for text in &texts {
            assert_eq!(peer.message(), Message::text(format!("{{\"c\":\"U\",{}", &text[1..])));
        }
        peer.idle(Duration::from_millis(50));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_pieces_is_the_same_for_both(text in "\\PC{0,300}", cuts in prop::collection::vec(0..900_usize, 0..6)) {
        let mut server = Server::plain();
        let (mut peer, _) = connect(&mut server);
        // A brace would make it JSON, or a prefix of the protocol, which the host gets in another form.
        let text = text.replace('{', "(");
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let fragments: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        peer.send_fragments(&fragments);
        echo(&mut server);
        prop_assert_eq!(peer.message(), Message::text(text));
    }
}

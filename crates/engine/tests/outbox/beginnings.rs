//! What counts as a message out of an outbox, and what is refused as a malformed one.

use super::*;

#[test]
fn only_what_a_text_frame_begins_with_counts() {
    on_both(config, |mut server| {
        let (mut peer, id) = greeted(&mut server);
        for n in 1..=2 {
            let text = message(STREAM, n);
            let value = serde_json::from_str::<Value>(&text).unwrap();
            for packed in [compress(text.as_bytes()), from_json(&value)] {
                peer.send_binary(&packed);
                assert_eq!(server.events.message(), value, "as it came");
            }
            peer.send_text(&format!("U{text}"));
            assert_eq!(server.events.event(), Event::Message(id, text.clone()));
            peer.send_binary(text.as_bytes());
            assert_eq!(server.events.event(), Event::Binary(id, text.into()));
        }
        assert_eq!(acknowledged(&mut peer, 0), 0);
        peer.send_text(&message(STREAM, 1));
        assert_eq!(peer.text(), ack(STREAM, 1));
        assert_eq!(server.counter("wse_outbox_messages_total"), 1);
    });
}

#[test]
fn who_has_not_asked_has_no_outbox() {
    for (config, asks) in [
        (config(), false),
        (Config { outbox: None, ..config() }, true),
        (Config { discard_inbound: true, ..config() }, true),
    ] {
        let discards = config.discard_inbound;
        let mut server = Server::start(config);
        let (mut peer, id) = if discards {
            (Peer::connect(server.address), None)
        } else {
            let (peer, id) = server.connect();
            (peer, Some(id))
        };
        if asks {
            assert!(!hello(&mut peer));
        } else {
            peer.send_text(r#"{"t":"client_hello","p":{"features":{"outbox":1}}}"#);
            assert!(peer.json()["p"]["features"].get("outbox").is_none());
        }
        // Many, in case their shape is learned: then somebody else's would pass for it.
        for n in 1..=40 {
            peer.send_text(&message(STREAM, 1 + n % 3));
            if let Some(id) = id {
                assert_eq!(server.events.event(), Event::Message(id, message(STREAM, 1 + n % 3)), "as it came");
            }
        }
        if id.is_some() && !asks {
            let (mut other, _) = greeted(&mut server);
            other.send_text(&message(STREAM, 1));
            assert_eq!(other.text(), ack(STREAM, 1));
        }
        // All of it was looked at.
        peer.send_text(r#"{"t":"ping"}"#);
        assert_eq!(peer.json()["t"], "PONG");
        assert_eq!(server.metric("wse_outbox_messages_total"), f64::from(u8::from(id.is_some() && !asks)));
    }
}

#[test]
fn what_is_malformed_is_refused_and_changes_nothing() {
    let mut server = Server::start(config());
    let (mut peer, _) = greeted(&mut server);
    peer.send_text(&message(STREAM, 5));
    assert_eq!(peer.text(), ack(STREAM, 5));
    assert_eq!(server.events.message(), plain(5));
    let long = "x".repeat(65);
    let deep = format!(r#"{{"ob":["{STREAM}",6],"p":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    let bad = [
        r#"{"ob":["stream-1",0],"t":"x"}"#,
        r#"{"ob":["stream-1",-6],"t":"x"}"#,
        r#"{"ob":["stream-1",06],"t":"x"}"#,
        r#"{"ob":["stream-1",6.5],"t":"x"}"#,
        r#"{"ob":["stream-1",6e0],"t":"x"}"#,
        r#"{"ob":["stream-1",9007199254740992],"t":"x"}"#,
        r#"{"ob":["stream-1",18446744073709551617],"t":"x"}"#,
        r#"{"ob":["short",6],"t":"x"}"#,
        r#"{"ob":["stream 1",6],"t":"x"}"#,
        r#"{"ob":["str\u0065am-1",6],"t":"x"}"#,
        r#"{"ob":["stream-ü1",6],"t":"x"}"#,
        r#"{"ob":["stream-1"],"t":"x"}"#,
        r#"{"ob":["stream-1",6,7],"t":"x"}"#,
        r#"{"ob":["stream-1", 6],"t":"x"}"#,
        r#"{"ob":["stream-1",6]}"#,
        r#"{"ob":["stream-1",6],}"#,
        r#"{"ob":["stream-1",6],"t":"x""#,
        r#"{"ob":["stream-1",6],nonsense}"#,
        &format!(r#"{{"ob":["{long}",6],"t":"x"}}"#),
        &deep,
    ];
    for text in bad {
        peer.send_text(text);
        let error = peer.json();
        assert_eq!((&error["c"], &error["t"]), (&json!("WSE"), &json!("error")), "{text}");
        assert_eq!(error["p"]["code"], "MALFORMED_OUTBOX", "{text}");
    }
    assert_eq!(server.counter("wse_outbox_refused_total"), bad.len() as u64);
    peer.send_text(&message(STREAM, 6));
    assert_eq!(peer.text(), ack(STREAM, 6), "no number was taken by any of them");
    assert_eq!(server.events.message(), plain(6));
    // Where `ob` is not first, or not a list, it is the application's.
    for text in [r#"{ "ob":["stream-1",7],"t":"x"}"#, r#"{"t":"x","ob":["stream-1",7]}"#, r#"{"ob":7,"t":"x"}"#] {
        peer.send_text(text);
        assert_eq!(server.events.message(), serde_json::from_str::<Value>(text).unwrap());
    }
}

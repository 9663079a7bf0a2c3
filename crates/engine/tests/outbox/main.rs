//! Messages out of clients' outboxes: each is taken once, whatever is sent again and by whichever connection, and acknowledged once
//! it is where the host finds it (docs/protocol.md §17).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use wse_engine::ConnId;
use wse_engine::config::{Config, InboundOverflow, Outbox};
use wse_protocol::codec::{compress, from_json};
use wse_protocol::frame::{Opcode, push_masked_frame};
use wse_testkit::{Event, Peer, Request, Server, auth, config, is_inline, token, wait_until};

mod beginnings;
mod connections;
mod shedding;
mod streams;

const HELLO: &str = r#"{"c":"WSE","t":"client_hello","p":{"protocol_version":1,"features":{"outbox":true}},"v":1}"#;
const STREAM: &str = "stream-1";

/// Says hello; returns whether it was told that its outbox is taken.
fn hello(peer: &mut Peer) -> bool {
    peer.send_text(HELLO);
    let hello = peer.json();
    assert_eq!(hello["t"], "server_hello");
    hello["p"]["features"]["outbox"] == true
}

fn greeted(server: &mut Server) -> (Peer, ConnId) {
    let (mut peer, id) = server.connect();
    assert!(hello(&mut peer));
    (peer, id)
}

fn message(stream: &str, n: u64) -> String {
    format!(r#"{{"ob":["{stream}",{n}],"t":"x","p":{{"n":{n}}}}}"#)
}

fn plain(n: u64) -> Value {
    json!({ "t": "x", "p": { "n": n } })
}

fn ack(stream: &str, n: u64) -> String {
    format!(r#"{{"c":"WSE","t":"ack","p":{{"stream":"{stream}","n":{n}}}}}"#)
}

/// Reads until everything up to `n` is acknowledged; returns how many frames that took.
fn await_ack(peer: &mut Peer, n: u64) -> usize {
    let mut last = 0;
    for count in 1.. {
        let text = peer.text();
        let got: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&got["t"], &got["p"]["stream"]), (&json!("ack"), &json!(STREAM)), "{text}");
        let at = got["p"]["n"].as_u64().unwrap();
        assert!(at >= last, "acknowledgements do not go back");
        last = at;
        if at == n {
            return count;
        }
    }
    unreachable!()
}

/// Whatever was acknowledged until here; `taken` is the last number before.
fn acknowledged(peer: &mut Peer, mut taken: u64) -> u64 {
    // The first answer may overtake the acknowledgement of its own turn, the second does not.
    for _ in 0..2 {
        peer.send_text(r#"{"t":"ping"}"#);
        loop {
            let got = peer.json();
            if got["t"] == "PONG" {
                break;
            }
            assert_eq!(got["t"], "ack");
            let n = got["p"]["n"].as_u64().unwrap();
            assert!(n >= taken, "{n} after {taken}");
            taken = n;
        }
    }
    taken
}

/// Runs `test` on both drivers.
fn on_both(config: impl Fn() -> Config, test: impl Fn(Server)) {
    test(Server::start(config()));
    test(Server::start_inline(Config { shards: 1, ..config() }));
}

#[test]
fn a_message_comes_without_its_number_and_is_acknowledged() {
    on_both(config, |mut server| {
        let (mut peer, id) = greeted(&mut server);
        // Many, so that their shape is learned.
        for n in 1..=40 {
            peer.send_text(&message(STREAM, n));
            assert_eq!(peer.text(), ack(STREAM, n));
            let text = format!(r#"{{"t":"x","p":{{"n":{n}}}}}"#);
            assert_eq!(server.events.event(), Event::Message(id, text), "as if the member had never been there");
        }
        peer.send_text(&format!(r#"{{"ob":["{STREAM}",41], "payload":1,"type":"y"}}"#));
        assert_eq!(peer.text(), ack(STREAM, 41));
        assert_eq!(server.events.message(), json!({ "t": "y", "p": 1 }), "what else is done to messages is done");
        // What the engine answers itself is taken once, too.
        let ping = format!(r#"{{"ob":["{STREAM}",42],"t":"ping","p":{{"timestamp":7}}}}"#);
        peer.send_text(&ping);
        assert!(peer.text().contains("PONG"));
        assert_eq!(peer.text(), ack(STREAM, 42));
        peer.send_text(&ping);
        assert_eq!(peer.text(), ack(STREAM, 42));
        assert_eq!(server.counter("wse_outbox_messages_total"), 42);
        assert_eq!((server.counter("wse_outbox_repeats_total"), server.metric("wse_outbox_streams")), (1, 1.0));
    });
}

#[test]
fn one_acknowledgement_covers_what_came_together() {
    on_both(config, |mut server| {
        let (mut peer, _) = greeted(&mut server);
        let frames: Vec<u8> = (1..=500).flat_map(|n| frame(&message(STREAM, n))).collect();
        peer.send_raw(&frames);
        let acks = await_ack(&mut peer, 500);
        assert!(acks < 50, "{acks} frames for 500 messages");
        for n in 1..=500 {
            assert_eq!(server.events.message(), plain(n));
        }
    });
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    push_masked_frame(&mut frame, true, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
    frame
}

#[test]
fn what_comes_again_is_refused_and_acknowledged_again() {
    on_both(config, |mut server| {
        let (mut peer, _) = greeted(&mut server);
        for n in [1, 2, 7] {
            peer.send_text(&message(STREAM, n));
            assert_eq!(peer.text(), ack(STREAM, n), "a gap is the client's affair");
            assert_eq!(server.events.message(), plain(n));
        }
        for n in [7, 3, 1, 7] {
            peer.send_text(&message(STREAM, n));
            assert_eq!(peer.text(), ack(STREAM, 7));
        }
        // Not even looked at.
        peer.send_text(&format!(r#"{{"ob":["{STREAM}",5],nonsense"#));
        assert_eq!(peer.text(), ack(STREAM, 7));
        assert_eq!(server.counter("wse_outbox_repeats_total"), 5);
        peer.send_text(&message("stream-2", 1));
        assert_eq!(peer.text(), ack("stream-2", 1));
        assert_eq!(server.events.message(), plain(1));
        assert_eq!(server.events.drain(), []);
    });
}

//! RFC 6455 through the whole engine: each violation and its close code, control frames, both directions of the close
//! handshake, and what a peer that never reads can cost.

use std::time::Duration;

use wse_engine::config::Config;
use wse_protocol::frame::Opcode;
use wse_testkit::{Event, Peer, Server, config, wait_until};

#[test]
fn every_violation_has_its_close_code() {
    let mut server = Server::start(Config { max_message_size: 1000, ..config() });
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("rsv1", masked(0xC1, b"x"), 1002),
        ("rsv2", masked(0xA1, b"x"), 1002),
        ("rsv3", masked(0x91, b"x"), 1002),
        ("opcode 3", masked(0x83, b"x"), 1002),
        ("opcode 15", masked(0x8F, b"x"), 1002),
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("continuation of nothing", masked(0x80, b"x"), 1002),
        ("message in a message", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002),
        ("fragmented ping", masked(0x09, b""), 1002),
        ("long ping", vec![0x89, 0xFE, 0, 126, 0, 0, 0, 0], 1002),
        ("long form of a short length", vec![0x81, 0xFE, 0, 5], 1002),
        ("length of 2^63", vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("declared size", vec![0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0], 1009),
        ("1001 bytes", vec![0x82, 0xFE, 0x03, 0xE9, 0, 0, 0, 0], 1009),
        (
            "joined size",
            [masked(0x02, &[0; 125]), masked(0x00, &[0; 125]).repeat(7), masked(0x80, &[0; 1])].concat(),
            1009,
        ),
        ("text that is not UTF-8", masked(0x81, b"\xC3\x28"), 1007),
        ("UTF-8 cut by the end", [masked(0x01, b"\xE2\x82"), masked(0x80, b"")].concat(), 1007),
        ("close with one byte", masked(0x88, &[3]), 1002),
        ("close 1005", masked(0x88, &[3, 237]), 1002),
        ("close 999", masked(0x88, &[3, 231]), 1002),
        ("close reason not UTF-8", masked(0x88, b"\x03\xE8\xFF"), 1007),
        ("too many fragments", [masked(0x01, b""), masked(0x00, b"").repeat(20_000)].concat(), 1008),
    ];
    let count = cases.len();
    for (name, bytes, code) in cases {
        let (mut peer, id) = server.connect();
        // Fine before: it must reach the host in spite of what follows.
        peer.send_text("before");
        peer.send_raw(&bytes);
        let close = peer.frame();
        assert_eq!(close.close_code(), Some(code), "{name}");
        peer.send_close(code);
        peer.end_sending();
        peer.expect_end();
        assert_eq!(server.events.event(), Event::Raw(id, "before".into()), "{name}");
        assert_eq!(server.events.event(), Event::Disconnect(id), "{name}");
    }
    assert_eq!(server.counter("wse_protocol_errors_total"), count as u64);
    assert_eq!((server.health("reassembly_bytes"), server.engine.connection_count()), (0, 0));
    assert_eq!(server.metric("wse_panics_total"), 0.0);
}

#[test]
fn messages_arrive_whole_however_they_are_cut() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    let text = "é€𝄞".repeat(500);
    for size in [1, 7, 1000, 100_000] {
        let fragments: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        peer.send_fragments(Opcode::Text, &fragments);
        assert_eq!(server.events.event(), Event::Raw(id, text.clone()));
    }
    let big = vec![0xA5; 1 << 20];
    peer.send_binary(&big);
    assert_eq!(server.events.event(), Event::Binary(id, big));
    peer.send_fragments(Opcode::Text, &[b"", b"", b""]);
    assert_eq!(server.events.event(), Event::Raw(id, String::new()));
    assert_eq!(server.health("reassembly_bytes"), 0);
}

#[test]
fn control_frames_pass_between_fragments() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    peer.send_frame(false, Opcode::Text, b"he");
    assert_eq!(peer.frames_until_pong("between"), []);
    peer.send_frame(true, Opcode::Pong, b"unasked");
    peer.send_frame(true, Opcode::Ping, b"");
    peer.send_frame(true, Opcode::Continuation, b"y");
    let pong = peer.frame();
    assert_eq!((pong.opcode, pong.payload), (Opcode::Pong, vec![]));
    assert_eq!(server.events.event(), Event::Raw(id, "hey".into()));
    assert_eq!(peer.frames_until_pong(&"x".repeat(125)), []);
}

#[test]
fn the_peers_close_is_answered_with_its_code_and_reason() {
    let mut server = Server::plain();
    let longest = "é".repeat(61);
    for (code, reason) in [(1000, ""), (1001, "page left"), (3000, "x"), (4999, longest.as_str())] {
        let (mut peer, id) = server.connect();
        let payload = wse_protocol::frame::close_payload(wse_protocol::close_code::CloseCode(code), reason);
        peer.send_frame(true, Opcode::Close, &payload);
        peer.send_text("nothing follows a close");
        let close = peer.frame();
        assert_eq!((close.opcode, close.payload), (Opcode::Close, payload));
        peer.expect_end();
        assert_eq!(server.events.event(), Event::Disconnect(id));
    }
    let (mut peer, id) = server.connect();
    peer.send_frame(true, Opcode::Close, b"");
    let close = peer.frame();
    assert_eq!((close.opcode, close.payload), (Opcode::Close, vec![]), "an empty one with an empty one");
    peer.expect_end();
    assert_eq!(server.events.event(), Event::Disconnect(id));
}

#[test]
fn our_close_waits_for_the_peers_and_then_for_nobody() {
    let mut server = Server::start(Config { close_timeout: Duration::from_millis(300), ..config() });
    let (mut polite, id) = server.connect();
    server.engine.send(id, "last words");
    assert!(server.engine.disconnect(id, wse_protocol::close_code::CloseCode(4300), "kicked"));
    assert_eq!(polite.text(), "last words", "what was queued comes first");
    let close = polite.frame();
    assert_eq!((close.close_code(), &close.payload[2..]), (Some(4300), &b"kicked"[..]));
    polite.send_text("too late to be heard");
    polite.send_close(4300);
    polite.expect_end();
    assert_eq!(server.events.event(), Event::Disconnect(id));
    let (mut rude, id) = server.connect();
    server.engine.disconnect(id, wse_protocol::close_code::CloseCode(4300), "");
    rude.expect_close(4300);
    assert_eq!(server.events.event(), Event::Disconnect(id), "no answer within the close time limit");
    rude.expect_end();
    assert!(!server.engine.disconnect(id, wse_protocol::close_code::CloseCode(4300), ""));
}

#[test]
fn a_ping_flood_from_a_peer_that_never_reads_costs_nothing() {
    let mut server = Server::plain();
    let (mut peer, _) = server.connect();
    let mut flood = Vec::new();
    for n in (0..=u8::MAX).cycle().take(2000) {
        wse_protocol::frame::push_masked_frame(&mut flood, true, Opcode::Ping, &[n; 125], [9, 9, 9, 9]);
    }
    for _ in 0..60 {
        peer.send_raw(&flood);
        assert_eq!(server.health("outbound_bytes"), 0, "pongs are not queued");
    }
    let received = 60 * flood.len() as u64;
    wait_until("all of it is read", || server.health("bytes_received") >= received);
    assert_eq!(server.engine.connection_count(), 1);
    // The latest ping is answered.
    peer.send_frame(true, Opcode::Ping, b"last");
    loop {
        let frame = peer.frame();
        assert_eq!(frame.opcode, Opcode::Pong);
        if frame.payload == b"last" {
            break;
        }
    }
}

#[test]
fn a_json_ping_flood_is_bounded_by_the_outbound_budget() {
    let budget = 64 * 1024;
    let mut server = Server::start(Config { max_outbound_bytes: budget, ..config() });
    let mut peer = Peer::open_narrow(server.address, 4096).upgraded(&Default::default());
    server.events.connected();
    for _ in 0..200 {
        for _ in 0..200 {
            peer.send_text(r#"{"t":"ping"}"#);
        }
        assert!(server.health("outbound_bytes") <= budget as u64);
        if server.health("slow_consumer_drops") > 0 {
            return;
        }
    }
    panic!("40 000 answers fit {budget} bytes and the socket");
}

#[test]
fn control_frames_overtake_a_flood_at_a_frame_boundary() {
    let mut server = Server::plain();
    let mut peer = Peer::open_narrow(server.address, 8192).upgraded(&Default::default());
    let id = server.events.connected();
    server.subscribe(id, &["flood"]);
    let text = "x".repeat(1000);
    let total = 12_000;
    for _ in 0..total {
        server.engine.broadcast("flood", &text);
    }
    wait_until("the socket is full", || server.health("bytes_sent") > 0 && server.health("inbox_bytes") == 0);
    let sent = server.health("bytes_sent");
    wait_until("the ping is read", || {
        if server.health("bytes_received") == 0 {
            peer.send_frame(true, Opcode::Ping, b"mark");
        }
        server.health("bytes_received") > 0
    });
    let mut before = 0;
    peer.widen();
    loop {
        let frame = peer.frame();
        match frame.opcode {
            Opcode::Text => assert_eq!(frame.payload.len(), 1000, "whole frames"),
            Opcode::Pong => break,
            other => panic!("{other:?}"),
        }
        before += 1;
    }
    // What the kernel held already cannot be overtaken; what the engine still held was.
    assert!(before < total && before <= sent / 1000 + 2000, "the pong came after {before} of {total} frames");
    let after = peer.frames_until_pong("end").iter().filter(|frame| frame.opcode == Opcode::Text).count() as u64;
    let mut rest = after;
    while before + rest < total {
        match peer.try_frame() {
            Ok(frame) if frame.opcode == Opcode::Text => rest += 1,
            Ok(_) => {}
            Err(error) => panic!("{error:?} after {} of {total}", before + rest),
        }
    }
    peer.expect_silence(Duration::from_millis(50));
}

#[test]
fn reassembly_is_bounded_per_shard() {
    let mut server = Server::start(Config { max_reassembly_bytes: 256 * 1024, shards: 1, ..config() });
    let (mut first, _) = server.connect();
    let (mut second, _) = server.connect();
    let chunk = vec![0; 100 * 1024];
    first.send_frame(false, Opcode::Binary, &chunk);
    first.send_frame(false, Opcode::Continuation, &chunk);
    wait_until("it is held", || server.health("reassembly_bytes") >= 200 * 1024);
    // Above the budget, but below its fair half of it: who fills the budget does not lock the others out.
    second.send_frame(false, Opcode::Binary, &chunk);
    wait_until("it is held as well", || server.health("reassembly_bytes") >= 300 * 1024);
    second.send_frame(false, Opcode::Continuation, &chunk);
    assert_eq!(second.expect_close(1013), []);
    drop(second);
    wait_until("the second is gone", || server.engine.connection_count() == 1);
    assert!(server.health("reassembly_bytes") <= 256 * 1024);
    first.send_frame(true, Opcode::Continuation, b"");
    wait_until("the first message is whole", || server.health("reassembly_bytes") == 0);
}

#[test]
fn a_close_for_a_violation_is_not_lost_however_much_was_on_its_way() {
    let mut server = Server::plain();
    for _ in 0..5 {
        let (mut peer, id) = server.connect();
        // 24 MiB behind a header that is refused: more than any buffer on the way holds.
        peer.send_raw(&[0x82, 0xFF, 0, 0, 0, 0, 1, 0x80, 0, 0, 1, 2, 3, 4]);
        let chunk = vec![0; 1 << 20];
        for sent in 0..24 {
            assert!(peer.try_send_raw(&chunk).is_ok(), "cut off after {sent} MiB");
        }
        assert_eq!(peer.expect_close(1009), []);
        peer.end_sending();
        peer.expect_end();
        assert_eq!(server.events.event(), Event::Disconnect(id));
    }
}

#[test]
fn a_peer_that_goes_on_sending_after_a_violation_is_cut_off_in_time() {
    let mut server = Server::start(Config { close_timeout: Duration::from_millis(500), ..config() });
    let (mut peer, id) = server.connect();
    peer.send_raw(&[0xFF; 20]);
    peer.expect_close(1002);
    let chunk = vec![0xFF; 64 * 1024];
    let began = std::time::Instant::now();
    while peer.try_send_raw(&chunk).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it may send for ever");
    }
    assert_eq!(server.events.event(), Event::Disconnect(id));
}

#[test]
fn each_ping_has_its_pong_in_order_up_to_the_bound() {
    let mut server = Server::plain();
    let (mut peer, _) = server.connect();
    let pings = |range: std::ops::Range<u32>| {
        let mut bytes = Vec::new();
        for n in range {
            wse_protocol::frame::push_masked_frame(&mut bytes, true, Opcode::Ping, n.to_string().as_bytes(), [9; 4]);
        }
        bytes
    };
    let number = |frame: wse_testkit::Frame| {
        assert_eq!(frame.opcode, Opcode::Pong);
        frame.text().parse::<u32>().unwrap()
    };
    peer.send_raw(&pings(0..32));
    for n in 0..32 {
        assert_eq!(number(peer.frame()), n);
    }
    // More at once than may wait: the latest are answered, in order.
    peer.send_raw(&pings(0..5000));
    let mut last = number(peer.frame());
    let mut count = 1;
    while last != 4999 {
        let next = number(peer.frame());
        assert!(next > last);
        (last, count) = (next, count + 1);
    }
    assert!((32..5000).contains(&count), "{count} pongs");
}

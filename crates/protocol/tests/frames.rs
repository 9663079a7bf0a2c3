//! The frame codec against arbitrary splits of the byte stream, and against every violation by name.

use proptest::prelude::*;
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{
    Decoder, MessageSource, Opcode, Violation, close_payload, frame_end, push_frame, push_masked_frame,
};
use wse_protocol::limits::max_fragments;

mod record;
use record::{Record, Seen};

/// Feeds `stream` in pieces of the given sizes (cycled), as a socket would deliver it.
fn decode(stream: &[u8], pieces: &[usize], max: usize) -> (Vec<Seen>, Option<Violation>) {
    let mut decoder = Decoder::new(max);
    let mut seen = Record::default();
    let mut carry: Vec<u8> = Vec::new();
    let mut rest = stream;
    for size in pieces.iter().copied().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.max(1).min(rest.len()));
        rest = after;
        carry.extend_from_slice(piece);
        match decoder.feed(&mut carry, &mut seen) {
            Ok(used) => drop(carry.drain(..used)),
            Err(violation) => return (seen.0, Some(violation)),
        }
    }
    (seen.0, None)
}

fn client(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_masked_frame(&mut out, fin, opcode, payload, [0x12, 0x34, 0x56, 0x78]);
    out
}

fn code_of(stream: &[u8]) -> u16 {
    decode(stream, &[usize::MAX], 1 << 20).1.expect("a violation").code.0
}

#[test]
fn every_violation_has_its_code() {
    let text = |fin, payload: &[u8]| client(fin, Opcode::Text, payload);
    for rsv in [0x40, 0x20, 0x10] {
        let mut frame = text(true, b"x");
        frame[0] |= rsv;
        assert_eq!(code_of(&frame), 1002, "rsv {rsv:#x}");
        assert_eq!(code_of(&frame[..1]), 1002, "refused by its first byte");
    }
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        let mut frame = text(true, b"x");
        frame[0] = 0x80 | opcode;
        assert_eq!(code_of(&frame), 1002, "opcode {opcode:#x}");
    }
    assert_eq!(code_of(&[0x81, 0x01, b'x']), 1002, "unmasked");
    assert_eq!(code_of(&client(true, Opcode::Continuation, b"x")), 1002, "continuation of nothing");
    assert_eq!(code_of(&[text(false, b"a"), text(true, b"b")].concat()), 1002, "message inside a message");
    assert_eq!(code_of(&client(false, Opcode::Ping, b"")), 1002, "fragmented ping");
    assert_eq!(code_of(&client(true, Opcode::Ping, &[0; 126])), 1002, "long ping");
    assert_eq!(code_of(&[0x81, 0xFE, 0x00, 0x05]), 1002, "16-bit length for 5");
    assert_eq!(code_of(&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), 1002, "64-bit length for 65535");
    assert_eq!(code_of(&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), 1002, "length of 2^63");
    assert_eq!(code_of(&[0x81, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]), 1009, "declared size");
    assert_eq!(code_of(&text(true, b"\xC3\x28")), 1007);
    assert_eq!(code_of(&[text(false, b"\xE2\x82"), client(true, Opcode::Continuation, b"\x28")].concat()), 1007);
    assert_eq!(code_of(&client(true, Opcode::Close, &[3])), 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535] {
        assert_eq!(code_of(&client(true, Opcode::Close, &code.to_be_bytes())), 1002, "close {code}");
    }
    assert_eq!(code_of(&client(true, Opcode::Close, b"\x03\xE8\xFF")), 1007, "close reason");
}

#[test]
fn text_is_refused_at_the_byte_that_cannot_be_utf8() {
    let bad = b"\xCE\xBA\xE1\xBD\xB9\xF4\x90";
    // Within a frame whose end has not come, alone or behind fragments of the same message.
    let whole = client(true, Opcode::Text, &[&bad[..], &[b'x'; 100]].concat());
    let fragments = [
        client(false, Opcode::Text, &bad[..4]),
        client(true, Opcode::Ping, b""),
        client(true, Opcode::Continuation, &[&bad[4..], &[b'x'; 100]].concat()),
    ]
    .concat();
    let at_bad = [whole.len() - 100, fragments.len() - 100];
    for (stream, bad_at) in [whole, fragments].into_iter().zip(at_bad) {
        for cuts in [&[1][..], &[bad_at], &[3, 5]] {
            assert_eq!(decode(&stream[..bad_at - 1], cuts, 1 << 20).1, None);
            assert_eq!(decode(&stream[..bad_at], cuts, 1 << 20).1.map(|v| v.code.0), Some(1007));
        }
    }
    // At the end of a fragment that is not the last, and in no binary message.
    assert_eq!(code_of(&client(false, Opcode::Text, bad)), 1007);
    assert_eq!(decode(&client(false, Opcode::Binary, bad), &[1], 1 << 20), (vec![], None));
    let cut_short = [client(false, Opcode::Text, &bad[..3]), client(true, Opcode::Continuation, b"")].concat();
    assert_eq!(code_of(&cut_short), 1007);
}

/// A text of `count` fragments of one byte each.
fn pieces(count: usize) -> Vec<u8> {
    let mut stream = client(false, Opcode::Text, b"x");
    stream.extend(client(false, Opcode::Continuation, b"x").repeat(count - 2));
    stream.extend(client(true, Opcode::Continuation, b"x"));
    stream
}

#[test]
fn the_number_of_fragments_follows_the_message_limit() {
    for (max, most) in [(16 << 10, 16_384), (1 << 20, 65_536), (4 << 20, 262_144)] {
        assert_eq!(max_fragments(max), most);
        let (seen, violation) = decode(&pieces(most), &[usize::MAX], max);
        assert_eq!((seen, violation), (vec![Seen::Text("x".repeat(most))], None), "{max}");
    }
    assert_eq!((max_fragments(1), max_fragments(usize::MAX)), (16_384, usize::MAX / 16));
    for max in [1 << 20, 4 << 20] {
        let (seen, violation) = decode(&pieces(max_fragments(max) + 1), &[usize::MAX], max);
        assert_eq!((seen, violation.map(|v| v.code.0)), (vec![], Some(1008)), "{max}");
    }
}

#[test]
fn size_limit_counts_the_joined_message() {
    let stream = [client(false, Opcode::Binary, &[1; 60]), client(true, Opcode::Continuation, &[2; 41])].concat();
    let (seen, violation) = decode(&stream, &[7], 100);
    assert_eq!((seen, violation.map(|v| v.code.0)), (vec![], Some(1009)));
    let exact = [client(false, Opcode::Binary, &[1; 60]), client(true, Opcode::Continuation, &[2; 40])].concat();
    assert!(decode(&exact, &[7], 100).1.is_none());
}

#[test]
fn empty_fragments_are_counted() {
    // Or a message would never have to end.
    let mut endless = client(false, Opcode::Binary, b"");
    endless.extend(client(false, Opcode::Continuation, b"").repeat(max_fragments(100)));
    assert_eq!(decode(&endless, &[usize::MAX], 100).1.map(|v| v.code.0), Some(1008));
}

#[test]
fn control_frames_pass_between_fragments_and_nothing_follows_a_close() {
    let stream = [
        client(false, Opcode::Text, b"he"),
        client(true, Opcode::Ping, b"p"),
        client(true, Opcode::Continuation, b"y"),
        client(true, Opcode::Close, &close_payload(CloseCode(4300), "bye")),
        client(true, Opcode::Text, b"late"),
    ]
    .concat();
    for size in 1..stream.len() {
        let (seen, violation) = decode(&stream, &[size], 1 << 20);
        assert_eq!(violation, None);
        assert_eq!(seen, [Seen::Ping(b"p".to_vec()), Seen::Text("hey".into()), Seen::Close(Some(4300), "bye".into())]);
    }
}

#[test]
fn close_reason_is_cut_at_a_character() {
    let payload = close_payload(CloseCode(4300), &"é".repeat(100));
    assert!(payload.len() <= 125 && std::str::from_utf8(&payload[2..]).is_ok());
}

fn message() -> impl Strategy<Value = Seen> {
    prop_oneof![
        ".{0,300}".prop_map(Seen::Text),
        proptest::collection::vec(any::<u8>(), 0..70_000).prop_map(Seen::Binary),
        proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Ping),
        proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Pong),
    ]
}

proptest! {
    /// Whatever the messages, the fragments and the reads, the same messages come out in the same order.
    #[test]
    fn round_trip(messages in proptest::collection::vec((message(), any::<[u8; 4]>(), 1usize..5), 1..12),
                  pieces in proptest::collection::vec(1usize..40_000, 1..8)) {
        let mut stream = Vec::new();
        for (message, key, parts) in &messages {
            let (opcode, data): (_, &[u8]) = match message {
                Seen::Text(text) => (Opcode::Text, text.as_bytes()),
                Seen::Binary(data) => (Opcode::Binary, data),
                Seen::Ping(data) => (Opcode::Ping, data),
                Seen::Pong(data) => (Opcode::Pong, data),
                Seen::Close(..) => unreachable!("not generated"),
            };
            let step = if opcode.is_control() { data.len().max(1) } else { data.len().div_ceil(*parts).max(1) };
            let chunks: Vec<&[u8]> = if data.is_empty() { vec![&[]] } else { data.chunks(step).collect() };
            for (index, chunk) in chunks.iter().enumerate() {
                let opcode = if index == 0 { opcode } else { Opcode::Continuation };
                push_masked_frame(&mut stream, index + 1 == chunks.len(), opcode, chunk, *key);
            }
        }
        let (seen, violation) = decode(&stream, &pieces, 1 << 20);
        prop_assert_eq!(violation, None);
        prop_assert_eq!(seen, messages.into_iter().map(|(message, ..)| message).collect::<Vec<_>>());
    }

    /// Noise never panics, and the verdict does not depend on how the bytes were cut.
    #[test]
    fn noise(stream in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
        let whole = decode(&stream, &[usize::MAX], 4096);
        prop_assert_eq!(decode(&stream, &[piece], 4096), whole);
    }

    /// Frames the encoder wrote are walked boundary by boundary.
    #[test]
    fn boundaries(sizes in proptest::collection::vec(0usize..70_000, 1..6)) {
        let mut frames = Vec::new();
        let mut ends = Vec::new();
        for size in sizes {
            push_frame(&mut frames, Opcode::Binary, &vec![7; size]);
            ends.push(frames.len());
        }
        let mut at = 0;
        for end in ends {
            prop_assert_eq!(frame_end(&frames, at), Some(end));
            prop_assert_eq!(frame_end(&frames[..end - 1], at), None);
            at = end;
        }
    }
}

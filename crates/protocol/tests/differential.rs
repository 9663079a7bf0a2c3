//! Our decoder against tungstenite's: the same bytes, cut anywhere, must give the same messages and the same kind of verdict.
//!
//! Where the two differ on purpose:
//!
//! * a length not in its shortest form: we refuse it (RFC 6455 §5.2 says "MUST"), tungstenite takes it;
//! * a fault that is visible before the whole frame has arrived: we refuse at once, tungstenite when the frame is whole;
//! * two faults in one frame: we name what the header says first, tungstenite may name the size or the text;
//! * more than `max_fragments` fragments: we refuse, tungstenite has no such limit (not generated here);
//! * close code 1014, registered with IANA: we take it, tungstenite answers it with a protocol error.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Decoder, MessageSource, Opcode, Violation, close_payload, push_masked_frame};

mod record;
use record::{Record, Seen};

const MAX_MESSAGE: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Protocol,
    TooBig,
    Text,
}

/// The messages and the violation.
fn ours(stream: &[u8], cuts: &[usize]) -> (Vec<Seen>, Option<Violation>) {
    let (mut decoder, mut seen) = (Decoder::new(MAX_MESSAGE), Record::default());
    let mut carry = Vec::new();
    let mut rest = stream;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*cut).clamp(1, rest.len()));
        rest = after;
        carry.extend_from_slice(piece);
        match decoder.feed(&mut carry, &mut seen) {
            Ok(used) => drop(carry.drain(..used)),
            Err(violation) => return (seen.0, Some(violation)),
        }
    }
    (seen.0, None)
}

/// A stream that gives its bytes in pieces and swallows what is written.
struct Pieces<'a> {
    rest: &'a [u8],
    cuts: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let cut = self.cuts.next().copied().unwrap_or(1).max(1);
        let size = cut.min(into.len()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(size);
        into[..size].copy_from_slice(piece);
        self.rest = rest;
        Ok(size)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(stream: &[u8], cuts: &[usize]) -> (Vec<Seen>, Option<Kind>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(4096);
    let pieces = Pieces { rest: stream, cuts: cuts.iter().cycle() };
    let mut socket = WebSocket::from_raw_socket(pieces, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => seen.push(Seen::Text(text.as_str().into())),
            Ok(Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => seen.push(Seen::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => seen.push(Seen::Pong(bytes.to_vec())),
            Ok(Message::Close(None)) => seen.push(Seen::Close(None, String::new())),
            Ok(Message::Close(Some(frame))) => {
                if u16::from(frame.code) == 1002 && frame.reason.as_str() == "Protocol violation" {
                    return (seen, Some(Kind::Protocol));
                }
                seen.push(Seen::Close(Some(frame.code.into()), frame.reason.as_str().into()));
            }
            Ok(Message::Frame(_)) => unreachable!("never given by read"),
            Err(Error::Capacity(_)) => return (seen, Some(Kind::TooBig)),
            Err(Error::Utf8(_)) => return (seen, Some(Kind::Text)),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return (seen, None);
            }
            Err(Error::Protocol(_)) => return (seen, Some(Kind::Protocol)),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return (seen, None),
            Err(other) => panic!("not expected: {other:?}"),
        }
    }
}

fn kind(violation: Violation) -> Kind {
    match violation.code {
        CloseCode::PROTOCOL_ERROR => Kind::Protocol,
        CloseCode::MESSAGE_TOO_BIG => Kind::TooBig,
        CloseCode::INVALID_PAYLOAD => Kind::Text,
        other => panic!("no violation has {other:?}"),
    }
}

/// What must hold for any bytes at all.
fn compare(stream: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let (our_messages, violation) = ours(stream, cuts);
    let (their_messages, their_kind) = theirs(stream, cuts);
    if our_messages.iter().any(|seen| matches!(seen, Seen::Close(Some(1014), _))) {
        return Ok(());
    }
    let Some(violation) = violation else {
        prop_assert_eq!(their_kind, None, "only they refuse, after {:?}", their_messages);
        prop_assert_eq!(our_messages, their_messages);
        return Ok(());
    };
    if violation.reason == "length not in its shortest form" {
        prop_assert!(their_messages.starts_with(&our_messages));
        return Ok(());
    }
    prop_assert_eq!(&our_messages, &their_messages, "{:?} against {:?}", violation, their_kind);
    let agreed = match (kind(violation), their_kind) {
        (ours, Some(theirs)) => ours == theirs || ours == Kind::Protocol || theirs == Kind::Text,
        // The stream ended before the frame was whole: they would have refused later.
        (_, None) => true,
    };
    prop_assert!(agreed, "{:?} against {:?}", violation, their_kind);
    Ok(())
}

#[derive(Debug, Clone)]
enum Part {
    Message(bool, Vec<u8>, usize),
    Control(Opcode, Vec<u8>),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => (".{0,200}", 1usize..6).prop_map(|(text, pieces)| Part::Message(true, text.into_bytes(), pieces)),
        3 => (proptest::collection::vec(any::<u8>(), 0..1500), 1usize..6)
            .prop_map(|(bytes, pieces)| Part::Message(false, bytes, pieces)),
        1 => (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..=125))
            .prop_map(|(ping, bytes)| Part::Control(if ping { Opcode::Ping } else { Opcode::Pong }, bytes)),
    ]
}

/// The stream of these parts; a control frame stands between the fragments of the message before it.
fn encode(parts: &[Part], close: &Option<(u16, String)>, key: [u8; 4]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Control(opcode, payload) => push_masked_frame(&mut stream, true, *opcode, payload, key),
            Part::Message(text, payload, pieces) => {
                let step = payload.len().div_ceil(*pieces).max(1);
                let chunks: Vec<&[u8]> = if payload.is_empty() { vec![&[]] } else { payload.chunks(step).collect() };
                for (at, chunk) in chunks.iter().enumerate() {
                    let first = if *text { Opcode::Text } else { Opcode::Binary };
                    let opcode = if at == 0 { first } else { Opcode::Continuation };
                    push_masked_frame(&mut stream, at + 1 == chunks.len(), opcode, chunk, key);
                    if at == 0 && chunks.len() > 1 && index % 2 == 0 {
                        push_masked_frame(&mut stream, true, Opcode::Ping, b"between", key);
                    }
                }
            }
        }
    }
    if let Some((code, reason)) = close {
        push_masked_frame(&mut stream, true, Opcode::Close, &close_payload(CloseCode(*code), reason), key);
    }
    stream
}

fn close() -> impl Strategy<Value = Option<(u16, String)>> {
    let code = prop_oneof![4 => 1000u16..1016, 2 => 2990u16..3010, 1 => 4990u16..5010, 1 => any::<u16>()];
    proptest::option::of((code, ".{0,40}"))
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1usize..8, 1usize..3000], 1..6)
}

/// Damage: what to do, where, and with which byte.
type Damage = Vec<(u8, prop::sample::Index, u8)>;

fn damage(stream: &mut Vec<u8>, faults: &Damage) {
    for (what, at, byte) in faults {
        if stream.is_empty() {
            return;
        }
        let at = at.index(stream.len());
        match what % 5 {
            0 => stream[at] = *byte,
            1 => stream[at] ^= 1 << (byte % 8),
            2 => drop(stream.remove(at)),
            3 => stream.insert(at, *byte),
            _ => stream.truncate(at),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn valid_streams(parts in proptest::collection::vec(part(), 0..8), close in close(), key in any::<[u8; 4]>(), cuts in cuts()) {
        let stream = encode(&parts, &close, key);
        compare(&stream, &cuts)?;
        if close.is_none() {
            prop_assert_eq!(ours(&stream, &cuts).1, None);
        }
    }

    #[test]
    fn damaged_streams(parts in proptest::collection::vec(part(), 0..5), close in close(), key in any::<[u8; 4]>(),
                       cuts in cuts(), faults in proptest::collection::vec(any::<(u8, prop::sample::Index, u8)>(), 1..4)) {
        let mut stream = encode(&parts, &close, key);
        damage(&mut stream, &faults);
        compare(&stream, &cuts)?;
    }

    /// Short frames whose headers are anything: all opcodes, bits, lengths.
    #[test]
    fn headers(frames in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 1..4),
               cuts in cuts()) {
        let stream: Vec<u8> = frames.into_iter().flat_map(|(first, second, rest)| [vec![first, second], rest].concat()).collect();
        compare(&stream, &cuts)?;
    }
}

//! The bodies of the fuzz targets as plain functions, so that the short run on stable (`crates/testkit/tests/fuzz_short.rs`)
//! and cargo-fuzz run the same. Each takes any bytes and panics when a promise is broken; none has state.

use serde::de::IgnoredAny;
use wse_protocol::close_code::CloseCode;
use wse_protocol::codec::{
    MSGPACK_AMPLIFICATION, MSGPACK_PREFIX, MsgpackLimits, ZLIB_PREFIX, compress, decompress, decompress_counted,
    from_json, max_inflated, strip_category_prefix, to_json,
};
use wse_protocol::envelope::{Control, find_injection, inject_category};
use wse_protocol::frame::{Decoder, MessageSink, MessageSource, Violation};
use wse_protocol::json::{
    JsonError, MAX_LEAVES, MAX_TEXT, Shape, int_value, member, normalise_aliases, scan_object, string_value,
};

/// What a target is: it takes any bytes and returns.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const TARGETS: [(&str, Target); 6] = [
    ("handshake", handshake),
    ("frames", frames),
    ("envelope", envelope),
    ("shape", shape),
    ("msgpack", msgpack),
    ("zlib", zlib),
];

const MAX_DEPTH: u32 = 64;

/// A request head is upgraded or refused with one of six statuses, and a token is looked for in any header.
pub fn handshake(data: &[u8]) {
    let status = wse_engine::fuzz_request(data);
    assert!(matches!(status, None | Some(400 | 403 | 404 | 426 | 431 | 503)), "{status:?}");
    let token = {
        use wse_crypto::token::{Carrier, TokenSource, extract_token};
        let carrier = Carrier { cookies: data, authorization: Some(data), query: data, subprotocols: data };
        let name = || String::from("access_token");
        let sources =
            [TokenSource::Subprotocol, TokenSource::Query(name()), TokenSource::Cookie(name()), TokenSource::Header];
        extract_token(carrier, &sources)
    };
    let text = std::str::from_utf8(data).is_ok();
    assert!(token.is_none_or(|token| token.len() <= data.len() && (!token.is_empty() || !text)));
}

#[derive(Default, PartialEq, Debug)]
struct Seen(Vec<(u8, Vec<u8>)>);

impl MessageSink for Seen {
    fn text(&mut self, text: &str) {
        self.0.push((1, text.into()));
    }
    fn binary(&mut self, bytes: &[u8]) {
        self.0.push((2, bytes.into()));
    }
    fn ping(&mut self, payload: &[u8]) {
        self.0.push((9, payload.into()));
    }
    fn pong(&mut self, payload: &[u8]) {
        self.0.push((10, payload.into()));
    }
    fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        assert!(code.is_none_or(CloseCode::may_be_sent));
        self.0.push((8, reason.into()));
    }
}

fn decode(stream: &[u8], cut: usize, max: usize) -> (Seen, Option<Violation>) {
    let (mut decoder, mut seen, mut carry) = (Decoder::new(max), Seen::default(), Vec::new());
    for piece in stream.chunks(cut.max(1)) {
        carry.extend_from_slice(piece);
        match decoder.feed(&mut carry, &mut seen) {
            Ok(used) => drop(carry.drain(..used)),
            Err(violation) => return (seen, Some(violation)),
        }
        assert!(decoder.held() <= max, "held more than a message may have");
    }
    (seen, None)
}

/// The first byte says where the rest is cut; cuts change neither messages nor verdict.
pub fn frames(data: &[u8]) {
    const MAX: usize = 4096;
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = decode(stream, stream.len(), MAX);
    assert_eq!(decode(stream, usize::from(*cut), MAX), whole);
    let total: usize = whole.0.0.iter().map(|(_, payload)| payload.len()).sum();
    assert!(total <= stream.len() && whole.0.0.iter().all(|(_, payload)| payload.len() <= MAX));
}

/// The scanner agrees with serde_json; aliases and injection keep a message valid and change nothing else.
pub fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (category, body) = strip_category_prefix(data);
    assert!(category.is_none() || body.first() == Some(&b'{'));
    let injected = inject_category(text);
    match find_injection(text) {
        None => assert_eq!(injected, text),
        Some(injection) => {
            assert!(text.is_char_boundary(injection.at));
            let (head, tail) = text.split_at(injection.at);
            assert_eq!(injected, format!("{head}{}{tail}", injection.text()));
        }
    }
    match scan_object(data, MAX_DEPTH) {
        Ok(scan) => {
            assert!(serde_json::from_slice::<IgnoredAny>(data).is_ok(), "accepted, but it is not JSON");
            for value in [&scan.t, &scan.p, &scan.c, &scan.id].into_iter().flatten() {
                assert!(serde_json::from_slice::<IgnoredAny>(value.raw).is_ok());
                let _ = (int_value(value.raw), string_value(value.raw), member(value.raw, "timestamp"));
            }
            let normalised = normalise_aliases(data, &scan);
            let again = scan_object(&normalised, MAX_DEPTH).expect("still a valid object");
            assert_eq!(normalise_aliases(&normalised, &again), normalised, "once is enough");
            assert!(scan_object(injected.as_bytes(), MAX_DEPTH).is_ok(), "still a valid object");
        }
        Err(JsonError::Syntax { .. }) => {
            assert!(serde_json::from_slice::<IgnoredAny>(data).is_err(), "refused, but it is JSON");
        }
        Err(JsonError::NotAnObject | JsonError::TooDeep) => {}
    }
}

/// What matches a shape the scanner accepts, its leaves are values, and it is not the engine's; what has a shape matches it.
pub fn shape(data: &[u8]) {
    const LEARNED: [&str; 3] = [
        r#"{"c":"U","t":"in","p":{"seq":"","ns":"","pad":""},"v":1}"#,
        "{ \"t\" : \"a\" ,\n\"p\" : { \"n\" : [] } , \"id\" : \"\" }",
        r#"{"a":{"b":0},"list":[],"last":{"k":0}}"#,
    ];
    let Some((choice, text)) = data.split_first() else { return };
    if std::str::from_utf8(text).is_err() {
        return;
    }
    let own = Shape::learn(text, MAX_DEPTH);
    assert!(own.is_none() || scan_object(text, MAX_DEPTH).is_ok(), "learned from what is no message");
    let learned = Shape::learn(LEARNED[usize::from(*choice) % LEARNED.len()].as_bytes(), MAX_DEPTH);
    for (shape, is_own) in [(own, true), (learned, false)] {
        let Some(shape) = shape else { continue };
        let mut cells = [0; MAX_LEAVES];
        let matches = shape.matches(text, MAX_DEPTH, &mut cells);
        let scan = scan_object(text, MAX_DEPTH);
        let control = scan.as_ref().is_ok_and(|scan| scan.t.as_ref().is_some_and(|t| Control::of(t.raw).is_some()));
        assert!(!matches || (scan.is_ok() && !control && text.len() <= MAX_TEXT), "a match is a validation");
        assert!(matches || !is_own || control, "it matches itself");
        for leaf in (0..shape.leaves()).filter(|_| matches) {
            assert!(serde_json::from_slice::<IgnoredAny>(&text[shape.place(leaf, &cells)]).is_ok());
        }
    }
}

/// What is accepted is valid JSON within the limits, and survives a round trip.
pub fn msgpack(data: &[u8]) {
    let limits = MsgpackLimits { max_out: 16 * 1024, max_depth: MAX_DEPTH as usize, max_elements: 2000 };
    let Ok(json) = to_json(data, limits) else { return };
    assert!(json.len() <= limits.max_out && json.len() <= MSGPACK_AMPLIFICATION * data.len());
    let value: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
    let encoded = from_json(&value);
    let bare = encoded.strip_prefix(MSGPACK_PREFIX).expect("the prefix");
    let wide = MsgpackLimits { max_out: 1 << 20, ..limits };
    let again = to_json(bare, wide).expect("what we encode we decode");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&again).expect("valid JSON"), value);
}

/// No output above the cap or the ratio, and a round trip.
pub fn zlib(data: &[u8]) {
    const CAP: usize = 1024 * 1024;
    let limit = max_inflated(data.len(), CAP);
    let (decoded, produced) = decompress_counted(data, CAP);
    assert!(limit <= CAP && produced <= limit + 1, "no more work than the limit");
    assert!(decoded.is_err() || produced <= limit);
    let encoded = compress(data);
    let stream = encoded.strip_prefix(ZLIB_PREFIX).expect("the prefix");
    assert_eq!(decompress(stream, data.len()).as_deref(), Ok(data));
    if !data.is_empty() {
        assert!(decompress(stream, data.len() - 1).is_err(), "one byte over the cap");
    }
}

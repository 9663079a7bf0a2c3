//! The golden vectors in `spec/vectors` (shapes: its README) against this crate.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use wse_protocol::close_code::CloseCode;
use wse_protocol::codec::{
    CodecError, MSGPACK_PREFIX, MsgpackLimits, ZLIB_PREFIX, decompress, from_json, strip_category_prefix, to_json,
};
use wse_protocol::envelope::{
    AuthFailure, Category, Control, EventDefaults, OutboxFailure, Outboxed, PresenceChange, RATE_LIMITED,
    RateLimitWarning, RefreshFailure, SERVER_VERSION, ServerHello, ServerReady, Stamp, Stampable, auth_error,
    auth_expiring, auth_refreshed, build_event, inject_category, iso8601, key_exchange_failed, outbox_ack,
    outbox_error, ping, pong, presence, presence_payload, push_skipped, rate_limit_warning, refresh_error,
    server_hello, server_ready, topics_ended,
};
use wse_protocol::frame::{
    Decoder, MessageSink, MessageSource, Opcode, parse_header, push_close, push_frame, push_header,
};
use wse_protocol::json::{JsonError, int_value, member, normalise_aliases, scan_object, string_value};

const MAX_DEPTH: u32 = 64;

/// Runs `check` on each vector of a file; the name is in the message of whatever fails.
fn for_each_vector(file: &str, check: impl Fn(&str, &Value)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty());
    for vector in &vectors {
        check(text_of(&vector["kind"]), vector);
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}

fn number_of(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn length_of(value: &Value) -> usize {
    usize::try_from(number_of(value)).unwrap()
}

fn flag_of(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| panic!("true or false, not {value}"))
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn envelope() {
    for_each_vector("envelope.json", |kind, vector| {
        let input = &vector["input"];
        let output = match kind {
            "category" => Category::of(text_of(input)).as_str().to_owned(),
            "inject" => inject_category(text_of(input)).into_owned(),
            "aliases" => {
                let text = text_of(input).as_bytes();
                let scan = scan_object(text, MAX_DEPTH).unwrap();
                String::from_utf8(normalise_aliases(text, &scan).into_owned()).unwrap()
            }
            "prefix" => {
                let (category, rest) = strip_category_prefix(text_of(input).as_bytes());
                assert_eq!(category.map(Category::as_str), vector["category"].as_str(), "{}", vector["name"]);
                String::from_utf8(rest.to_vec()).unwrap()
            }
            "iso8601" => iso8601(number_of(input)),
            "server_ready" => server_ready(&ServerReady {
                id: text_of(&input["id"]),
                connection_id: text_of(&input["connection_id"]),
                user_id: input["user_id"].as_str(),
                recovery: flag_of(&input["recovery"]),
                now_ms: number_of(&input["now_ms"]),
            }),
            "server_hello" => server_hello(&ServerHello {
                client_protocol_version: input["client_protocol_version"].as_i64().unwrap(),
                recovery: flag_of(&input["recovery"]),
                cluster: flag_of(&input["cluster"]),
                encryption: flag_of(&input["encryption"]),
                outbox: input["outbox"].as_bool().unwrap_or_default(),
                encryption_public_key: input["encryption_public_key"].as_str(),
                max_message_size: number_of(&input["max_message_size"]),
                rate_limit_capacity: number_of(&input["rate_limit_capacity"]),
                rate_limit_refill: number_of(&input["rate_limit_refill"]),
                ping_interval_ms: number_of(&input["ping_interval_ms"]),
                connection_id: text_of(&input["connection_id"]),
                now_ms: number_of(&input["now_ms"]),
            }),
            "event" => {
                let defaults = EventDefaults {
                    id: text_of(&input["id"]),
                    ts: text_of(&input["ts"]),
                    seq: number_of(&input["seq"]),
                };
                build_event(input["event"].as_object().unwrap().clone(), &defaults)
            }
            other => panic!("unknown kind {other}"),
        };
        let expected = text_of(&vector["output"]).replace("$SERVER_VERSION", SERVER_VERSION);
        assert_eq!(output, expected, "{}", vector["name"]);
    });
}

#[test]
fn messages_out_of_outboxes() {
    for_each_vector("outbox-client.json", |kind, vector| {
        let input = vector["input"].as_str().unwrap_or_default().as_bytes();
        let made = match kind {
            "read" => {
                let read = Outboxed::read(input);
                assert_eq!(read.map(|read| read.stream), vector["stream"].as_str(), "{}", vector["name"]);
                assert_eq!(read.map(|read| read.number), vector["n"].as_u64(), "{}", vector["name"]);
                let message = read.map(|read| String::from_utf8(read.message()).unwrap());
                return assert_eq!(message.as_deref(), vector["message"].as_str(), "{}", vector["name"]);
            }
            "ack" => outbox_ack(text_of(&vector["stream"]), number_of(&vector["n"])),
            "error" => {
                let read = || Outboxed::read(input).unwrap();
                outbox_error(match text_of(&vector["name"]) {
                    "beginning" => OutboxFailure::Beginning,
                    "message" => OutboxFailure::Message(read()),
                    "streams" => OutboxFailure::Streams(read()),
                    other => panic!("unknown failure {other}"),
                })
            }
            "hello" => {
                let scan = scan_object(text_of(&vector["output"]).as_bytes(), MAX_DEPTH).unwrap();
                assert_eq!(scan.t.and_then(|t| Control::of(t.raw)), Some(Control::ClientHello));
                return;
            }
            other => panic!("no kind of this file: {other}"),
        };
        assert_eq!(made, text_of(&vector["output"]), "{}", vector["name"]);
    });
}

/// To the engine they are messages of the application, whatever their type; what they mean is the facade's.
#[test]
fn requests() {
    for_each_vector("requests.json", |_, vector| {
        let text = text_of(&vector["output"]).as_bytes();
        let scan = scan_object(text, MAX_DEPTH).unwrap();
        assert_eq!(scan.t.as_ref().and_then(|t| Control::of(t.raw)), None, "{}", vector["name"]);
        assert_eq!(&*normalise_aliases(text, &scan), text, "{}", vector["name"]);
        let cid = member(text, "cid").and_then(string_value);
        assert_eq!(cid.as_deref(), vector["cid"].as_str(), "{}", vector["name"]);
    });
}

#[test]
fn presence_messages() {
    for_each_vector("presence.json", |kind, vector| {
        let [topic, user, data] = ["topic", "user_id", "data"].map(|name| text_of(&vector[name]));
        let changes = [PresenceChange::Join, PresenceChange::Update, PresenceChange::Leave];
        let change = changes.into_iter().find(|change| change.name() == text_of(&vector["name"])).unwrap();
        let made = match kind {
            "frame" => presence(change, topic, user, data),
            "event" => presence_payload(topic, user, data),
            other => panic!("no kind of this file: {other}"),
        };
        assert_eq!(made, text_of(&vector["output"]), "{}", vector["name"]);
    });
}

#[test]
fn stamps() {
    for_each_vector("recovery.json", |kind, vector| {
        let mut frame = Vec::new();
        let made = match kind {
            "stamp" => {
                let epoch = u32::try_from(number_of(&vector["epoch"])).unwrap();
                let stamp = Stamp::new(text_of(&vector["topic"]), epoch);
                Stampable::of(text_of(&vector["text"]), flag_of(&vector["inject"]))
                    .map(|object| stamp.push_frame(&mut frame, object, number_of(&vector["offset"])))
                    .is_some()
            }
            "skipped" => push_skipped(&mut frame, text_of(&vector["input"]).as_bytes()),
            other => panic!("no kind of this file: {other}"),
        };
        let mut expected = Vec::new();
        if let Some(output) = vector["output"].as_str() {
            push_frame(&mut expected, Opcode::Text, output.as_bytes());
        }
        assert_eq!((made, frame), (!vector["output"].is_null(), expected), "{}", vector["name"]);
    });
}

#[test]
fn heartbeats() {
    for_each_vector("pong.json", |kind, vector| {
        let now_ms = number_of(&vector["now_ms"]);
        let output = match kind {
            "ping" => ping(now_ms),
            "pong" => {
                let scan = scan_object(text_of(&vector["input"]).as_bytes(), MAX_DEPTH).unwrap();
                assert_eq!(Control::of(scan.t.unwrap().raw), Some(Control::Ping));
                let timestamp = scan.p.and_then(|p| member(p.raw, "timestamp")).and_then(int_value);
                pong(timestamp.unwrap_or(0), now_ms)
            }
            other => panic!("unknown kind {other}"),
        };
        assert_eq!(output, text_of(&vector["output"]), "{}", vector["name"]);
    });
}

#[test]
fn errors() {
    for_each_vector("errors.json", |kind, vector| {
        let input = &vector["input"];
        let output = match kind {
            "auth" => {
                let failure = match text_of(&vector["name"]) {
                    "no_token" => AuthFailure::NoToken,
                    "bad_token" => AuthFailure::BadToken,
                    "no_subject" => AuthFailure::NoSubject,
                    other => panic!("unknown failure {other}"),
                };
                auth_error(failure, number_of(&vector["now_ms"]))
            }
            "rate_limited" => RATE_LIMITED.to_owned(),
            "rate_limit_warning" => rate_limit_warning(RateLimitWarning {
                capacity: input["capacity"].as_f64().unwrap(),
                tokens: input["tokens"].as_f64().unwrap(),
            }),
            "key_exchange_failed" => key_exchange_failed(text_of(input)),
            "json" => match scan_object(text_of(input).as_bytes(), MAX_DEPTH) {
                Ok(_) => "ok",
                Err(JsonError::NotAnObject) => "not_an_object",
                Err(JsonError::Syntax { .. }) => "syntax",
                Err(JsonError::TooDeep) => "too_deep",
            }
            .to_owned(),
            other => panic!("unknown kind {other}"),
        };
        assert_eq!(output, text_of(&vector["output"]), "{}", vector["name"]);
    });
}

#[test]
fn tokens() {
    for_each_vector("tokens.json", |kind, vector| {
        let input = &vector["input"];
        let output = match kind {
            "auth_refreshed" => auth_refreshed(input.as_u64()),
            "auth_expiring" => auth_expiring(number_of(&input["expires_at"]), number_of(&input["expires_in"])),
            "refresh_error" => {
                let failure = match text_of(&vector["name"]) {
                    "invalid_token" => RefreshFailure::InvalidToken,
                    "other_user" => RefreshFailure::OtherUser,
                    "busy" => RefreshFailure::Busy,
                    "unavailable" => RefreshFailure::Unavailable,
                    other => panic!("unknown failure {other}"),
                };
                refresh_error(failure, flag_of(&vector["closes"]))
            }
            "topics_ended" => {
                let topics: Vec<&str> = input.as_array().unwrap().iter().map(text_of).collect();
                topics_ended(&topics)
            }
            "auth_refresh" => {
                let scan = scan_object(text_of(input).as_bytes(), MAX_DEPTH).unwrap();
                assert_eq!(Control::of(scan.t.unwrap().raw), Some(Control::AuthRefresh));
                member(scan.p.unwrap().raw, "token").and_then(string_value).unwrap().into_owned()
            }
            other => panic!("unknown kind {other}"),
        };
        assert_eq!(output, text_of(&vector["output"]), "{}", vector["name"]);
    });
}

#[test]
fn codecs() {
    let limits = MsgpackLimits { max_out: 1 << 20, max_depth: 64, max_elements: 100_000 };
    for_each_vector("codec.json", |kind, vector| {
        let name = &vector["name"];
        let decoded = match kind {
            "zlib" => {
                let message = STANDARD.decode(text_of(&vector["base64"])).unwrap();
                decompress(message.strip_prefix(ZLIB_PREFIX).unwrap(), length_of(&vector["max_out"]))
            }
            "msgpack" => {
                let message = from_hex(text_of(&vector["hex"]));
                to_json(message.strip_prefix(MSGPACK_PREFIX).unwrap(), limits)
            }
            "to_msgpack" => {
                assert_eq!(from_json(&vector["input"]), from_hex(text_of(&vector["hex"])), "{name}");
                return;
            }
            other => panic!("unknown kind {other}"),
        };
        match decoded {
            Ok(text) => assert_eq!(std::str::from_utf8(&text), Ok(text_of(&vector["output"])), "{name}"),
            Err(error) => assert_eq!(error_name(error), text_of(&vector["error"]), "{name}"),
        }
    });
}

fn error_name(error: CodecError) -> &'static str {
    match error {
        CodecError::TooLarge => "too_large",
        CodecError::TooDeep => "too_deep",
        CodecError::TooManyElements => "too_many_elements",
        CodecError::Truncated => "truncated",
        CodecError::TrailingData => "trailing_data",
        CodecError::Corrupt => "corrupt",
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn opcode(value: &Value) -> Opcode {
    parse_header(&[0x80 | u8::try_from(number_of(value)).unwrap(), 0]).unwrap().unwrap().opcode
}

/// Messages in the words of the vectors.
#[derive(Default)]
struct Messages(Vec<Value>);

impl MessageSink for Messages {
    fn text(&mut self, text: &str) {
        self.0.push(json!({ "text": text }));
    }
    fn binary(&mut self, bytes: &[u8]) {
        self.0.push(json!({ "binary": to_hex(bytes) }));
    }
    fn ping(&mut self, payload: &[u8]) {
        self.0.push(json!({ "ping": to_hex(payload) }));
    }
    fn pong(&mut self, payload: &[u8]) {
        self.0.push(json!({ "pong": to_hex(payload) }));
    }
    fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.0.push(json!({ "close": code.map(|code| code.0), "reason": reason }));
    }
}

#[test]
fn frames() {
    for_each_vector("frames.json", |kind, vector| {
        let name = &vector["name"];
        let bytes = from_hex(text_of(&vector["hex"]));
        let mut out = Vec::new();
        match kind {
            "decode" => {
                // Whole, and byte by byte.
                for step in [bytes.len().max(1), 1] {
                    let mut decoder = Decoder::new(length_of(&vector["max"]));
                    let (mut messages, mut carry, mut violation) = (Messages::default(), Vec::new(), None);
                    for piece in bytes.chunks(step) {
                        carry.extend_from_slice(piece);
                        match decoder.feed(&mut carry, &mut messages) {
                            Ok(used) => drop(carry.drain(..used)),
                            Err(found) => {
                                violation = Some(u64::from(found.code.0));
                                break;
                            }
                        }
                    }
                    assert_eq!(Value::Array(messages.0), vector["messages"], "{name}");
                    assert_eq!(violation, vector["violation"].as_u64(), "{name}");
                }
                return;
            }
            "encode" => push_frame(&mut out, opcode(&vector["opcode"]), &from_hex(text_of(&vector["payload"]))),
            "header" => push_header(&mut out, opcode(&vector["opcode"]), length_of(&vector["length"])),
            "close" => {
                let code = CloseCode(u16::try_from(number_of(&vector["code"])).unwrap());
                push_close(&mut out, code, text_of(&vector["reason"]));
            }
            other => panic!("unknown kind {other}"),
        }
        assert_eq!(to_hex(&out), to_hex(&bytes), "{name}");
    });
}

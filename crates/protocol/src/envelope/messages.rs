//! The messages the engine composes itself, each from a small input to its exact text.
//!
//! Never decides when one is sent. Key order is part of some of them: server_ready, server_hello and the auth error have
//! alphabetical keys at all depths (`serde_json`'s map sorts; server_ready is written that way); PONG and ping must begin
//! exactly as written here, because clients recognise them by their first 25 characters; the other hand-written ones keep the
//! published order.

use serde_json::{Value, json};

use super::time::iso8601;

/// What `server_hello` announces as `server_version`: the version of this engine.
pub const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The newest protocol version the engine answers with.
const MAX_PROTOCOL_VERSION: i64 = 2;

/// Input of [`server_ready`].
#[derive(Debug, Clone, Copy)]
pub struct ServerReady<'a> {
    /// Id of the message, a UUIDv7; goes in as it is.
    pub id: &'a str,
    /// Id of the connection, a UUIDv7; goes in as it is.
    pub connection_id: &'a str,
    /// Subject of the token; `None` on a server without JWT: then `rust_jwt` is false and `user_id` is left out.
    pub user_id: Option<&'a str>,
    /// Whether the server keeps a recovery buffer.
    pub recovery: bool,
    /// Now, in epoch milliseconds.
    pub now_ms: u64,
}

/// The first frame of each connection. Written by hand because every connect pays for it: as a tree of values it took a tenth of
/// a handshake.
pub fn server_ready(input: &ServerReady<'_>) -> String {
    let ServerReady { id, connection_id, user_id, recovery, now_ms } = *input;
    let now = iso8601(now_ms);
    let user = user_id.map(|user| format!(r#""user_id":{},"#, Value::from(user))).unwrap_or_default();
    [
        r#"{"c":"WSE","id":""#,
        id,
        r#"","p":{"details":{"connection_id":""#,
        connection_id,
        r#"","features":{"batching":true,"circuit_breaker":true,"compression":true,"encryption":false,"priority_queue":true,"recovery":"#,
        literal(recovery),
        r#","rust_jwt":"#,
        literal(user_id.is_some()),
        r#","rust_transport":true},"server_time":""#,
        &now,
        r#"","#,
        &user,
        r#""version":1},"message":"Connection established (Rust transport)"},"seq":1,"t":"server_ready","ts":""#,
        &now,
        r#"","v":1}"#,
    ]
    .concat()
}

/// A truth value as JSON.
const fn literal(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Input of [`server_hello`].
#[derive(Debug, Clone, Copy)]
pub struct ServerHello<'a> {
    /// The client's `p.protocol_version`, 1 when it sent none or no integer. A negative one counts as 1.
    pub client_protocol_version: i64,
    /// Whether the server keeps a recovery buffer.
    pub recovery: bool,
    /// Whether clustering is initialised.
    pub cluster: bool,
    /// Whether this connection's frames are encrypted from here on.
    pub encryption: bool,
    /// Whether this connection's client numbers what it sends out of its outbox; who has not asked for that is told nothing of it.
    pub outbox: bool,
    /// The server's public key, Base64, only in the hello that completes a key exchange.
    pub encryption_public_key: Option<&'a str>,
    /// Largest message in bytes.
    pub max_message_size: u64,
    /// Size of the token bucket.
    pub rate_limit_capacity: u64,
    /// Tokens the bucket gains per second.
    pub rate_limit_refill: u64,
    /// Interval of the server's pings in milliseconds.
    pub ping_interval_ms: u64,
    /// Id of the connection, a UUIDv7.
    pub connection_id: &'a str,
    /// Now, in epoch milliseconds.
    pub now_ms: u64,
}

/// The version to answer a client's with: the lower one of both sides. One below zero is no version at all, which is answered
/// as if there were none.
const fn protocol_version(client: i64) -> i64 {
    match client {
        ..0 => 1,
        0..MAX_PROTOCOL_VERSION => client,
        MAX_PROTOCOL_VERSION.. => MAX_PROTOCOL_VERSION,
    }
}

/// The answer to a `client_hello`.
pub fn server_hello(input: &ServerHello<'_>) -> String {
    let mut payload = json!({
        "server_version": SERVER_VERSION,
        "protocol_version": protocol_version(input.client_protocol_version),
        "features": {
            "compression": true,
            "recovery": input.recovery,
            "cluster": input.cluster,
            "batching": true,
            "priority_queue": true,
            "msgpack": true,
            "encryption": input.encryption,
        },
        "limits": {
            "max_message_size": input.max_message_size,
            "rate_limit_capacity": input.rate_limit_capacity,
            "rate_limit_refill": input.rate_limit_refill,
        },
        "ping_interval": input.ping_interval_ms,
        "connection_id": input.connection_id,
        "server_time": iso8601(input.now_ms),
    });
    if input.outbox {
        payload["features"]["outbox"] = true.into();
    }
    if let Some(key) = input.encryption_public_key {
        payload["encryption_public_key"] = key.into();
    }
    json!({ "c": "WSE", "t": "server_hello", "v": 1, "p": payload }).to_string()
}

/// The answer to a client's `ping`; `client_timestamp` is its `p.timestamp` where that is an integer, else 0.
pub fn pong(client_timestamp: i64, now_ms: u64) -> String {
    // In i128 the difference of any two inputs exists.
    let latency = (i128::from(now_ms) - i128::from(client_timestamp)).max(0);
    format!(
        r#"{{"c":"WSE","t":"PONG","p":{{"client_timestamp":{client_timestamp},"server_timestamp":{now_ms},"latency":{latency}}},"v":1}}"#
    )
}

/// The server's own heartbeat.
pub fn ping(now_ms: u64) -> String {
    format!(r#"{{"c":"WSE","t":"ping","p":{{"server_time":"{}"}}}}"#, iso8601(now_ms))
}

/// The error for an application that sends events to a connection faster than its bucket refills.
pub const RATE_LIMITED: &str = concat!(
    r#"{"c":"WSE","t":"error","p":{"code":"RATE_LIMITED","message":"Rate limit exceeded","retry_after":1.0},"#,
    r#""v":1}"#
);

/// Input of [`rate_limit_warning`].
#[derive(Debug, Clone, Copy)]
pub struct RateLimitWarning {
    /// Size of the token bucket.
    pub capacity: f64,
    /// Tokens in it before the event took one.
    pub tokens: f64,
}

/// The warning sent when a bucket is nearly empty. All numbers are rounded down.
pub fn rate_limit_warning(input: RateLimitWarning) -> String {
    let RateLimitWarning { capacity, tokens } = input;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates: no input prints anything but digits"
    )]
    let (rate, limit, remaining) = ((capacity - tokens) as u64, capacity as u64, tokens as u64);
    format!(
        r#"{{"c":"WSE","t":"rate_limit_warning","p":{{"current_rate":{rate},"limit":{limit},"remaining":{remaining},"retry_after":1.0}},"v":1}}"#
    )
}

/// Why a connection is refused after its upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// Neither a usable cookie nor an `Authorization` header.
    NoToken,
    /// The token could not be decoded or verified.
    BadToken,
    /// `sub` is missing, empty or not a string.
    NoSubject,
}

impl AuthFailure {
    /// The `p.code` of the error.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoToken => "AUTH_REQUIRED",
            Self::BadToken | Self::NoSubject => "AUTH_FAILED",
        }
    }

    /// The `p.message` of the error. It names no detail of the verification.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NoToken => "No JWT cookie or Authorization header",
            Self::BadToken => "Authentication failed",
            Self::NoSubject => "Token missing user ID",
        }
    }
}

/// The error sent before Close 4401.
pub fn auth_error(failure: AuthFailure, now_ms: u64) -> String {
    json!({
        "c": "WSE",
        "p": { "code": failure.code(), "message": failure.message(), "timestamp": iso8601(now_ms) },
        "t": "error",
        "v": 1,
    })
    .to_string()
}

/// The error for a public key that is not Base64 or not a point; a `server_hello` without encryption follows it.
pub fn key_exchange_failed(why: &str) -> String {
    let message = Value::from(format!("ECDH key exchange failed: {why}"));
    format!(r#"{{"c":"WSE","t":"error","p":{{"code":"KEY_EXCHANGE_FAILED","message":{message},"recoverable":true}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A published client takes a frame for a heartbeat only if `"t":"…"` ends within the first 25 characters.
    #[test]
    fn heartbeats_are_recognised_by_their_first_25_characters() {
        assert!(pong(0, 0)[..25].contains(r#""t":"PONG""#));
        assert!(ping(0)[..25].contains(r#""t":"ping""#));
    }

    #[test]
    fn extreme_timestamps() {
        assert!(pong(i64::MIN, u64::MAX).contains(r#""latency":27670116110564327423}"#));
        assert!(pong(i64::MAX, 0).contains(r#""latency":0}"#));
    }

    #[test]
    fn warning_prints_integers_whatever_it_gets() {
        let text = rate_limit_warning(RateLimitWarning { capacity: f64::NAN, tokens: f64::INFINITY });
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }

    #[test]
    fn without_jwt_there_is_no_user() {
        let text = server_ready(&ServerReady { id: "i", connection_id: "c", user_id: None, recovery: true, now_ms: 0 });
        assert!(!text.contains("user_id"), "{text}");
        assert!(text.contains(r#""rust_jwt":false"#), "{text}");
    }
}

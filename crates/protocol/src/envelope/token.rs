//! The messages about a token whose connection is open (docs/protocol.md §2.4): that it was exchanged, or why not, that it runs out,
//! and which topics ended with it. Never decides when one is sent.

use serde_json::json;

/// Why a token was not exchanged. Nothing else tells a client more: a token that is not believed is not explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshFailure {
    /// The token is not valid, or not any more.
    InvalidToken,
    /// It is another user's.
    OtherUser,
    /// The one before is still being looked at.
    Busy,
    /// Whether it is valid cannot be said now.
    Unavailable,
}

impl RefreshFailure {
    /// The `p.reason` of the error.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::OtherUser => "other_user",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    /// The `p.message` of the error.
    pub const fn message(self) -> &'static str {
        match self {
            Self::InvalidToken => "Token refused",
            Self::OtherUser => "Token of another user",
            Self::Busy => "Another refresh is under way",
            Self::Unavailable => "Token cannot be checked now",
        }
    }
}

/// The connection has another token now. `expires_at`: when that one expires, Unix seconds; `None`: the connection does not end
/// with it.
pub fn auth_refreshed(expires_at: Option<u64>) -> String {
    let expires_at = expires_at.map_or_else(|| "null".to_owned(), |at| at.to_string());
    format!(r#"{{"c":"WSE","t":"auth_refreshed","p":{{"expires_at":{expires_at}}},"v":1}}"#)
}

/// The connection's token expires at `expires_at`, Unix seconds, which is `expires_in` seconds from now.
pub fn auth_expiring(expires_at: u64, expires_in: u64) -> String {
    format!(r#"{{"c":"WSE","t":"auth_expiring","p":{{"expires_at":{expires_at},"expires_in":{expires_in}}},"v":1}}"#)
}

/// The token was not exchanged and the connection goes on with the one it has; `closes`: it has failed too often, and a Close 4401
/// follows. The code is not `AUTH_FAILED`: a published client would take its session for over.
pub fn refresh_error(failure: RefreshFailure, closes: bool) -> String {
    format!(
        r#"{{"c":"WSE","t":"error","p":{{"code":"AUTH_REFRESH_FAILED","message":"{}","reason":"{}","recoverable":{}}},"v":1}}"#,
        failure.message(),
        failure.reason(),
        !closes
    )
}

/// These subscriptions have ended because the connection may not have them any more: in the shape of the answer to an
/// `unsubscribe`, which nobody has asked for.
pub fn topics_ended(topics: &[impl AsRef<str>]) -> String {
    let topics: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
    let p = json!({
        "action": "unsubscribe",
        "success": true,
        "success_topics": topics,
        "failed_topics": [],
        "reason": "not_allowed",
    });
    json!({ "c": "WSE", "t": "subscription_update", "v": 1, "p": p }).to_string()
}

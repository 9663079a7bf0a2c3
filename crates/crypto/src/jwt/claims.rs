//! Owns the judgement of claims after the signature was found good: time, issuer, audience, subject, topics.
//! Never sees a key and never reads the clock.

use serde_json::{Map, Value};

use super::config::JwtConfig;
use super::error::JwtError;

/// Most topic patterns one token may carry, allow and deny together.
pub const MAX_GRANT_PATTERNS: usize = 256;

/// Longest topic pattern in a token, in bytes.
pub const MAX_GRANT_PATTERN_BYTES: usize = 1024;

/// Largest value of [`Claims::exp`] and [`Claims::iat`]: 2^53 - 1, the last integer every JavaScript number holds exactly.
pub const MAX_EXP: u64 = (1 << 53) - 1;

/// The topics a token grants, from the claim `wse_topics`. Patterns are not compiled here.
///
/// **An empty `allow` grants everything**: `{"allow": []}` opens every topic that `deny` does not name, as published
/// servers read it. An issuer that computes "nothing is allowed" must say `{"deny": ["*"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicGrant {
    /// Patterns allowed. Empty opens everything that is not denied; it never means "nothing".
    pub allow: Vec<String>,
    /// Patterns denied; they win over `allow`.
    pub deny: Vec<String>,
}

/// What a believed token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// The user, never empty.
    pub sub: String,
    /// When the token expires, in whole seconds since the Unix epoch, leeway not included, at most [`MAX_EXP`].
    pub exp: u64,
    /// When the token was issued, in whole seconds since the Unix epoch, rounded down, at most [`MAX_EXP`]; `None` when it does not
    /// say so with a finite number.
    pub iat: Option<u64>,
    /// The token's id; `None` when it has none, or one that is no string.
    pub jti: Option<String>,
    /// The topics granted; `None` when the token says nothing about topics.
    pub topics: Option<TopicGrant>,
    /// Every claim as sent; always an object.
    pub raw: Value,
}

/// Checks `exp`, `nbf`, `iss` and `aud`; returns `exp` in whole seconds.
pub(super) fn check(claims: &Map<String, Value>, config: &JwtConfig, now: u64) -> Result<u64, JwtError> {
    let exp = match claims.get("exp") {
        None => return Err(JwtError::Invalid("exp is missing")),
        Some(exp) => numeric_date(exp).ok_or(JwtError::Invalid("exp is not a finite number"))?,
    };
    let (now, leeway) = (seconds(now), seconds(config.leeway_secs));
    // RFC 7519 §4.1.4: "on or after" exp the token is dead, so equality refuses.
    if now >= exp + leeway {
        return Err(JwtError::Invalid("expired"));
    }
    if let Some(nbf) = claims.get("nbf") {
        let nbf = numeric_date(nbf).ok_or(JwtError::Invalid("nbf is not a finite number"))?;
        if nbf > now + leeway {
            return Err(JwtError::Invalid("not valid yet"));
        }
    }
    if let Some(issuer) = &config.issuer {
        match claims.get("iss") {
            Some(Value::String(iss)) if iss == issuer => {}
            None if config.allow_missing_claims => {}
            None => return Err(JwtError::Invalid("iss is missing")),
            Some(_) => return Err(JwtError::Invalid("iss differs")),
        }
    }
    if let Some(audience) = &config.audience {
        match claims.get("aud") {
            Some(aud) if names(aud, audience) => {}
            None if config.allow_missing_claims => {}
            None => return Err(JwtError::Invalid("aud is missing")),
            Some(_) => return Err(JwtError::Invalid("aud differs")),
        }
    }
    Ok(whole(exp))
}

/// When the token says it was issued. What cannot be read says nothing: nobody is let in for it.
pub(super) fn issued_at(claims: &Map<String, Value>) -> Option<u64> {
    claims.get("iat").and_then(numeric_date).map(whole)
}

/// The token's id (RFC 7519 §4.1.7).
pub(super) fn id(claims: &Map<String, Value>) -> Option<String> {
    claims.get("jti").and_then(Value::as_str).map(str::to_owned)
}

/// A time in whole seconds, at most [`MAX_EXP`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates: a negative time, which leeway may let pass, becomes 0"
)]
fn whole(seconds: f64) -> u64 {
    (seconds as u64).min(MAX_EXP)
}

/// Seconds as the number a claim is.
#[expect(clippy::cast_precision_loss, reason = "whole below 2^53, which is 285 million years")]
const fn seconds(whole: u64) -> f64 {
    whole as f64
}

/// The subject: a string that is not empty. A number is refused as the published engine refuses it.
pub(super) fn subject(claims: &Map<String, Value>) -> Result<String, JwtError> {
    match claims.get("sub") {
        Some(Value::String(sub)) if !sub.is_empty() => Ok(sub.clone()),
        _ => Err(JwtError::MissingSubject),
    }
}

/// The claim `wse_topics`: an object with `allow`, `deny` or both and nothing else. Every other shape refuses the token:
/// a grant that was meant to restrict and could not be read (`{"Allow": […]}`, `{"topics": […]}`, `{}`) must not open
/// everything.
pub(super) fn topics(claims: &Map<String, Value>) -> Result<Option<TopicGrant>, JwtError> {
    let Some(grant) = claims.get("wse_topics") else {
        return Ok(None);
    };
    let Value::Object(grant) = grant else {
        return Err(JwtError::Invalid("wse_topics is not an object"));
    };
    if grant.is_empty() {
        return Err(JwtError::Invalid("wse_topics has neither allow nor deny"));
    }
    if grant.keys().any(|name| !matches!(name.as_str(), "allow" | "deny")) {
        return Err(JwtError::Invalid("wse_topics has an unknown member"));
    }
    let allow = patterns(grant.get("allow"))?;
    let deny = patterns(grant.get("deny"))?;
    if allow.len() + deny.len() > MAX_GRANT_PATTERNS {
        return Err(JwtError::Invalid("wse_topics has too many patterns"));
    }
    Ok(Some(TopicGrant { allow, deny }))
}

fn patterns(list: Option<&Value>) -> Result<Vec<String>, JwtError> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let Value::Array(list) = list else {
        return Err(JwtError::Invalid("wse_topics holds something not a list"));
    };
    list.iter()
        .map(|pattern| match pattern {
            Value::String(pattern) if pattern.len() <= MAX_GRANT_PATTERN_BYTES => Ok(pattern.clone()),
            Value::String(_) => Err(JwtError::Invalid("wse_topics has a pattern that is too long")),
            _ => Err(JwtError::Invalid("wse_topics has a pattern that is not a string")),
        })
        .collect()
}

/// A NumericDate: any finite JSON number, fractions included. `f64` is exact for every date below 2^53.
fn numeric_date(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|seconds| seconds.is_finite()),
        _ => None,
    }
}

/// Whether `aud` is `audience` or a list of strings that contains it.
fn names(aud: &Value, audience: &str) -> bool {
    match aud {
        Value::String(aud) => aud == audience,
        Value::Array(list) => list.iter().all(Value::is_string) && list.iter().any(|aud| aud == audience),
        _ => false,
    }
}

//! What is kept of the token a connection has shown last: enough to revoke it, and to judge the next one.

use wse_crypto::jwt::Claims;

use super::Named;
use crate::clock::Millis;

/// Refreshes that fail in a row before the connection is closed.
const MAX_FAILURES: u8 = 5;
/// Refreshes a client may ask for within [`WINDOW_MS`]: whatever a token costs to verify, a flood of them costs little.
const MAX_ATTEMPTS: u8 = 10;
/// Milliseconds.
const WINDOW_MS: u32 = 10_000;

/// What is kept of a token.
#[derive(Debug)]
pub(crate) struct Credential {
    /// Whom it names, where the host calls the connection's user by another name.
    sub: Option<Box<str>>,
    jti: Option<Box<str>>,
    /// When it was issued, Unix seconds; 0: it does not say.
    iat: u64,
    /// Who has said what the connection may have.
    pub(crate) rights: Rights,
    /// Refreshes that have failed since the last that did not.
    failures: u8,
    /// Refreshes the client has asked for since `since`.
    attempts: u8,
    since: Millis,
}

/// Whose word a connection's ACL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// That of the token it came with.
    Token,
    /// That of a token it was given since: what was on its way then is looked at again.
    Refreshed,
    /// The host's, and no token's takes its place.
    Host,
}

/// Whether a client may ask for another refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It may.
    Allowed,
    /// Not so soon.
    TooOften,
}

impl Credential {
    /// Of a token that is believed. `name`: what the host calls its user; `host_rights`: what it may is the host's word.
    pub(crate) fn new(claims: &Claims, name: Option<&str>, host_rights: bool) -> Self {
        Self {
            sub: name.filter(|name| *name != claims.sub).map(|_| claims.sub.as_str().into()),
            jti: claims.jti.as_deref().map(Into::into),
            iat: claims.iat.unwrap_or(0),
            rights: if host_rights { Rights::Host } else { Rights::Token },
            failures: 0,
            attempts: 0,
            since: Millis::default(),
        }
    }

    /// Another token of the same user takes its place.
    pub(crate) fn exchange(&mut self, claims: &Claims) {
        self.jti = claims.jti.as_deref().map(Into::into);
        self.iat = claims.iat.unwrap_or(0);
        self.failures = 0;
        if self.rights == Rights::Token {
            self.rights = Rights::Refreshed;
        }
    }

    /// The token, of a connection whose user is `name`.
    pub(crate) fn named<'a>(&'a self, name: Option<&'a str>) -> Named<'a> {
        Named { sub: self.sub.as_deref().or(name).unwrap_or_default(), jti: self.jti.as_deref(), iat: self.iat }
    }

    /// A client asks for a refresh.
    pub(crate) fn attempt(&mut self, now: Millis) -> Attempt {
        if self.attempts == 0 || now.since(self.since) >= WINDOW_MS {
            (self.attempts, self.since) = (0, now);
        }
        if self.attempts >= MAX_ATTEMPTS {
            return Attempt::TooOften;
        }
        self.attempts += 1;
        Attempt::Allowed
    }

    /// One it has asked for has failed; returns whether that was one too many.
    pub(crate) fn fail(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures >= MAX_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(jti: &str) -> Claims {
        Claims {
            sub: "ada".into(),
            exp: 9,
            iat: Some(7),
            jti: Some(jti.into()),
            topics: None,
            raw: serde_json::json!({}),
        }
    }

    #[test]
    fn a_name_of_the_hosts_does_not_hide_whom_the_token_names() {
        let own = Credential::new(&claims("1"), Some("ada"), false);
        assert_eq!((own.sub.as_deref(), own.named(Some("ada")).sub), (None, "ada"));
        let other = Credential::new(&claims("1"), Some("session 7"), true);
        assert_eq!(other.named(Some("session 7")), Named { sub: "ada", jti: Some("1"), iat: 7 });
        assert_eq!(other.rights, Rights::Host);
    }

    #[test]
    fn attempts_are_counted_by_the_window_and_failures_in_a_row() {
        let mut credential = Credential::new(&claims("1"), None, false);
        let start = Millis::from_raw(u32::MAX - 3);
        for _ in 0..MAX_ATTEMPTS {
            assert_eq!(credential.attempt(start), Attempt::Allowed);
        }
        assert_eq!(credential.attempt(start.after(WINDOW_MS - 1)), Attempt::TooOften);
        assert_eq!(credential.attempt(start.after(WINDOW_MS)), Attempt::Allowed);
        let failed = (1..MAX_FAILURES).filter(|_| credential.fail()).count();
        credential.exchange(&claims("2"));
        assert_eq!((failed, credential.fail(), credential.rights), (0, false, Rights::Refreshed));
        assert!((1..MAX_FAILURES).map(|_| credential.fail()).last().unwrap());
    }
}

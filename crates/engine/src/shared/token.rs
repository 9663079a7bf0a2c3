//! Whether a token is believed, wherever it comes from: a request, a client that has another one, or the host.

use std::sync::Arc;

use wse_crypto::jwt::{Claims, JwtError, JwtKey, TopicGrant};
use wse_protocol::envelope::AuthFailure;
use wse_protocol::topic::Acl;

use super::Shared;
use crate::asking::{Found, Kid};
use crate::clock::unix_millis;
use crate::config::Auth;
use crate::registry::Peer;
use crate::tokens::Named;

/// A verified user.
pub(crate) struct User {
    pub(crate) claims: Claims,
    pub(crate) acl: Option<Arc<Acl>>,
    /// Unix seconds at which the token is no longer valid, leeway included; 0 = never.
    pub(crate) expires: u64,
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// As a client is told.
    Failure(AuthFailure),
    /// There is nothing wrong with it but that it was revoked.
    Revoked,
}

impl From<Distrust> for AuthFailure {
    fn from(distrust: Distrust) -> Self {
        match distrust {
            Distrust::Failure(failure) => failure,
            Distrust::Revoked => Self::BadToken,
        }
    }
}

/// What a token comes to.
pub(crate) enum Proof {
    User(Box<User>),
    None(Distrust),
    /// The host is to be asked for the key it names, or is being asked.
    Missing(Kid),
    /// Whether it is good cannot be said now.
    Unsaid,
}

impl Shared {
    /// Looks at a token; `find` says what is known about the key it names, where the host is asked for keys.
    pub(crate) fn prove(&self, auth: &Auth, token: &str, find: impl FnOnce(&Kid) -> Option<Found>) -> Proof {
        let proved = if auth.ask_keys.is_none() {
            self.believe(auth, auth.verifier.verify(token, unix_millis() / 1000))
        } else {
            let Ok(kid) = auth.verifier.kid(token) else {
                return Proof::None(Distrust::Failure(AuthFailure::BadToken));
            };
            let kid = kid.map(String::into_boxed_str);
            match find(&kid) {
                Some(Found::Key(key)) => self.prove_with(auth, token, &key),
                Some(Found::Unknown) => Err(Distrust::Failure(AuthFailure::BadToken)),
                Some(Found::Unsaid) => return Proof::Unsaid,
                Some(Found::Asked(..)) | None => return Proof::Missing(kid),
            }
        };
        proved.map_or_else(Proof::None, |user| Proof::User(Box::new(user)))
    }

    /// The user a token names, if it is signed with this key.
    pub(crate) fn prove_with(&self, auth: &Auth, token: &str, key: &JwtKey) -> Result<User, Distrust> {
        self.believe(auth, auth.verifier.verify_with(key, token, unix_millis() / 1000))
    }

    fn believe(&self, auth: &Auth, claims: Result<Claims, JwtError>) -> Result<User, Distrust> {
        const BAD: Distrust = Distrust::Failure(AuthFailure::BadToken);
        let claims = claims.map_err(|error| match error {
            JwtError::MissingSubject => Distrust::Failure(AuthFailure::NoSubject),
            JwtError::Invalid(_) => BAD,
        })?;
        let lives_too_long = |max: u64| claims.iat.is_none_or(|iat| claims.exp.saturating_sub(iat) > max);
        if auth.max_lifetime_secs.is_some_and(lives_too_long) {
            return Err(BAD);
        }
        let token = Named { sub: &claims.sub, jti: claims.jti.as_deref(), iat: claims.iat.unwrap_or(0) };
        if self.revocations.contain(&token) {
            return Err(Distrust::Revoked);
        }
        let acl = match &claims.topics {
            None => None,
            Some(TopicGrant { allow, deny }) => Some(Arc::new(Acl::new(allow, deny).map_err(|_| BAD)?)),
        };
        let expires = if auth.close_on_expiry { claims.exp.saturating_add(auth.leeway_secs) } else { 0 };
        Ok(User { claims, acl, expires })
    }

    /// Whether the token of a connection was revoked since it was believed. Asked once the connection, or its new token, can be
    /// found: whoever revokes it later finds it.
    pub(crate) fn is_revoked(&self, peer: &Peer) -> bool {
        self.revocations.len() > 0 && peer.token_is(|token| self.revocations.contain(token))
    }
}

//! How failures cross: as an `Error` with the properties `code` and `path`, which `ts/src/errors.ts` makes one of the
//! package's classes. What each code means is said once, in `ts/src/error-codes.ts`; a test there compares the names.

use std::fmt::Display;

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsError, JsValue};
use wse_crypto::jwt::{JwtConfigError, JwtEncodeError};
use wse_crypto::tls::TlsConfigError;
use wse_engine::EngineError;

/// The codes the binding throws.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ErrorCode {
    ConfigInvalid,
    Internal,
    InvalidAcl,
    /// Becomes a `TypeError`: the argument, not the server, is at fault.
    InvalidEvent,
    JwtEncode,
    NoJwt,
    Overloaded,
    RevocationsFull,
    PresenceFull,
    PresenceNone,
    PresenceNoUser,
    PresenceOff,
    PresenceTooLarge,
    SubscriptionLimit,
    Thread,
    TokenBusy,
    TokenInvalid,
    TokenOtherUser,
    TokenRevoked,
    TokenUnavailable,
    UnknownHandle,
    /// One of the engine's own.
    Engine(&'static str),
}

impl ErrorCode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "WSE_CONFIG_INVALID",
            Self::Internal => "WSE_INTERNAL",
            Self::InvalidAcl => "WSE_INVALID_ACL",
            Self::InvalidEvent => "WSE_INVALID_EVENT",
            Self::JwtEncode => "WSE_JWT_ENCODE",
            Self::NoJwt => "WSE_NO_JWT",
            Self::Overloaded => "WSE_OVERLOADED",
            Self::RevocationsFull => "WSE_REVOCATIONS_FULL",
            Self::PresenceFull => "WSE_PRESENCE_FULL",
            Self::PresenceNone => "WSE_PRESENCE_NONE",
            Self::PresenceNoUser => "WSE_PRESENCE_NO_USER",
            Self::PresenceOff => "WSE_PRESENCE_OFF",
            Self::PresenceTooLarge => "WSE_PRESENCE_TOO_LARGE",
            Self::SubscriptionLimit => "WSE_SUBSCRIPTION_LIMIT",
            Self::Thread => "WSE_THREAD",
            Self::TokenBusy => "WSE_TOKEN_BUSY",
            Self::TokenInvalid => "WSE_TOKEN_INVALID",
            Self::TokenOtherUser => "WSE_TOKEN_OTHER_USER",
            Self::TokenRevoked => "WSE_TOKEN_REVOKED",
            Self::TokenUnavailable => "WSE_TOKEN_UNAVAILABLE",
            Self::UnknownHandle => "WSE_UNKNOWN_HANDLE",
            Self::Engine(name) => name,
        }
    }
}

/// What a call of the border fails with.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ErrorCode,
    text: String,
    /// The option at fault; empty for anything else.
    path: String,
}

/// What a call of the border returns before it is JavaScript's.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: ErrorCode, text: impl Display) -> Self {
        Self { code, text: text.to_string(), path: String::new() }
    }

    /// An option the facade let through but a library refused.
    pub(crate) fn config(text: impl Display, path: impl Into<String>) -> Self {
        Self { code: ErrorCode::ConfigInvalid, text: text.to_string(), path: path.into() }
    }

    /// The error to throw, or to reject with.
    pub(crate) fn thrown(self, env: &Env) -> napi::Error {
        self.object(env).map_or_else(|error| error, napi::Error::from)
    }

    fn object<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let error = JsError::from(napi::Error::from_reason(&self.text)).into_unknown(*env);
        let mut object = error.coerce_to_object()?;
        object.set("code", self.code.name())?;
        object.set("path", self.path.as_str())?;
        Ok(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(ErrorCode::Engine(error.code()), error)
    }
}

impl From<JwtConfigError> for Failure {
    fn from(error: JwtConfigError) -> Self {
        Self::config(error.reason, format!("jwt.{}", error.field))
    }
}

impl From<TlsConfigError> for Failure {
    fn from(error: TlsConfigError) -> Self {
        Self::config(&error.reason, format!("tls.{}", error.field))
    }
}

impl From<JwtEncodeError> for Failure {
    fn from(error: JwtEncodeError) -> Self {
        match error {
            // The function calls its argument `secret`, whatever it holds.
            JwtEncodeError::Key(error) => {
                Self::config(error.reason, if error.field == "key" { "secret" } else { error.field })
            }
            other => Self::new(ErrorCode::JwtEncode, other),
        }
    }
}

//! How failures cross: the message is `CODE|text|path of the option`, which `ts/src/errors.ts` turns into a class.

use wse_crypto::jwt::{JwtConfigError, JwtEncodeError};
use wse_crypto::tls::TlsConfigError;
use wse_engine::EngineError;

/// An error with a code and, for options, a path.
pub(crate) fn coded(code: &str, text: impl std::fmt::Display, path: &str) -> napi::Error {
    napi::Error::from_reason(format!("{code}|{text}|{path}"))
}

/// An option the facade let through but a library refused.
pub(crate) fn config(text: impl std::fmt::Display, path: &str) -> napi::Error {
    coded("WSE_CONFIG_INVALID", text, path)
}

pub(crate) fn engine(error: EngineError) -> napi::Error {
    coded(error.code(), &error, "")
}

pub(crate) fn jwt(error: JwtConfigError) -> napi::Error {
    config(error.reason, &format!("jwt.{}", error.field))
}

pub(crate) fn tls(error: TlsConfigError) -> napi::Error {
    config(&error.reason, &format!("tls.{}", error.field))
}

pub(crate) fn encode(error: JwtEncodeError) -> napi::Error {
    match error {
        // The function calls its argument `secret`, whatever it holds.
        JwtEncodeError::Key(error) => config(error.reason, if error.field == "key" { "secret" } else { error.field }),
        other => coded("WSE_JWT_ENCODE", other, ""),
    }
}

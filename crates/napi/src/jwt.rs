//! `encodeJwt` and `decodeJwt`: the crypto crate's helpers as functions.

use std::time::{SystemTime, UNIX_EPOCH};

use napi::Env;
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use wse_crypto::jwt::{self, Algorithm, JwtConfig, JwtConfigError};

use crate::error::{Failure, Outcome};

/// How `decode_jwt` checks a token.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeDecodeOptions {
    pub secret: Uint8Array,
    pub algorithm: String,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub previous_secret: Option<Uint8Array>,
    pub key_id: Option<String>,
}

/// Signs claims, given as JSON text.
#[napi]
pub fn encode_jwt(
    env: &Env,
    claims_json: String,
    secret: Uint8Array,
    algorithm: String,
    #[napi(ts_arg_type = "string | null")] key_id: Option<String>,
) -> napi::Result<String> {
    let encode = || {
        let claims = serde_json::from_str(&claims_json).map_err(|error| Failure::config(error, "claims"))?;
        Ok(jwt::encode(&claims, &secret, parse(&algorithm)?, key_id.as_deref())?)
    };
    encode().map_err(|failure: Failure| failure.thrown(env))
}

/// The claims of a valid token as JSON text, `null` for any other.
#[napi]
pub fn decode_jwt(env: &Env, token: String, options: NativeDecodeOptions) -> napi::Result<Option<String>> {
    let config = JwtConfig {
        issuer: options.issuer,
        audience: options.audience,
        previous_key: options.previous_secret.map(|key| key.to_vec()),
        key_id: options.key_id,
        ..JwtConfig::new(parse(&options.algorithm).map_err(|failure| failure.thrown(env))?, options.secret.to_vec())
    };
    Ok(jwt::decode(&token, config, unix_seconds()).map(|claims| claims.to_string()))
}

#[expect(clippy::disallowed_methods, reason = "a free function: there is no engine whose clock it could ask")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn parse(algorithm: &str) -> Outcome<Algorithm> {
    algorithm.parse().map_err(|error: JwtConfigError| Failure::config(error.reason, error.field))
}

//! `encodeJwt` and `decodeJwt`: the crypto crate's helpers as functions.

use std::time::{SystemTime, UNIX_EPOCH};

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use wse_crypto::jwt::{self, Algorithm, JwtConfig};

use crate::error;

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
    claims_json: String,
    secret: Uint8Array,
    algorithm: String,
    key_id: Option<String>,
) -> napi::Result<String> {
    let claims = serde_json::from_str(&claims_json).map_err(|error| error::config(error, "claims"))?;
    let algorithm = algorithm.parse::<Algorithm>().map_err(|error| error::config(error.reason, error.field))?;
    jwt::encode(&claims, &secret, algorithm, key_id.as_deref()).map_err(error::encode)
}

/// The claims of a valid token as JSON text, `null` for any other.
#[napi]
pub fn decode_jwt(token: String, options: NativeDecodeOptions) -> napi::Result<Option<String>> {
    let algorithm = options.algorithm.parse::<Algorithm>().map_err(|error| error::config(error.reason, error.field))?;
    let config = JwtConfig {
        issuer: options.issuer,
        audience: options.audience,
        previous_key: options.previous_secret.map(|key| key.to_vec()),
        key_id: options.key_id,
        ..JwtConfig::new(algorithm, options.secret.to_vec())
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(jwt::decode(&token, config, now).map(|claims| claims.to_string()))
}

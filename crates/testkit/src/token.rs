//! Tokens and the `Auth` that believes them. HS256 only; the other algorithms are the business of `wse-crypto`'s tests.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wse_crypto::jwt::{Algorithm, JwtConfig, JwtVerifier, encode};
use wse_crypto::token::TokenSource;
use wse_engine::config::Auth;

/// The secret of [`auth`].
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// An `Auth` with [`SECRET`], no leeway, and expiry that closes.
pub fn auth() -> Auth {
    let mut config = JwtConfig::new(Algorithm::HS256, SECRET);
    config.leeway_secs = 0;
    Auth {
        verifier: JwtVerifier::new(config).expect("a usable secret"),
        sources: vec![TokenSource::Cookie("access_token".into()), TokenSource::Header],
        ask_keys: None,
        close_on_expiry: true,
        leeway_secs: 0,
        expiry_warning_secs: 0,
        max_lifetime_secs: None,
        max_revocations: 1000,
    }
}

/// A token of `user` that lasts an hour, with the members of `extra` on top (a null removes the claim).
pub fn token(user: &str, extra: Value) -> String {
    let mut claims = json!({ "sub": user, "exp": now() + 3600 });
    for (name, value) in extra.as_object().expect("an object") {
        let claims = claims.as_object_mut().expect("an object");
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    encode(&claims, SECRET, Algorithm::HS256, None).expect("a token")
}

#[expect(clippy::disallowed_methods, reason = "tokens are made outside of any engine")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

//! Shared by the tests of this crate: a fixed clock, keys, and tokens made without our own encoder.
#![allow(dead_code, unreachable_pub)]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use wse_crypto::jwt::{Algorithm, JwtConfig, JwtError, JwtVerifier};

pub const NOW: u64 = 1_800_000_000;
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub const OLD_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";

/// A key pair in PEM.
pub struct Pair {
    pub private: String,
    pub public: String,
}

fn pair(key: KeyPair) -> Pair {
    Pair { private: key.serialize_pem(), public: key.public_key_pem() }
}

fn rsa() -> Pair {
    pair(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

pub static RSA: LazyLock<Pair> = LazyLock::new(rsa);
pub static OTHER_RSA: LazyLock<Pair> = LazyLock::new(rsa);
pub static EC: LazyLock<Pair> = LazyLock::new(|| pair(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()));
pub static OTHER_EC: LazyLock<Pair> = LazyLock::new(|| pair(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()));
pub static EC384: LazyLock<Pair> = LazyLock::new(|| pair(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()));

/// A configuration with HS256 and [`SECRET`].
pub fn hs() -> JwtConfig {
    JwtConfig::new(Algorithm::HS256, SECRET)
}

pub fn verifier(config: JwtConfig) -> JwtVerifier {
    JwtVerifier::new(config).unwrap()
}

/// The HS256 token of this exact header and claims text, signed without the code under test.
pub fn raw_token(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A good header around this claims text.
pub fn token(claims: &str) -> String {
    raw_token(HEADER, claims, SECRET)
}

/// The claims of a valid user with `extra` merged in; a `null` in `extra` removes the claim.
pub fn claims(extra: Value) -> Value {
    let mut claims = json!({ "sub": "u1", "exp": NOW + 60 });
    for (name, value) in extra.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// What the default HS256 verifier says about these claims.
pub fn outcome(claims: &str) -> Result<String, JwtError> {
    verifier(hs()).verify(&token(claims), NOW).map(|claims| claims.sub)
}

/// The header of every ordinary HS256 token.
pub const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// The claims text of a valid user.
pub fn good() -> String {
    claims(json!({})).to_string()
}

/// A configuration with a PEM public key.
pub fn public(algorithm: Algorithm, pem: &str) -> JwtConfig {
    JwtConfig::new(algorithm, pem)
}

/// Whether the token is refused as invalid.
pub fn refuses(verifier: &JwtVerifier, token: &str) -> bool {
    matches!(verifier.verify(token, NOW), Err(JwtError::Invalid(_)))
}

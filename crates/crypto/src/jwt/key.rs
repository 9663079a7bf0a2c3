//! Owns the way from configured bytes to keys that check and make signatures.
//! Never sees a claim, and never lets a key be used with another algorithm than its own.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER as PROVIDER;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::config::{Algorithm, JwtConfigError, MIN_SECRET_BYTES};

// `PROVIDER` is called by name and never installed: the library's process-wide default panics at first use when
// zero or two backends are compiled in, while a missing backend here is a compile error.

impl Algorithm {
    const fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::HS256 => jsonwebtoken::Algorithm::HS256,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
        }
    }
}

/// A key that checks signatures of one algorithm.
pub(super) struct VerifyKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerifyKey {
    /// Parses `bytes` for `algorithm`; errors name `field`.
    pub(super) fn new(algorithm: Algorithm, bytes: &[u8], field: &'static str) -> Result<Self, JwtConfigError> {
        let refuse = |reason| Err(JwtConfigError::new(field, reason));
        let key = match algorithm {
            Algorithm::HS256 => {
                check_secret(bytes, field)?;
                DecodingKey::from_secret(bytes)
            }
            Algorithm::RS256 => {
                // The library would also take a certificate or a private key here and misread the first.
                if !matches!(pem_label(bytes), Some("PUBLIC KEY" | "RSA PUBLIC KEY")) {
                    return refuse("RS256 needs a PEM public key (BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY)");
                }
                match DecodingKey::from_rsa_pem(bytes) {
                    Ok(key) if parses(&key, Algorithm::RS256) => key,
                    _ => return refuse("not an RSA public key of 2048 to 8192 bits"),
                }
            }
            Algorithm::ES256 => {
                if pem_label(bytes) != Some("PUBLIC KEY") {
                    return refuse("ES256 needs a PEM public key (BEGIN PUBLIC KEY)");
                }
                match DecodingKey::from_ec_pem(bytes) {
                    Ok(key) if parses(&key, Algorithm::ES256) => key,
                    _ => return refuse("not a P-256 public key"),
                }
            }
        };
        Ok(Self { algorithm, key })
    }

    /// Whether `signature` (raw bytes) is this key's signature of `message`. Constant time for HS256.
    pub(super) fn verify(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        (PROVIDER.verifier_factory)(&self.algorithm.library(), &self.key)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

/// A key that makes signatures of one algorithm.
pub(super) struct SignKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SignKey {
    /// Parses `bytes` for `algorithm`: the secret of HS256, else a PEM private key; errors name `field`.
    pub(super) fn new(algorithm: Algorithm, bytes: &[u8], field: &'static str) -> Result<Self, JwtConfigError> {
        let refuse = |reason| Err(JwtConfigError::new(field, reason));
        let key = match algorithm {
            Algorithm::HS256 => {
                check_secret(bytes, field)?;
                EncodingKey::from_secret(bytes)
            }
            Algorithm::RS256 => {
                if !matches!(pem_label(bytes), Some("PRIVATE KEY" | "RSA PRIVATE KEY")) {
                    return refuse("RS256 signs with a PEM private key (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)");
                }
                match EncodingKey::from_rsa_pem(bytes) {
                    Ok(key) => key,
                    Err(_) => return refuse("not an RSA private key"),
                }
            }
            Algorithm::ES256 => {
                if pem_label(bytes) == Some("EC PRIVATE KEY") {
                    return refuse("this is SEC1; convert it to PKCS#8 with `openssl pkcs8 -topk8 -nocrypt`");
                }
                if pem_label(bytes) != Some("PRIVATE KEY") {
                    return refuse("ES256 signs with a PEM private key (BEGIN PRIVATE KEY)");
                }
                match EncodingKey::from_ec_pem(bytes) {
                    Ok(key) => key,
                    Err(_) => return refuse("not a P-256 private key in PKCS#8"),
                }
            }
        };
        Ok(Self { algorithm, key })
    }

    /// The raw signature of `message`, or `None` when the key turns out not to fit its algorithm.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        (PROVIDER.signer_factory)(&self.algorithm.library(), &self.key).ok()?.try_sign(message).ok()
    }
}

fn check_secret(bytes: &[u8], field: &'static str) -> Result<(), JwtConfigError> {
    if bytes.len() < MIN_SECRET_BYTES {
        return Err(JwtConfigError::new(field, "an HS256 secret must be at least 32 bytes"));
    }
    // A public key as the shared secret lets everybody sign: the HS/RS confusion, made by configuration.
    if pem_label(bytes).is_some_and(|label| label.ends_with("PUBLIC KEY") || label.ends_with("CERTIFICATE")) {
        return Err(JwtConfigError::new(field, "a public key is no secret; did you mean algorithm RS256 or ES256?"));
    }
    Ok(())
}

/// The library accepts key bytes unseen and fails at the first token; this fails at start-up.
fn parses(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let Ok(bytes) = key.try_get_as_bytes() else {
        return false;
    };
    match algorithm {
        Algorithm::HS256 => true,
        Algorithm::RS256 => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bytes).is_ok(),
        Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok(),
    }
}

/// The label of the first PEM block (`PUBLIC KEY` of `-----BEGIN PUBLIC KEY-----`).
fn pem_label(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    rest.split_once("-----").map(|(label, _)| label)
}

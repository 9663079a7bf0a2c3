//! Owns what the operator says about tokens: algorithm, keys, expected claims, limits.
//! Never touches a token and never parses a key.

use std::fmt;
use std::str::FromStr;

/// Shortest accepted HS256 secret, in bytes: the output length of SHA-256 (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Clock difference tolerated on `exp` and `nbf` unless configured otherwise, in seconds.
pub const DEFAULT_LEEWAY_SECS: u64 = 30;

/// Longest token looked at unless configured otherwise, in bytes.
pub const DEFAULT_MAX_TOKEN_BYTES: usize = 8192;

/// A signature algorithm. One verifier knows exactly one, so that a token cannot choose how it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256 over a shared secret.
    HS256,
    /// RSA PKCS#1 v1.5 with SHA-256, keys of 2048 to 8192 bits.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
}

impl Algorithm {
    /// The name in the `alg` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = JwtConfigError;

    /// Reads the exact, case-sensitive name; everything else, `none` included, is an error in `algorithm`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "HS256" => Ok(Self::HS256),
            "RS256" => Ok(Self::RS256),
            "ES256" => Ok(Self::ES256),
            _ => Err(JwtConfigError::new("algorithm", "must be HS256, RS256 or ES256")),
        }
    }
}

/// What tokens must look like. Build with [`JwtConfig::new`] and set the rest by field.
///
/// `Debug` prints no key material.
#[derive(Clone)]
pub struct JwtConfig {
    /// The one algorithm accepted.
    pub algorithm: Algorithm,
    /// HS256: the secret, at least [`MIN_SECRET_BYTES`]. RS256, ES256: a PEM public key.
    pub key: Vec<u8>,
    /// The key before the last rotation, same form as `key`; tried when the signature is bad or `kid` differs.
    /// Default: none.
    pub previous_key: Option<Vec<u8>>,
    /// When set, the token's `kid` header must equal it (not enforced for `previous_key`). Default: none.
    pub key_id: Option<String>,
    /// When set, `iss` must equal it. Default: none, `iss` is not looked at.
    pub issuer: Option<String>,
    /// When set, `aud` must be it or contain it. Default: none, `aud` is not looked at.
    pub audience: Option<String>,
    /// Clock difference tolerated on `exp` and `nbf`, in seconds. Default: [`DEFAULT_LEEWAY_SECS`].
    pub leeway_secs: u64,
    /// Let a token without `iss`/`aud` pass although `issuer`/`audience` is set, as the published engine does.
    /// A present but different claim is refused in any case. Default: false.
    pub allow_missing_claims: bool,
    /// Longest token looked at, in bytes. Default: [`DEFAULT_MAX_TOKEN_BYTES`].
    pub max_token_bytes: usize,
}

impl JwtConfig {
    /// A configuration with every default, for this algorithm and key.
    pub fn new(algorithm: Algorithm, key: impl Into<Vec<u8>>) -> Self {
        Self {
            algorithm,
            key: key.into(),
            previous_key: None,
            key_id: None,
            issuer: None,
            audience: None,
            leeway_secs: DEFAULT_LEEWAY_SECS,
            allow_missing_claims: false,
            max_token_bytes: DEFAULT_MAX_TOKEN_BYTES,
        }
    }

    /// Refuses what cannot be meant, before any key is parsed.
    pub(super) fn check(&self) -> Result<(), JwtConfigError> {
        // An empty expectation is an unset environment variable, and would match an empty claim.
        for (field, value) in [("keyId", &self.key_id), ("issuer", &self.issuer), ("audience", &self.audience)] {
            if value.as_deref() == Some("") {
                return Err(JwtConfigError::new(field, "must not be empty; leave it out to not check it"));
            }
        }
        if self.max_token_bytes == 0 {
            return Err(JwtConfigError::new("maxTokenBytes", "must be at least 1"));
        }
        Ok(())
    }
}

impl fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtConfig")
            .field("algorithm", &self.algorithm)
            .field("previous_key", &self.previous_key.is_some())
            .field("key_id", &self.key_id)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway_secs", &self.leeway_secs)
            .field("allow_missing_claims", &self.allow_missing_claims)
            .field("max_token_bytes", &self.max_token_bytes)
            .finish_non_exhaustive()
    }
}

/// A configuration that cannot work, found at start-up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("jwt.{field}: {reason}")]
pub struct JwtConfigError {
    /// The option below `jwt`, spelled as in the public API: `algorithm`, `secret` (our `key`),
    /// `previousSecret`, `keyId`, `issuer`, `audience` or `maxTokenBytes`.
    pub field: &'static str,
    /// What is wrong and, where it helps, what to do. Contains no key material.
    pub reason: &'static str,
}

impl JwtConfigError {
    pub(super) const fn new(field: &'static str, reason: &'static str) -> Self {
        Self { field, reason }
    }
}

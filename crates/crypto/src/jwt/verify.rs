//! Owns the way of a token: size, header, key id, signature, claims, in this order.
//! Never reads the clock and never says to a peer which step failed.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::{Map, Value};

use super::claims::{self, Claims};
use super::config::{Algorithm, JwtConfig, JwtConfigError};
use super::error::JwtError;
use super::key::VerifyKey;
use super::strict::StrictValue;

/// Bytes of a `kid` that [`JwtVerifier::kid`] hands out.
pub const MAX_KID_BYTES: usize = 256;

/// Checks tokens against one [`JwtConfig`]. Built once, shared by every thread.
pub struct JwtVerifier {
    config: JwtConfig,
    /// `None`: the caller brings the key of each token.
    key: Option<VerifyKey>,
    previous: Option<VerifyKey>,
}

/// A key that somebody else keeps, for [`JwtVerifier::verify_with`].
pub struct JwtKey(VerifyKey);

impl JwtKey {
    /// Parses the secret of HS256, or the PEM public key of RS256 and ES256.
    ///
    /// # Errors
    /// [`JwtConfigError`] in `key`: what [`JwtVerifier::new`] would refuse too.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, JwtConfigError> {
        VerifyKey::new(algorithm, bytes, "key").map(Self)
    }
}

impl JwtVerifier {
    /// Parses the keys and refuses a configuration that cannot work.
    ///
    /// # Errors
    /// [`JwtConfigError`] with the offending option: a secret below 32 bytes or that is a public key, a PEM of
    /// the wrong kind, an RSA key out of 2048..=8192 bits, a curve other than P-256, an empty expectation, a zero
    /// limit.
    pub fn new(config: JwtConfig) -> Result<Self, JwtConfigError> {
        config.check()?;
        let algorithm = config.algorithm;
        let key = Some(VerifyKey::new(algorithm, &config.key, "secret")?);
        let previous = config.previous_key.as_deref();
        let previous = previous.map(|bytes| VerifyKey::new(algorithm, bytes, "previousSecret")).transpose()?;
        Ok(Self { config, key, previous })
    }

    /// A verifier without keys: for each token its caller finds the key [`kid`](Self::kid) names. `config.key`, `previous_key` and
    /// `key_id` are not looked at.
    ///
    /// # Errors
    /// [`JwtConfigError`] for an empty expectation or a zero limit.
    pub fn keyless(config: JwtConfig) -> Result<Self, JwtConfigError> {
        let config = JwtConfig { key: Vec::new(), previous_key: None, key_id: None, ..config };
        config.check()?;
        Ok(Self { config, key: None, previous: None })
    }

    /// The one algorithm accepted.
    pub fn algorithm(&self) -> Algorithm {
        self.config.algorithm
    }

    /// The key a token says it was signed with (`kid`, RFC 7515 §4.1.4), if it says one. Nothing of it is believed: it only names
    /// a key, never an algorithm.
    ///
    /// # Errors
    /// [`JwtError::Invalid`] for what no key would make valid: its form, its algorithm, a name of more than [`MAX_KID_BYTES`].
    pub fn kid(&self, token: &str) -> Result<Option<String>, JwtError> {
        let header = self.split(token)?.header(&self.config)?;
        let kid = header.kid.map(Cow::into_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(JwtError::Invalid("kid is too long"));
        }
        Ok(kid)
    }

    /// As [`verify`](Self::verify), with a key that was found elsewhere.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_with(&self, key: &JwtKey, token: &str, now_unix_secs: u64) -> Result<Claims, JwtError> {
        let token = self.split(token)?;
        token.header(&self.config)?;
        if !token.is_signed_by(&key.0, &from_base64(token.signature)?) {
            return Err(JwtError::Invalid("bad signature"));
        }
        let (claims, exp) = self.claims(&token, now_unix_secs)?;
        subject_of(claims, exp)
    }

    /// Verifies a token for a connection. `now_unix_secs` is the caller's clock, seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`JwtError::Invalid`] for everything wrong with the token, [`JwtError::MissingSubject`] when only `sub` is.
    pub fn verify(&self, token: &str, now_unix_secs: u64) -> Result<Claims, JwtError> {
        let (claims, exp) = self.believe(token, now_unix_secs)?;
        subject_of(claims, exp)
    }

    /// All claims of a valid token, `None` for any other. Unlike [`verify`](Self::verify) it asks neither for a
    /// subject nor for a well-formed `wse_topics`: the token may be one for another purpose.
    pub fn decode(&self, token: &str, now_unix_secs: u64) -> Option<Value> {
        self.believe(token, now_unix_secs).ok().map(|(claims, _)| Value::Object(claims))
    }

    fn believe(&self, token: &str, now: u64) -> Result<(Map<String, Value>, u64), JwtError> {
        let token = self.split(token)?;
        let header = token.header(&self.config)?;
        let kid_differs = self.config.key_id.is_some() && header.kid.as_deref() != self.config.key_id.as_deref();
        let signature = from_base64(token.signature)?;

        // Rotation: the previous key answers for tokens of before, whose kid is the one of before.
        let is_by = |key: &VerifyKey| token.is_signed_by(key, &signature);
        let good = (!kid_differs && self.key.as_ref().is_some_and(is_by)) || self.previous.as_ref().is_some_and(is_by);
        if !good {
            return Err(JwtError::Invalid(if kid_differs { "kid differs" } else { "bad signature" }));
        }
        self.claims(&token, now)
    }

    fn split<'a>(&self, token: &'a str) -> Result<Token<'a>, JwtError> {
        if token.len() > self.config.max_token_bytes {
            return Err(JwtError::Invalid("too long"));
        }
        Token::split(token)
    }

    /// The claims of a token whose signature is good.
    fn claims(&self, token: &Token<'_>, now: u64) -> Result<(Map<String, Value>, u64), JwtError> {
        let claims = from_base64(token.claims)?;
        let Ok(StrictValue(Value::Object(claims))) = serde_json::from_slice(&claims) else {
            return Err(JwtError::Invalid("claims are not an object with unique members"));
        };
        let exp = claims::check(&claims, &self.config, now)?;
        Ok((claims, exp))
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier").field("config", &self.config).finish_non_exhaustive()
    }
}

/// One-off [`JwtVerifier::decode`]: `None` for a bad configuration as for a bad token.
/// Parses the keys on every call; keep a [`JwtVerifier`] where that matters.
pub fn decode(token: &str, config: JwtConfig, now_unix_secs: u64) -> Option<Value> {
    JwtVerifier::new(config).ok()?.decode(token, now_unix_secs)
}

/// The parts of a compact JWS, still base64url.
struct Token<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// `header.claims`, what the signature covers.
    message: &'a str,
}

impl<'a> Token<'a> {
    fn split(token: &'a str) -> Result<Self, JwtError> {
        const SHAPE: JwtError = JwtError::Invalid("not three parts");
        let (message, signature) = token.rsplit_once('.').ok_or(SHAPE)?;
        let (header, claims) = message.split_once('.').ok_or(SHAPE)?;
        if claims.contains('.') {
            return Err(SHAPE);
        }
        Ok(Self { header, claims, signature, message })
    }

    /// The header, whose `alg` and `crit` are in order.
    fn header(&self, config: &JwtConfig) -> Result<Header<'static>, JwtError> {
        let header = from_base64(self.header)?;
        // The derive would also read the members from an array, by their order.
        if header.trim_ascii_start().first() != Some(&b'{') {
            return Err(JwtError::Invalid("header is not an object"));
        }
        let header: Header<'_> =
            serde_json::from_slice(&header).map_err(|_| JwtError::Invalid("header is not understood"))?;
        if header.alg != config.algorithm.as_str() {
            return Err(JwtError::Invalid("alg differs"));
        }
        // RFC 7515 §4.1.11: an extension that must be understood and is not refuses the token. We know none.
        if header.crit {
            return Err(JwtError::Invalid("crit is not supported"));
        }
        Ok(Header {
            alg: config.algorithm.as_str().into(),
            kid: header.kid.map(|kid| kid.into_owned().into()),
            crit: false,
        })
    }

    fn is_signed_by(&self, key: &VerifyKey, signature: &Vec<u8>) -> bool {
        key.verify(self.message.as_bytes(), signature)
    }
}

/// What a believed token says of a connection.
fn subject_of(claims: Map<String, Value>, exp: u64) -> Result<Claims, JwtError> {
    let topics = claims::topics(&claims)?;
    let sub = claims::subject(&claims)?;
    let (iat, jti) = (claims::issued_at(&claims), claims::id(&claims));
    Ok(Claims { sub, exp, iat, jti, topics, raw: Value::Object(claims) })
}

/// The header members that decide. `jku`, `jwk`, `x5u` and the like are never followed: the key is ours.
/// The derive refuses these members when they come twice.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Strict base64url: no padding, no whitespace, no stray trailing bits, so one token has one spelling.
fn from_base64(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Invalid("not base64url"))
}

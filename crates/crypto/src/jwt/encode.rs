//! Owns the making of tokens, for hosts that log their users in themselves and for tests.
//! Never adds, checks or drops a claim.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::config::{Algorithm, JwtConfigError};
use super::key::SignKey;

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtEncodeError {
    /// Claims must be a JSON object.
    #[error("claims must be an object")]
    ClaimsNotAnObject,
    /// The key is not one this algorithm signs with.
    #[error(transparent)]
    Key(#[from] JwtConfigError),
}

/// Makes a token of `claims`, which are used as they are: no `iat`, no `exp` is added.
///
/// `key` is the secret of HS256 (at least 32 bytes) or the PEM private key of RS256/ES256 (ES256: PKCS#8).
/// Parses the key on every call.
///
/// # Errors
/// [`JwtEncodeError::Key`] with the field `key`, or [`JwtEncodeError::ClaimsNotAnObject`].
pub fn encode(claims: &Value, key: &[u8], algorithm: Algorithm, kid: Option<&str>) -> Result<String, JwtEncodeError> {
    let signer = SignKey::new(algorithm, key, "key")?;
    if !claims.is_object() {
        return Err(JwtEncodeError::ClaimsNotAnObject);
    }
    let mut header = json!({ "alg": algorithm.as_str(), "typ": "JWT" });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let signature = signer.sign(token.as_bytes()).ok_or(JwtConfigError::new("key", "does not fit the algorithm"))?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

//! Owns the decision whether a JSON Web Token is to be believed, and the making of tokens.
//! Never reads the clock, never looks for the token in a request, never tells the peer why it was refused.
//!
//! What happens in which order:
//!
//! ```text
//! config   what the operator wants           -> refused at start-up when it cannot be meant
//! key      configured bytes -> usable keys      one algorithm, bound to the key
//! verify   token -> header -> kid -> signature -> claims
//! strict   JSON without duplicate members
//! claims   exp, nbf, iss, aud, sub, wse_topics
//! encode   claims -> token
//! ```
//!
//! The library (`jsonwebtoken`) reads keys and checks signatures. Header and claims are judged here, because
//! the caller's clock must be used, because a `nbf` that is a string must refuse the token instead of skipping
//! the check (CVE-2026-25537), and because duplicate members must refuse it too.

mod claims;
mod config;
mod encode;
mod error;
mod key;
mod strict;
mod verify;

pub use claims::{Claims, MAX_EXP, MAX_GRANT_PATTERN_BYTES, MAX_GRANT_PATTERNS, TopicGrant};
pub use config::{
    Algorithm, DEFAULT_LEEWAY_SECS, DEFAULT_MAX_TOKEN_BYTES, JwtConfig, JwtConfigError, MIN_SECRET_BYTES,
};
pub use encode::{JwtEncodeError, encode};
pub use error::JwtError;
pub use verify::{JwtKey, JwtVerifier, MAX_KID_BYTES, decode};

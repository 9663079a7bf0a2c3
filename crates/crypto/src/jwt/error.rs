//! Owns the reasons a token is refused for. Never decides whether one is.

/// Why a token was refused.
///
/// The text of [`JwtError::Invalid`] is for the operator's log: a peer that hears the reason learns which of
/// its guesses was close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not a token, not ours, not now, or not for us.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// Everything is in order except that `sub` is missing, empty or not a string.
    #[error("token has no subject")]
    MissingSubject,
}

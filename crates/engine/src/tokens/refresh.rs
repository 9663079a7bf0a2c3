//! What exchanging a connection's token came to, and who is told.

/// A token that was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    /// When the new one expires, Unix seconds, leeway not included; `None`: the connection does not end with it.
    pub expires_at: Option<u64>,
}

/// Why a token was not exchanged: nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The engine verifies no tokens.
    #[error("the engine verifies no tokens")]
    NoAuth,
    /// Nobody has this id, or it is about to close.
    #[error("there is no such connection")]
    UnknownConnection,
    /// Wrong signature, expired, not valid yet, longer than it may be, or anything else that is wrong with a token alone.
    #[error("the token is not valid")]
    Invalid,
    /// It is valid, and was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// Its `sub` is not that of the connection's token.
    #[error("the token is another user's")]
    OtherUser,
    /// The key it names could not be had in time, or too many wait for theirs.
    #[error("the token cannot be checked now")]
    Unavailable,
    /// Another one of this connection waits for its key.
    #[error("another refresh of this connection is under way")]
    Busy,
}

/// Called, from any thread, with what became of a refresh.
type Tell = Box<dyn FnOnce(Result<Refreshed, RefreshError>) + Send>;

/// The host that waits for what becomes of a refresh. It hears of it in any case, once.
pub(crate) struct Told(Option<Tell>);

impl Told {
    /// `tell` is called once.
    pub(crate) fn new(tell: impl FnOnce(Result<Refreshed, RefreshError>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells it.
    pub(crate) fn tell(mut self, outcome: Result<Refreshed, RefreshError>) {
        if let Some(tell) = self.0.take() {
            tell(outcome);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(RefreshError::UnknownConnection));
        }
    }
}

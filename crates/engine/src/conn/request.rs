//! What a client asks of its shard, as it came: the payload of a message that only the shard can answer. Reads nothing of it.

/// A message that its shard answers.
pub(crate) enum Request {
    /// `subscription_update`.
    Update(Box<[u8]>),
    /// `sync_request`.
    Sync(Box<[u8]>),
    /// `auth_refresh`, its token.
    Refresh(Box<str>),
}

impl Request {
    /// Bytes it holds.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Update(payload) | Self::Sync(payload) => payload.len(),
            Self::Refresh(token) => token.len(),
        }
    }
}

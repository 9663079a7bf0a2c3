//! Calls about the tokens of open connections.

use std::sync::atomic::Ordering::Relaxed;

use wse_protocol::close_code::CloseCode;

use super::Engine;
use crate::clock::unix_millis;
use crate::id::ConnId;
use crate::mailbox::Command;
use crate::tokens::{RefreshError, Refreshed, Revocation, RevocationsFull, Told};

/// Bytes of a token that is looked at; the verifier's own limit is lower.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

impl Engine {
    /// Exchanges the token of a connection for another one of the same user: its expiry, its topics and what it is revoked by, in
    /// one step. `tell` is called once, from any thread, with what became of it; on an error nothing has changed.
    pub fn refresh_token(
        &self,
        to: ConnId,
        token: &str,
        tell: impl FnOnce(Result<Refreshed, RefreshError>) + Send + 'static,
    ) {
        let told = Told::new(tell);
        if self.shared.config.auth.is_none() {
            return told.tell(Err(RefreshError::NoAuth));
        }
        if !self.shared.registry.contains(to) {
            return told.tell(Err(RefreshError::UnknownConnection));
        }
        if token.len() > MAX_TOKEN_BYTES {
            return told.tell(Err(RefreshError::Invalid));
        }
        self.shared.shards[to.shard()].mailbox.command(Command::Refresh { to, token: token.into(), told });
    }

    /// Believes no such token any more, neither in a handshake nor in a refresh, and closes the connections that are open with one:
    /// 4401. Returns how many those were.
    ///
    /// # Errors
    /// There is no room in the list: nothing was done.
    pub fn revoke(&self, revocation: &Revocation) -> Result<usize, RevocationsFull> {
        let shared = &self.shared;
        shared.revocations.add(revocation, unix_millis() / 1000)?;
        // Handshakes and refreshes that believed one before look again once they can be found.
        let meant = shared.registry.revoked_by(revocation);
        for id in &meant {
            let close = Command::Close { to: *id, code: CloseCode::UNAUTHORIZED, reason: "Token revoked".into() };
            shared.shards[id.shard()].mailbox.command(close);
        }
        shared.counters.revoked.fetch_add(meant.len() as u64, Relaxed);
        Ok(meant.len())
    }

    /// Whether tokens are verified at all.
    pub fn verifies_tokens(&self) -> bool {
        self.shared.config.auth.is_some()
    }
}

//! A connection's token as all threads see it: whether it is revoked, whose the next one must be, and what it changes.

use std::sync::Arc;

use wse_crypto::jwt::Claims;
use wse_protocol::topic::Acl;

use super::{Peer, Registry};
use crate::clock::Millis;
use crate::id::ConnId;
use crate::tokens::{Attempt, Credential, Named, Revocation, Rights};

impl Peer {
    /// Asks something of what is kept of its token; `None`: nothing is.
    fn with_credential<T>(&self, ask: impl FnOnce(&mut Credential, Option<&str>) -> T) -> Option<T> {
        let mut details = self.details.lock();
        let extras = details.extras.as_deref_mut()?;
        let user = extras.user.clone();
        extras.credential.as_deref_mut().map(|credential| ask(credential, user.as_deref()))
    }

    /// Whether its token is one of those `revoked` says yes to.
    pub(crate) fn token_is(&self, revoked: impl FnOnce(&Named<'_>) -> bool) -> bool {
        self.with_credential(|credential, user| revoked(&credential.named(user))) == Some(true)
    }

    /// Whether its token names this user.
    pub(crate) fn is_of(&self, sub: &str) -> bool {
        self.token_is(|token| token.sub == sub)
    }

    /// Its client asks for another token.
    pub(crate) fn attempt_refresh(&self, now: Millis) -> Attempt {
        self.with_credential(|credential, _| credential.attempt(now)).unwrap_or(Attempt::TooOften)
    }

    /// That has failed; returns whether it was one failure too many.
    pub(crate) fn fail_refresh(&self) -> bool {
        self.with_credential(|credential, _| credential.fail()) == Some(true)
    }

    /// It has another token of the same user, which grants this. Returns whether that changes what it may have: not where the
    /// host has said what that is.
    pub(crate) fn exchange(&self, claims: &Claims, acl: Option<Arc<Acl>>) -> bool {
        // The ACL's lock within that of the details, here and below, and nothing within it: the host may say something else at this
        // moment, and whoever holds the details may ask what is allowed.
        let mut details = self.details.lock();
        let credential = details.extras.as_deref_mut().and_then(|extras| extras.credential.as_deref_mut());
        let rights = credential.map(|credential| {
            credential.exchange(claims);
            credential.rights
        });
        let mut own = self.acl.write();
        if rights == Some(Rights::Host) || *own == acl {
            return false;
        }
        let extras = details.extras.get_or_insert_default();
        extras.rights = extras.rights.wrapping_add(1);
        *own = acl;
        true
    }

    /// The host says what it may have; tokens do not change that any more. `counted`: somebody may ask for [`Self::rights`], for which
    /// nobody else pays.
    pub(crate) fn set_acl(&self, acl: Option<Arc<Acl>>, counted: bool) {
        let mut details = self.details.lock();
        if counted {
            // Before it changes: who sees the new one sees this.
            let extras = details.extras.get_or_insert_default();
            extras.rights = extras.rights.wrapping_add(1);
        }
        if let Some(credential) = details.extras.as_deref_mut().and_then(|extras| extras.credential.as_deref_mut()) {
            credential.rights = Rights::Host;
        }
        *self.acl.write() = acl;
    }

    /// How often what it may have has become something else, as far as that is counted.
    pub(crate) fn rights(&self) -> u32 {
        self.details.lock().extras.as_ref().map_or(0, |extras| extras.rights)
    }

    /// What it may have, for many questions; `None`: everything.
    pub(crate) fn acl(&self) -> Option<Arc<Acl>> {
        self.acl.read().clone()
    }

    /// What a token allows that it was given since it came: what was promised to it before may be on its way still. `None`:
    /// everything, or it was given none.
    pub(crate) fn refreshed_acl(&self) -> Option<Arc<Acl>> {
        let refreshed = self.with_credential(|credential, _| credential.rights == Rights::Refreshed);
        if refreshed == Some(true) { self.acl() } else { None }
    }
}

impl Registry {
    /// The connections whose token this revokes, but those that close already. Walks all of them.
    pub(crate) fn revoked_by(&self, revocation: &Revocation) -> Vec<ConnId> {
        let meant =
            self.peers.iter().filter(|peer| !peer.is_closing() && peer.token_is(|token| revocation.matches(token)));
        meant.map(|peer| peer.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Speech;

    #[test]
    fn who_gets_other_rights_pays_for_their_count_only_where_somebody_asks() {
        let peer = Peer::new(ConnId::new(0, 0, 1), uuid::Uuid::nil(), Speech::Json, None, &Arc::default());
        let deny = || Acl::new(&[], &["a".to_owned()]).ok().map(Arc::new);
        peer.set_acl(deny(), false);
        assert!(!peer.allows("a") && peer.details.lock().extras.is_none());
        peer.set_acl(None, true);
        assert_eq!((peer.allows("a"), peer.rights()), (true, 1));
    }
}

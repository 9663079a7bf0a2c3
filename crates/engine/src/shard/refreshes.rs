//! Tokens of open connections that wait for the keys they name: at most one per connection, and as many in all as handshakes may.

use std::collections::HashMap;

use crate::admission::Place;
use crate::asking::Kid;
use crate::clock::Millis;
use crate::tokens::Told;

/// Tokens that wait for their keys, by the slot of their connection.
#[derive(Default)]
pub(super) struct Refreshes(pub(super) HashMap<u32, Waiting, foldhash::fast::RandomState>);

/// One of them.
pub(super) struct Waiting {
    pub(super) token: Box<str>,
    pub(super) kid: Kid,
    pub(super) by: By,
    pub(super) until: Millis,
    /// One of those that may wait.
    pub(super) _place: Place,
}

/// Who gives a connection a token.
pub(super) enum By {
    Client,
    Host(Told),
}

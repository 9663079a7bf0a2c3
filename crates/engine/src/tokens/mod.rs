//! Tokens whose connections are open: what is kept of each (`credential`), which are revoked (`revocations`), and what exchanging
//! one came to (`refresh`). Verifies none and knows no connection.

mod credential;
mod refresh;
mod revocations;

pub(crate) use credential::{Attempt, Credential, Rights};
pub(crate) use refresh::Told;
pub use refresh::{RefreshError, Refreshed};
pub(crate) use revocations::{Named, Revocations};
pub use revocations::{Revocation, RevocationsFull};

//! From a TCP connect to an admitted socket: `listener` accepts and bounds, `http` reads the request, `handshake` decides.
//! Nothing here knows topics or messages.

pub(crate) mod handshake;
mod http;
mod listener;
mod pending;

pub(crate) use listener::{Listener, bind};
pub(crate) use pending::{Pending, Permit};

//! From a TCP connect to an admitted socket: `listener` accepts, or an HTTP server of the host does (`handed`), `arrival` bounds,
//! `http` reads the request, `judge` decides, `parked` waits for what the host says, `handshake` is the way of it all.
//! Nothing here knows topics or messages.

mod arrival;
mod ask;
mod door;
mod handed;
mod handshake;
mod host;
mod http;
mod judge;
mod listener;
mod listening;
mod parked;
mod probe;
mod proxied;

pub(crate) use door::Question;
pub use door::Relay;
pub use handed::PumpedPeer;
pub(crate) use handed::{pump, take};
pub(crate) use handshake::begin as handshake;
pub(crate) use listener::{Acceptor, Listener, bind};
pub(crate) use listening::Listening;
pub use probe::Reply;
pub(crate) use probe::reply;

/// The response to whoever finds the server full or leaving.
pub(super) const UNAVAILABLE: &str = http::Refusal::Unavailable.response();

/// The door of the fuzz targets to the request parser: the status that refuses `head`, or `None` for an upgrade.
pub(super) fn refusal_status(head: &[u8]) -> Option<u16> {
    let response = http::parse(head).err()?.response();
    response.split(' ').nth(1)?.parse().ok()
}

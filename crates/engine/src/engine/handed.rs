//! Sockets that an HTTP server of the host hands over after it has read an upgrade request from them. Each call takes it whole or
//! leaves it as it was.

use std::net::TcpStream;

use super::Engine;
use crate::net::{self, PumpedPeer};
use crate::outlet::Source;

impl Engine {
    /// Serves a connected stream socket like one that came through the engine's own port, without its TLS. `request` is all that
    /// has been read from it: the head of an upgrade request and what came behind. `source`: where it comes from, if it was
    /// released by an engine ([`crate::Released`]); `None`: where its ends say. Any thread; never waits. `false`: it is not
    /// served, because the engine does not run or has no place for it, and `stream`, which is dropped, was not written to; a
    /// duplicate of its descriptor can still answer.
    #[must_use]
    pub fn take_upgrade(&self, stream: TcpStream, request: Vec<u8>, source: Option<Source>) -> bool {
        let open = self.open.lock();
        *open && net::take(&self.shared, stream, request, source)
    }

    /// The same for a peer that only the host can read from and write to. The engine connects to `port` of this machine, where
    /// the host listens and pumps; the first bytes there are `key`, by which the host knows which peer it is about.
    #[must_use]
    pub fn pump_upgrade(&self, port: u16, key: &[u8], request: Vec<u8>, peer: &PumpedPeer) -> bool {
        let open = self.open.lock();
        *open && net::pump(&self.shared, port, key, request, peer)
    }

    /// From here on no socket is taken: what is taken now reaches a shard before its end does.
    pub(super) fn shut(&self) {
        *self.open.lock() = false;
    }
}

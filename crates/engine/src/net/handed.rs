//! Sockets that come from an HTTP server of the host, which has read an upgrade request from them: as they are, or pumped through
//! by the host. The request is judged as any other is (`handshake`). Closes no socket that is not the engine's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use socket2::{SockAddr, SockRef, Type};

use super::arrival::{Arrival, NOWHERE, admit, tune};
use crate::mailbox::Handed;
use crate::metrics::bump;
use crate::outlet::Source;
use crate::shared::Shared;

/// Who is behind a socket that the host pumps through.
#[derive(Debug, Clone)]
pub struct PumpedPeer {
    /// Where the peer comes from; `None`: nobody knows, and no limit per address holds.
    pub address: Option<IpAddr>,
    /// The host's end of its socket is a loopback address.
    pub loopback: bool,
    /// It speaks TLS.
    pub secure: bool,
}

/// Takes a connected stream socket from which `request`, and nothing else, has been read: a whole head and what came behind it.
/// `source`: where it comes from, if an engine has judged it before. `false`: it is not taken, and `stream` is dropped.
pub(crate) fn take(shared: &Arc<Shared>, stream: TcpStream, request: Vec<u8>, source: Option<Source>) -> bool {
    let ends = stream.set_nonblocking(true).and_then(|()| ends(&stream));
    let Ok(ends) = ends else { return refuse(shared) };
    let Source { address, loopback } = source.unwrap_or(ends);
    let handed = Handed { secure: false, key: None };
    bring(shared, address, |address| Ok(Arrival { stream, address, loopback, early: request, handed: Some(handed) }))
}

/// Connects to the host at `port` of this machine and serves what it pumps through; `key` is written first. `false`: nothing was
/// begun. Never waits: who does not get through is a handshake that fails.
pub(crate) fn pump(shared: &Arc<Shared>, port: u16, key: &[u8], request: Vec<u8>, peer: &PumpedPeer) -> bool {
    let PumpedPeer { address, loopback, secure } = *peer;
    let handed = Handed { secure, key: Some(key.into()) };
    let taken = bring(shared, address, |address| {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = mio::net::TcpStream::connect(host)?.into();
        Ok(Arrival { stream, address, loopback, early: request, handed: Some(handed) })
    });
    if taken {
        bump(&shared.counters.pumped);
    }
    taken
}

/// Sends an arrival on its way if it may come. As at the engine's own port nobody comes while the host does not read: connect
/// events are never shed.
fn bring(shared: &Arc<Shared>, address: Option<IpAddr>, arrive: impl FnOnce(IpAddr) -> io::Result<Arrival>) -> bool {
    if shared.inbound.all_over() {
        return refuse(shared);
    }
    let Some(permit) = admit(shared, address) else { return false };
    let Ok(arrival) = arrive(address.unwrap_or(NOWHERE)) else { return refuse(shared) };
    tune(SockRef::from(&arrival.stream));
    arrival.dispatch(shared, permit);
    true
}

fn refuse(shared: &Shared) -> bool {
    bump(&shared.counters.rejected);
    false
}

/// Where a socket comes from, `None` for one of this machine that has no address (`AF_UNIX`), and whether its own end is a loopback
/// address. Fails for what is no connected stream.
fn ends(stream: &TcpStream) -> io::Result<Source> {
    let socket = SockRef::from(stream);
    if socket.r#type()? != Type::STREAM {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (peer, own) = (socket.peer_addr()?, socket.local_addr()?);
    let ip = |address: &SockAddr| address.as_socket().map(|address| address.ip());
    Ok(Source { address: ip(&peer), loopback: ip(&own).is_some_and(|own| own.to_canonical().is_loopback()) })
}

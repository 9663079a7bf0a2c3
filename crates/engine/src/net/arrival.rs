//! A socket's way to the emptiest shard, whoever accepted it: who may take a handshake's place, and the options of the sockets of
//! connections. Reads nothing and refuses nobody by itself.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use socket2::SockRef;

use crate::admission::{Full, Permit, Place};
use crate::mailbox::{Command, Handed, Incoming};
use crate::metrics::bump;
use crate::shared::Shared;

/// Bytes a socket's buffer may hold that are not on their way: what is behind them waits in our queue, where it is measured and
/// bounded, and not for seconds in the system's, which grows to megabytes for a reader that is slower than a flood.
#[cfg(target_os = "linux")]
pub(super) const NOTSENT_BYTES: u32 = 32 * 1024;

/// The address of a peer that has none, which is on this machine.
pub(super) const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A socket that does not block, and what is known of it.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    /// Where it comes from.
    pub(super) address: IpAddr,
    /// Its own end is a loopback address, or so is what its listener is bound to.
    pub(super) loopback: bool,
    /// What has been read from it already.
    pub(super) early: Vec<u8>,
    /// How it came, if not through the engine's own port.
    pub(super) handed: Option<Handed>,
}

/// A handshake's place for a peer at `address`, `None` for a peer without one; `None`: it is to be answered 503, which is counted
/// here.
pub(super) fn admit(shared: &Shared, address: Option<IpAddr>) -> Option<Permit> {
    let proxies = shared.config.trusted_proxies.as_ref();
    let counters = &shared.counters;
    // Where a port is shared others are served on it meanwhile; an upgrade is refused when it turns out to be one.
    if shared.draining.load(Relaxed) && shared.config.http.is_none() {
        bump(&counters.rejected);
        return None;
    }
    let permit = match address {
        Some(address) if !proxies.is_some_and(|proxies| proxies.contain(address)) => shared.admission.enter(address),
        _ => shared.admission.enter_for_others(),
    };
    let note = |full: &Full| {
        bump(&counters.rejected);
        bump(if *full == Full::Address { &counters.full_address } else { &counters.full_pending });
    };
    permit.inspect_err(note).ok()
}

impl Arrival {
    /// Sends it to the shard that has the fewest.
    pub(super) fn dispatch(self, shared: &Arc<Shared>, permit: Permit) {
        let Some(shard) = shared.shards.iter().min_by_key(|shard| shard.load.load(Relaxed)) else { return };
        let Self { stream, address, loopback, early, handed } = self;
        let (accepted, load) = (Instant::now(), Place::take(&shard.load));
        let incoming = Incoming { stream, accepted, address, loopback, early, handed, permit, load };
        shard.mailbox.command(Command::Accept(Box::new(incoming)));
    }
}

/// Sets the options of a connection's socket, or of a listening socket whose sockets inherit them. Best effort: a socket without
/// them works, only worse.
pub(super) fn tune(socket: SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(NOTSENT_BYTES);
}

/// The socket with what is good for messages, and not for downloads, as it was.
pub(super) fn untuned(stream: TcpStream) -> TcpStream {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(u32::MAX);
    stream
}

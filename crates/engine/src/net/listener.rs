//! The engine's own port: binds, accepts, and sends each socket on its way to a shard (`arrival`). Its thread does
//! nothing else, so a flood of connects cannot slow a broadcast down; an engine without threads calls [`Acceptor::accept`].

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::arrival::{Arrival, NOWHERE, admit};
use super::http::Refusal;
use super::listening::{Door, Listening, listen_in};
use crate::config::Config;
use crate::error::EngineError;
use crate::metrics::bump;
use crate::shared::Shared;

/// Pause after the system refused a socket (out of descriptors), and between looks at a host that does not read.
const PAUSE: Duration = Duration::from_millis(20);
/// Where connects come in a row, closer than this, they are accepted that far apart: one wake of this thread and one of a shard
/// then serve several. Who connects alone does not wait.
const GATHER: Duration = Duration::from_micros(200);
/// Sockets accepted between two looks at whether to end.
const ACCEPTS_IN_A_ROW: usize = 64;

/// Something waits to be accepted.
const CONNECTS: Token = Token(0);
/// The thread is to end.
const STOP: Token = Token(1);

/// The running accept thread; dropping it ends the thread.
pub(crate) struct Listener {
    pub(crate) address: Option<SocketAddr>,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Binds what the configuration names, if anything: a file, or a port beside others that do so if it is to be shared. Tries every
/// address the host resolves to.
pub(crate) fn bind(config: &Config) -> Result<Option<Listening>, EngineError> {
    let Config { host, port, reuse_port, backlog, unix, .. } = config;
    if let Some(path) = unix {
        return listen_in(path, *backlog).map(Some).map_err(|error| refused(path.display().to_string(), error));
    }
    let Some(port) = *port else { return Ok(None) };
    let name = || format!("{host}:{port}");
    let unavailable = |source| EngineError::AddressNotAvailable { address: name(), source };
    let addresses = (host.as_str(), port).to_socket_addrs().map_err(unavailable)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(address, *reuse_port, *backlog) {
            Ok(listener) => return Ok(Some(Listening::Port(listener))),
            Err(error) => last = error,
        }
    }
    Err(refused(name(), last))
}

fn refused(address: String, source: io::Error) -> EngineError {
    match source.kind() {
        io::ErrorKind::AddrInUse => EngineError::AddressInUse(address),
        io::ErrorKind::PermissionDenied => EngineError::Permission(address),
        _ => EngineError::AddressNotAvailable { address, source },
    }
}

fn listen(address: SocketAddr, reuse_port: bool, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Windows would let two processes share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    let _ = reuse_port;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Listener {
    /// Starts accepting.
    pub(crate) fn spawn(listening: Listening, shared: Arc<Shared>) -> io::Result<Self> {
        let address = listening.address()?;
        let poll = Poll::new()?;
        let stop = Waker::new(poll.registry(), STOP)?;
        let acceptor = Acceptor::new(listening, shared, poll.registry(), CONNECTS)?;
        let thread = std::thread::Builder::new().name("wse-accept".into()).spawn(move || acceptor.run(poll))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Closes the listening socket and waits for the thread, which never blocks for longer than it takes to wake it.
    pub(super) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // A thread that cannot be woken is not waited for.
        if self.stop.wake().is_ok() {
            // A panic of the thread has been reported by the hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What accepts: a thread, or the event loop of a host. Accepted sockets are never registered here: their shard does that, once.
pub(crate) struct Acceptor {
    door: Door,
    shared: Arc<Shared>,
    /// The listening socket is bound to a loopback address.
    loopback: bool,
    /// Nobody is accepted while the host does not read.
    paused: bool,
}

impl Acceptor {
    /// Has `registry` tell with `token` that somebody wants to connect.
    pub(crate) fn new(
        listening: Listening,
        shared: Arc<Shared>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        // No page of a browser can ask for a file.
        let loopback = listening.address()?.is_some_and(|address| address.ip().to_canonical().is_loopback());
        let door = listening.register(registry, token)?;
        Ok(Self { door, shared, loopback, paused: false })
    }

    fn run(mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(2);
        let mut looked: Option<Instant> = None;
        loop {
            let wait = self.accept();
            match poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Only a poll that was set up wrongly fails; going on would be spinning.
                Err(_) => return bump(&self.shared.counters.accept_errors),
            }
            if events.iter().any(|event| event.token() == STOP) {
                return;
            }
            if looked.replace(Instant::now()).is_some_and(|before| before.elapsed() < GATHER) {
                std::thread::sleep(GATHER);
                looked = Some(Instant::now());
            }
        }
    }

    /// Accepts some of what waits, unless the host does not read: connect events are never shed, so no more of them may arise
    /// then. Returns how long to wait before the next call, `None` = until something arrives.
    pub(crate) fn accept(&mut self) -> Option<Duration> {
        let paused = self.is_held();
        if paused && !std::mem::replace(&mut self.paused, true) {
            bump(&self.shared.counters.accept_pauses);
        }
        self.paused = paused;
        if paused { Some(PAUSE) } else { self.accept_some() }
    }

    /// Whether the host is behind with its events. Where it is asked for more than upgrades on this port, those wait instead.
    fn is_held(&self) -> bool {
        self.shared.config.http.is_none() && self.shared.inbound.all_over()
    }

    fn accept_some(&self) -> Option<Duration> {
        for _ in 0..ACCEPTS_IN_A_ROW {
            if self.is_held() {
                break;
            }
            match self.door.accept() {
                Ok((stream, peer)) => self.hand_over(stream, peer.map(|peer| peer.ip())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    bump(&self.shared.counters.accept_errors);
                    if !is_of_one_connection(&error) {
                        return Some(PAUSE);
                    }
                }
            }
        }
        Some(Duration::ZERO)
    }

    fn hand_over(&self, stream: TcpStream, peer: Option<IpAddr>) {
        let Self { shared, loopback, .. } = self;
        let Some(permit) = admit(shared, peer) else {
            // One attempt that cannot block: the socket's buffer is empty. TLS peers just see the connection end.
            if shared.config.tls.is_none() {
                let _ = io::Write::write(&mut &stream, Refusal::Unavailable.response().as_bytes());
            }
            return;
        };
        let address = peer.unwrap_or(NOWHERE);
        let arrival = Arrival { stream, address, loopback: *loopback, early: Vec::new(), handed: None };
        arrival.dispatch(shared, permit);
    }
}

/// Whether an error of `accept` is about the connection that was to be accepted, which is gone with it. The next may follow at
/// once: with a pause for each, a few resets would stop accepting. All others are the system's (descriptors, memory).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::net::arrival::{NOTSENT_BYTES, tune};
    #[cfg(target_os = "linux")]
    use socket2::SockRef;

    #[cfg(target_os = "linux")]
    #[test]
    fn accepted_sockets_inherit_what_is_tuned() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), false, 1).unwrap();
        tune(SockRef::from(&listener));
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break accepted.unwrap(),
            }
        };
        assert!(accepted.nodelay().unwrap());
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), NOTSENT_BYTES);
    }

    #[test]
    fn only_errors_of_the_system_pause_accepting() {
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset] {
            assert!(is_of_one_connection(&kind.into()), "{kind}");
        }
        assert!(!is_of_one_connection(&io::ErrorKind::OutOfMemory.into()));
        #[cfg(unix)]
        for (number, name) in [(24, "EMFILE"), (23, "ENFILE"), (12, "ENOMEM"), (9, "EBADF"), (22, "EINVAL")] {
            assert!(!is_of_one_connection(&io::Error::from_raw_os_error(number)), "{name}");
        }
        #[cfg(target_os = "macos")]
        assert!(is_of_one_connection(&io::Error::from_raw_os_error(53)), "ECONNABORTED");
    }
}

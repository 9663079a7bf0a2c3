//! The one accept path: binds, accepts, bounds what is pending, and hands each socket to the emptiest shard. Its thread does
//! nothing else, so a flood of connects cannot slow a broadcast down.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::http::Refusal;
use crate::error::EngineError;
use crate::mailbox::{Command, Incoming};
use crate::metrics::bump;
use crate::shared::Shared;

/// Connects the system may queue for us.
const BACKLOG: i32 = 4096;
/// Bytes a socket's buffer may hold that are not on their way: what is behind them waits in our queue, where it is measured and
/// bounded, and not for seconds in the system's, which grows to megabytes for a reader that is slower than a flood.
#[cfg(target_os = "linux")]
const NOTSENT_BYTES: u32 = 32 * 1024;
/// Pause after the system refused a socket (out of descriptors), and between looks at a host that does not drain.
const PAUSE: Duration = Duration::from_millis(20);

/// The running accept thread; dropping it ends the thread.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Binds `host:port`. Tries every address the name resolves to.
pub(crate) fn bind(host: &str, port: u16) -> Result<TcpListener, EngineError> {
    let name = || format!("{host}:{port}");
    let unavailable = |source| EngineError::AddressNotAvailable { address: name(), source };
    let addresses = (host, port).to_socket_addrs().map_err(unavailable)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::AddrInUse => EngineError::AddressInUse(name()),
        io::ErrorKind::PermissionDenied => EngineError::Permission(name()),
        _ => unavailable(last),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Windows would let two processes share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit both on Linux: no call for each of them.
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Listener {
    /// Starts accepting.
    pub(crate) fn spawn(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("wse-accept".into()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, shared) => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Closes the listening socket and waits for the thread, which never blocks.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
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

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Ok(stream) = stream.into_std() {
                    hand_over(&shared, stream, peer);
                }
            }
            Err(_) => {
                bump(&shared.counters.accept_errors);
                tokio::time::sleep(PAUSE).await;
            }
        }
        // Connect events are never shed, so while the host does not drain no more of them may arise.
        if shared.inbound.all_over() {
            bump(&shared.counters.accept_pauses);
        }
        while shared.inbound.all_over() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn hand_over(shared: &Shared, stream: std::net::TcpStream, peer: SocketAddr) {
    let permit = if shared.draining.load(Relaxed) { None } else { shared.admission.enter(peer.ip()) };
    let Some(permit) = permit else {
        bump(&shared.counters.rejected);
        // One attempt that cannot block: the socket's buffer is empty. TLS peers just see the connection end.
        if shared.config.tls.is_none() {
            let _ = io::Write::write(&mut &stream, Refusal::Unavailable.response().as_bytes());
        }
        return;
    };
    #[cfg(not(target_os = "linux"))]
    let _ = stream.set_nodelay(true);
    let Some(shard) = shared.shards.iter().min_by_key(|shard| shard.load.load(Relaxed)) else { return };
    shard.load.fetch_add(1, Relaxed);
    shard.mailbox.command(Command::Accept(Box::new(Incoming { stream, accepted: Instant::now(), permit })));
}

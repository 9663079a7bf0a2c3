//! Sockets that an HTTP server of Node hands over. The one place where a descriptor of Node's is looked at: it is duplicated, and
//! never closed here.

use std::net::{IpAddr, TcpStream};

use napi_derive::napi;
use wse_engine::PumpedPeer;

use crate::http::NativeSource;
use crate::server::NativeServer;

/// Who is behind a socket that is pumped; `address` is `null` where nobody knows.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativePumpedPeer {
    pub address: Option<String>,
    pub loopback: bool,
    pub secure: bool,
}

#[napi]
impl NativeServer {
    /// Serves an upgrade on a duplicate of `descriptor`, which belongs to a stream socket nobody reads from meanwhile, and stays
    /// open: closing it is the caller's. `request`: all that was read from it, the head and what came behind. `source`: where it
    /// comes from, if that is not what its ends say. false: it is not served, and nothing was written to it.
    #[napi]
    pub fn take_upgrade(&self, descriptor: i32, request: &[u8], source: Option<NativeSource>) -> bool {
        let source = source.and_then(NativeSource::into_source);
        duplicate(descriptor).is_some_and(|stream| self.engine.take_upgrade(stream, request.to_vec(), source))
    }

    /// Serves an upgrade of a peer whose bytes this process pumps to and from a connection the engine makes to `port` of this
    /// machine; `key` is what it says first. false: it is not served.
    #[napi]
    pub fn pump_upgrade(&self, port: u16, key: &[u8], request: &[u8], peer: NativePumpedPeer) -> bool {
        let NativePumpedPeer { address, loopback, secure } = peer;
        let address = address.and_then(|address| address.parse::<IpAddr>().ok());
        self.engine.pump_upgrade(port, key, request.to_vec(), &PumpedPeer { address, loopback, secure })
    }
}

/// A descriptor of our own for the same socket; `None`: there is none, or the system has none left.
#[cfg(unix)]
fn duplicate(descriptor: i32) -> Option<TcpStream> {
    use std::os::fd::BorrowedFd;

    if descriptor < 0 {
        return None;
    }
    // SAFETY: nothing is closed through it, and the caller's handle holds it open for the length of this call; if it did not, the
    // system would refuse the duplicate.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned().ok().map(TcpStream::from)
}

#[cfg(not(unix))]
fn duplicate(_: i32) -> Option<TcpStream> {
    None
}

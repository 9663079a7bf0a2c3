//! The socket of a connection, plain or TLS, behind a few non-blocking calls. Wakes the connection's peer, so that the connection
//! has its turn, when it can go on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wse_crypto::tls::TlsStream;

use crate::reactor::Stream;
use crate::registry::Peer;

/// A connection's socket. Only the most frequent kind stands in the connection itself: the other would make all larger.
pub(crate) enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

/// A clone of an `Arc`: cheaper than to keep one per connection.
fn waker(peer: &Arc<Peer>) -> Waker {
    Waker::from(Arc::clone(peer))
}

impl From<Stream> for Transport {
    fn from(stream: Stream) -> Self {
        Self::Plain(stream)
    }
}

impl From<TlsStream<Stream>> for Transport {
    fn from(stream: TlsStream<Stream>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

/// During the handshake a transport is an ordinary stream.
impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Transport {
    /// The bare socket, which nothing watches from here on; an error where there is TLS in between.
    pub(crate) fn into_socket(self) -> io::Result<std::net::TcpStream> {
        match self {
            Self::Plain(stream) => stream.into_std(),
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether what is written goes to the socket and nowhere in between.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Reads into `buffer`. `Ready(Ok(0))` is the end of the stream; `Pending`: `peer` is woken when there is more.
    pub(super) fn read_into(&mut self, peer: &Arc<Peer>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let waker = waker(peer);
        let mut cx = Context::from_waker(&waker);
        match self {
            Self::Plain(stream) => stream.poll_read_into(&cx, buffer),
            Self::Tls(stream) => {
                let mut into = ReadBuf::new(buffer);
                Pin::new(stream).poll_read(&mut cx, &mut into).map_ok(|()| into.filled().len())
            }
        }
    }

    /// Writes what the socket takes now. `None`: nothing, and `peer` is woken when it takes more.
    pub(super) fn try_write(&mut self, peer: &Arc<Peer>, bytes: &[u8]) -> Option<io::Result<usize>> {
        if let Self::Plain(stream) = self {
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Some(result),
            }
        }
        match Pin::new(self).poll_write(&mut Context::from_waker(&waker(peer)), bytes) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// Pushes out what TLS still holds. `false`: not all yet, and `peer` is woken.
    pub(super) fn try_flush(&mut self, peer: &Arc<Peer>) -> io::Result<bool> {
        if self.is_plain() {
            return Ok(true);
        }
        match Pin::new(self).poll_flush(&mut Context::from_waker(&waker(peer))) {
            Poll::Ready(result) => result.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Says that nothing more will be written, so that a Close arrives before the end of the stream.
    pub(super) fn shut_down(&mut self, peer: &Arc<Peer>) {
        // Best effort: a peer that is gone already is what we want.
        let _ = AsyncWrite::poll_shutdown(Pin::new(self), &mut Context::from_waker(&waker(peer)));
    }
}

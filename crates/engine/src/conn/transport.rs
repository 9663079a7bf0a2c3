//! The socket of a connection, plain or TLS, behind a few non-blocking calls. Wakes the connection's peer, so that the connection
//! has its turn, when it can go on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[cfg(target_os = "linux")]
use socket2::SockRef;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use wse_crypto::tls::TlsStream;

use super::stream::Stream;
use crate::reactor::ReactorStream;
use crate::registry::Peer;

/// A connection's socket. Only the most frequent kind stands in the connection itself: the others would make all larger.
pub(crate) enum Transport {
    Plain(TcpStream),
    Other(Box<dyn Wire>),
}

/// What a connection needs of the other kinds of sockets.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Whether what is written goes to the socket and nowhere in between.
    fn is_plain(&self) -> bool;

    /// The socket itself, for somebody else to go on with; what is left here is dropped.
    fn socket(&self) -> io::Result<std::net::TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads into `buffer`; `Pending`: nothing is there, and `cx` is woken when something is.
    fn read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(buffer);
        Pin::new(self).poll_read(cx, &mut into).map_ok(|()| into.filled().len())
    }
}

impl Wire for ReactorStream {
    fn socket(&self) -> io::Result<std::net::TcpStream> {
        self.duplicate()
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_into(cx, buffer)
    }
}

impl Wire for TlsStream<Stream> {
    fn is_plain(&self) -> bool {
        false
    }
}

/// Sends what the socket takes now, straight to it: of a new one the runtime does not know before its next look that it takes
/// anything.
#[cfg(target_os = "linux")]
fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let sent = SockRef::from(stream).send_with_flags(bytes, libc::MSG_NOSIGNAL);
    if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        // What the runtime remembers is out of date.
        return stream.try_io(Interest::WRITABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }
    sent
}

/// Sends what the socket takes now.
#[cfg(not(target_os = "linux"))]
fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    stream.try_write(bytes)
}

/// A clone of an `Arc`: cheaper than to keep one per connection.
fn waker(peer: &Arc<Peer>) -> Waker {
    Waker::from(Arc::clone(peer))
}

impl From<Stream> for Transport {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Runtime(stream) => Self::Plain(stream),
            Stream::Reactor(stream) => Self::Other(Box::new(stream)),
        }
    }
}

impl From<TlsStream<Stream>> for Transport {
    fn from(stream: TlsStream<Stream>) -> Self {
        Self::Other(Box::new(stream))
    }
}

/// During the handshake a transport is an ordinary stream.
impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Transport {
    /// The bare socket, which nothing watches from here on; an error where there is TLS in between.
    pub(crate) fn into_socket(self) -> io::Result<std::net::TcpStream> {
        match self {
            Self::Plain(stream) => stream.into_std(),
            Self::Other(stream) => stream.socket(),
        }
    }

    /// Whether what is written goes to the socket and nowhere in between.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Other(stream) => stream.is_plain(),
        }
    }

    /// Reads into `buffer`. `Ready(Ok(0))` is the end of the stream; `Pending`: `peer` is woken when there is more.
    pub(super) fn read_into(&mut self, peer: &Arc<Peer>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let waker = waker(peer);
        let mut cx = Context::from_waker(&waker);
        match self {
            Self::Plain(stream) => {
                let mut into = ReadBuf::new(buffer);
                Pin::new(stream).poll_read(&mut cx, &mut into).map_ok(|()| into.filled().len())
            }
            Self::Other(stream) => stream.read_into(&mut cx, buffer),
        }
    }

    /// Writes what the socket takes now. `None`: nothing, and `peer` is woken when it takes more.
    pub(super) fn try_write(&mut self, peer: &Arc<Peer>, bytes: &[u8]) -> Option<io::Result<usize>> {
        match self {
            Self::Plain(stream) => loop {
                match send(stream, bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Some(result),
                }
                match stream.poll_write_ready(&mut Context::from_waker(&waker(peer))) {
                    // Became writable in between: try again.
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Some(Err(error)),
                    Poll::Pending => return None,
                }
            },
            Self::Other(stream) => match Pin::new(stream).poll_write(&mut Context::from_waker(&waker(peer)), bytes) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            },
        }
    }

    /// Pushes out what TLS still holds. `false`: not all yet, and `peer` is woken.
    pub(super) fn try_flush(&mut self, peer: &Arc<Peer>) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Other(stream) => match Pin::new(stream).poll_flush(&mut Context::from_waker(&waker(peer))) {
                Poll::Ready(result) => result.map(|()| true),
                Poll::Pending => Ok(false),
            },
        }
    }

    /// Says that nothing more will be written, so that a Close arrives before the end of the stream.
    pub(super) fn shut_down(&mut self, peer: &Arc<Peer>) {
        // Best effort: a peer that is gone already is what we want.
        let _ = AsyncWrite::poll_shutdown(Pin::new(self), &mut Context::from_waker(&waker(peer)));
    }
}

//! A TCP socket during its handshake and below TLS: registered with tokio, or with the reactor of a shard that has no runtime.
//! Decides nothing: who drives the shard has.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::reactor::{Reactor, ReactorStream};

/// A socket that does not block.
pub(crate) enum Stream {
    Runtime(TcpStream),
    Reactor(ReactorStream),
}

impl Stream {
    /// Registers a socket that does not block: with `reactor`, or with the runtime of this thread.
    pub(crate) fn register(stream: std::net::TcpStream, reactor: Option<&Rc<Reactor>>) -> io::Result<Self> {
        match reactor {
            None => TcpStream::from_std(stream).map(Self::Runtime),
            Some(reactor) => reactor.adopt(stream).map(Self::Reactor),
        }
    }

    /// Waits until a connection that was begun is there.
    pub(crate) async fn connected(&self) -> io::Result<()> {
        match self {
            Self::Runtime(stream) => stream.writable().await,
            Self::Reactor(stream) => poll_fn(|cx| stream.poll_connected(cx)).await,
        }
    }

    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Runtime(stream) => stream.readable().await,
            Self::Reactor(stream) => {
                poll_fn(|cx| stream.poll_readable(cx)).await;
                // Believed to be readable is not known to be: nothing is lost by trying.
                Ok(())
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Runtime(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Reactor(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Runtime(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Reactor(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Runtime(stream) => Pin::new(stream).poll_flush(cx),
            Self::Reactor(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Runtime(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Reactor(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

//! The sockets of a shard: who of them is ready, as the system says. One descriptor ([`Reactor::poll_fd`]) is readable while any of
//! them has news, so that somebody else's event loop can watch that one.
//!
//! Tokio hides the descriptor of its poller; this stands on what tokio's stands on. Readiness is edge-triggered as there: it is
//! believed until the socket says otherwise.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::event::{Event, Source};
use mio::{Events, Interest, Registry, Token};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Sockets whose news one look brings; the rest is for the next.
const EVENTS: usize = 1024;
/// Tokens below are the driver's own.
const FIRST_SOCKET: usize = 2;

/// What the system has news of, beside the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Somebody wants to connect.
    Connects = 0,
    /// Another thread has something for the shard.
    Wake = 1,
}

impl From<Signal> for Token {
    fn from(signal: Signal) -> Self {
        Self(signal as usize)
    }
}

/// The poller of one shard and what it knows of each socket.
pub(crate) struct Reactor {
    poll: RefCell<(mio::Poll, Events)>,
    registry: Registry,
    sockets: RefCell<Sockets>,
}

#[derive(Default)]
struct Sockets {
    known: Vec<Readiness>,
    free: Vec<usize>,
}

/// What is known of one socket, and who waits for news: one, because a socket has one owner.
#[derive(Default)]
struct Readiness {
    readable: bool,
    writable: bool,
    /// The peer has ended its side: it stays readable, because no further news will come.
    ended: bool,
    waits_to_read: bool,
    waits_to_write: bool,
    waker: Option<Waker>,
}

impl Readiness {
    /// Takes the system's word, and wakes who waited for it.
    fn note(&mut self, event: &Event) {
        self.ended |= event.is_read_closed();
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let writable = event.is_writable() || event.is_write_closed() || event.is_error();
        self.readable |= readable;
        self.writable |= writable;
        let wakes = (readable && self.waits_to_read) || (writable && self.waits_to_write);
        self.waits_to_read &= !readable;
        self.waits_to_write &= !writable;
        if wakes && let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

impl Reactor {
    pub(crate) fn new(poll: mio::Poll) -> io::Result<Rc<Self>> {
        let registry = poll.registry().try_clone()?;
        let poll = RefCell::new((poll, Events::with_capacity(EVENTS)));
        Ok(Rc::new(Self { poll, registry, sockets: RefCell::default() }))
    }

    /// The descriptor that is readable while there is news.
    #[cfg(unix)]
    pub(crate) fn poll_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        self.poll.borrow().0.as_raw_fd()
    }

    /// Where other sources than sockets register.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits for news up to `timeout` (`None`: as long as it takes), wakes whoever waited for it, and hands each signal to `signalled`.
    pub(crate) fn look(&self, timeout: Option<Duration>, mut signalled: impl FnMut(Signal)) -> io::Result<()> {
        let mut poll = self.poll.borrow_mut();
        let (poll, events) = &mut *poll;
        match poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut sockets = self.sockets.borrow_mut();
        for event in &*events {
            let Some(key) = event.token().0.checked_sub(FIRST_SOCKET) else {
                signalled(if event.token() == Signal::Connects.into() { Signal::Connects } else { Signal::Wake });
                continue;
            };
            let Some(socket) = sockets.known.get_mut(key) else { continue };
            socket.note(event);
        }
        Ok(())
    }

    /// Takes a socket that does not block.
    pub(crate) fn adopt(self: &Rc<Self>, stream: std::net::TcpStream) -> io::Result<Stream> {
        let mut io = mio::net::TcpStream::from_std(stream);
        // What it has received already is news to the poller as well; that it takes something is as good as any guess.
        let fresh = Readiness { writable: true, ..Readiness::default() };
        let mut sockets = self.sockets.borrow_mut();
        let key = sockets.free.pop().unwrap_or(sockets.known.len());
        match sockets.known.get_mut(key) {
            Some(place) => *place = fresh,
            None => sockets.known.push(fresh),
        }
        let stream = io.register(&self.registry, Token(key + FIRST_SOCKET), Interest::READABLE | Interest::WRITABLE);
        if let Err(error) = stream {
            sockets.free.push(key);
            return Err(error);
        }
        drop(sockets);
        Ok(Stream { io, key: u32::try_from(key).unwrap_or(u32::MAX), reactor: Rc::clone(self) })
    }
}

/// A socket of a [`Reactor`].
pub(crate) struct Stream {
    io: mio::net::TcpStream,
    key: u32,
    reactor: Rc<Reactor>,
}

impl Stream {
    fn with<T>(&self, look: impl FnOnce(&mut Readiness) -> T) -> T {
        look(&mut self.reactor.sockets.borrow_mut().known[self.key as usize])
    }

    /// The bare socket, which this reactor does not watch any more.
    pub(crate) fn into_std(mut self) -> io::Result<std::net::TcpStream> {
        // It stays open: closing our descriptor would not take it out of the poller.
        self.io.deregister(&self.reactor.registry)?;
        SockRef::from(&self.io).try_clone().map(Into::into)
    }

    /// Pending while it is known to have nothing to read.
    fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.with(|socket| {
            if socket.readable {
                return Poll::Ready(());
            }
            socket.waits_to_read = true;
            socket.wait(cx);
            Poll::Pending
        })
    }

    /// Waits until a connection that was begun is there; some systems refuse to write to one that is not.
    pub(crate) async fn connected(&self) -> io::Result<()> {
        poll_fn(|cx| {
            if let Some(error) = self.io.take_error()? {
                return Poll::Ready(Err(error));
            }
            if self.io.peer_addr().is_ok() {
                return Poll::Ready(Ok(()));
            }
            // The system tells when it is there, or has failed.
            self.with(|socket| socket.writable = false);
            self.poll_writable(cx).map(Ok)
        })
        .await
    }

    /// Waits until there may be something to read: nothing is lost by trying.
    pub(crate) async fn readable(&self) {
        poll_fn(|cx| self.poll_readable(cx)).await;
    }

    /// Pending while it is known to take nothing.
    fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        self.with(|socket| {
            if socket.writable {
                return Poll::Ready(());
            }
            socket.waits_to_write = true;
            socket.wait(cx);
            Poll::Pending
        })
    }

    /// Reads what is there, `Pending` for nothing.
    pub(crate) fn poll_read_into(&self, cx: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.poll_readable(cx).is_pending() {
                return Poll::Pending;
            }
            match (&self.io).read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.with(|socket| socket.readable = false),
                Ok(count) if count > 0 && count < into.len() => {
                    // There is no more than this: the system will tell when there is, but not of an end it has told of.
                    self.with(|socket| socket.readable = socket.ended);
                    return Poll::Ready(Ok(count));
                }
                result => return Poll::Ready(result),
            }
        }
    }

    /// Writes what it takes now; `WouldBlock` for nothing.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.with(|socket| socket.writable) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match (&self.io).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.with(|socket| socket.writable = false);
                    return Err(error);
                }
                result => return result,
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Closing the descriptor takes it out of the poller; news fetched before may still name the key, and does no harm.
        #[cfg(not(unix))]
        let _ = self.io.deregister(&self.reactor.registry);
        let mut sockets = self.reactor.sockets.borrow_mut();
        sockets.known[self.key as usize] = Readiness::default();
        sockets.free.push(self.key as usize);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_read_into(cx, into.initialize_unfilled()).map_ok(|count| into.advance(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.poll_writable(cx).is_pending() {
                return Poll::Pending;
            }
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.io.shutdown(Shutdown::Write))
    }
}

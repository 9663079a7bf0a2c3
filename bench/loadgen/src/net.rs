//! All connections of the run: connecting, upgrading, writing. What they read is `reading`'s.

mod reading;

use std::collections::VecDeque;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use serde_json::Value;

use crate::args::{Args, Outcome};
use crate::frame;
use crate::sys::{self, Epoll, Event, READ, WRITE};

/// Slot of the connection over which the server is told what to do. Rows use the slots above it.
pub(crate) const CONTROL: usize = 0;
/// One read takes at most this much; only an incomplete frame is kept per connection.
const BUFFER: usize = 512 * 1024;
/// Connections being opened at the same time.
const OPENING: usize = 128;
/// The key and answer of RFC 6455 §1.3: the answer is known without computing it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a row does with its connections. Control traffic never reaches it.
pub(crate) trait Handler {
    /// Takes as many whole frames off the front of `bytes` as it knows by sight; the rest is parsed one by one.
    #[inline]
    fn bulk(&mut self, _net: &mut Net, _slot: usize, _bytes: &[u8]) -> usize {
        0
    }
    /// A text or binary message on an open connection.
    fn text(&mut self, _net: &mut Net, _slot: usize, _payload: &[u8]) {}
    /// A message on a connection that is not ready yet: it comes ahead of the answer to the subscription.
    fn early(&mut self, _net: &mut Net, _slot: usize, _payload: &[u8]) {}
    /// The connection has finished its upgrade, greeting and subscription.
    fn opened(&mut self, _net: &mut Net, _slot: usize) {}
    /// The socket takes bytes again (only where [`Net::want_write`] asked).
    fn writable(&mut self, _net: &mut Net, _slot: usize) {}
    /// The connection ended: `clean` when this side began the closing handshake and the server answered it.
    fn closed(&mut self, net: &mut Net, slot: usize, clean: bool) {
        if !clean {
            net.fail(format!("connection {slot} was closed by the server"));
        }
    }
}

/// A handler for phases in which nothing but control traffic is expected.
#[derive(Debug)]
pub(crate) struct Idle;
impl Handler for Idle {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    SocketIoOpen,
    SocketIoNamespace,
    Greeting,
    Subscribing,
    Open,
    Closing,
    Closed,
}

#[derive(Debug)]
struct Conn {
    stream: Option<TcpStream>,
    phase: Phase,
    interest: u32,
    /// Counts the connections this slot has held, so that a handler may replace one while its bytes are being read.
    life: u32,
    /// Bytes read from this connection, and the most one read takes.
    bytes_read: u64,
    read_most: usize,
    partial: Vec<u8>,
    out: Vec<u8>,
}

/// See the module's first line.
#[derive(Debug)]
pub(crate) struct Net {
    epoll: Epoll,
    events: Vec<Event>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    conns: Vec<Conn>,
    target: SocketAddrV4,
    request: Vec<u8>,
    socketio: bool,
    expect_ready: bool,
    receive_buffer: i32,
    /// Subscription message per slot; a short list is used in turn. Empty: rows without subscriptions.
    subscriptions: Vec<String>,
    /// What a slot's connection shows to be taken for the one before it (Socket.IO). Empty: nothing.
    sessions: Vec<String>,
    sources: u8,
    mask: u32,
    opening: usize,
    open: usize,
    /// Time of the last read, one clock call per read rather than per message.
    pub(crate) now: u64,
    pub(crate) bytes_read: u64,
    /// Answers of the server on the control connection.
    pub(crate) answers: VecDeque<Value>,
    failures: u64,
    first_failure: Option<String>,
}

impl Net {
    pub(crate) fn new(args: &Args) -> Outcome<Self> {
        let limit = sys::raise_file_limit();
        let connections = args.connections + args.get("bystanders", 0)?;
        if connections as u64 + 32 > limit {
            return Err(format!("{connections} connections need more than the {limit} open files allowed"));
        }
        let path = if args.socketio { "/socket.io/?EIO=4&transport=websocket" } else { &args.path };
        let cookie = args.token.as_ref().map(|token| format!("Cookie: access_token={token}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{cookie}\r\n",
            args.target
        );
        Ok(Self {
            epoll: Epoll::new().map_err(|e| format!("epoll: {e}"))?,
            events: Vec::with_capacity(512),
            buffer: vec![0; BUFFER + frame::MAX_PAYLOAD],
            scratch: Vec::new(),
            conns: Vec::new(),
            target: args.target,
            request: request.into_bytes(),
            socketio: args.socketio,
            expect_ready: args.get("expect-ready", false)?,
            receive_buffer: 0,
            subscriptions: Vec::new(),
            sessions: Vec::new(),
            sources: 0,
            mask: 0x9e37_79b9,
            opening: 0,
            open: 0,
            now: sys::now(),
            bytes_read: 0,
            answers: VecDeque::new(),
            failures: 0,
            first_failure: None,
        })
    }

    pub(crate) fn subscribe_with(&mut self, messages: Vec<String>) {
        self.subscriptions = messages;
    }

    /// What the connections of slots 0, 1, … show to be taken for the ones before them.
    pub(crate) fn return_with(&mut self, sessions: Vec<String>) {
        self.sessions = sessions;
    }

    /// Fixes the kernel receive buffer of connections opened from now on; 0 lets it grow.
    pub(crate) fn receive_buffer(&mut self, bytes: i32) {
        self.receive_buffer = bytes;
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(why);
    }

    /// Errors of connections so far, as one error.
    pub(crate) fn healthy(&self) -> Outcome<()> {
        match &self.first_failure {
            None => Ok(()),
            Some(first) => Err(format!("{} failures, the first: {first}", self.failures)),
        }
    }

    /// Begins a connection in `slot` (a new slot or a closed one).
    pub(crate) fn connect(&mut self, slot: usize) -> Outcome<()> {
        // 127.0.0.2 to .201: ports run out per pair of addresses, and closing ones stay reserved for a while.
        self.sources = (self.sources + 1) % 200;
        let source = Ipv4Addr::new(127, 0, 0, 2 + self.sources);
        let stream = sys::connect(source, self.target, self.receive_buffer).map_err(|e| format!("connect: {e}"))?;
        self.epoll.add(&stream, WRITE, slot as u64).map_err(|e| format!("epoll: {e}"))?;
        let fresh = |life| Conn {
            stream: None,
            phase: Phase::Connecting,
            interest: WRITE,
            life,
            bytes_read: 0,
            read_most: BUFFER,
            partial: Vec::new(),
            out: Vec::new(),
        };
        if slot == self.conns.len() {
            self.conns.push(fresh(0));
        }
        let conn = &mut self.conns[slot];
        *conn = fresh(conn.life.wrapping_add(1));
        conn.stream = Some(stream);
        self.opening += 1;
        Ok(())
    }

    /// Opens slots `first..=last`, a bounded number at a time, and returns when all are ready for the row.
    pub(crate) fn connect_all(&mut self, handler: &mut impl Handler, first: usize, last: usize) -> Outcome<()> {
        let (mut next, goal) = (first, self.open + last + 1 - first);
        let deadline = sys::now() + 60_000_000_000;
        while self.open < goal {
            self.begin(&mut next, last)?;
            self.turn(handler, 50_000_000)?;
            self.healthy()?;
            if sys::now() > deadline {
                return Err(format!("only {} of {goal} connections were ready after 60 s", self.open));
            }
        }
        Ok(())
    }

    /// Begins connections in slots `next..=last`, as many as may be opening at the same time, and moves `next` on.
    pub(crate) fn begin(&mut self, next: &mut usize, last: usize) -> Outcome<()> {
        while *next <= last && self.opening < OPENING {
            self.connect(*next)?;
            *next += 1;
        }
        Ok(())
    }

    /// Waits up to `nanos` and serves what is ready, once.
    pub(crate) fn turn(&mut self, handler: &mut impl Handler, nanos: u64) -> Outcome<()> {
        let mut events = std::mem::take(&mut self.events);
        let waited = self.epoll.wait(&mut events, nanos);
        for event in &events {
            let (slot, ready) = (sys::index(event.u64), event.events);
            let life = self.conns[slot].life;
            if ready & WRITE != 0 {
                self.on_writable(slot, handler);
            }
            if ready & !WRITE != 0 && self.conns[slot].life == life {
                self.on_readable(slot, handler);
            }
        }
        self.events = events;
        waited.map_err(|e| format!("epoll: {e}"))
    }

    fn on_writable(&mut self, slot: usize, handler: &mut impl Handler) {
        let conn = &mut self.conns[slot];
        let Some(stream) = &mut conn.stream else { return };
        if conn.phase == Phase::Connecting {
            match stream.take_error() {
                Ok(None) => conn.phase = Phase::Upgrading,
                Ok(Some(error)) | Err(error) => return self.lost(slot, handler, &format!("connect: {error}")),
            }
            self.interest(slot, READ);
            let request = std::mem::take(&mut self.request);
            self.write(slot, &request);
            self.request = request;
            return;
        }
        if !conn.out.is_empty() {
            match stream.write(&conn.out) {
                Ok(sent) => drop(conn.out.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return self.lost(slot, handler, &format!("write: {error}")),
            }
        }
        if self.conns[slot].out.is_empty() {
            self.interest(slot, READ);
            if self.conns[slot].phase == Phase::Open {
                handler.writable(self, slot);
            }
        }
    }

    /// Sends an application message in the peer's own wrapping.
    pub(crate) fn send_message(&mut self, slot: usize, message: &str) {
        if self.socketio {
            self.send(slot, frame::TEXT, format!(r#"42["m",{message}]"#).as_bytes());
        } else {
            self.send(slot, frame::TEXT, message.as_bytes());
        }
    }

    /// Sends one masked frame; what the socket does not take at once follows when it does.
    pub(crate) fn send(&mut self, slot: usize, opcode: u8, payload: &[u8]) {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        frame::push_masked(&mut bytes, opcode, self.next_mask(), payload);
        self.write(slot, &bytes);
        self.scratch = bytes;
    }

    pub(crate) fn next_mask(&mut self) -> [u8; 4] {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.mask | 0x0101_0101).to_be_bytes()
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) {
        let taken = if self.conns[slot].out.is_empty() { self.offer(slot, bytes) } else { 0 };
        if taken < bytes.len() {
            self.conns[slot].out.extend_from_slice(&bytes[taken..]);
            self.interest(slot, READ | WRITE);
        }
    }

    /// Offers `bytes` to the socket and returns how many it took. An error shows at the next read.
    pub(crate) fn offer(&mut self, slot: usize, bytes: &[u8]) -> usize {
        self.conns[slot].stream.as_mut().map_or(bytes.len(), |stream| match stream.write(bytes) {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => bytes.len(),
        })
    }

    fn interest(&mut self, slot: usize, interest: u32) {
        let conn = &mut self.conns[slot];
        if let Some(stream) = conn.stream.as_ref().filter(|_| conn.interest != interest) {
            conn.interest = interest;
            if let Err(error) = self.epoll.change(stream, interest, slot as u64) {
                self.fail(format!("epoll: {error}"));
            }
        }
    }

    /// Asks for [`Handler::writable`] on an open connection.
    pub(crate) fn want_write(&mut self, slot: usize) {
        self.interest(slot, READ | WRITE);
    }

    /// Bytes read from `slot` so far.
    pub(crate) fn bytes_read_from(&self, slot: usize) -> u64 {
        self.conns[slot].bytes_read
    }

    /// Limits every read from `slot` to `bytes`, so that whoever keeps its pace can keep it finely.
    pub(crate) fn read_at_most(&mut self, slot: usize, bytes: usize) {
        self.conns[slot].read_most = bytes.min(BUFFER);
    }

    /// Stops or resumes reading `slot`: the slow consumer.
    pub(crate) fn reading(&mut self, slot: usize, on: bool) {
        self.interest(slot, if on { READ } else { 0 });
    }

    /// Begins the closing handshake; [`Handler::closed`] follows.
    pub(crate) fn close(&mut self, slot: usize) {
        self.send(slot, frame::CLOSE, &1000_u16.to_be_bytes());
        self.conns[slot].phase = Phase::Closing;
        self.open -= 1;
    }

    /// Drops the connection without a word.
    pub(crate) fn abandon(&mut self, slot: usize) {
        match self.conns[slot].phase {
            Phase::Open => self.open -= 1,
            Phase::Closing | Phase::Closed => {}
            _ => self.opening -= 1,
        }
        let conn = &mut self.conns[slot];
        conn.stream = None;
        conn.phase = Phase::Closed;
        conn.life = conn.life.wrapping_add(1);
    }

    fn ended(&mut self, slot: usize, handler: &mut impl Handler) {
        let clean = self.conns[slot].phase == Phase::Closing;
        if !clean && self.conns[slot].phase != Phase::Open {
            return self.lost(slot, handler, "closed before it was ready");
        }
        self.abandon(slot);
        if slot != CONTROL {
            handler.closed(self, slot, clean);
        }
    }

    /// The connection ended in a way no row asks for.
    fn lost(&mut self, slot: usize, handler: &mut impl Handler, why: &str) {
        if self.conns[slot].phase == Phase::Closing {
            return self.ended(slot, handler);
        }
        self.fail(format!("connection {slot}: {why}"));
        self.abandon(slot);
    }
}

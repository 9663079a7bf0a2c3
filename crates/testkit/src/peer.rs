//! A raw, blocking WebSocket peer: sends any bytes, reads frames, and says what it saw. Answers nothing by itself, not even a
//! ping or a Close, so that a test decides every byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, close_payload, parse_header, push_masked_frame};

use crate::certificate::Certificate;
use crate::request::{Request, Response};
use crate::wait::DEADLINE;

/// The masking key of every frame; any would do.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Last fragment of its message.
    pub fin: bool,
    /// What the payload is.
    pub opcode: Opcode,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The payload as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("UTF-8")
    }

    /// The code of a Close frame; `None` for any other frame and for an empty Close.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>().filter(|_| self.opcode == Opcode::Close)?;
        Some(u16::from_be_bytes(*code))
    }
}

/// Why no frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerError {
    /// Nothing within the time limit.
    Timeout,
    /// The server ended the stream in order.
    End,
    /// The connection was reset or broke otherwise.
    Broken,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

/// One connection to a server.
pub struct Peer {
    stream: Stream,
    /// Read but not taken yet.
    received: Vec<u8>,
}

impl Peer {
    /// Opens a TCP connection and sends nothing.
    pub fn open(address: SocketAddr) -> Self {
        Self::plain(TcpStream::connect(address).expect("a TCP connection"))
    }

    /// As [`Self::open`] with a receive buffer of about `bytes`: a peer that soon takes nothing more.
    pub fn open_narrow(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        socket.connect(&address.into()).expect("a TCP connection");
        Self::plain(socket.into())
    }

    fn plain(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("a TCP socket");
        let mut peer = Self { stream: Stream::Plain(socket), received: Vec::new() };
        peer.patience(DEADLINE);
        peer
    }

    /// Opens a TLS connection that trusts `certificate` only, and finishes the TLS handshake.
    ///
    /// # Errors
    /// The handshake failed.
    pub fn open_tls(address: SocketAddr, certificate: &Certificate) -> io::Result<Self> {
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(certificate.client(), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: Stream::Tls(Box::new(stream)), received: Vec::new() })
    }

    /// Opens and upgrades with a correct request.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &Request::default())
    }

    /// Opens and upgrades with this request.
    pub fn connect_with(address: SocketAddr, request: &Request) -> Self {
        Self::open(address).upgraded(request)
    }

    /// Sends the request and expects the 101.
    ///
    /// # Panics
    /// When the answer is another.
    #[must_use]
    pub fn upgraded(mut self, request: &Request) -> Self {
        self.send_raw(&request.bytes());
        let response = self.response();
        assert_eq!(response.status, 101, "{}", response.head);
        assert_eq!(response.field("Sec-WebSocket-Accept"), Some(Request::ACCEPT));
        self
    }

    /// Gives a narrow peer a receive buffer of ordinary size, so that it catches up quickly.
    pub fn widen(&mut self) {
        let socket = SockRef::from(self.stream.socket());
        socket.set_recv_buffer_size(1 << 20).expect("a receive buffer");
    }

    /// How long a read may take from now on.
    pub fn patience(&mut self, limit: Duration) {
        self.stream.socket().set_read_timeout(Some(limit)).expect("a time limit above zero");
    }

    /// Sends bytes as they are. A server that has closed already is fine: what it said can still be read.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.try_send_raw(bytes);
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends one masked frame.
    pub fn send_frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        push_masked_frame(&mut frame, fin, opcode, payload, KEY);
        self.send_raw(&frame);
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        self.send_frame(true, Opcode::Text, text.as_bytes());
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send_frame(true, Opcode::Binary, bytes);
    }

    /// Sends a message in these fragments.
    pub fn send_fragments(&mut self, opcode: Opcode, fragments: &[&[u8]]) {
        for (index, fragment) in fragments.iter().enumerate() {
            let opcode = if index == 0 { opcode } else { Opcode::Continuation };
            self.send_frame(index + 1 == fragments.len(), opcode, fragment);
        }
    }

    /// Sends a Close.
    pub fn send_close(&mut self, code: u16) {
        self.send_frame(true, Opcode::Close, &close_payload(CloseCode(code), ""));
    }

    /// Has the socket reset, not ended, when the peer is dropped: as of a client whose machine is gone.
    pub fn reset_on_drop(&self) {
        SockRef::from(self.stream.socket()).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }

    /// Ends the sending side of the socket.
    pub fn end_sending(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.stream.socket().shutdown(Shutdown::Write);
    }

    /// Reads once; returns how much came.
    fn read_more(&mut self) -> Result<usize, PeerError> {
        let mut buffer = [0; 64 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read(&mut buffer),
            Stream::Tls(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(0) => Err(PeerError::End),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(count)
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => PeerError::Timeout,
                io::ErrorKind::UnexpectedEof => PeerError::End,
                _ => PeerError::Broken,
            }),
        }
    }

    /// Reads an HTTP response; for anything but 101 up to the end of the stream.
    ///
    /// # Panics
    /// When there is none.
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|error| panic!("no response: {error:?}"))
    }

    /// As [`Self::response`].
    ///
    /// # Errors
    /// The stream ended or broke before a whole head.
    pub fn try_response(&mut self) -> Result<Response, PeerError> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head in ASCII");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let mut body = String::new();
        if status != 101 {
            while self.read_more().is_ok() {}
            body = String::from_utf8(std::mem::take(&mut self.received)).expect("a body in UTF-8");
        }
        Ok(Response { status, head, body })
    }

    /// The next frame.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.try_frame().unwrap_or_else(|error| panic!("no frame: {error:?}"))
    }

    /// The next frame, or why there is none.
    ///
    /// # Errors
    /// See [`PeerError`].
    ///
    /// # Panics
    /// When the server sends what no server may.
    pub fn try_frame(&mut self) -> Result<Frame, PeerError> {
        loop {
            if let Some(header) = parse_header(&self.received).expect("a frame the server may send") {
                assert!(header.mask.is_none(), "a server does not mask");
                let end = header.size + usize::try_from(header.payload).expect("a length that fits");
                if self.received.len() >= end {
                    let payload = self.received[header.size..end].to_vec();
                    self.received.drain(..end);
                    return Ok(Frame { fin: header.fin, opcode: header.opcode, payload });
                }
            }
            self.read_more()?;
        }
    }

    /// The next frame, which must be a text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let frame = self.frame();
        assert!(frame.opcode == Opcode::Text && frame.fin, "{frame:?}");
        frame.text().to_owned()
    }

    /// The next frame, which must be a text of JSON.
    #[track_caller]
    pub fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.text()).expect("JSON")
    }

    /// The next frame, which must be binary.
    #[track_caller]
    pub fn binary(&mut self) -> Vec<u8> {
        let frame = self.frame();
        assert!(frame.opcode == Opcode::Binary && frame.fin, "{frame:?}");
        frame.payload
    }

    /// Reads until the Close, which must have this code; returns the frames before it.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> Vec<Frame> {
        let mut before = Vec::new();
        loop {
            let frame = self.frame();
            if frame.opcode == Opcode::Close {
                assert_eq!(
                    frame.close_code(),
                    Some(code),
                    "reason: {:?}",
                    frame.payload.get(2..).map(String::from_utf8_lossy)
                );
                return before;
            }
            before.push(frame);
        }
    }

    /// Expects the end of the stream and nothing before it.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.try_frame() {
            Err(PeerError::End | PeerError::Broken) => {}
            other => panic!("not the end: {other:?}"),
        }
    }

    /// Expects that nothing comes within `time`.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        self.patience(time);
        let got = self.try_frame();
        self.patience(DEADLINE);
        assert_eq!(got, Err(PeerError::Timeout));
    }

    /// A WebSocket ping and its pong, with the frames that came before it. A pong overtakes data that is still queued, so
    /// this is no barrier for data.
    #[track_caller]
    pub fn frames_until_pong(&mut self, mark: &str) -> Vec<Frame> {
        self.send_frame(true, Opcode::Ping, mark.as_bytes());
        let mut before = Vec::new();
        loop {
            let frame = self.frame();
            if frame.opcode == Opcode::Pong && frame.payload == mark.as_bytes() {
                return before;
            }
            before.push(frame);
        }
    }
}

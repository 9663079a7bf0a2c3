//! A second peer, which is nobody's of this project: tokio-tungstenite as a blocking client. It keeps the rules by itself (masks,
//! answers pings and Closes, refuses what a server may not send), so that two readings of the RFC meet. For bytes of a test's
//! own choice there is [`Peer`](crate::Peer).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::wait::DEADLINE;

/// A tokio-tungstenite client on a runtime of its own, which turns only while a method of it is called.
pub struct ReferencePeer {
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
    response: Response,
}

impl ReferencePeer {
    /// Connects to `/wse`.
    ///
    /// # Panics
    /// When the upgrade is not answered as the RFC says.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
    }

    /// Connects with these fields in the request.
    ///
    /// # Panics
    /// As [`Self::connect`].
    pub fn connect_with(address: SocketAddr, fields: &[(&str, &str)]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut request = format!("ws://{address}/wse").into_client_request().expect("a URI");
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect("the name of a field");
            request.headers_mut().append(name, HeaderValue::from_str(value).expect("the value of a field"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, response) = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("a TCP connection");
            client_async_with_config(request, stream, Some(config)).await.expect("an upgrade")
        });
        Self { runtime, socket, response }
    }

    /// A field of the 101.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Sends a message (or a control frame) whole.
    ///
    /// # Panics
    /// When the connection is closed or broken.
    pub fn send(&mut self, message: Message) {
        self.runtime.block_on(self.socket.send(message)).expect("an open connection");
    }

    /// Sends a text in these fragments.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn send_fragments(&mut self, fragments: &[&[u8]]) {
        for (index, fragment) in fragments.iter().enumerate() {
            self.send_fragment(index == 0, index + 1 == fragments.len(), fragment);
        }
    }

    /// Sends one fragment of a text.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn send_fragment(&mut self, first: bool, last: bool, fragment: &[u8]) {
        let opcode = OpCode::Data(if first { Data::Text } else { Data::Continue });
        self.send(Message::Frame(Frame::message(fragment.to_vec(), opcode, last)));
    }

    /// The next message, or the error that ends the connection; pings of the server are answered on the way.
    ///
    /// # Errors
    /// What tungstenite has against the server, or [`Error::ConnectionClosed`] after the close handshake.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub fn try_message(&mut self) -> Result<Message, Error> {
        let next = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, self.socket.next()).await });
        next.expect("a message in time").unwrap_or(Err(Error::ConnectionClosed))
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes in time, or tungstenite has something against the server.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        self.try_message().unwrap_or_else(|error| panic!("no message: {error}"))
    }

    /// Reads up to the server's Close and to the end of the connection after it; what the Close said.
    ///
    /// # Panics
    /// When the connection ends without a close handshake.
    #[track_caller]
    pub fn closed(&mut self) -> Option<(u16, String)> {
        let close = loop {
            if let Message::Close(close) = self.message() {
                break close;
            }
        };
        match self.try_message() {
            Err(Error::ConnectionClosed) => {}
            other => panic!("not the end of a close handshake: {other:?}"),
        }
        close.map(|CloseFrame { code, reason }| (code.into(), reason.as_str().to_owned()))
    }

    /// Begins the close handshake; [`Self::closed`] ends it.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn close(&mut self, code: u16, reason: &str) {
        self.send(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() })));
    }

    /// Lets the peer answer what has come in within `time`, without waiting for a message.
    ///
    /// # Panics
    /// When a message comes.
    pub fn idle(&mut self, time: Duration) {
        let next = self.runtime.block_on(async { tokio::time::timeout(time, self.socket.next()).await });
        assert!(next.is_err(), "not idle: {next:?}");
    }
}

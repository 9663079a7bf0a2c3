//! A sink that records: what the tests of the frame decoder compare. Checks nothing itself.

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::MessageSink;

/// What a decoder handed out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// A sink that keeps it all, in order.
#[derive(Default)]
pub(crate) struct Record(pub(crate) Vec<Seen>);

impl MessageSink for Record {
    fn text(&mut self, text: &str) {
        self.0.push(Seen::Text(text.into()));
    }
    fn binary(&mut self, bytes: &[u8]) {
        self.0.push(Seen::Binary(bytes.into()));
    }
    fn ping(&mut self, payload: &[u8]) {
        self.0.push(Seen::Ping(payload.into()));
    }
    fn pong(&mut self, payload: &[u8]) {
        self.0.push(Seen::Pong(payload.into()));
    }
    fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.0.push(Seen::Close(code.map(|c| c.0), reason.into()));
    }
}

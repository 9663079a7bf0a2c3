//! Control frames that wait for the next frame boundary of a connection's stream: pongs and the Close. Knows no queue and no
//! socket.

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Opcode, push_close, push_frame};

/// Control frames waiting for a boundary. A newer pong replaces an unsent older one (RFC 6455 §5.5.3 asks for the latest
/// only), so a flood of pings cannot grow it.
#[derive(Default)]
pub(super) struct ControlFrames {
    /// Frames, or a greeting, being written; once begun they are finished first.
    writing: Vec<u8>,
    written: usize,
    /// A Close is the end of `writing`.
    ends: bool,
    pong: Option<Vec<u8>>,
    close: Option<Vec<u8>>,
}

impl ControlFrames {
    /// What goes before every frame: the answer to the upgrade, and whole frames behind it.
    pub(super) fn greeting(bytes: Vec<u8>) -> Self {
        Self { writing: bytes, ..Self::default() }
    }

    /// Adds a pong, replacing one that has not gone out.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        let mut frame = Vec::with_capacity(2 + payload.len());
        push_frame(&mut frame, Opcode::Pong, payload);
        self.pong = Some(frame);
    }

    /// Adds the Close, unless there is one.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        if self.close.is_none() && !self.ends {
            let mut frame = Vec::new();
            push_close(&mut frame, code, reason);
            self.close = Some(frame);
        }
    }

    /// What is left to write; takes up what waits when there is nothing.
    pub(super) fn chunk(&mut self) -> &[u8] {
        if !self.begun() {
            self.written = 0;
            self.writing = self.pong.take().unwrap_or_default();
            if let Some(close) = self.close.take() {
                self.writing.extend_from_slice(&close);
                self.ends = true;
            }
        }
        &self.writing[self.written..]
    }

    /// Some of it is out and some is not.
    pub(super) fn begun(&self) -> bool {
        self.written < self.writing.len()
    }

    /// Notes that `n` bytes of [`Self::chunk`] went out.
    pub(super) fn wrote(&mut self, n: usize) -> Wrote {
        self.written += n;
        if self.begun() {
            Wrote::Some
        } else if self.ends {
            Wrote::Close
        } else if self.pong.is_none() && self.close.is_none() {
            Wrote::All
        } else {
            Wrote::Some
        }
    }
}

/// How far the control frames have got.
#[derive(PartialEq, Eq)]
pub(super) enum Wrote {
    /// More is to come.
    Some,
    /// Everything is out.
    All,
    /// The Close is out.
    Close,
}

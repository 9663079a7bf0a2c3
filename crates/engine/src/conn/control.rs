//! Control frames that wait for the next frame boundary of a connection's stream: a ping, pongs and the Close. Knows no queue
//! and no socket.

use wse_protocol::frame::{Opcode, frame_end, push_frame};

/// Pongs that may wait; with one more the oldest goes, unsent. RFC 6455 §5.5.3 asks for an answer to the latest ping only.
const MAX_PONGS: u8 = 32;

/// Control frames waiting for a boundary. Each ping gets its pong, in order, as long as at most [`MAX_PONGS`] wait (4 KiB): a
/// flood of pings cannot grow it.
#[derive(Default)]
pub(super) struct ControlFrames {
    /// Frames, or a greeting, being written; once begun they are finished first.
    writing: Vec<u8>,
    written: usize,
    /// A Close is the end of `writing`.
    ends: bool,
    /// Pongs, one behind the other.
    pongs: Vec<u8>,
    /// How many.
    count: u8,
    /// A ping of ours.
    ping: bool,
    close: Option<Vec<u8>>,
}

impl ControlFrames {
    /// What goes before every frame: the answer to the upgrade, and whole frames behind it.
    pub(super) fn greeting(bytes: Vec<u8>) -> Self {
        Self { writing: bytes, ..Self::default() }
    }

    /// Adds a pong; the oldest one goes if too many wait.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.count == MAX_PONGS {
            let oldest = frame_end(&self.pongs, 0).unwrap_or(self.pongs.len());
            self.pongs.drain(..oldest);
        } else {
            self.count += 1;
        }
        push_frame(&mut self.pongs, Opcode::Pong, payload);
    }

    /// Adds an empty ping, unless there is one.
    pub(super) fn ping(&mut self) {
        self.ping = true;
    }

    /// Adds the Close with this payload, unless there is one.
    pub(super) fn close(&mut self, payload: &[u8]) {
        if self.close.is_none() && !self.ends {
            let mut frame = Vec::new();
            push_frame(&mut frame, Opcode::Close, payload);
            self.close = Some(frame);
        }
    }

    /// What is left to write; takes up what waits when there is nothing.
    pub(super) fn chunk(&mut self) -> &[u8] {
        if !self.begun() {
            self.written = 0;
            self.writing = std::mem::take(&mut self.pongs);
            self.count = 0;
            if std::mem::take(&mut self.ping) {
                push_frame(&mut self.writing, Opcode::Ping, b"");
            }
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
        } else if self.pongs.is_empty() && !self.ping && self.close.is_none() {
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

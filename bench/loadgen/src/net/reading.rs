//! What arrives on a connection: the answer to the upgrade, the greeting, control frames, and messages for the row. Opens and
//! closes nothing of its own accord.

use std::io::{ErrorKind, Read as _};

use memchr::memmem;

use super::{ACCEPT, CONTROL, Handler, Net, Phase};
use crate::frame::{self, Parsed};
use crate::report::message;
use crate::sys;

impl Net {
    pub(super) fn on_readable(&mut self, slot: usize, handler: &mut impl Handler) {
        let conn = &mut self.conns[slot];
        let Some(stream) = &mut conn.stream else { return };
        let (life, kept) = (conn.life, conn.partial.len());
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer[..kept].copy_from_slice(&conn.partial);
        match stream.read(&mut buffer[kept..kept + conn.read_most]) {
            Ok(0) => self.ended(slot, handler),
            Ok(read) => {
                self.now = sys::now();
                self.bytes_read += read as u64;
                conn.bytes_read += read as u64;
                let used = self.consume(slot, &buffer[..kept + read], handler);
                let conn = &mut self.conns[slot];
                if conn.life == life {
                    conn.partial.clear();
                    conn.partial.extend_from_slice(&buffer[used..kept + read]);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.lost(slot, handler, &format!("read: {error}")),
        }
        self.buffer = buffer;
    }

    /// Serves the whole frames of `bytes` and returns how many bytes they were.
    fn consume(&mut self, slot: usize, bytes: &[u8], handler: &mut impl Handler) -> usize {
        let life = self.conns[slot].life;
        let mut at = 0;
        if self.conns[slot].phase == Phase::Upgrading {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            let head = &bytes[..end];
            if !head.starts_with(b"HTTP/1.1 101") || memmem::find(head, ACCEPT).is_none() {
                let line = String::from_utf8_lossy(&head[..head.len().min(60)]).into_owned();
                self.lost(slot, handler, &format!("upgrade refused: {line}"));
                return 0;
            }
            at = end + 4;
            if self.socketio {
                self.conns[slot].phase = Phase::SocketIoOpen;
            } else {
                self.greeted(slot, handler, false);
            }
        }
        while self.conns[slot].life == life {
            if slot != CONTROL && self.conns[slot].phase == Phase::Open {
                at += handler.bulk(self, slot, &bytes[at..]);
            }
            match frame::parse(&bytes[at..]) {
                Parsed::Frame { opcode, payload, taken } => {
                    at += taken;
                    self.on_frame(slot, opcode, payload, handler);
                }
                Parsed::Partial => break,
                Parsed::Bad(why) => {
                    self.lost(slot, handler, why);
                    break;
                }
            }
        }
        at
    }

    fn on_frame(&mut self, slot: usize, opcode: u8, payload: &[u8], handler: &mut impl Handler) {
        match opcode {
            frame::TEXT | frame::BINARY => self.on_message(slot, payload, handler),
            frame::PING => self.send(slot, frame::PONG, payload),
            frame::CLOSE if self.conns[slot].phase == Phase::Closing => self.ended(slot, handler),
            frame::CLOSE => {
                let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                self.lost(slot, handler, &format!("server closed with {code}"));
            }
            _ => {}
        }
    }

    fn on_message(&mut self, slot: usize, payload: &[u8], handler: &mut impl Handler) {
        if self.socketio && payload == b"2" {
            return self.send(slot, frame::TEXT, b"3");
        }
        if payload.starts_with(br#"{"c":"WSE""#) {
            if memmem::find(payload, br#""t":"ping""#).is_some() {
                return self.send(slot, frame::TEXT, br#"{"c":"WSE","t":"PONG","p":{"client_timestamp":0},"v":1}"#);
            }
            if memmem::find(payload, br#""t":"error""#).is_some() {
                let text = String::from_utf8_lossy(payload).into_owned();
                return self.lost(slot, handler, &text);
            }
        }
        match self.conns[slot].phase {
            Phase::Open if slot == CONTROL => {
                self.answers.extend(message(payload).filter(|answer| answer["t"] == "ctl"));
            }
            Phase::Open => handler.text(self, slot, payload),
            Phase::SocketIoOpen if payload.first() == Some(&b'0') => {
                self.conns[slot].phase = Phase::SocketIoNamespace;
                let session = self.sessions.get(slot).map(String::as_str).unwrap_or_default();
                let connect = format!("40{session}");
                self.send(slot, frame::TEXT, connect.as_bytes());
            }
            Phase::SocketIoNamespace if payload.starts_with(b"40") => {
                handler.early(self, slot, payload);
                self.greeted(slot, handler, false);
            }
            Phase::Greeting if memmem::find(payload, b"server_ready").is_some() => self.greeted(slot, handler, true),
            Phase::Subscribing if subscribed(payload) => self.ready(slot, handler),
            Phase::Subscribing | Phase::SocketIoNamespace => handler.early(self, slot, payload),
            _ => {}
        }
    }

    /// The connection can carry messages: wait for the greeting if one is due, then subscribe if the row does.
    fn greeted(&mut self, slot: usize, handler: &mut impl Handler, ready_seen: bool) {
        if self.expect_ready && !ready_seen {
            self.conns[slot].phase = Phase::Greeting;
        } else if slot == CONTROL || self.subscriptions.is_empty() {
            self.ready(slot, handler);
        } else {
            self.conns[slot].phase = Phase::Subscribing;
            let message = self.subscriptions[(slot - 1) % self.subscriptions.len()].clone();
            self.send_message(slot, &message);
        }
    }

    fn ready(&mut self, slot: usize, handler: &mut impl Handler) {
        self.conns[slot].phase = Phase::Open;
        self.opening -= 1;
        self.open += 1;
        if slot != CONTROL {
            handler.opened(self, slot);
        }
    }
}

/// The server's application, or its engine, has answered the subscription.
fn subscribed(payload: &[u8]) -> bool {
    memmem::find(payload, br#""subbed""#).is_some() || memmem::find(payload, br#""t":"subscription_update""#).is_some()
}

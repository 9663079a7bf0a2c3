//! How a connection ended, as its host hears of it: who had the first word of the end, with which code and reason. Kept beside
//! the connections, by slot and from that word on: an open connection has none.

use std::collections::HashMap;

/// Stands for a Close without a code (RFC 6455 §7.1.5); never on the wire.
const NO_STATUS: u16 = 1005;
/// Stands for an end without a Close (RFC 6455 §7.1.5); never on the wire.
const ABNORMAL: u16 = 1006;

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Its Close came before there was one of ours.
    Peer,
    /// Ours came first, whether or not it was answered, or could be sent.
    Server,
    /// The stream ended or failed before anybody had said Close.
    Network,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Server => "server",
            Self::Network => "network",
        }
    }
}

/// The first word of a connection's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    by: By,
    code: u16,
    reason: Box<str>,
}

impl Ending {
    /// Said with the payload of a Close frame.
    fn said(by: By, close: &[u8]) -> Self {
        let (code, reason) = close
            .split_first_chunk()
            .map_or((NO_STATUS, &[][..]), |(code, reason)| (u16::from_be_bytes(*code), reason));
        Self { by, code, reason: String::from_utf8_lossy(reason).into() }
    }

    /// The payload of the `disconnect` event, JSON.
    pub(super) fn text(&self) -> String {
        let reason = serde_json::Value::from(&*self.reason);
        format!(r#"{{"code":{},"reason":{reason},"by":"{}"}}"#, self.code, self.by.name())
    }
}

/// The endings that have begun, by the slot of their connection.
#[derive(Default)]
pub(super) struct Endings(HashMap<u32, Ending, foldhash::fast::RandomState>);

impl Endings {
    /// Notes the payload of a Close; only the first of a connection counts.
    pub(super) fn note(&mut self, slot: u32, by: By, close: &[u8]) {
        self.0.entry(slot).or_insert_with(|| Ending::said(by, close));
    }

    /// How the connection in `slot` has ended. Whoever comes after it there begins anew.
    pub(super) fn take(&mut self, slot: u32) -> Ending {
        let silent = || Ending { by: By::Network, code: ABNORMAL, reason: "".into() };
        self.0.remove(&slot).unwrap_or_else(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_counts_and_the_next_in_the_slot_begins_anew() {
        let mut endings = Endings::default();
        endings.note(7, By::Server, b"\x10\xccbye \"\xc3\xbc\"");
        endings.note(7, By::Peer, b"\x03\xe8");
        endings.note(8, By::Peer, b"");
        assert_eq!(endings.take(7).text(), r#"{"code":4300,"reason":"bye \"ü\"","by":"server"}"#);
        assert_eq!(endings.take(7).text(), r#"{"code":1006,"reason":"","by":"network"}"#);
        assert_eq!(endings.take(8).text(), r#"{"code":1005,"reason":"","by":"peer"}"#);
        assert!(endings.0.is_empty());
    }
}

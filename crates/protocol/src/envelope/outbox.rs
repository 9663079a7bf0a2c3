//! Messages out of a client's outbox (docs/protocol.md §17): how they begin, and what the engine says about them.
//!
//! Never remembers a number and never looks at the message behind its beginning.

use serde_json::Value;

/// How each of them begins. Whatever else begins with [`OB_MEMBER`] is an ordinary message.
const BEGINNING: &[u8] = br#"{"ob":["#;
/// How an object begins whose first member is `ob`, written without white space.
pub const OB_MEMBER: &[u8] = br#"{"ob":"#;
/// Characters of a stream's name.
const NAME: std::ops::RangeInclusive<usize> = 8..=64;
/// The largest number, the last one that JavaScript counts to: 2^53 - 1.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The beginning of a message out of an outbox: `{"ob":["<stream>",<number>],`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outboxed<'a> {
    /// The stream it belongs to: 8 to 64 characters of `A-Z a-z 0-9 _ -`.
    pub stream: &'a str,
    /// Its number in it, from 1 to 2^53 - 1.
    pub number: u64,
    /// The text behind the comma: the other members and the brace.
    rest: &'a [u8],
}

impl<'a> Outboxed<'a> {
    /// Whether `text` claims to be one.
    #[inline]
    pub fn is_claimed(text: &[u8]) -> bool {
        text.starts_with(BEGINNING)
    }

    /// Reads the beginning of `text`, byte for byte: no white space, no escapes, no leading zero.
    ///
    /// `None` for any other, and where no member follows.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let rest = text.strip_prefix(BEGINNING)?.strip_prefix(b"\"")?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
        let (name, rest) = rest.split_at_checked(length).filter(|_| NAME.contains(&length))?;
        let rest = rest.strip_prefix(b"\",")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = rest.split_at_checked(digits)?;
        let rest = rest.strip_prefix(b"],")?;
        let number = std::str::from_utf8(number).ok()?;
        let is_plain = !number.starts_with('0') && !matches!(rest.trim_ascii_start().first(), None | Some(b'}'));
        let number = number.parse().ok().filter(|number| is_plain && *number <= MAX_NUMBER)?;
        Some(Self { stream: std::str::from_utf8(name).ok()?, number, rest })
    }

    /// The message without that member, as if it had never been there.
    pub fn message(&self) -> Vec<u8> {
        [b"{", self.rest].concat()
    }
}

/// Everything of `stream` up to `number` has come.
pub fn outbox_ack(stream: &str, number: u64) -> String {
    format!(r#"{{"c":"WSE","t":"ack","p":{{"stream":"{stream}","n":{number}}}}}"#)
}

/// Why a message out of an outbox is not taken, whatever its client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxFailure<'a> {
    /// It does not begin as it should.
    Beginning,
    /// What it carries is no JSON object, or is nested too deep.
    Message(Outboxed<'a>),
    /// Its connection has used as many streams as it may.
    Streams(Outboxed<'a>),
}

impl OutboxFailure<'_> {
    /// The `p.code` of the error.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Beginning | Self::Message(_) => "MALFORMED_OUTBOX",
            Self::Streams(_) => "OUTBOX_STREAMS",
        }
    }

    /// The `p.message` of the error.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Beginning => "ob must be [stream, number], and first",
            Self::Message(_) => "Not a JSON object, or nested too deep",
            Self::Streams(_) => "Too many streams on one connection",
        }
    }
}

/// The error for a message out of an outbox that is not taken; it names the message as far as that has a name.
pub fn outbox_error(failure: OutboxFailure<'_>) -> String {
    let (code, message) = (failure.code(), Value::from(failure.message()));
    let place = match failure {
        OutboxFailure::Beginning => String::new(),
        OutboxFailure::Message(Outboxed { stream, number, .. })
        | OutboxFailure::Streams(Outboxed { stream, number, .. }) => format!(r#","stream":"{stream}","n":{number}"#),
    };
    format!(r#"{{"c":"WSE","t":"error","p":{{"code":"{code}","message":{message}{place}}},"v":1}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_the_beginning_is_the_message() {
        let read = Outboxed::read(br#"{"ob":["tab_1-aZ9",9007199254740991], "t":"x","p":{}}"#).unwrap();
        assert_eq!((read.stream, read.number), ("tab_1-aZ9", MAX_NUMBER));
        assert_eq!(read.message(), br#"{ "t":"x","p":{}}"#);
    }

    #[test]
    fn a_number_is_one_to_which_javascript_counts() {
        for number in ["", "0", "01", "9007199254740992", "18446744073709551617", "99999999999999999999999999"] {
            assert_eq!(Outboxed::read(format!(r#"{{"ob":["abcdefgh",{number}],"t":1}}"#).as_bytes()), None, "{number}");
        }
    }

    #[test]
    fn every_byte_of_the_beginning_counts() {
        let text = br#"{"ob":["abcdefgh",12],"t":1}"#;
        assert!(Outboxed::read(text).is_some());
        for at in 0..br#"{"ob":["abcdefgh",12],"#.len() {
            assert_eq!(Outboxed::read(&text[..at]), None, "{at}");
            let mut other = text.to_vec();
            other[at] = b' ';
            assert_eq!(Outboxed::read(&other), None, "{at}");
        }
    }
}

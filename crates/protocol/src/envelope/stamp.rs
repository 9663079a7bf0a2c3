//! The stamp of a publication that can be recovered: topic, epoch and offset as the first members of its text (docs/protocol.md,
//! "Recovery"). Knows no ring: who counts is the caller.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;

use super::category::Category;
use super::inject::Injection;
use crate::frame::{Opcode, push_header};
use crate::json::{MAX_DEPTH, walk};

/// What who is left out of a publication gets behind its stamp: published clients count it and show it to nobody.
const SKIPPED: &str = r#","c":"WSE","t":"heartbeat","p":{}}"#;

/// A JSON object to be stamped: what follows its opening brace, and the category it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stampable<'a> {
    /// Everything behind the opening brace.
    body: &'a str,
    /// There is no member in it.
    empty: bool,
    category: Option<Category>,
}

impl<'a> Stampable<'a> {
    /// Looks at a text; `None`: it is no JSON object, or nested deeper than [`MAX_DEPTH`]. The category is
    /// [`super::find_injection`]'s, and none where `inject` is false.
    pub fn of(text: &'a str, inject: bool) -> Option<Self> {
        let bytes = text.as_bytes();
        let (mut has_c, mut empty, mut found) = (false, true, None);
        walk(bytes, MAX_DEPTH, |key, value| {
            empty = false;
            let touches_colon = bytes.get(key.end + 1) == Some(&b':');
            match &bytes[key.clone()] {
                b"c" if touches_colon => has_c = true,
                b"t" if touches_colon && found.is_none() => {
                    found = Some(match &bytes[value.clone()] {
                        [b'"', name @ .., b'"'] if value.start == key.end + 2 => Category::of_bytes(name),
                        _ => Category::Update,
                    });
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .ok()?;
        let body = &text[bytes.iter().position(|byte| *byte == b'{')? + 1..];
        Some(Self { body, empty, category: found.filter(|_| inject && !has_c) })
    }
}

/// The stamps of one topic in one epoch.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// `{"tp":"…","e":"…","o":`, to be followed by the offset.
    head: Box<str>,
}

impl Stamp {
    /// The stamps of `topic` in `epoch`.
    pub fn new(topic: &str, epoch: u32) -> Self {
        let mut head = String::with_capacity(topic.len() + 34);
        head.push_str(r#"{"tp":"#);
        push_json_string(&mut head, topic);
        // Writing to a string does not fail.
        let _ = write!(head, r#","e":"{epoch:08x}","o":"#);
        Self { head: head.into() }
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.head.len()
    }

    /// Appends the text frame of `text` with the stamp of `offset`.
    pub fn push_frame(&self, frames: &mut Vec<u8>, text: Stampable<'_>, offset: u64) {
        let Stampable { body, empty, category } = text;
        let injected = category.map_or("", |category| Injection { at: 0, category }.text());
        let digits = offset.checked_ilog10().map_or(1, |last| last as usize + 1);
        push_header(frames, Opcode::Text, self.head.len() + digits + usize::from(!empty) + injected.len() + body.len());
        frames.extend_from_slice(self.head.as_bytes());
        // Neither does writing to a vector.
        let _ = write!(frames, "{offset}");
        if !empty {
            frames.push(b',');
        }
        frames.extend_from_slice(injected.as_bytes());
        frames.extend_from_slice(body.as_bytes());
    }
}

/// Appends to `out` the frame for a subscriber that is left out of the publication with this payload: its stamp, and nothing else. False:
/// the payload has no stamp.
pub fn push_skipped(out: &mut Vec<u8>, payload: &[u8]) -> bool {
    let Some(end) = stamp_end(payload) else { return false };
    push_header(out, Opcode::Text, end + SKIPPED.len());
    out.extend_from_slice(&payload[..end]);
    out.extend_from_slice(SKIPPED.as_bytes());
    true
}

/// Where the stamp of a payload ends, behind the digits of its offset.
fn stamp_end(payload: &[u8]) -> Option<usize> {
    let mut at = payload.starts_with(br#"{"tp":""#).then_some(7)?;
    loop {
        match payload.get(at)? {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    let rest = payload.get(at + 1..)?.strip_prefix(br#","e":""#)?.get(8..)?.strip_prefix(br#"","o":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| payload.len() - rest.len() + digits)
}

/// Appends `text` as a JSON string.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::push_frame;

    fn stamped(text: &str, inject: bool, offset: u64) -> Option<String> {
        let mut frame = Vec::new();
        Stamp::new("a\"b", 0x0a1b_2c3d).push_frame(&mut frame, Stampable::of(text, inject)?, offset);
        // A server's frame of less than 126 bytes: two bytes of header.
        assert_eq!(usize::from(frame[1]), frame.len() - 2);
        Some(String::from_utf8(frame.split_off(2)).unwrap())
    }

    #[test]
    fn the_stamp_is_the_first_members_of_an_object() {
        let head = r#"{"tp":"a\"b","e":"0a1b2c3d","o":"#;
        for (text, inject, offset, rest) in [
            (r#"{"t":"tick","p":1}"#, true, 17, r#"17,"c":"U","t":"tick","p":1}"#),
            (r#"{"t":"tick","p":1}"#, false, 17, r#"17,"t":"tick","p":1}"#),
            (r#"{"c":"S","t":"x"}"#, true, 9, r#"9,"c":"S","t":"x"}"#),
            (" \n{ \"p\":1} ", true, 10, "10, \"p\":1} "),
            ("{}", true, 0, "0}"),
            ("{ }", true, 99, "99 }"),
            (r#"{"t":"error"}"#, true, u64::MAX, r#"18446744073709551615,"c":"WSE","t":"error"}"#),
        ] {
            let text = stamped(text, inject, offset).unwrap();
            assert_eq!(text, format!("{head}{rest}"));
            assert_eq!(&text[..stamp_end(text.as_bytes()).unwrap()], format!("{head}{offset}"));
        }
        for none in ["", "hello", "[]", "{", r#"{"a":}"#, r#"{"a":1} x"#, "1", "\"{}\""] {
            assert_eq!(stamped(none, true, 1), None, "{none}");
        }
    }

    #[test]
    fn who_is_left_out_gets_the_stamp_alone() {
        let mut frame = Vec::new();
        for none in
            [&b""[..], b"{}", br#"{"tp":"a"#, br#"{"tp":"a","e":"00","o":1"#, br#"{"tp":"a","e":"00000000","o":}"#]
        {
            assert!(!push_skipped(&mut frame, none) && frame.is_empty());
        }
        let payload = stamped(r#"{"secret":1}"#, true, 7).unwrap();
        assert!(push_skipped(&mut frame, payload.as_bytes()));
        let mut expected = Vec::new();
        push_frame(
            &mut expected,
            Opcode::Text,
            br#"{"tp":"a\"b","e":"0a1b2c3d","o":7,"c":"WSE","t":"heartbeat","p":{}}"#,
        );
        assert_eq!(frame, expected);
    }
}

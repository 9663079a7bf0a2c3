//! `M:` messages: MessagePack to JSON text and JSON values to MessagePack.
//!
//! Decoding never recurses, never builds a tree and never allocates by a declared length: it copies from the input to
//! the output one value at a time, against three limits. What JSON cannot say is converted as the published server
//! does: bin and ext become lower-case hex, NaN and infinities `null`, text that is not UTF-8 `""`, keys their text.

use std::io::Write;

use rmp::{Marker, encode};
use serde_json::Value;

use super::{CodecError, MSGPACK_PREFIX};
use crate::json::{first_marked, json_special, word_at};

/// Most bytes of JSON text that one byte of MessagePack becomes: `false` as a key, with its quotes and its colon. Nothing in
/// the format repeats or refers back, so no limit of the ratio is needed beside this one.
pub const MSGPACK_AMPLIFICATION: usize = 8;

/// How much one message may make of itself.
#[derive(Debug, Clone, Copy)]
pub struct MsgpackLimits {
    /// Longest JSON text in bytes.
    pub max_out: usize,
    /// Deepest nesting of maps and arrays; the outermost is depth 1.
    pub max_depth: usize,
    /// Most values, map keys and the containers themselves included.
    pub max_elements: usize,
}

/// Turns one MessagePack value (without `M:`) into JSON text.
///
/// The text is at most [`MSGPACK_AMPLIFICATION`] times as long as the input, whatever `max_out` allows.
///
/// A map key that is a map or an array is [`CodecError::Corrupt`]; any other key that is not a string is written as its
/// text. Duplicate keys stay; `JSON.parse` takes the last.
pub fn to_json(input: &[u8], limits: MsgpackLimits) -> Result<Vec<u8>, CodecError> {
    let mut decoder = Decoder { rest: input, out: Vec::new(), max_out: limits.max_out };
    let mut open: Vec<Container> = Vec::new();
    let mut elements = 0;
    loop {
        let mut is_key = false;
        if let Some(parent) = open.last_mut() {
            is_key = parent.is_map && parent.left.is_multiple_of(2);
            if parent.left != parent.len {
                decoder.push(if parent.is_map && !is_key { b":" } else { b"," })?;
            }
            parent.left -= 1;
        }
        elements += 1;
        if elements > limits.max_elements {
            return Err(CodecError::TooManyElements);
        }
        if let Some(container) = decoder.value(is_key)? {
            if open.len() >= limits.max_depth {
                return Err(CodecError::TooDeep);
            }
            decoder.push(if container.is_map { b"{" } else { b"[" })?;
            open.push(container);
        }
        while let Some(done) = open.pop_if(|container| container.left == 0) {
            decoder.push(if done.is_map { b"}" } else { b"]" })?;
        }
        if open.is_empty() {
            break;
        }
    }
    if decoder.rest.is_empty() { Ok(decoder.out) } else { Err(CodecError::TrailingData) }
}

/// A map or array that is being read. A map counts keys and values, so a key is next when `left` is even.
struct Container {
    is_map: bool,
    len: u64,
    left: u64,
}

struct Decoder<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    max_out: usize,
}

impl<'a> Decoder<'a> {
    /// Reads one value and writes it; of a map or an array only the head is read and nothing is written.
    fn value(&mut self, is_key: bool) -> Result<Option<Container>, CodecError> {
        let [marker] = self.array()?;
        match Marker::from_u8(marker) {
            Marker::FixMap(len) => return self.container(true, len.into(), is_key),
            Marker::Map16 => return self.sized_container::<2>(true, is_key),
            Marker::Map32 => return self.sized_container::<4>(true, is_key),
            Marker::FixArray(len) => return self.container(false, len.into(), is_key),
            Marker::Array16 => return self.sized_container::<2>(false, is_key),
            Marker::Array32 => return self.sized_container::<4>(false, is_key),
            Marker::FixStr(len) => self.string(len.into())?,
            Marker::Str8 => self.sized::<1>(Self::string)?,
            Marker::Str16 => self.sized::<2>(Self::string)?,
            Marker::Str32 => self.sized::<4>(Self::string)?,
            Marker::Bin8 => self.sized::<1>(Self::hex)?,
            Marker::Bin16 => self.sized::<2>(Self::hex)?,
            Marker::Bin32 => self.sized::<4>(Self::hex)?,
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.sized::<1>(Self::ext)?,
            Marker::Ext16 => self.sized::<2>(Self::ext)?,
            Marker::Ext32 => self.sized::<4>(Self::ext)?,
            Marker::Reserved => return Err(CodecError::Corrupt),
            scalar => {
                if is_key {
                    self.push(b"\"")?;
                }
                self.scalar(scalar)?;
                if is_key {
                    self.push(b"\"")?;
                }
            }
        }
        Ok(None)
    }

    fn scalar(&mut self, marker: Marker) -> Result<(), CodecError> {
        match marker {
            Marker::Null => self.push(b"null"),
            Marker::False => self.push(b"false"),
            Marker::True => self.push(b"true"),
            Marker::FixPos(number) => self.unsigned(number.into()),
            Marker::U8 => self.array().and_then(|bytes| self.unsigned(u8::from_be_bytes(bytes).into())),
            Marker::U16 => self.array().and_then(|bytes| self.unsigned(u16::from_be_bytes(bytes).into())),
            Marker::U32 => self.array().and_then(|bytes| self.unsigned(u32::from_be_bytes(bytes).into())),
            Marker::U64 => self.array().and_then(|bytes| self.unsigned(u64::from_be_bytes(bytes))),
            Marker::FixNeg(number) => self.signed(number.into()),
            Marker::I8 => self.array().and_then(|bytes| self.signed(i8::from_be_bytes(bytes).into())),
            Marker::I16 => self.array().and_then(|bytes| self.signed(i16::from_be_bytes(bytes).into())),
            Marker::I32 => self.array().and_then(|bytes| self.signed(i32::from_be_bytes(bytes).into())),
            Marker::I64 => self.array().and_then(|bytes| self.signed(i64::from_be_bytes(bytes))),
            Marker::F32 => self.array().and_then(|bytes| self.float(f32::from_be_bytes(bytes).into())),
            Marker::F64 => self.array().and_then(|bytes| self.float(f64::from_be_bytes(bytes))),
            _ => Err(CodecError::Corrupt),
        }
    }

    fn unsigned(&mut self, number: u64) -> Result<(), CodecError> {
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{number}");
        self.check()
    }

    fn signed(&mut self, number: i64) -> Result<(), CodecError> {
        let _ = write!(self.out, "{number}");
        self.check()
    }

    fn float(&mut self, number: f64) -> Result<(), CodecError> {
        // serde_json writes the shortest text that reads back as the same number, and `null` for what is none.
        serde_json::to_writer(&mut self.out, &number).map_err(|_| CodecError::Corrupt)?;
        self.check()
    }

    fn string(&mut self, len: usize) -> Result<(), CodecError> {
        let bytes = self.take(len)?;
        let mut rest = if std::str::from_utf8(bytes).is_ok() { bytes } else { b"" };
        self.push(b"\"")?;
        loop {
            let (plain, after) = rest.split_at(plain_prefix(rest));
            self.push(plain)?;
            let Some((special, after)) = after.split_first() else { break };
            match special {
                b'"' => self.push(b"\\\"")?,
                b'\\' => self.push(b"\\\\")?,
                b'\n' => self.push(b"\\n")?,
                b'\r' => self.push(b"\\r")?,
                b'\t' => self.push(b"\\t")?,
                control => self.push(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)])?,
            }
            rest = after;
        }
        self.push(b"\"")
    }

    /// An extension: its type is dropped, its data becomes hex.
    fn ext(&mut self, len: usize) -> Result<(), CodecError> {
        let [_type] = self.array()?;
        self.hex(len)
    }

    fn hex(&mut self, len: usize) -> Result<(), CodecError> {
        let bytes = self.take(len)?;
        self.push(b"\"")?;
        if bytes.len() > (self.max_out - self.out.len()) / 2 {
            return Err(CodecError::TooLarge);
        }
        self.out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        self.push(b"\"")
    }

    /// Reads a length of `N` bytes and hands it on.
    fn sized<const N: usize>(
        &mut self,
        read: impl FnOnce(&mut Self, usize) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let len = self.length::<N>()?;
        read(self, len)
    }

    fn sized_container<const N: usize>(&mut self, is_map: bool, is_key: bool) -> Result<Option<Container>, CodecError> {
        let len = self.length::<N>()?;
        self.container(is_map, len, is_key)
    }

    fn container(&self, is_map: bool, len: usize, is_key: bool) -> Result<Option<Container>, CodecError> {
        if is_key {
            return Err(CodecError::Corrupt);
        }
        let len = if is_map { 2 * len as u64 } else { len as u64 };
        // Each value takes at least a byte, so a head that promises more than there is need not be followed.
        if len > self.rest.len() as u64 {
            return Err(CodecError::Truncated);
        }
        Ok(Some(Container { is_map, len, left: len }))
    }

    fn length<const N: usize>(&mut self) -> Result<usize, CodecError> {
        let bytes = self.array::<N>()?;
        Ok(bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() > self.max_out - self.out.len() {
            return Err(CodecError::TooLarge);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// For the few bytes of a number, which are written first and measured then. Keeps `out.len() <= max_out`.
    fn check(&self) -> Result<(), CodecError> {
        if self.out.len() > self.max_out { Err(CodecError::TooLarge) } else { Ok(()) }
    }
}

/// How many bytes of `text` a JSON string can hold as they are.
fn plain_prefix(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = word_at(text, at) {
        let marks = json_special(word);
        if marks != 0 {
            return at + first_marked(marks);
        }
        at += 8;
    }
    let is_special = |byte: &u8| matches!(byte, ..0x20 | b'"' | b'\\');
    at + text[at..].iter().position(is_special).unwrap_or(text.len() - at)
}

const fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[nibble as usize & 15]
}

/// `M:` and `value` in MessagePack, each number in its shortest form.
pub fn from_json(value: &Value) -> Vec<u8> {
    let mut out = MSGPACK_PREFIX.to_vec();
    encode(&mut out, value);
    out
}

/// Recurses as deep as the value is nested; a `Value` that was parsed is at most 128 deep.
fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => written(encode::write_nil(out)),
        Value::Bool(value) => written(encode::write_bool(out, *value)),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                written(encode::write_uint(out, number));
            } else if let Some(number) = number.as_i64() {
                written(encode::write_sint(out, number));
            } else {
                written(encode::write_f64(out, number.as_f64().unwrap_or(f64::NAN)));
            }
        }
        Value::String(text) => written(encode::write_str(out, text)),
        Value::Array(values) => {
            written(encode::write_array_len(out, length(values.len())));
            values.iter().for_each(|value| encode(out, value));
        }
        Value::Object(members) => {
            written(encode::write_map_len(out, length(members.len())));
            for (key, value) in members {
                written(encode::write_str(out, key));
                encode(out, value);
            }
        }
    }
}

/// Drops a result that cannot be an error: everything here is written to a `Vec`.
fn written<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok());
}

/// Messages end far below 4 GiB; a collection beyond that could not be said in MessagePack at all.
fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a collection of more than 2^32 members")
}

#[cfg(test)]
mod tests;

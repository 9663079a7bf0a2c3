//! Bytes into messages, the server's side of RFC 6455: unmasks in place, joins fragments, checks UTF-8, and names the close
//! code of each violation, at the byte that makes it one. Holds memory only while a fragmented message is incomplete, and
//! never by a declared length.

use super::utf8::{self, Ahead};
use super::{Header, Opcode, Violation, apply_mask, parse_header};
use crate::close_code::CloseCode;
use crate::limits::max_fragments;

/// Takes the messages a [`MessageSource`] finds. The borrowed payloads live in the caller's read buffer.
pub trait MessageSink {
    /// Whether another frame may be taken now; false: [`MessageSource::feed`] leaves the rest of its input to the next call.
    #[inline]
    fn wants_more(&self) -> bool {
        true
    }
    /// A whole text message, checked to be UTF-8.
    fn text(&mut self, text: &str);
    /// A whole binary message.
    fn binary(&mut self, bytes: &[u8]);
    /// A ping: answer with a pong of the same payload.
    fn ping(&mut self, payload: &[u8]);
    /// A pong.
    fn pong(&mut self, payload: &[u8]);
    /// The peer's Close, code already checked. `None`: the frame was empty. Nothing follows it.
    fn close(&mut self, code: Option<CloseCode>, reason: &str);
}

/// Turns a byte stream into messages: the one door between the socket and a frame codec.
pub trait MessageSource {
    /// Consumes the whole frames at the front of `input` (unmasking them in place) and returns how many bytes they were.
    /// The caller keeps the rest and passes it again with more behind it, or as it is if the sink wanted no more.
    fn feed(&mut self, input: &mut [u8], sink: &mut impl MessageSink) -> Result<usize, Violation>;
    /// Bytes held between calls.
    fn held(&self) -> usize;
    /// Whether a message has begun and not ended.
    fn mid_message(&self) -> bool;
}

/// This crate's [`MessageSource`].
#[derive(Debug)]
pub struct Decoder {
    /// A frame's header is compared with it, so 4 GiB are as good as no limit.
    max_message: u32,
    /// How far the payload of the frame that has not arrived whole is known to be UTF-8.
    ahead: Ahead,
    closed: bool,
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    opcode: Opcode,
    data: Vec<u8>,
    /// Bytes of `data` that are whole characters, where it is text.
    whole: usize,
    fragments: usize,
}

impl Decoder {
    /// A decoder that refuses messages above `max_message` bytes (after joining fragments) with 1009, and those in more
    /// than [`max_fragments`] fragments with 1008.
    #[expect(clippy::cast_possible_truncation, reason = "compared before")]
    pub const fn new(max_message: usize) -> Self {
        let max_message = if max_message < u32::MAX as usize { max_message as u32 } else { u32::MAX };
        Self { max_message, ahead: Ahead::new(), closed: false, partial: None }
    }

    /// What the header says is wrong before a byte of payload has arrived.
    #[inline]
    fn check(&self, header: &Header) -> Result<(), Violation> {
        if header.mask.is_none() {
            return Err(Violation::protocol("unmasked client frame"));
        }
        match header.opcode {
            Opcode::Continuation if self.partial.is_none() => {
                return Err(Violation::protocol("continuation without a message"));
            }
            Opcode::Text | Opcode::Binary if self.partial.is_some() => {
                return Err(Violation::protocol("new message inside a fragmented one"));
            }
            _ => {}
        }
        let joined = if header.opcode.is_control() { 0 } else { self.held() };
        if header.payload.saturating_add(joined as u64) > u64::from(self.max_message) && !header.opcode.is_control() {
            return Err(Violation::too_big());
        }
        Ok(())
    }

    #[inline]
    fn frame(&mut self, header: &Header, payload: &[u8], sink: &mut impl MessageSink) -> Result<(), Violation> {
        match header.opcode {
            Opcode::Text | Opcode::Binary if header.fin => deliver(header.opcode, payload, sink),
            Opcode::Text | Opcode::Binary => {
                let mut partial = Partial { opcode: header.opcode, data: payload.to_vec(), whole: 0, fragments: 1 };
                partial.check()?;
                self.partial = Some(Box::new(partial));
                Ok(())
            }
            Opcode::Continuation => self.continuation(header.fin, payload, sink),
            Opcode::Ping => {
                sink.ping(payload);
                Ok(())
            }
            Opcode::Pong => {
                sink.pong(payload);
                Ok(())
            }
            Opcode::Close => {
                self.closed = true;
                self.partial = None;
                close(payload, sink)
            }
        }
    }

    fn continuation(&mut self, fin: bool, payload: &[u8], sink: &mut impl MessageSink) -> Result<(), Violation> {
        let Some(partial) = self.partial.as_mut() else {
            return Err(Violation::protocol("continuation without a message"));
        };
        partial.fragments += 1;
        if partial.fragments > max_fragments(self.max_message as usize) {
            return Err(Violation::policy("too many fragments"));
        }
        partial.data.extend_from_slice(payload);
        if !fin {
            return partial.check();
        }
        match self.partial.take() {
            Some(whole) => deliver(whole.opcode, &whole.data, sink),
            None => Ok(()),
        }
    }

    /// Looks at what has arrived of a frame whose end has not: text that can no longer become UTF-8 is refused at once.
    #[cold]
    fn look_ahead(&mut self, header: &Header, arrived: &[u8]) -> Result<(), Violation> {
        let before = match (&self.partial, header.opcode) {
            (_, Opcode::Text) => &[][..],
            (Some(partial), Opcode::Continuation) if partial.opcode == Opcode::Text => &partial.data[partial.whole..],
            _ => return Ok(()),
        };
        let Some(key) = header.mask else { return Ok(()) };
        if self.ahead.check(before, arrived, key) { Ok(()) } else { Err(NOT_UTF8) }
    }
}

/// What a text that is not UTF-8 is refused with.
const NOT_UTF8: Violation = Violation::utf8("text is not UTF-8");

impl Partial {
    /// Looks at what a fragment has added to a text, which may end within a character.
    fn check(&mut self) -> Result<(), Violation> {
        if self.opcode == Opcode::Text {
            self.whole += utf8::whole(&self.data[self.whole..]).ok_or(NOT_UTF8)?;
        }
        Ok(())
    }
}

impl MessageSource for Decoder {
    fn feed(&mut self, input: &mut [u8], sink: &mut impl MessageSink) -> Result<usize, Violation> {
        let mut at = 0;
        while !self.closed {
            let Some(header) = parse_header(&input[at..])? else { return Ok(at) };
            self.check(&header)?;
            // `check` bounded the payload by `max_message` or 125, so this fits a usize.
            let body = at + header.size;
            let Ok(length) = usize::try_from(header.payload) else { return Err(Violation::too_big()) };
            let Some(payload) = input[body..].get_mut(..length) else {
                self.look_ahead(&header, &input[body..])?;
                return Ok(at);
            };
            self.ahead = Ahead::new();
            if let Some(key) = header.mask {
                apply_mask(payload, key);
            }
            self.frame(&header, payload, sink)?;
            at = body + length;
            if !sink.wants_more() && !self.closed {
                return Ok(at);
            }
        }
        // After the peer's Close nothing it sends has a meaning (RFC 6455 §5.5.1).
        Ok(input.len())
    }

    fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.data.len())
    }

    fn mid_message(&self) -> bool {
        self.partial.is_some()
    }
}

#[inline]
fn deliver(opcode: Opcode, payload: &[u8], sink: &mut impl MessageSink) -> Result<(), Violation> {
    if opcode == Opcode::Binary {
        sink.binary(payload);
        return Ok(());
    }
    // Where a text is wrong does not matter here, and to say so takes longer.
    match simdutf8::basic::from_utf8(payload) {
        Ok(text) => {
            sink.text(text);
            Ok(())
        }
        Err(_) => Err(NOT_UTF8),
    }
}

fn close(payload: &[u8], sink: &mut impl MessageSink) -> Result<(), Violation> {
    let [high, low, reason @ ..] = payload else {
        if payload.is_empty() {
            sink.close(None, "");
            return Ok(());
        }
        return Err(Violation::protocol("close frame with one byte"));
    };
    let code = CloseCode(u16::from_be_bytes([*high, *low]));
    if !code.may_be_sent() {
        return Err(Violation::protocol("invalid close code"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::utf8("close reason is not UTF-8"))?;
    sink.close(Some(code), reason);
    Ok(())
}

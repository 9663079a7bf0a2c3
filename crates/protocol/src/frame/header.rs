//! The frame header (RFC 6455 §5.2): parsed, checked and measured. Never touches a payload.

use super::Violation;

/// The six opcodes RFC 6455 defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// Start or answer of the close handshake.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or stands alone.
    Pong = 0xA,
}

impl Opcode {
    /// Close, Ping and Pong: never fragmented, at most 125 bytes, allowed between fragments.
    pub const fn is_control(self) -> bool {
        (self as u8) & 0x8 != 0
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// One parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Last fragment of its message.
    pub fin: bool,
    /// What the payload is.
    pub opcode: Opcode,
    /// The masking key, present on every frame a client sends.
    pub mask: Option<[u8; 4]>,
    /// Payload length in bytes, below 2^63.
    pub payload: u64,
    /// Length of the header itself, 2 to 14 bytes.
    pub size: usize,
}

/// Parses the header at the start of `bytes`. `Ok(None)`: more bytes are needed.
///
/// Refuses reserved bits and opcodes, lengths not in their shortest form, lengths of 2^63 and above, and control frames
/// that are fragmented or longer than 125 bytes. No extension is ever negotiated, so every RSV bit is a violation.
#[inline]
pub fn parse_header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let [first, second, rest @ ..] = bytes else {
        // One byte is enough to refuse what its bits already say.
        return match bytes {
            [first] => check_first(*first).map(|_| None),
            _ => Ok(None),
        };
    };
    let opcode = check_first(*first)?;
    let fin = first & 0x80 != 0;
    let short = second & 0x7F;
    if opcode.is_control() {
        if !fin {
            return Err(Violation::protocol("fragmented control frame"));
        }
        if short > 125 {
            return Err(Violation::protocol("control frame longer than 125 bytes"));
        }
    }
    let (payload, extended) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(raw) => (u64::from(u16::from_be_bytes(*raw)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(raw) => (u64::from_be_bytes(*raw), 8),
            None => return Ok(None),
        },
        n => (u64::from(n), 0),
    };
    if (extended == 2 && payload < 126) || (extended == 8 && payload < 1 << 16) {
        return Err(Violation::protocol("length not in its shortest form"));
    }
    if payload >= 1 << 63 {
        return Err(Violation::protocol("length of 2^63 or more"));
    }
    let masked = second & 0x80 != 0;
    let mask = if masked {
        match rest.get(extended..).and_then(<[u8]>::first_chunk::<4>) {
            Some(key) => Some(*key),
            None => return Ok(None),
        }
    } else {
        None
    };
    let size = 2 + extended + if masked { 4 } else { 0 };
    Ok(Some(Header { fin, opcode, mask, payload, size }))
}

#[inline]
fn check_first(first: u8) -> Result<Opcode, Violation> {
    if first & 0x70 != 0 {
        return Err(Violation::protocol("reserved bit set"));
    }
    Opcode::from_bits(first & 0x0F).ok_or(Violation::protocol("reserved opcode"))
}

/// Where the frame that starts at `start` ends, in a buffer of frames this crate encoded. `None`: it is not whole there.
///
/// The writer walks frames with it to find the boundary at which a control frame may go in.
pub fn frame_end(frames: &[u8], start: usize) -> Option<usize> {
    let header = parse_header(frames.get(start..)?).ok()??;
    let end = start + header.size + usize::try_from(header.payload).ok()?;
    (end <= frames.len()).then_some(end)
}

//! Writing frames: unmasked ones as a server sends them, masked ones for test peers. Appends to a buffer, never allocates
//! one of its own, and never fragments.

use super::{Opcode, apply_mask};
use crate::close_code::{CloseCode, MAX_CLOSE_REASON};

/// Size on the wire of an unmasked frame with `payload` bytes.
#[inline]
pub const fn frame_size(payload: usize) -> usize {
    payload
        + if payload < 126 {
            2
        } else if payload < 1 << 16 {
            4
        } else {
            10
        }
}

/// Appends the header of an unmasked, final frame of `payload` bytes.
#[inline]
pub fn push_header(out: &mut Vec<u8>, opcode: Opcode, payload: usize) {
    push_length(out, 0x80 | opcode as u8, 0, payload);
}

/// Appends one unmasked, final frame.
#[inline]
pub fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    push_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends one masked frame, as a client sends it.
pub fn push_masked_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    push_length(out, u8::from(fin) << 7 | opcode as u8, 0x80, payload.len());
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key);
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each cast is guarded by the range of its branch")]
fn push_length(out: &mut Vec<u8>, first: u8, mask_bit: u8, payload: usize) {
    if payload < 126 {
        out.extend_from_slice(&[first, mask_bit | payload as u8]);
    } else if payload < 1 << 16 {
        let [a, b] = (payload as u16).to_be_bytes();
        out.extend_from_slice(&[first, mask_bit | 126, a, b]);
    } else {
        out.extend_from_slice(&[first, mask_bit | 127]);
        out.extend_from_slice(&(payload as u64).to_be_bytes());
    }
}

/// The payload of a Close frame: the code and as much of `reason` as fits in whole characters.
pub fn close_payload(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(MAX_CLOSE_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

/// Appends an unmasked Close frame.
pub fn push_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    push_frame(out, Opcode::Close, &close_payload(code, reason));
}

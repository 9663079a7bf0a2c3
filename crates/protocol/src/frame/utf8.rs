//! UTF-8 that arrives in pieces (RFC 6455 §8.1): refused at the byte that makes it invalid, not when the message is whole.
//! Checks only; keeps no text.

use std::str::from_utf8;

use super::apply_mask;

/// Bytes unmasked at a time.
const PIECE: usize = 4096;
/// The longest character that is not whole, bytes.
const UNFINISHED: usize = 3;

/// How many bytes at the front of `bytes` are whole characters; the rest may still become one. `None`: it is not UTF-8,
/// whatever follows.
pub(super) fn whole(bytes: &[u8]) -> Option<usize> {
    match from_utf8(bytes) {
        Ok(text) => Some(text.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

/// How far the payload of a frame that is still arriving has been checked. Lasts as long as that frame is the first of what
/// has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Bytes of its payload that are whole characters together with what came before the frame. Above 4 GiB nothing is
    /// checked ahead.
    checked: u32,
}

impl Ahead {
    /// Nothing has been checked.
    pub(super) const fn new() -> Self {
        Self { checked: 0 }
    }

    /// Checks what `arrived` has more than at the last call. It is masked with `key` and begins where the payload does;
    /// `before` is the unfinished character that the fragments before it end with. False: it is not UTF-8.
    pub(super) fn check(&mut self, before: &[u8], arrived: &[u8], key: [u8; 4]) -> bool {
        let mut piece = [0; UNFINISHED + PIECE];
        loop {
            let from = self.checked as usize;
            // Once a character is whole, what came before the frame is used up.
            let before = if from == 0 { before } else { &[] };
            let Some(fresh) = arrived.get(from..arrived.len().min(from + PIECE)) else { return true };
            let Some(room) = piece.get_mut(..before.len() + fresh.len()) else { return false };
            let (head, text) = room.split_at_mut(before.len());
            head.copy_from_slice(before);
            text.copy_from_slice(fresh);
            let mut rotated = key;
            rotated.rotate_left(from % 4);
            apply_mask(text, rotated);
            let Some(whole) = whole(room) else { return false };
            let Ok(checked) = u32::try_from(from + whole.saturating_sub(before.len())) else { return true };
            if checked as usize == from || fresh.len() < PIECE {
                self.checked = checked;
                return true;
            }
            self.checked = checked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    /// Where it is refused when it arrives byte by byte behind `before`; `None`: never.
    fn refused_at(before: &[u8], payload: &[u8]) -> Option<usize> {
        let mut masked = payload.to_vec();
        apply_mask(&mut masked, KEY);
        let mut ahead = Ahead::new();
        (0..=masked.len()).find(|end| !ahead.check(before, &masked[..*end], KEY))
    }

    #[test]
    fn is_refused_at_the_byte_that_makes_it_invalid() {
        for (before, payload, at) in [
            (&b""[..], &b"plain"[..], None),
            (b"", "κόσμε".as_bytes(), None),
            (b"", b"ok\xF4\x90", Some(4)),
            (b"", b"ok\xED\xA0\x80", Some(4)),
            (b"", b"\xFF", Some(1)),
            (b"", b"\xC0", Some(1)),
            (b"", b"\xE2\x82", None),
            (b"\xE2\x82", b"\xAC and more", None),
            (b"\xE2\x82", b"x", Some(1)),
            (b"\xE2", b"\x82\xACx\x80", Some(4)),
            (b"\xF0\x9F\x8E", b"\x88", None),
            (b"\xF0\x9F", b"\x8E\xFF", Some(2)),
        ] {
            assert_eq!(refused_at(before, payload), at, "{before:?} {payload:?}");
        }
    }

    #[test]
    fn long_payloads_are_checked_in_pieces_wherever_they_are_cut() {
        let text = "aé€🎈".repeat(3000);
        for bad in [None, Some(4095), Some(4096), Some(4097), Some(20_000), Some(text.len() - 1)] {
            let mut payload = text.clone().into_bytes();
            if let Some(bad) = bad {
                payload[bad] = 0xFF;
            }
            apply_mask(&mut payload, KEY);
            for step in [1000, 4096, 5000, payload.len()] {
                let mut ahead = Ahead::new();
                let refused = (0..=payload.len()).step_by(step).find(|end| !ahead.check(b"", &payload[..*end], KEY));
                let whole = refused.is_none() && ahead.check(b"", &payload, KEY);
                assert_eq!(whole, bad.is_none(), "{bad:?} in steps of {step}");
                if let (Some(refused), Some(bad)) = (refused, bad) {
                    assert!(refused > bad && refused <= bad + step, "{bad} refused at {refused}");
                }
            }
        }
    }
}

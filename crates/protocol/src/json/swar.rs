//! Eight bytes at a time inside one `u64`: where a run of plain string text ends.
//!
//! Never decides what a byte means; it only says where the next interesting one is. In every result the *lowest* marked
//! byte is exact; a higher one may be a false mark (a borrow from below), so callers use the first and then look again.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

const fn repeat(byte: u8) -> u64 {
    ONES * byte as u64
}

/// Eight bytes from `at`, first byte lowest, or `None` when fewer are left.
#[inline(always)]
pub(crate) fn word_at(text: &[u8], at: usize) -> Option<u64> {
    let chunk = text.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// Marks what ends or interrupts a JSON string: a quote, a backslash, a control character.
#[inline(always)]
pub(crate) const fn json_special(word: u64) -> u64 {
    // With its second bit turned a quote is 0x20 and joins the control characters; a space and `!` leave for 0x22 and 0x23.
    let below_space = (word ^ repeat(0x02)).wrapping_sub(repeat(0x21));
    let backslash = (word ^ repeat(b'\\')).wrapping_sub(ONES);
    (below_space | backslash) & !word & HIGH
}

/// Index (0..8) of the first marked byte; `marks` must not be zero.
#[inline(always)]
pub(crate) const fn first_marked(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value at every position, with every byte value just below it (the borrow case).
    #[test]
    fn first_mark_is_exact() {
        let is_special = |b: u8| b < 0x20 || b == b'"' || b == b'\\';
        for below in 0..=255u8 {
            for byte in 0..=255u8 {
                for position in 1..8 {
                    let mut bytes = [b'a'; 8];
                    bytes[position - 1] = below;
                    bytes[position] = byte;
                    let word = word_at(&bytes, 0).unwrap();
                    let marks = json_special(word);
                    let found = (marks != 0).then(|| first_marked(marks));
                    assert_eq!(found, bytes.iter().position(|byte| is_special(*byte)), "{bytes:?}");
                }
            }
        }
    }
}

//! The benchmark message, the same bytes on every peer, so that sequence and time stand at fixed places:
//! `{"c":"U","t":"bench","p":{"seq":"000000000000","ns":"0000000000000000000","pad":"…"},"v":1}`.

use memchr::memmem;

const HEAD: &[u8; 33] = br#"{"c":"U","t":"bench","p":{"seq":""#;
const TAIL: &[u8; 8] = br#"},"v":1}"#;
const MARK: &[u8] = br#""t":"bench","p":{"seq":""#;
const SEQ: usize = HEAD.len();
const NS: usize = SEQ + 12 + r#"","ns":""#.len();
/// The smallest size that holds an empty pad.
pub(crate) const MIN_SIZE: usize = NS + 19 + r#"","pad":""#.len() + 1 + TAIL.len();

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes)
}

/// Eight ASCII digits, first digit in the lowest byte, as a number. What is not a digit gives a wrong number, which the
/// sequence check then reports.
#[inline]
fn eight_digits(word: u64) -> u64 {
    let pairs = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(2561) >> 8;
    let quads = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    (quads & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32
}

fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0_u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

/// Sequence number of a payload known to be `size >= MIN_SIZE` long, if head and tail are the benchmark's own.
#[inline]
pub(crate) fn sequence(payload: &[u8]) -> Option<u64> {
    // `bench","` and the eight bytes before the digits stand for the whole head.
    let head = word(payload, 14)? == u64::from_le_bytes(*b"bench\",\"")
        && word(payload, 25)? == u64::from_le_bytes(*b"{\"seq\":\"");
    let tail = word(payload, payload.len().wrapping_sub(8))? == u64::from_le_bytes(*TAIL);
    if !(head && tail) {
        return None;
    }
    let high = eight_digits(word(payload, SEQ)?);
    let low = eight_digits(word(payload, SEQ + 4)?);
    Some(high * 10_000 + low % 10_000)
}

/// Send (or planned) time of a payload for which [`sequence`] answered.
pub(crate) fn sent_at(payload: &[u8]) -> Option<u64> {
    digits(payload.get(NS..NS + 19)?)
}

/// The same two, wherever the message stands inside `payload`: behind a prefix, or with members put in front of it.
pub(crate) fn search(payload: &[u8]) -> Option<(u64, u64)> {
    let at = memmem::find(&payload[..payload.len().min(512)], MARK)? + MARK.len();
    let seq = digits(payload.get(at..at + 12)?)?;
    let ns = at + NS - SEQ;
    Some((seq, digits(payload.get(ns..ns + 19)?)?))
}

/// Builds the message; the generator sends it on the echo and inbound rows with another type.
pub(crate) fn build(kind: &str, seq: u64, ns: u64, size: usize) -> Vec<u8> {
    let mut text = format!(r#"{{"c":"U","t":"{kind}","p":{{"seq":"{seq:012}","ns":"{ns:019}","pad":""#).into_bytes();
    text.resize(size.saturating_sub(TAIL.len() + 1).max(text.len()), b'x');
    text.push(b'"');
    text.extend(TAIL);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_places_hold() {
        for seq in [0, 1, 9_999, 10_000, 123_456_789, 99_999_999, 100_000_000, 999_999_999_999] {
            let text = build("bench", seq, 1_234_567_890_123_456_789, 128);
            assert_eq!(text.len(), 128);
            assert!(text.starts_with(HEAD) && text.ends_with(TAIL));
            assert_eq!(sequence(&text), Some(seq));
            assert_eq!(sent_at(&text), Some(1_234_567_890_123_456_789));
            assert_eq!(search(&text), Some((seq, 1_234_567_890_123_456_789)));
        }
        assert_eq!(build("bench", 0, 0, MIN_SIZE).len(), MIN_SIZE);
    }

    #[test]
    fn found_behind_what_a_peer_puts_in_front() {
        let mut text = br#"42["bench","#.to_vec();
        text.extend(build("bench", 42, 7, 128));
        text.push(b']');
        assert_eq!(sequence(&text), None);
        assert_eq!(search(&text), Some((42, 7)));
        let stamped = br#"{"tp":"x","e":"0a1b2c3d","o":17,"c":"U","t":"bench","p":{"seq":"000000000043","ns":"0000000000000000008","pad":""},"v":1}"#;
        assert_eq!(search(stamped), Some((43, 8)));
    }

    #[test]
    fn other_messages_are_not_counted() {
        assert_eq!(sequence(b""), None);
        assert_eq!(sequence(&build("other", 1, 1, 128)), None);
        assert_eq!(search(br#"{"c":"WSE","t":"server_ready","p":{}}"#), None);
        let mut cut = build("bench", 1, 1, 128);
        cut.pop();
        assert_eq!(sequence(&cut), None);
    }
}

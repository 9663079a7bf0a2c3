//! Masking (RFC 6455 §5.3): XOR with a repeating 4-byte key, eight bytes at a time so that the compiler vectorises it.

/// Masks or unmasks `payload` in place with `key`; the payload starts at key offset 0.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

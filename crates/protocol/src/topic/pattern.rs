//! Owns matching of topic patterns: `*` is any run of bytes, none and separators included, `?` exactly one byte.
//! Never allocates while matching, never backtracks over a `*`.
//!
//! A pattern is compiled into the *segments* between its stars. The first is anchored at the start of the topic,
//! the last at its end, and those between are each taken at their leftmost place, which is always right because a
//! star gives back nothing a later segment could use. Segments without `?` are found by `memmem` (linear in the
//! worst case); one with `?` is tried where its first literal byte stands, by a masked comparison without branches.
//! Cost for a topic of n bytes and a pattern of m: O(n + m) without `?`, else at most n * m / 16 vector steps, which
//! at both limits (65 535 and 1024 bytes, all hostile) measured 0.9 ms.

use std::fmt;

use memchr::{memchr, memchr2, memmem};

/// Longest pattern, in bytes. Shorter than a topic name may be: its length is a factor of the matching cost.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// A pattern longer than [`MAX_PATTERN_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternError;

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic pattern is longer than {MAX_PATTERN_BYTES} bytes")
    }
}

impl std::error::Error for PatternError {}

/// Whether a subscription to this name is a pattern subscription. There is no escape: `*` and `?` always are.
pub fn is_pattern(name: &str) -> bool {
    memchr2(b'*', b'?', name.as_bytes()).is_some()
}

/// A compiled pattern. A name without `*` and `?` compiles too and matches itself only.
#[derive(Clone)]
pub struct Pattern {
    source: Box<str>,
    /// Anchored at the start; with `stars` false it is the whole pattern.
    prefix: Segment,
    /// Between stars, in order, none empty.
    middle: Box<[Segment]>,
    /// Anchored at the end; empty with `stars` false.
    suffix: Segment,
    stars: bool,
    /// Shortest topic that can match, in bytes.
    min_len: usize,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`] above [`MAX_PATTERN_BYTES`]; every shorter string is a pattern, the empty one included.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(PatternError);
        }
        let bytes = pattern.as_bytes();
        let mut segments: Vec<&[u8]> = bytes.split(|&byte| byte == b'*').collect();
        let stars = segments.len() > 1;
        let suffix = if stars { segments.pop().unwrap_or_default() } else { b"" };
        let prefix = if segments.is_empty() { b"" } else { segments.remove(0) };
        Ok(Self {
            source: pattern.into(),
            prefix: Segment::new(prefix),
            middle: segments.into_iter().filter(|segment| !segment.is_empty()).map(Segment::new).collect(),
            suffix: Segment::new(suffix),
            stars,
            min_len: bytes.iter().filter(|&&byte| byte != b'*').count(),
        })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the pattern matches the whole topic, byte for byte.
    pub fn matches(&self, topic: &str) -> bool {
        let topic = topic.as_bytes();
        if topic.len() < self.min_len || (!self.stars && topic.len() != self.min_len) {
            return false;
        }
        // Prefix and suffix cannot overlap: the topic is at least as long as all segments together.
        let (head, rest) = topic.split_at(self.prefix.len());
        let (rest, tail) = rest.split_at(rest.len() - self.suffix.len());
        if !self.prefix.is_at(head) || !self.suffix.is_at(tail) {
            return false;
        }
        let mut rest = rest;
        for segment in &self.middle {
            match segment.find_end(rest) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
        true
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

/// A run of the pattern without `*`.
#[derive(Clone)]
struct Segment {
    /// The bytes, zero where the pattern has `?`.
    bytes: Box<[u8]>,
    wild: Option<Wild>,
}

/// What a segment with `?` needs besides its bytes.
#[derive(Clone)]
struct Wild {
    /// 0xff where the byte counts, zero where it does not.
    mask: Box<[u8]>,
    /// Offset of the first byte that counts; `None` when the segment is only `?`.
    anchor: Option<usize>,
}

impl Segment {
    fn new(source: &[u8]) -> Self {
        let wild = memchr(b'?', source).map(|_| Wild {
            mask: source.iter().map(|&byte| if byte == b'?' { 0 } else { 0xff }).collect(),
            anchor: source.iter().position(|&byte| byte != b'?'),
        });
        Self { bytes: source.iter().map(|&byte| if byte == b'?' { 0 } else { byte }).collect(), wild }
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the segment matches exactly these bytes; `at` has the segment's length.
    fn is_at(&self, at: &[u8]) -> bool {
        // Not left to `memcmp`: on AVX-512 machines it reads the dangling pointer of an empty box under an empty
        // mask, a suppressed fault that costs 40 ns, and `user:*` has an empty suffix.
        if self.bytes.is_empty() {
            return true;
        }
        match &self.wild {
            None => *at == *self.bytes,
            Some(wild) => masked_eq(at, &self.bytes, &wild.mask),
        }
    }

    /// The end of the leftmost match in `text`.
    fn find_end(&self, text: &[u8]) -> Option<usize> {
        let len = self.len();
        let Some(wild) = &self.wild else {
            return memmem::find(text, &self.bytes).map(|start| start + len);
        };
        let last_start = text.len().checked_sub(len)?;
        let Some(anchor) = wild.anchor else {
            return Some(len);
        };
        let mut start = 0;
        while start <= last_start {
            start += memchr(self.bytes[anchor], &text[start + anchor..=last_start + anchor])?;
            if masked_eq(&text[start..start + len], &self.bytes, &wild.mask) {
                return Some(start + len);
            }
            start += 1;
        }
        None
    }
}

/// Compares three slices of equal length where `mask` is set, a block at a time without branches inside.
fn masked_eq(text: &[u8], bytes: &[u8], mask: &[u8]) -> bool {
    const BLOCK: usize = 32;
    let differs = |text: &[u8], bytes: &[u8], mask: &[u8]| {
        let pairs = text.iter().zip(bytes).zip(mask);
        pairs.fold(0, |acc, ((text, byte), mask)| acc | ((text ^ byte) & mask)) != 0
    };
    let (text_blocks, text_rest) = text.as_chunks::<BLOCK>();
    let (byte_blocks, byte_rest) = bytes.as_chunks::<BLOCK>();
    let (mask_blocks, mask_rest) = mask.as_chunks::<BLOCK>();
    let mut blocks = text_blocks.iter().zip(byte_blocks).zip(mask_blocks);
    !differs(text_rest, byte_rest, mask_rest) && !blocks.any(|((text, bytes), mask)| differs(text, bytes, mask))
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;

//! `C:` messages: zlib, level 1 on the way out, with a cap on output and on ratio on the way in.
//!
//! Never decides whether a message is worth compressing.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CodecError, ZLIB_PREFIX};

/// What the output buffer starts with and grows by at least.
const CHUNK: usize = 4096;
/// Most bytes one byte of a stream may become, once the output is longer than [`ANY_RATIO_BYTES`].
const MAX_RATIO: usize = 64;
/// Outputs of at most this many bytes may have any ratio: a short message of repetitions is ordinary and costs little.
const ANY_RATIO_BYTES: usize = 64 * 1024;

/// A compressor that keeps its tables (some 300 KiB) between messages; one per thread that compresses.
#[derive(Debug)]
pub struct Compressor {
    state: Compress,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// Allocates the tables.
    pub fn new() -> Self {
        Self { state: Compress::new(Compression::new(1), true) }
    }

    /// `C:` and the zlib stream of `data`, level 1. Each message is a stream of its own.
    #[allow(clippy::missing_panics_doc, reason = "no input makes deflate fail")]
    pub fn compress(&mut self, data: &[u8]) -> Vec<u8> {
        self.state.reset();
        let mut out = Vec::with_capacity(ZLIB_PREFIX.len() + data.len() / 2 + 64);
        out.extend_from_slice(ZLIB_PREFIX);
        loop {
            let done = of_a_slice(self.state.total_in());
            let status = self.state.compress_vec(&data[done..], &mut out, FlushCompress::Finish);
            if status.expect("deflate refuses only a state it did not make") == Status::StreamEnd {
                return out;
            }
            // Out of room; the next round goes on where this one stopped.
            out.reserve(CHUNK.max(out.len() / 2));
        }
    }
}

/// [`Compressor::compress`] with tables of its own, for the occasional message.
pub fn compress(data: &[u8]) -> Vec<u8> {
    Compressor::new().compress(data)
}

/// The most bytes [`decompress`] makes of a stream of `stream` bytes: `max_out`, and above 64 KiB not more than 64 for each
/// byte of the stream.
pub const fn max_inflated(stream: usize, max_out: usize) -> usize {
    let by_ratio = stream.saturating_mul(MAX_RATIO);
    let by_ratio = if by_ratio > ANY_RATIO_BYTES { by_ratio } else { ANY_RATIO_BYTES };
    if by_ratio < max_out { by_ratio } else { max_out }
}

/// Inflates one whole zlib stream (`stream` is without `C:`) of at most [`max_inflated`] bytes.
///
/// # Errors
/// [`CodecError::TooLarge`] beyond `max_out` as beyond the ratio; the others for a stream that breaks the format.
pub fn decompress(stream: &[u8], max_out: usize) -> Result<Vec<u8>, CodecError> {
    decompress_counted(stream, max_out).0
}

/// [`decompress`], and how many bytes it produced, also where it refused: what a caller charges to a budget of work. At most
/// one byte more than [`max_inflated`].
pub fn decompress_counted(stream: &[u8], max_out: usize) -> (Result<Vec<u8>, CodecError>, usize) {
    let mut out = Vec::new();
    let inflated = inflate(stream, max_inflated(stream.len(), max_out), &mut out);
    let produced = out.len();
    (inflated.map(|()| out), produced)
}

/// How many bytes of a slice were taken.
#[expect(clippy::cast_possible_truncation, reason = "at most the length of the slice")]
const fn of_a_slice(taken: u64) -> usize {
    taken as usize
}

fn inflate(stream: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut state = Decompress::new(true);
    loop {
        if out.len() == out.capacity() {
            // Doubling, never a guess from the input. One byte beyond the limit shows that there is more.
            let more = out.len().max(CHUNK).min(limit.saturating_add(1) - out.len());
            out.reserve_exact(more);
        }
        let (read, written) = (of_a_slice(state.total_in()), out.len());
        let status =
            state.decompress_vec(&stream[read..], out, FlushDecompress::None).map_err(|_| CodecError::Corrupt)?;
        if out.len() > limit {
            return Err(CodecError::TooLarge);
        }
        if status == Status::StreamEnd {
            let all_read = state.total_in() == stream.len() as u64;
            return if all_read { Ok(()) } else { Err(CodecError::TrailingData) };
        }
        if state.total_in() == read as u64 && out.len() == written {
            // Neither took nor gave although there was room: it wants more input than there is.
            return Err(CodecError::Truncated);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(data: &[u8]) -> Vec<u8> {
        compress(data)[2..].to_vec()
    }

    #[test]
    fn round_trip_and_exact_limit() {
        for size in [0, 1, 100, 4095, 4096, 4097, 100_000] {
            let data: Vec<u8> =
                (0..size).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
            let packed = stream(&data);
            assert_eq!(decompress(&packed, data.len()).unwrap(), data, "{size}");
            assert_eq!(decompress(&packed, usize::MAX).unwrap(), data, "{size}");
            if size > 0 {
                assert_eq!(decompress(&packed, data.len() - 1), Err(CodecError::TooLarge), "{size}");
            }
        }
    }

    #[test]
    fn a_compressor_forgets_the_message_before() {
        let mut compressor = Compressor::new();
        let first = compressor.compress(b"hello hello hello");
        compressor.compress(&[7; 100_000]);
        assert_eq!(compressor.compress(b"hello hello hello"), first);
        assert!(first.starts_with(b"C:\x78\x01"));
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let bomb = stream(&vec![0; 8 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(decompress(&bomb, 1 << 20), Err(CodecError::TooLarge));
    }

    #[test]
    fn a_bomb_below_the_cap_stops_at_the_ratio() {
        let bomb = stream(&vec![b'{'; 1 << 20]);
        assert!(bomb.len() < 12 * 1024, "{}", bomb.len());
        let limit = max_inflated(bomb.len(), 1 << 30);
        let (refused, produced) = decompress_counted(&bomb, 1 << 30);
        assert_eq!((refused, produced), (Err(CodecError::TooLarge), limit + 1));
        assert!(produced <= 64 * bomb.len() + 1, "bounded by what was sent");
        // What is free at any ratio ends where the ratio begins.
        assert_eq!(decompress_counted(&stream(&[b'x'; 65_536]), 1 << 20).1, 65_536);
        assert_eq!(decompress(&stream(&[b'x'; 65_537]), 1 << 20), Err(CodecError::TooLarge));
    }

    #[test]
    fn ordinary_messages_are_far_from_the_ratio() {
        let row =
            |at: u32| format!(r#"{{"id":{at},"price":{},"side":"buy"}},"#, at.wrapping_mul(2_654_435_761) % 10_000);
        let text: String = (0..20_000).map(row).collect();
        let packed = stream(text.as_bytes());
        assert!(text.len() > 1 << 19 && text.len() / packed.len() < 16, "{}:1", text.len() / packed.len());
        assert_eq!(decompress(&packed, 1 << 20).as_deref(), Ok(text.as_bytes()));
    }

    #[test]
    fn the_limit_of_the_output() {
        for (stream, max_out, limit) in [
            (0, 1 << 20, 64 << 10),
            (1024, 1 << 20, 64 << 10),
            (1025, 1 << 20, 65_600),
            (1 << 14, 1 << 20, 1 << 20),
            (1 << 20, 1 << 20, 1 << 20),
            (10, 4096, 4096),
            (usize::MAX, usize::MAX, usize::MAX),
        ] {
            assert_eq!(max_inflated(stream, max_out), limit, "{stream}");
        }
    }

    #[test]
    fn a_refused_stream_says_what_it_cost() {
        let mut packed = stream(&[b'x'; 50_000]);
        *packed.last_mut().unwrap() ^= 1;
        assert_eq!(decompress_counted(&packed, 1 << 20), (Err(CodecError::Corrupt), 50_000));
        assert_eq!(decompress_counted(b"plain text", 1 << 20), (Err(CodecError::Corrupt), 0));
    }

    #[test]
    fn allocation_follows_the_output() {
        let out = decompress(&stream(&[b'x'; 5000]), 1 << 30).unwrap();
        assert!(out.capacity() < 32 * 1024, "{}", out.capacity());
    }

    #[test]
    fn truncated_trailing_corrupt() {
        let packed = stream(b"some text that is worth a few bytes of zlib, some text");
        for end in 0..packed.len() {
            assert_eq!(decompress(&packed[..end], 1000), Err(CodecError::Truncated), "{end}");
        }
        let mut trailing = packed.clone();
        trailing.push(0);
        assert_eq!(decompress(&trailing, 1000), Err(CodecError::TrailingData));
        let mut wrong_sum = packed.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert_eq!(decompress(&wrong_sum, 1000), Err(CodecError::Corrupt));
        assert_eq!(decompress(b"plain text", 1000), Err(CodecError::Corrupt));
        // A stream that asks for a preset dictionary.
        assert_eq!(decompress(&[0x78, 0xbb, 0, 0, 0, 0, 0, 0], 1000), Err(CodecError::Corrupt));
    }
}

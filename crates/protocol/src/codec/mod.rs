//! Encodings a message can come in: `C:` zlib, `M:` MessagePack, `E:` encrypted, and the old category prefixes.
//!
//! Never trusts a length the peer declares: memory grows with what has really been decoded, up to a limit passed in.
//! Encryption itself is not here; only its prefix.

mod msgpack;
mod zlib;

use std::fmt;

pub use msgpack::{MSGPACK_AMPLIFICATION, MsgpackLimits, from_json, to_json};
pub use zlib::{Compressor, compress, decompress, decompress_counted, max_inflated};

use crate::envelope::Category;

/// Prefix of a zlib-compressed message.
pub const ZLIB_PREFIX: &[u8; 2] = b"C:";
/// Prefix of a MessagePack message.
pub const MSGPACK_PREFIX: &[u8; 2] = b"M:";
/// Prefix of an encrypted message.
pub const ENCRYPTED_PREFIX: &[u8; 2] = b"E:";

/// Why an encoded message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The output would be longer than the limit, or than the input allows (zlib: [`max_inflated`]).
    TooLarge,
    /// Maps and arrays are nested deeper than the limit.
    TooDeep,
    /// More values than the limit.
    TooManyElements,
    /// The input ends before the message does.
    Truncated,
    /// Bytes follow the end of the message.
    TrailingData,
    /// The input breaks the format.
    Corrupt,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "decoded message exceeds the size limit",
            Self::TooDeep => "encoded message is nested too deeply",
            Self::TooManyElements => "encoded message has too many elements",
            Self::Truncated => "encoded message is truncated",
            Self::TrailingData => "data after the end of the encoded message",
            Self::Corrupt => "encoded message is corrupt",
        })
    }
}

impl std::error::Error for CodecError {}

/// Splits an old category prefix (`WSE{`, `S{`, `U{`) off a text; the rest begins with the brace.
pub fn strip_category_prefix(text: &[u8]) -> (Option<Category>, &[u8]) {
    for category in [Category::System, Category::Snapshot, Category::Update] {
        if let Some(rest) = text.strip_prefix(category.as_str().as_bytes())
            && rest.first() == Some(&b'{')
        {
            return (Some(category), rest);
        }
    }
    (None, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_prefixes() {
        for (text, category, rest) in [
            ("WSE{}", Some(Category::System), "{}"),
            ("S{\"t\":1}", Some(Category::Snapshot), "{\"t\":1}"),
            ("U{", Some(Category::Update), "{"),
            ("U", None, "U"),
            ("U[1]", None, "U[1]"),
            ("WSE {}", None, "WSE {}"),
            ("wse{}", None, "wse{}"),
            ("{}", None, "{}"),
            ("", None, ""),
        ] {
            assert_eq!(strip_category_prefix(text.as_bytes()), (category, rest.as_bytes()), "{text}");
        }
    }
}

//! Owns the validity of topic names (docs/protocol.md §11.1).
//! Never changes a name: no trimming, no case folding, no normalisation.

use std::fmt;

/// Longest topic name, in bytes.
pub const MAX_NAME_BYTES: usize = 65_535;

/// Why a name is no topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// The empty string.
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    TooLong,
    /// Contains U+0000..=U+001F or U+007F.
    Control,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("topic name is empty"),
            Self::TooLong => write!(f, "topic name is longer than {MAX_NAME_BYTES} bytes"),
            Self::Control => f.write_str("topic name contains an ASCII control character"),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks a name, of a topic or of a pattern subscription.
///
/// # Errors
/// [`NameError`] naming the first rule broken.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    // No early exit: the fold vectorises, and valid names, the common case, are read to the end anyway.
    if name.bytes().fold(false, |found, byte| found | byte.is_ascii_control()) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// Whether [`check_name`] accepts the name.
pub fn is_valid_name(name: &str) -> bool {
    check_name(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_valid_unchanged() {
        for name in ["a", " ", "user:1:orders", "Ünïcode/漢字", "a*b?", "__proto__", "\u{80}", "a b"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn every_control_character_is_refused_anywhere() {
        for code in (0_u8..=0x1f).chain([0x7f]) {
            for name in [format!("{}a", code as char), format!("a{}b", code as char), format!("a{}", code as char)] {
                assert_eq!(check_name(&name), Err(NameError::Control), "{name:?}");
            }
        }
    }

    #[test]
    fn the_length_limit_counts_bytes() {
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert!(is_valid_name(&"x".repeat(MAX_NAME_BYTES)));
        assert_eq!(check_name(&"x".repeat(MAX_NAME_BYTES + 1)), Err(NameError::TooLong));
        assert_eq!(check_name(&"é".repeat(MAX_NAME_BYTES / 2 + 1)), Err(NameError::TooLong));
    }
}

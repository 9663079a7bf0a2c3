//! Owns what topic names mean: which are valid, which are patterns, what a pattern matches, who may have what.
//! Never knows who is subscribed (the engine does) and never allocates while matching.

mod acl;
mod name;
mod pattern;

pub use acl::{Acl, AclError, MAX_ACL_PATTERNS};
pub use name::{MAX_NAME_BYTES, NameError, check_name, is_valid_name};
pub use pattern::{MAX_PATTERN_BYTES, Pattern, PatternError, is_pattern};

//! JSON text as bytes: one-pass validation, the members the engine needs, and the values it reads from them.
//!
//! Never builds a tree and never allocates for a message it only passes on. Input must already be valid UTF-8 (the
//! frame decoder has checked that); it may be anything else.

mod alias;
mod long;
mod scan;
mod shape;
mod swar;
mod value;

#[cfg(test)]
mod shape_tests;
#[cfg(test)]
mod tests;

pub use alias::normalise_aliases;
pub use long::{MIN_LONG_TEXT, STAND_IN, long_string, plain_string};
pub use scan::{JsonError, MAX_DEPTH, Member, Scan, member, scan_object};
pub use shape::{LeafEnds, MAX_LEAVES, MAX_TEXT, Shape};
pub use value::{int_value, string_value};

pub(crate) use scan::walk;
pub(crate) use swar::{first_marked, json_special, word_at};

//! Bytes <-> meaning: RFC 6455 frames, the JSON envelope, codecs, topic names and patterns, close codes and limits.
//!
//! Sans-I/O: no socket, no clock, no random numbers, no runtime, no host. Time and ids are passed in.

#![forbid(unsafe_code)]

pub mod close_code;
pub mod codec;
pub mod envelope;
pub mod frame;
pub mod json;
pub mod limits;
pub mod topic;

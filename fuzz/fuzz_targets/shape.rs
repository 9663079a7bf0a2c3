//! Runs the target `shape` under libFuzzer. Owns nothing: the body is in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wse_fuzz::shape(data));

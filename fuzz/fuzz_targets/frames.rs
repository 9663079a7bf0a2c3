//! Runs the target `frames` under libFuzzer. Owns nothing: the body is in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wse_fuzz::frames(data));

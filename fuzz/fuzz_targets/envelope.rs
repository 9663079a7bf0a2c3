//! Runs the target `envelope` under libFuzzer. Owns nothing: the body is in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wse_fuzz::envelope(data));

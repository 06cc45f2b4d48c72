//! libFuzzer's way into `harness::token`.
#![no_main]

#[path = "../harness.rs"]
#[expect(dead_code, reason = "each target runs one of them")]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::token(data));

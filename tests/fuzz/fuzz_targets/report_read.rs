//! Feeds libFuzzer's bytes to the target that reads an endpoint's answer.
#![no_main]

#[path = "../targets/report_read.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));

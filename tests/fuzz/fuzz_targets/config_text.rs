//! Feeds libFuzzer's bytes to the target that reads a configuration file.
#![no_main]

#[path = "../targets/config_text.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));

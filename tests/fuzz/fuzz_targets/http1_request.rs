//! Feeds libFuzzer's bytes to the target that sends a request over HTTP/1.1.
#![no_main]

#[path = "../targets/http1_request.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));

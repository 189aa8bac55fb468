//! Feeds libFuzzer's bytes to the target that reads an endpoint's answer over HTTP/1.1.
#![no_main]

#[path = "../targets/http1_reply.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));

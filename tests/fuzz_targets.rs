//! The fuzz targets without a fuzzer: kept inputs, random bytes, and random joins of what the formats are made of.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

#[path = "fuzz/targets/config_text.rs"]
mod config_text;
#[path = "fuzz/targets/http1_reply.rs"]
mod http1_reply;
#[path = "fuzz/targets/http1_request.rs"]
mod http1_request;
#[path = "fuzz/targets/report_read.rs"]
mod report_read;

/// Runs a target on every input that is kept for it, and on every beginning of it, as of an answer that is cut short.
fn run_seeds(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is part of the repository")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    assert!(!files.is_empty(), "no inputs in {}", folder.display());
    for file in files {
        let data = fs::read(&file).expect("it can be read");
        for end in 0..=data.len() {
            run(&data[..end]);
        }
    }
}

/// Bytes that nobody would write, and tokens in an order that nobody would write them in.
fn inputs(tokens: &[&'static str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let tokens = proptest::collection::vec(select(tokens.to_vec()), 0..80);
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..600),
        4 => (any::<u8>(), tokens).prop_map(|(choice, tokens)| [&[choice], tokens.concat().as_bytes()].concat()),
    ]
}

const REPORT_TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "a",
    "b",
    ".",
    "0",
    "-",
    "1",
    "1e9",
    "1e999",
    "NaN",
    "+Inf",
    "null",
    "true",
    " ",
    "\n",
    "\r\n",
    "# EOF",
    "# TYPE a gauge\n",
    "=",
    "\"cpu\":",
    "\"memory\":",
    "\"used\":1,",
    "\"limit\":2",
    "\"checks\":{",
    "\"status\":\"UP\",",
    "\"status\":\"DOWN\"",
    "\"components\":{",
    "\"db\":",
    "\"details\":",
    "\"pool\":",
    "[{\"observedValue\":",
    "\"observedUnit\":\"percent\"",
    "\"measurements\":[",
    "\"value\":0.5",
    "\"name\":\"a\"",
    "\u{feff}",
    "é",
    "\"a\":1,",
    "a{b=\"c\"} 1\n",
    "cpu 0.5\n",
    "a 1 2\n",
    "jvm_memory_used_bytes{area=\"heap\"} 1\n",
    "jvm_memory_max_bytes{area=\"heap\"} -1\n",
    " # {x=\"y\"} 1",
];

#[test]
fn kept_answers_are_read_or_refused() {
    run_seeds("report_read", report_read::run);
}

/// Without a file of past failures: what is found is kept among the seeds, where the fuzzer finds it too.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_answer_is_read_or_refused(data in inputs(REPORT_TOKENS)) {
        report_read::run(&data);
    }
}

const CONFIG_TOKENS: &[&str] = &[
    "listeners:\n",
    "clusters:\n",
    "  - ",
    "    ",
    "  ",
    "\n",
    "- ",
    "name: a\n",
    "name: b\n",
    "address: 127.0.0.1:80\n",
    "cluster: a\n",
    "endpoints: [127.0.0.1:1, b:2]\n",
    "endpoints:\n",
    "health: { path: /h }\n",
    "health:\n",
    "probes:\n",
    "tcp: {}\n",
    "http: { path: /h }\n",
    "report: off\n",
    "report: { format: json }\n",
    "rules: [{ metric: cpu, eject: 95%, for: 3 }]\n",
    "interval: 500ms\n",
    "timeout: 1s\n",
    "routes:\n",
    "match: { host: a, path_prefix: /a }\n",
    "retries: off\n",
    "limits: { head_bytes: 64KiB }\n",
    "balance: least_request\n",
    "off",
    "null",
    "~",
    "true",
    "1",
    "-1",
    "1e999",
    "0x1f",
    "50%",
    "1s",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    ",",
    "#",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "!t ",
    "? ",
    "---\n",
    "...\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "é",
    "${SET}",
    "${UNSET}",
    "${UNSET:-1}",
    "${TREE}",
    "${",
    "$$",
    "%YAML 1.2\n",
];

#[test]
fn kept_configurations_are_read_or_refused() {
    run_seeds("config_text", config_text::run);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_configuration_is_read_or_refused(data in inputs(CONFIG_TOKENS)) {
        config_text::run(&data);
    }
}

const REPLY_TOKENS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 \r\n",
    "HTTP/1.1 304\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.1",
    " ",
    "999",
    "Content-Length: 2\r\n",
    "Content-Length: ",
    "18446744073709551615",
    "2",
    ",",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: ",
    "Connection: close\r\n",
    "X: ",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "2\r\nok\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n",
    "0\r\nX: 1\r\n\r\n",
    ";",
    "ok",
    "\0",
    "\t",
    ":",
    "é",
];

#[test]
fn kept_requests_are_sent_as_they_are_meant() {
    run_seeds("http1_request", http1_request::run);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_request_is_sent_as_it_is_meant(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        http1_request::run(&data);
    }
}

#[test]
fn kept_replies_are_read_or_refused() {
    run_seeds("http1_reply", http1_reply::run);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_reply_is_read_or_refused(data in inputs(REPLY_TOKENS)) {
        http1_reply::run(&data);
    }

    /// Answers that begin well, so that what follows is looked at.
    #[test]
    fn any_body_in_chunks_is_read_or_refused(data in inputs(REPLY_TOKENS)) {
        let head = b"\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        http1_reply::run(&[&head[..], &data].concat());
    }
}

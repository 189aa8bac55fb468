//! Heads: what is refused and as what, and what is only put into a plain form.

use http::Method;

use super::script::{Script, Then, Whole, ask, listen};
use crate::http1::{Fault, MAX_HEAD_BYTES, MAX_HEAD_LINES};

fn answer(bytes: &str) -> Option<Result<Whole, (Fault, bool)>> {
    listen(ask(&Method::GET, Script::new([bytes], Then::Waits)))
}

/// Whole heads that could be read in two ways, or not at all.
const MALFORMED: &[&str] = &[
    "garbage\r\n\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 099 Low\r\n\r\n",
    "HTTP/1.1 -20 OK\r\n\r\n",
    "HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/2 200 OK\r\n\r\n",
    "HTTP/0.9 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    " HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/1.1\t200 OK\r\n\r\n",
    "HTTP/1.1 200 O\0K\r\n\r\n",
    "HTTP/1.1 200 O\rK\r\n\r\n",
    "HTTP/1.1 200 OK\rX: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: 1\r\n\tfolded\r\n\r\n",
    "HTTP/1.1 200 OK\r\n X: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\u{e9}: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\u{1}b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\u{7f}b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\0: a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\rY: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: 1\r\n\rok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 6\r\n\r\nokEVIL",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 6\r\n\r\nokEVIL",
    "HTTP/1.1 200 OK\r\nContent-Length: 2,\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: ,2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2.0\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2a\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nEVIL",
    "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\ngarbage\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
];

#[test]
fn what_is_no_answer_is_refused() {
    for bytes in MALFORMED {
        let fault = answer(bytes).unwrap_or_else(|| panic!("{bytes:?} is waited on")).expect_err(bytes);
        assert!(matches!(fault, (Fault::Malformed(what), false) if !what.is_empty()), "{bytes:?} gave {fault:?}");
    }
}

#[test]
fn a_framing_is_single_and_plain() {
    for lines in [
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:",
    ] {
        for status in ["200 OK", "304 Not Modified"] {
            let fault = answer(&format!("HTTP/1.1 {status}\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n")).unwrap().expect_err(lines);
            assert!(matches!(fault, (Fault::TransferCoding, false)), "{lines:?} gave {fault:?}");
        }
    }
}

#[test]
fn what_is_only_unusual_is_put_into_a_plain_form() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: \t2 \r\n\r\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "\r\n\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 \r\ncontent-length:2\r\n\r\nok",
    ] {
        let whole = answer(bytes).unwrap_or_else(|| panic!("{bytes:?} is waited on")).expect(bytes);
        let lengths: Vec<_> = whole.reply.headers.get_all("content-length").iter().map(http::HeaderValue::as_bytes).collect();
        assert_eq!((whole.body.as_slice(), lengths), (b"ok".as_slice(), vec![b"2".as_slice()]), "{bytes:?}");
        assert!(whole.free, "{bytes:?}");
    }
}

#[test]
fn heads_are_bounded() {
    let too_large = |bytes: &str| matches!(answer(bytes), Some(Err((Fault::HeadTooLarge, false))));
    let lines = |count: usize| format!("HTTP/1.1 204 No\r\n{}\r\n", "X: 1\r\n".repeat(count));
    assert!(!too_large(&lines(MAX_HEAD_LINES)));
    assert!(too_large(&lines(MAX_HEAD_LINES + 1)));
    let long = |bytes: usize| {
        let frame = "HTTP/1.1 204 No\r\nX: \r\n\r\n".len();
        format!("HTTP/1.1 204 No\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame))
    };
    assert!(!too_large(&long(MAX_HEAD_BYTES)));
    assert!(too_large(&long(MAX_HEAD_BYTES + 1)));
    assert!(too_large(&format!("HTTP/1.1 204 No\r\nX: {}", "x".repeat(MAX_HEAD_BYTES))), "an end need not come");
    assert!(too_large(&"\r\n".repeat(MAX_HEAD_BYTES)));
    let flood = answer(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000));
    assert!(matches!(flood, Some(Err((Fault::Malformed(_), false)))), "{flood:?}");
}

#[test]
fn a_head_may_come_byte_by_byte_at_any_length() {
    let bytes = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(2000));
    let whole = listen(ask(&Method::GET, Script::new(bytes.as_bytes().chunks(1), Then::Waits))).unwrap().unwrap();
    assert_eq!((whole.body.as_slice(), whole.reply.headers["x"].len()), (b"ok".as_slice(), 2000));
    for at in 0..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        let slowly = head.as_bytes().chunks(20).chain([tail.as_bytes()]);
        assert!(listen(ask(&Method::GET, Script::new(slowly, Then::Waits))).is_some_and(|whole| whole.is_ok()), "{at}");
    }
}

#[test]
fn unusual_words_are_kept() {
    let reason = |bytes: &str| answer(bytes).unwrap().unwrap().reply.reason;
    assert_eq!(reason("HTTP/1.1 204 No Content\r\n\r\n"), None);
    assert_eq!(reason("HTTP/1.1 204 Nothing Here\r\n\r\n").unwrap(), "Nothing Here");
}

#[test]
fn where_an_answer_breaks_off_is_told() {
    let fault = |bytes: &str, then: Then| listen(ask(&Method::GET, Script::new([bytes], then))).unwrap().unwrap_err();
    assert!(matches!(fault("", Then::Closes), (Fault::Closed { heard: false }, false)));
    assert!(matches!(fault("", Then::Resets), (Fault::Broken { heard: false, .. }, false)));
    assert!(matches!(fault("HTTP/1.1 2", Then::Closes), (Fault::Closed { heard: true }, false)));
    assert!(matches!(fault("HTTP/1.1 100 Go\r\n\r\n", Then::Closes), (Fault::Closed { heard: true }, false)));
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n3\r\n");
        assert!(matches!(fault(&bytes, Then::Closes), (Fault::Closed { heard: true }, true)), "{framing}");
        assert!(matches!(fault(&bytes, Then::Resets), (Fault::Broken { heard: true, .. }, true)), "{framing}");
    }
    assert!(matches!(fault("HTTP/1.1 200 OK\r\n\r\nto the end", Then::Resets), (Fault::Broken { .. }, true)));
}

//! Bodies of answers: where they end, and what may still be on the connection then.

use http::Method;

use super::script::{Script, Then, Whole, ask, listen};
use crate::http1::{Fault, Heard};

fn answer(method: &Method, bytes: &str, then: Then) -> Result<Whole, (Fault, bool)> {
    listen(ask(method, Script::new([bytes], then))).unwrap_or_else(|| panic!("{bytes:?} is waited on"))
}

#[test]
fn every_framing_has_its_end_and_the_connection_is_free_if_nothing_is_left() {
    let check = |method: Method, bytes: &str, body: &str, free: bool| {
        let whole = answer(&method, bytes, if free { Then::Waits } else { Then::Closes }).expect(bytes);
        assert_eq!((String::from_utf8(whole.body).unwrap(), whole.free), (body.to_owned(), free), "{method} {bytes:?}");
    };
    check(Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", true);
    check(Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true);
    check(Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", true);
    check(Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n02 \t;e=\"1\"\r\nok\r\n00;x\r\n\r\n", "ok", true);
    check(Method::GET, "HTTP/1.1 200 OK\r\n\r\nok", "ok", false);
    check(Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", false);
    check(Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok", "ok", true);
    check(Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok", "ok", false);
    check(Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", "", true);
    check(Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "", true);
    check(Method::GET, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "", true);
    check(Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "", true);
    check(Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", true);
    check(Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n", "", true);
    check(Method::GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "", true);
}

#[test]
fn what_follows_an_answer_makes_the_connection_useless() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n",
    ] {
        assert!(answer(&Method::GET, bytes, Then::Waits).unwrap().free);
        for more in ["x", "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"] {
            let whole = answer(&Method::GET, &format!("{bytes}{more}"), Then::Waits).unwrap();
            assert_eq!((whole.body.as_slice(), whole.free), (b"ok".as_slice(), false), "{bytes:?} {more:?}");
        }
    }
}

#[test]
fn what_comes_between_two_answers_makes_a_connection_useless() {
    let quiet = |says: &[&str], then: Then| {
        let mut script = Script::new(says, then);
        script.heard = b"the last request".to_vec();
        crate::http1::Connection::new(script).is_quiet()
    };
    assert!(quiet(&[], Then::Waits));
    assert!(!quiet(&["HTTP/1.1 408 Too Late\r\n\r\n"], Then::Waits));
    assert!(!quiet(&[], Then::Closes));
    assert!(!quiet(&[], Then::Resets));
}

#[test]
fn chunks_are_read_strictly() {
    for body in [
        "z\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "\r\n2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "2 2\r\nok\r\n0\r\n\r\n",
        ";x\r\nok\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nok\r\n0\r\n\r\n",
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "00000000000000002\r\nok\r\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "2\r\nokEVIL\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\rok\r\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2;x=\ny\r\nok\r\n0\r\n\r\n",
        "2;x=\0\r\nok\r\n0\r\n\r\n",
        "2;x=\r\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\nX: 1\r\n folded: 1\r\n\r\n",
        "2\r\nok\r\n0\r\nX Y: 1\r\n\r\n",
        "2\r\nok\r\n0\r\nX : 1\r\n\r\n",
        "2\r\nok\r\n0\r\nno colon\r\n\r\n",
        "2\r\nok\r\n0\r\nX: a\0\r\n\r\n",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let fault = answer(&Method::GET, &bytes, Then::Waits).expect_err(body);
        assert!(matches!(fault, (Fault::Malformed(_), true)), "{body:?} gave {fault:?}");
    }
}

#[test]
fn what_surrounds_chunks_is_bounded() {
    let malformed = |body: String| {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        matches!(listen(ask(&Method::GET, Script::new([bytes], Then::Waits))), Some(Err((Fault::Malformed(_), true))))
    };
    assert!(malformed(format!("2;{}", "x".repeat(20_000))));
    assert!(malformed(format!("2{}", " ".repeat(20_000))));
    assert!(malformed("1;xxxxxxxxx\r\nx\r\n".repeat(2_000)), "the bound is for all of them");
    assert!(malformed(format!("0\r\nX: {}", "x".repeat(20_000))));
    assert!(malformed(format!("0\r\n{}", "X: 1\r\n".repeat(4_000))));
    assert!(!malformed("1\r\nx\r\n".repeat(20_000)));
}

#[test]
fn trailers_come_last_and_without_what_has_no_place_there() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    let bytes = format!("{head}X-Sum: 7\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: b\r\n\r\n");
    for size in [1, 2, 3, 1000] {
        let whole = listen(ask(&Method::GET, Script::new(bytes.as_bytes().chunks(size), Then::Waits))).unwrap().unwrap();
        let trailers = whole.trailers.unwrap();
        assert_eq!((trailers.len(), &trailers["x-sum"], whole.free), (1, &http::HeaderValue::from_static("7"), true));
    }
}

#[test]
fn large_bodies_come_in_large_pieces() {
    let body = "x".repeat(1 << 20);
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut conversation = ask(&Method::GET, Script::new([bytes], Then::Waits));
    assert!(matches!(super::script::now(|cx| conversation.poll_reply(cx)), Some(Ok(Heard::Final(_)))));
    let mut frames = 0;
    while let Some(Some(frame)) = super::script::now(|cx| conversation.poll_frame(cx)) {
        assert!(frame.unwrap().into_data().unwrap().len() <= 72 * 1024);
        frames += 1;
    }
    assert!(conversation.is_end() && frames <= 20, "{frames}");
}

#[test]
fn a_switch_of_protocols_hands_the_stream_over_with_what_has_been_read() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let mut conversation = ask(&Method::GET, Script::new([format!("{head}hello"), " again".to_owned()], Then::Waits));
    let heard = super::script::now(|cx| conversation.poll_reply(cx)).unwrap().unwrap();
    assert!(matches!(heard, Heard::Final(reply) if reply.status == 101));
    let (_, read) = conversation.into_stream();
    assert_eq!(read, "hello");
    assert!(!answer(&Method::GET, head, Then::Waits).unwrap().free);
}

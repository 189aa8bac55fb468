//! Requests: one framing, as fast as the endpoint takes them, and answers that come before they have been sent.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;

use super::script::{Script, Then, Upload, headers, listen, now, upload};
use crate::http1::{Connection, Conversation, Fault, Heard, RequestHead};

fn data(text: &'static str) -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn post(
    lines: &[(&'static str, &str)],
    frames: Vec<Result<Frame<Bytes>, io::Error>>,
    script: Script,
) -> Conversation<Script, Upload> {
    let headers = headers(lines);
    let head = RequestHead { method: &Method::POST, target: "/", headers: &headers, more: b"", host: None, title_case: false };
    Conversation::new(Connection::new(script), head, upload(frames))
}

fn sent(conversation: Conversation<Script, Upload>) -> String {
    String::from_utf8(conversation.into_stream().0.heard).unwrap()
}

#[test]
fn a_body_without_a_length_goes_in_chunks_with_the_trailers_that_were_announced() {
    let trailers: HeaderMap = headers(&[("x-a", "1"), ("x-b", "2")]);
    let frames = vec![data("abc"), data(""), data("0123456789abcdefg"), Ok(Frame::trailers(trailers))];
    let mut conversation = post(&[("trailer", "x-a, host")], frames, Script::new([""], Then::Waits));
    assert!(now(|cx| conversation.poll_reply(cx)).is_none());
    let chunks = "3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\nx-a: 1\r\n\r\n";
    let head = "POST / HTTP/1.1\r\ntrailer: x-a, host\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(sent(conversation), format!("{head}{chunks}"));
}

#[test]
fn an_endpoint_that_takes_little_gets_everything_in_order() {
    let frames = || vec![data("abc"), data("defgh"), data("i")];
    let mut conversation = post(&[], frames(), Script::new([""], Then::Waits));
    assert!(now(|cx| conversation.poll_reply(cx)).is_none());
    let whole = sent(conversation);
    for step in 1..7 {
        let mut script = Script::new([""], Then::Waits);
        script.takes = 0;
        let mut conversation = post(&[], frames(), script);
        let mut heard = 0;
        while heard < whole.len() {
            assert!(now(|cx| conversation.poll_reply(cx)).is_none());
            conversation = with_stream(conversation, |script| {
                heard = script.heard.len();
                script.takes = step;
            });
        }
        assert_eq!(sent(conversation), whole, "{step} at a time");
    }
}

/// Changes what the endpoint does in the middle of a conversation.
fn with_stream(mut conversation: Conversation<Script, Upload>, change: impl FnOnce(&mut Script)) -> Conversation<Script, Upload> {
    change(conversation.stream_mut());
    conversation
}

#[test]
fn an_answer_that_comes_early_is_read_and_the_connection_is_not_used_again() {
    let mut script = Script::new(["HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"], Then::Waits);
    script.takes = 50;
    let whole = listen(post(&[], (0..10).map(|_| data("0123456789")).collect(), script)).unwrap().unwrap();
    assert_eq!((whole.reply.status.as_u16(), whole.body.as_slice(), whole.free), (413, b"no".as_slice(), false));
}

#[test]
fn a_request_is_sent_on_while_its_answer_is_read() {
    let mut script = Script::new(["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha"], Then::Waits);
    script.takes = 50;
    let mut conversation = post(&[], vec![data("0123456789"), data("0123456789")], script);
    assert!(matches!(now(|cx| conversation.poll_reply(cx)), Some(Ok(Heard::Final(_)))));
    assert!(matches!(now(|cx| conversation.poll_frame(cx)), Some(Some(Ok(_)))));
    let mut conversation = with_stream(conversation, |script| {
        script.takes = usize::MAX;
        script.say("lf");
    });
    assert!(matches!(now(|cx| conversation.poll_frame(cx)), Some(Some(Ok(_)))));
    assert!(conversation.is_end());
    assert!(conversation.finish().is_some_and(|connection| connection.stream().heard.ends_with(b"0\r\n\r\n")));
}

#[test]
fn an_endpoint_that_refuses_the_rest_may_still_have_answered() {
    let refusing = |says: &str| {
        let mut script = Script::new([says], Then::Resets);
        script.takes = 50;
        script.refuses = true;
        post(&[], vec![data("0123456789"), data("0123456789"), data("0123456789")], script)
    };
    let whole = listen(refusing("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")).unwrap().unwrap();
    assert_eq!((whole.reply.status.as_u16(), whole.free), (413, false));
    assert!(matches!(listen(refusing("")), Some(Err((Fault::Broken { heard: false, .. }, false)))));
}

#[test]
fn a_request_of_which_nothing_went_out_is_known() {
    let mut script = Script::new([""], Then::Resets);
    script.takes = 0;
    script.refuses = true;
    let mut conversation = post(&[], vec![data("x")], script);
    assert!(matches!(now(|cx| conversation.poll_reply(cx)), Some(Err(Fault::Broken { .. }))));
    assert!(!conversation.has_begun());
}

#[test]
fn a_body_that_fails_ends_the_conversation() {
    let frames = vec![data("abc"), Err(io::ErrorKind::Other.into())];
    let mut conversation = post(&[], frames, Script::new(["HTTP/1.1 200 OK\r\n\r\n"], Then::Waits));
    assert!(matches!(now(|cx| conversation.poll_reply(cx)), Some(Err(Fault::RequestBody))));
    assert!(conversation.has_begun());
}

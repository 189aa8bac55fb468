//! A beat that lies whole and plain at the head of the bytes that have just come: read where it lies, with nothing built around it.
//!
//! Nearly every beat comes so, by one read, and the machinery of HTTP costs more than all that is done with it. What is recognised here
//! that machinery would read the same way, to the byte; whatever leaves the slightest doubt (a part of a request, another framing, a
//! header that asks for something) is not recognised and goes to it untouched.

use httparse::{EMPTY_HEADER, Header, Request, Status};

use crate::heartbeat::answer::Answer;
use crate::heartbeat::service::PATH;
use crate::traffic::bearer;

/// Most headers of such a request: senders have six or so.
const HEADERS: usize = 24;
/// Most digits of its length: more than any beat has.
const DIGITS: usize = 6;
/// For the head of an answer, in bytes.
const HEAD_ROOM: usize = 160;

/// A request that posts a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plain<'a> {
    /// The token that it carries, if it does.
    pub(super) token: Option<&'a [u8]>,
    /// The beat.
    pub(super) body: &'a [u8],
    /// What has come after it.
    pub(super) rest: &'a [u8],
}

impl<'a> Plain<'a> {
    /// The request that these bytes begin with; `None` if that is anything but whole and plain.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = Request::new(&mut headers);
        let Ok(Status::Complete(head)) = request.parse(bytes) else { return None };
        if (request.method, request.path, request.version) != (Some("POST"), Some(PATH), Some(1)) {
            return None;
        }
        let said = Said::read(request.headers)?;
        let (body, rest) = bytes.get(head..)?.split_at_checked(said.length?)?;
        (said.hosts == 1).then_some(Self { token: said.authorization.and_then(bearer::of), body, rest })
    }
}

/// What the headers say that matters.
#[derive(Debug, Default)]
struct Said<'a> {
    length: Option<usize>,
    hosts: u32,
    authorization: Option<&'a [u8]>,
}

impl<'a> Said<'a> {
    /// `None` if any of them asks for more than an answer, or stands there twice.
    fn read(headers: &[Header<'a>]) -> Option<Self> {
        let mut said = Self::default();
        for Header { name, value } in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                4 if is("host") => said.hosts += 1,
                13 if is("authorization") && said.authorization.replace(value).is_some() => return None,
                14 if is("content-length") && said.length.replace(length(value)?).is_some() => return None,
                10 if is("connection") && !value.eq_ignore_ascii_case(b"keep-alive") => return None,
                6 if is("expect") => return None,
                7 if is("upgrade") => return None,
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
        }
        Some(said)
    }
}

fn length(digits: &[u8]) -> Option<usize> {
    let is_plain = (1..=DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_plain.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

/// An answer as it goes out.
pub(super) fn written(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_ROOM + answer.body.len());
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    let length = answer.body.len().to_string();
    let reason = answer.status.canonical_reason().unwrap_or_default();
    put(&[b"HTTP/1.1 ", answer.status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    put(&[b"\r\ncontent-type: ", answer.kind.as_bytes()]);
    for (name, value) in &answer.headers {
        put(&[b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
    put(&[b"\r\ncontent-length: ", length.as_bytes(), b"\r\n\r\n", &answer.body]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Method, StatusCode};
    use http_body_util::BodyExt;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::runtime::thread;

    const BODY: &str = r#"{"cluster":"app","endpoint":"10.0.0.1:9000"}"#;
    const FIRST: &str = "POST /v1/heartbeats HTTP/1.1\r\n";

    fn request(headers: &str) -> Vec<u8> {
        format!("{FIRST}{headers}\r\n\r\n{BODY}").into_bytes()
    }

    fn answers() -> [Answer; 3] {
        let refused = Answer::problem(StatusCode::TOO_MANY_REQUESTS, "a \"b\" \u{e9}").with(http::header::RETRY_AFTER, "1");
        [Answer::ack(b"{\"seq\":1}".to_vec()), Answer::problem(StatusCode::CONFLICT, "x"), refused]
    }

    /// Token and body.
    type Posted = (Option<Vec<u8>>, Vec<u8>);

    /// What the machinery of HTTP makes of these bytes: what was posted, and all that it answers.
    fn by_machinery(bytes: &[u8], answer: usize) -> (Vec<Posted>, Vec<u8>) {
        let heard = std::cell::RefCell::new(Vec::new());
        let answered = thread::block_on(async {
            let (mut client, server) = duplex(1 << 16);
            client.write_all(bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let listen = service_fn(|request: http::Request<hyper::body::Incoming>| async {
                let (parts, body) = request.into_parts();
                let posted = parts.method == Method::POST && parts.uri == PATH;
                if let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes)
                    && posted
                {
                    heard.borrow_mut().push((bearer::given(&parts.headers).map(<[u8]>::to_vec), body.to_vec()));
                }
                let [ack, conflict, refused] = answers();
                Ok::<_, Infallible>([ack, conflict, refused].into_iter().nth(answer).unwrap().into_response())
            });
            let mut http = http1::Builder::new();
            http.header_read_timeout(None).auto_date_header(false).half_close(true);
            drop(http.serve_connection(TokioIo::new(server), listen).await);
            let mut answered = Vec::new();
            client.read_to_end(&mut answered).await.unwrap();
            answered
        });
        (heard.into_inner(), answered.unwrap())
    }

    #[test]
    fn a_plain_beat_is_read_where_it_lies() {
        let length = BODY.len();
        for (headers, token) in [
            (format!("Host: a\r\nContent-Length: {length}"), None),
            (format!("host:a\r\ncontent-length:0{length}\t\r\nAUTHORIZATION:  bearer t "), Some(b"t".as_slice())),
            (format!("Host: \r\nConnection: Keep-Alive\r\nX-A: é\r\nContent-Length: {length}\r\nAuthorization: Basic t"), None),
        ] {
            let bytes = request(&headers);
            assert_eq!(Plain::read(&bytes), Some(Plain { token, body: BODY.as_bytes(), rest: b"" }), "{headers}");
            let more = [&*bytes, b"POST /v1"].concat();
            assert_eq!(Plain::read(&more).map(|plain| (plain.body, plain.rest)), Some((BODY.as_bytes(), b"POST /v1".as_slice())));
        }
    }

    #[test]
    fn what_is_in_doubt_is_left_to_who_knows_all_of_http() {
        let length = BODY.len();
        let plain = format!("Host: a\r\nContent-Length: {length}");
        for more in [
            "Transfer-Encoding: chunked",
            "transfer-encoding: identity",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "Connection: close",
            "Connection: keep-alive, upgrade",
            "Connection:",
            "Host: b",
            "Content-Length: 44",
            "Authorization: Bearer a\r\nAuthorization: Bearer a",
            " folded",
            "Space : a",
            "Nul: \0",
        ] {
            assert_eq!(Plain::read(&request(&format!("{plain}\r\n{more}"))), None, "{more}");
        }
        for headers in [
            String::new(),
            "Host: a".to_owned(),
            format!("Content-Length: {length}"),
            format!("Host: a\r\nContent-Length: {}", length + 1),
            format!("Host: a\r\nContent-Length: +{length}"),
            format!("Host: a\r\nContent-Length: {length}, {length}"),
            format!("Host: a\r\nContent-Length: 0000000{length}"),
            "Host: a\r\nContent-Length:".to_owned(),
            "Host: a\r\nContent-Length: 184467440737095516160".to_owned(),
            format!("{plain}{}", "\r\nX: y".repeat(HEADERS)),
        ] {
            assert_eq!(Plain::read(&request(&headers)), None, "{headers}");
        }
        let whole = request(&plain);
        assert!((0..whole.len()).all(|end| Plain::read(&whole[..end]).is_none()), "a part");
        for first in [
            "GET /v1/heartbeats HTTP/1.1",
            "post /v1/heartbeats HTTP/1.1",
            "POST /v1/heartbeats HTTP/1.0",
            "POST /v1/heartbeats/ HTTP/1.1",
            "POST /v1/heartbeats?a HTTP/1.1",
            "POST http://a/v1/heartbeats HTTP/1.1",
            "POST  /v1/heartbeats HTTP/1.1",
        ] {
            assert_eq!(Plain::read(format!("{first}\r\n{plain}\r\n\r\n{BODY}").as_bytes()), None, "{first}");
        }
    }

    /// Lines of headers as senders write them, and as they should not.
    fn line() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "Host",
            "hOST",
            "Authorization",
            "Content-Length",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "Expect",
            "Upgrade",
            "Keep-Alive",
            "Accept",
            "X_y",
        ]);
        let value = prop::sample::select(vec![
            "a:1",
            "Bearer t",
            "bearer  t t",
            "44",
            "044",
            "keep-alive",
            "close",
            "chunked",
            "100-continue",
            "",
        ]);
        let value = value.prop_map(str::to_owned).boxed();
        (
            name,
            prop_oneof![4 => value, 1 => "[ -~\\t]{0,12}".boxed()],
            prop::sample::select(vec![": ", ":", ":\t "]),
            prop::sample::select(vec!["", " ", "\t"]),
        )
            .prop_map(|(name, value, between, after)| format!("{name}{between}{value}{after}"))
    }

    proptest! {
        /// Whatever is recognised here the machinery reads the same way, as one request, and answers with the same bytes.
        #[test]
        fn what_is_recognised_means_the_same_to_the_machinery(
            lines in prop::collection::vec(line(), 0..4),
            place in 0..4_usize,
            end in prop::sample::select(vec!["\r\n", "\n"]),
            spoilt in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
            answer in 0..3_usize,
        ) {
            let mut all = lines;
            all.insert(place.min(all.len()), "Content-Length: 44".to_owned());
            all.insert(place.min(all.len()), "Host: a".to_owned());
            let mut bytes = format!("{}{end}{end}{BODY}", [FIRST.trim_end().to_owned(), all.join(end)].join(end)).into_bytes();
            if let Some((place, byte)) = spoilt {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some(Plain { token, body, rest }) = Plain::read(&bytes) {
                let (heard, answered) = by_machinery(&bytes[..bytes.len() - rest.len()], answer);
                prop_assert_eq!(heard, [(token.map(<[u8]>::to_vec), body.to_vec())]);
                let written = answers().into_iter().nth(answer).map(|answer| written(&answer)).unwrap();
                prop_assert_eq!(String::from_utf8_lossy(&answered), String::from_utf8_lossy(&written));
            }
        }
    }
}

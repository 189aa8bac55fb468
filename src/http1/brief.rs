//! A short request and a short answer, each in one piece: what a probe says and hears nearly always.
//!
//! Checks ask tens of thousands of times a second, and the machinery for every answer there could be costs more than this one answer
//! does. So an answer that came whole and is plain is looked at where it was read. Whatever is not goes back untouched to a
//! [`Conversation`](crate::http1::Conversation), which judges it; nothing is taken here that would be refused there, or read otherwise.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use httparse::{Header, ParserConfig, Status};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http1::connection::Connection;
use crate::http1::fault::Fault;
use crate::http1::piece;
use crate::http1::reply::plain_length;

/// Lines of a head that is looked at here.
const LINES: usize = 32;

/// A whole answer with a length, which leaves its connection free for another request.
#[derive(Debug)]
pub struct Plain<'a> {
    /// Its status, 200 to 999.
    pub status: StatusCode,
    lines: &'a [Header<'a>],
    /// Its body.
    pub body: &'a [u8],
}

/// What came.
#[derive(Debug)]
pub enum Brief<T> {
    /// A plain answer, and what was made of it.
    Plain(T),
    /// Something else, to be taken to a [`Conversation::said`](crate::http1::Conversation::said); empty if it was the end.
    Other(Bytes),
}

impl<'a> Plain<'a> {
    /// Its header lines, names in any case.
    pub fn lines(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.lines.iter().map(|line| (line.name, line.value))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends a whole request, of which `sent` bytes have gone out. Ready when all has, and when the connection takes nothing more:
    /// there may be an answer all the same.
    pub fn poll_say(&mut self, request: &[u8], sent: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        while *sent < request.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &request[*sent..])) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(written) => *sent += written,
            }
        }
        // Who could not flush hears nothing.
        drop(ready!(Pin::new(&mut self.stream).poll_flush(cx)));
        Poll::Ready(())
    }

    /// Waits for the answer to a request that was no HEAD. `take` makes something of a plain one; `None`: it is to be judged
    /// like any other.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn poll_hear<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&Plain<'_>) -> Option<T>,
    ) -> Poll<Result<Brief<T>, Fault>> {
        let heard = ready!(piece::poll_look(&mut self.stream, cx, |bytes| look(bytes, take)));
        Poll::Ready(match heard {
            Ok(Ok(taken)) => Ok(Brief::Plain(taken)),
            Ok(Err(other)) => Ok(Brief::Other(other)),
            Err(error) => Err(Fault::Broken { error, heard: false }),
        })
    }
}

/// What `take` makes of an answer that is all there, and plain.
fn look<T>(bytes: &[u8], take: impl FnOnce(&Plain<'_>) -> Option<T>) -> Option<T> {
    let mut table = [const { MaybeUninit::uninit() }; LINES];
    let mut head = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut table);
    let Ok(Status::Complete(length)) = parsed else { return None };
    let status = head.code.filter(|code| *code >= 200 && !matches!(code, 204 | 304))?;
    let body = &bytes[length..];
    let plain = head.version == Some(1) && is_plain(head.headers, body.len());
    if !plain {
        return None;
    }
    take(&Plain { status: StatusCode::from_u16(status).ok()?, lines: head.headers, body })
}

/// Whether the lines give just this length, once and plainly, and say nothing of the connection but that it stays.
fn is_plain(lines: &[Header<'_>], body: usize) -> bool {
    let mut lengths = 0;
    for line in lines {
        let fits = match line.name.len() {
            10 if line.name.eq_ignore_ascii_case("connection") => line.value.eq_ignore_ascii_case(b"keep-alive"),
            14 if line.name.eq_ignore_ascii_case("content-length") => {
                lengths += 1;
                plain_length(line.value) == Some(body as u64)
            }
            17 => !line.name.eq_ignore_ascii_case("transfer-encoding"),
            _ => true,
        };
        if !fits {
            return false;
        }
    }
    lengths == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http1::reply::Reply;

    fn taken(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
        look(bytes, |plain| Some((plain.status.as_u16(), plain.body.to_vec())))
    }

    #[test]
    fn only_what_is_whole_and_plain_is_taken() {
        let check = |text: &str, wanted: Option<(u16, &str)>| {
            let wanted = wanted.map(|(status, body)| (status, body.as_bytes().to_vec()));
            assert_eq!(taken(text.as_bytes()), wanted, "{text:?}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some((200, "ok")));
        check("HTTP/1.1 503 \r\ncontent-length: 0\r\nConnection: Keep-Alive\r\n\r\n", Some((503, "")));
        for other in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nok",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokk",
            "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-trace, keep-alive\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn lines_come_in_their_order() {
        let text = b"HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-length: 0\r\nx-a: 2\r\n\r\n";
        let lines =
            look(text, |plain| Some(plain.lines().map(|(name, value)| (name.to_owned(), value.to_vec())).collect::<Vec<_>>()));
        let line = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        assert_eq!(lines, Some(vec![line("X-A", b"1"), line("content-length", b"0"), line("x-a", b"2")]));
    }

    proptest! {
        /// What is taken here, the reader of all heads takes in the same way.
        #[test]
        fn nothing_is_taken_that_is_refused_elsewhere(
            code in 0_u16..1100,
            lines in prop::collection::vec((
                prop::sample::select(vec!["content-length", "Connection", "Transfer-Encoding", "x-a", "X b", "", "\u{e9}"]),
                prop::sample::select(vec!["0", "1", "2", "+2", "02", "2,2", "keep-alive", "close", "upgrade", "chunked", "\u{7f}", "a\u{1}b", "\u{fc}"]),
            ), 0..5),
            body in prop::sample::select(vec!["", "o", "ok", "ok\r\n", "HTTP/1.1 200 OK\r\n\r\n"]),
            version in prop::sample::select(vec!["1.1", "1.0", "2.0"]),
        ) {
            let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let text = Bytes::from(format!("HTTP/{version} {code} x\r\n{lines}\r\n{body}"));
            if let Some((status, body)) = taken(&text) {
                let (reply, length) = Reply::read(&text).unwrap().unwrap();
                prop_assert_eq!((reply.status.as_u16(), length + body.len()), (status, text.len()));
                prop_assert!(reply.keep_alive && reply.inflow(false).size_hint().exact() == Some(body.len() as u64));
            }
        }
    }
}

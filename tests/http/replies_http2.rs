//! Endpoints whose HTTP/2 is broken, by the byte: a client of either protocol gets an error or an answer that breaks off, never
//! half of something else, and whoever asks next gets his own answer, on another connection if need be.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::curl::curl;
use crate::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PUSH_PROMISE, RESET};
use crate::frames::{SETTINGS, WINDOW, block, frame};
use crate::origin::Origin;
use crate::program::Proxy;
use crate::wire::{Message, Peer};

/// What a client is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// 502 with this error.
    Refused(&'static str),
    /// 502, or an answer that breaks off.
    Broken,
    /// 504: nothing whole came in time.
    Late,
    /// An answer with this body.
    Answered(&'static str),
}

/// What the endpoint does once it has answered.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// It waits for the next request.
    Keep,
    /// It closes.
    Close,
    /// It sends this again and again until nobody takes it.
    Repeat(Bytes),
}

/// Bytes for a stream.
type Bytes = fn(u32) -> Vec<u8>;

use Then::{Close, Keep, Repeat};
use Wanted::{Answered, Broken, Late, Refused};

const PROTOCOL: Wanted = Refused("http_protocol_error");
const TOO_LARGE: Wanted = Refused("http_response_header_section_size");
const ENDED: Wanted = Refused("connection_terminated");
/// The request has not been looked at, so it is sent again, and gets what is right.
const AGAIN: Wanted = Answered("own");

const OK: (&str, &str) = (":status", "200");

/// A whole head, and no more than that if there is nothing to follow.
fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

fn data(stream: u32, flags: u8, bytes: &str) -> Vec<u8> {
    frame(DATA, flags, stream, bytes.as_bytes())
}

/// A head with one field more, and the end.
fn with(stream: u32, name: &str, value: &str) -> Vec<u8> {
    head(stream, END_STREAM, &[OK, (name, value)])
}

/// An answer with this length and these pieces of a body.
fn sized(stream: u32, length: &str, pieces: &[&str]) -> Vec<u8> {
    let mut bytes = head(stream, 0, &[OK, ("content-length", length)]);
    for (number, piece) in pieces.iter().enumerate() {
        bytes.extend(data(stream, if number + 1 == pieces.len() { END_STREAM } else { 0 }, piece));
    }
    bytes
}

/// The same without a word about its length.
fn begun(stream: u32, more: &[u8]) -> Vec<u8> {
    [&head(stream, 0, &[OK])[..], &data(stream, 0, "o"), more].concat()
}

fn whole(stream: u32, body: &str) -> Vec<u8> {
    [head(stream, 0, &[OK]), data(stream, END_STREAM, body)].concat()
}

/// A head of so many large fields in as many frames as it takes.
fn large(stream: u32, fields: usize) -> Vec<u8> {
    let value = "y".repeat(120);
    let all = [block(&[OK]), block(&vec![("x-large", &*value); fields])].concat();
    let parts: Vec<&[u8]> = all.chunks(16_000).collect();
    let part = |(number, part): (usize, &&[u8])| {
        let flags = if number + 1 == parts.len() { END_HEADERS } else { 0 };
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        frame(kind, flags | if number == 0 { END_STREAM } else { 0 }, stream, part)
    };
    parts.iter().enumerate().flat_map(part).collect()
}

fn reset(stream: u32, code: u8) -> Vec<u8> {
    frame(RESET, 0, stream, &[0, 0, 0, code])
}

fn goaway(last: u32, code: u8) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0, 0, 0, code]].concat())
}

/// What the endpoint sends on the request's stream, what it does then, and what the client gets.
#[rustfmt::skip]
const HEADS: &[(&str, Bytes, Then, Wanted)] = &[
    ("no status", |s| head(s, END_STREAM, &[("x-a", "1")]), Keep, PROTOCOL),
    ("nothing in it", |s| head(s, END_STREAM, &[]), Keep, PROTOCOL),
    ("two statuses", |s| head(s, END_STREAM, &[OK, (":status", "404")]), Keep, PROTOCOL),
    ("one status twice", |s| head(s, END_STREAM, &[OK, OK]), Keep, PROTOCOL),
    ("status after a field", |s| head(s, END_STREAM, &[("x-a", "1"), OK]), Keep, PROTOCOL),
    ("unknown pseudo-header", |s| with(s, ":other", "1"), Keep, PROTOCOL),
    ("status of two digits", |s| head(s, END_STREAM, &[(":status", "20")]), Keep, PROTOCOL),
    ("status of four digits", |s| head(s, END_STREAM, &[(":status", "2000")]), Keep, PROTOCOL),
    ("status of letters", |s| head(s, END_STREAM, &[(":status", "abc")]), Keep, PROTOCOL),
    ("status below 100", |s| head(s, END_STREAM, &[(":status", "099")]), Keep, PROTOCOL),
    ("status with a sign", |s| head(s, END_STREAM, &[(":status", "+20")]), Keep, PROTOCOL),
    ("empty status", |s| head(s, END_STREAM, &[(":status", "")]), Keep, PROTOCOL),
    ("connection", |s| with(s, "connection", "close"), Keep, PROTOCOL),
    ("keep-alive", |s| with(s, "keep-alive", "5"), Keep, PROTOCOL),
    ("proxy-connection", |s| with(s, "proxy-connection", "close"), Keep, PROTOCOL),
    ("transfer-encoding", |s| with(s, "transfer-encoding", "chunked"), Keep, PROTOCOL),
    ("upgrade", |s| with(s, "upgrade", "websocket"), Keep, PROTOCOL),
    ("upper case", |s| with(s, "X-Upper", "1"), Keep, PROTOCOL),
    ("transfer-encoding in upper case", |s| with(s, "Transfer-Encoding", "chunked"), Keep, PROTOCOL),
    ("empty name", |s| with(s, "", "1"), Keep, PROTOCOL),
    ("blank in a name", |s| with(s, "x a", "1"), Keep, PROTOCOL),
    ("colon in a name", |s| with(s, "x-a:b", "1"), Keep, PROTOCOL),
    ("line end in a name", |s| with(s, "x-a: 1\r\nx-injected", "2"), Keep, PROTOCOL),
    ("line end in a value", |s| with(s, "x-a", "1\r\nx-injected: 2"), Keep, PROTOCOL),
    ("head's end in a value", |s| with(s, "x-a", "1\r\n\r\nEVIL"), Keep, PROTOCOL),
    ("LF in a value", |s| with(s, "x-a", "1\nx-injected: 2"), Keep, PROTOCOL),
    ("CR in a value", |s| with(s, "x-a", "1\rx-injected: 2"), Keep, PROTOCOL),
    ("NUL in a value", |s| with(s, "x-a", "1\0"), Keep, PROTOCOL),
    ("length with a sign", |s| sized(s, "+2", &["ok"]), Keep, PROTOCOL),
    ("length below zero", |s| sized(s, "-2", &["ok"]), Keep, PROTOCOL),
    ("length of letters", |s| sized(s, "two", &["ok"]), Keep, PROTOCOL),
    ("length in hexadecimal", |s| sized(s, "0x2", &["ok"]), Keep, PROTOCOL),
    ("length beyond counting", |s| sized(s, "99999999999999999999", &["ok"]), Keep, PROTOCOL),
    ("empty length", |s| sized(s, "", &["ok"]), Keep, PROTOCOL),
    ("empty length of nothing", |s| with(s, "content-length", ""), Keep, PROTOCOL),
    ("list of lengths", |s| sized(s, "2, 6", &["ok"]), Keep, PROTOCOL),
    ("two lengths", |s| [head(s, 0, &[OK, ("content-length", "2"), ("content-length", "6")]), data(s, END_STREAM, "ok")].concat(), Keep, PROTOCOL),
    ("length and the end", |s| with(s, "content-length", "5"), Keep, PROTOCOL),
    ("one length twice", |s| [head(s, 0, &[OK, ("content-length", "2"), ("content-length", "2")]), data(s, END_STREAM, "ok")].concat(), Keep, Answered("ok")),
    ("length with zeros", |s| sized(s, "002", &["ok"]), Keep, Answered("ok")),
    ("eighty KiB", |s| large(s, 512), Keep, TOO_LARGE),
    ("two MiB", |s| large(s, 16_000), Keep, PROTOCOL),
    ("no such index", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, &[0xff, 0x7f]), Keep, PROTOCOL),
    ("cut short", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, &[0, 7, b'x']), Keep, PROTOCOL),
    ("letters that are none", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, &[0x88, 0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), Keep, PROTOCOL),
    ("table beyond its bound", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, &[0x3f, 0xff, 0xff, 0x7f, 0x88]), Keep, PROTOCOL),
];

#[rustfmt::skip]
const BODIES: &[(&str, Bytes, Then, Wanted)] = &[
    ("less than announced", |s| sized(s, "5", &["abc"]), Keep, Broken),
    ("more than announced", |s| sized(s, "2", &["abc"]), Keep, Broken),
    ("more in two pieces", |s| sized(s, "3", &["ab", "cd"]), Keep, Broken),
    ("trailers too soon", |s| [head(s, 0, &[OK, ("content-length", "5")]), data(s, 0, "abc"), head(s, END_STREAM, &[("x-sum", "1")])].concat(), Keep, Broken),
    ("nothing after a head", |s| head(s, 0, &[OK]), Close, Broken),
    ("nothing more", |s| begun(s, &[]), Close, Broken),
    ("nothing more, and no end", |s| begun(s, &[]), Keep, Broken),
    ("reset", |s| begun(s, &reset(s, 2)), Keep, Broken),
    ("reset without an error", |s| begun(s, &reset(s, 0)), Keep, Broken),
    ("reset without an error, after a head", |s| [head(s, 0, &[OK]), reset(s, 0)].concat(), Keep, Broken),
    ("reset, since cancelled", |s| begun(s, &reset(s, 8)), Keep, Broken),
    ("refused", |s| begun(s, &reset(s, 7)), Keep, Broken),
    ("going away at once", |s| begun(s, &goaway(0, 0)), Close, Broken),
    ("going away in error", |s| begun(s, &goaway(s, 2)), Close, Broken),
    ("padding beyond the frame", |s| begun(s, &frame(DATA, END_STREAM | PADDED, s, &[200, b'k'])), Keep, Broken),
    ("no room for padding", |s| begun(s, &frame(DATA, END_STREAM | PADDED, s, &[])), Keep, Broken),
    ("frame over its bound", |s| begun(s, &frame(DATA, END_STREAM, s, &[b'k'; 16_385])), Keep, Broken),
    ("for no stream", |s| begun(s, &data(0, END_STREAM, "k")), Keep, Broken),
    ("a second head", |s| begun(s, &head(s, 0, &[OK])), Keep, Broken),
    ("trailers without an end", |s| begun(s, &head(s, 0, &[("x-sum", "1")])), Keep, Broken),
    ("trailers of a connection", |s| begun(s, &head(s, END_STREAM, &[("connection", "close")])), Keep, Broken),
    ("trailers with line ends", |s| begun(s, &head(s, END_STREAM, &[("x-sum", "1\r\nx-injected: 2")])), Keep, Broken),
    ("status among trailers", |s| begun(s, &head(s, END_STREAM, &[("x-sum", "1"), OK])), Keep, Broken),
    ("trailers in pieces, with another frame between", |s| begun(s, &[frame(HEADERS, END_STREAM, s, &block(&[("x-sum", "1")])), data(s, 0, "k")].concat()), Keep, Broken),
    ("nothing, endlessly", |s| begun(s, &[]), Repeat(|s| frame(DATA, 0, s, &[])), Broken),
    ("pings, endlessly", |s| begun(s, &[]), Repeat(|_| frame(PING, 0, 0, &[0; 8])), Broken),
    ("padded", |s| begun(s, &frame(DATA, END_STREAM | PADDED, s, &[3, b'k', 0, 0, 0])), Keep, Answered("ok")),
    ("length among trailers", |s| begun(s, &[data(s, 0, "k"), head(s, END_STREAM, &[("content-length", "9"), ("transfer-encoded", "x")])].concat()), Keep, Answered("ok")),
    ("going away after this", |s| begun(s, &[goaway(s, 0), data(s, END_STREAM, "k")].concat()), Close, Answered("ok")),
    ("more after the end", |s| [whole(s, "ok"), data(s, END_STREAM, "EVIL")].concat(), Keep, Answered("ok")),
    ("another answer after the end", |s| [whole(s, "ok"), whole(s, "EVIL")].concat(), Keep, Answered("ok")),
    ("answers to questions that nobody asked", |s| [whole(s, "ok"), whole(s + 2, "EVIL")].concat(), Keep, Answered("ok")),
    ("reset after the end", |s| [whole(s, "ok"), reset(s, 0)].concat(), Keep, Answered("ok")),
];

#[rustfmt::skip]
const FRAMES: &[(&str, Bytes, Then, Wanted)] = &[
    ("body before its head", |s| data(s, END_STREAM, "ok"), Keep, PROTOCOL),
    ("head for no stream", |_| head(0, END_STREAM, &[OK]), Keep, PROTOCOL),
    ("head for a stream of ours that is not open", |s| head(s + 20, END_STREAM, &[OK]), Keep, PROTOCOL),
    ("head for a stream of its own", |_| head(2, END_STREAM, &[OK]), Keep, PROTOCOL),
    ("head in pieces, with a body between", |s| [frame(HEADERS, 0, s, &block(&[OK])), data(s, END_STREAM, "ok")].concat(), Keep, PROTOCOL),
    ("head in pieces, with a ping between", |s| [frame(HEADERS, 0, s, &block(&[OK])), frame(PING, 0, 0, &[0; 8])].concat(), Keep, PROTOCOL),
    ("head in pieces, for two streams", |s| [frame(HEADERS, 0, s, &block(&[OK])), frame(CONTINUATION, END_HEADERS, s + 2, &[])].concat(), Keep, PROTOCOL),
    ("half a head", |s| frame(HEADERS, 0, s, &block(&[OK])), Keep, Late),
    ("half a head, and no more", |s| frame(HEADERS, 0, s, &block(&[OK])), Close, ENDED),
    ("half a frame", |s| head(s, END_STREAM, &[OK])[..10].to_vec(), Close, ENDED),
    ("the rest of no head", |s| frame(CONTINUATION, END_HEADERS, s, &block(&[OK])), Keep, PROTOCOL),
    ("padding beyond a head", |s| frame(HEADERS, END_HEADERS | END_STREAM | PADDED, s, &[255, 0x88]), Keep, PROTOCOL),
    ("no room for a priority", |s| frame(HEADERS, END_HEADERS | END_STREAM | 0x20, s, &[0, 0, 0]), Keep, PROTOCOL),
    ("head over its bound", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, &[0x88; 16_385]), Keep, PROTOCOL),
    ("frame of 16 MiB", |s| [&[0xff, 0xff, 0xff, HEADERS, END_HEADERS][..], &s.to_be_bytes(), &[0x88; 4096]].concat(), Keep, PROTOCOL),
    ("promise", |s| frame(PUSH_PROMISE, END_HEADERS, s, &[&[0, 0, 0, 2][..], &block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")])].concat()), Keep, PROTOCOL),
    ("settings for a stream", |s| frame(SETTINGS, 0, s, &[]), Keep, PROTOCOL),
    ("settings of another length", |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0]), Keep, PROTOCOL),
    ("settings taken with something", |_| frame(SETTINGS, 1, 0, &[0, 4, 0, 0, 0, 0]), Keep, PROTOCOL),
    ("window of settings too large", |_| frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), Keep, PROTOCOL),
    ("frames of settings too small", |_| frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), Keep, PROTOCOL),
    ("window of a connection too large", |_| frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), Keep, PROTOCOL),
    ("window of a stream too large", |s| frame(WINDOW, 0, s, &[0x7f, 0xff, 0xff, 0xff]), Keep, Late),
    ("window that does not grow", |_| frame(WINDOW, 0, 0, &[0; 4]), Keep, PROTOCOL),
    ("window of another length", |s| frame(WINDOW, 0, s, &[0; 3]), Keep, PROTOCOL),
    ("ping of another length", |_| frame(PING, 0, 0, &[0; 7]), Keep, PROTOCOL),
    ("ping for a stream", |s| frame(PING, 0, s, &[0; 8]), Keep, PROTOCOL),
    ("going away for a stream", |s| frame(GOAWAY, 0, s, &[0; 8]), Keep, PROTOCOL),
    ("going away in few words", |_| frame(GOAWAY, 0, 0, &[0; 7]), Keep, PROTOCOL),
    ("reset for no stream", |_| reset(0, 2), Keep, PROTOCOL),
    ("reset of another length", |s| frame(RESET, 0, s, &[0; 3]), Keep, PROTOCOL),
    ("HTTP/1.1", |_| b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), Close, PROTOCOL),
    ("frames of kinds that nobody knows", |s| [frame(0x5a, 0xff, s, b"what"), frame(0xfe, 0, 0, b""), whole(s, "ok")].concat(), Keep, Answered("ok")),
    ("a priority, and a ping", |s| [frame(2, 0, s, &[0, 0, 0, 0, 16]), frame(PING, 0, 0, &[0; 8]), whole(s, "ok")].concat(), Keep, Answered("ok")),
    // Interim answers.
    ("switching protocols", |s| head(s, 0, &[(":status", "101")]), Keep, Late),
    ("switching protocols, and the end", |s| head(s, END_STREAM, &[(":status", "101")]), Keep, PROTOCOL),
    ("switching protocols, and an answer", |s| [head(s, 0, &[(":status", "101")]), whole(s, "ok")].concat(), Keep, Answered("ok")),
    ("an interim answer, and the end", |s| head(s, END_STREAM, &[(":status", "103")]), Keep, PROTOCOL),
    ("an interim answer with a body", |s| [head(s, 0, &[(":status", "103")]), data(s, END_STREAM, "EVIL")].concat(), Keep, PROTOCOL),
    ("an interim answer, and no more", |s| head(s, 0, &[(":status", "100")]), Keep, Late),
    ("interim answers first", |s| [head(s, 0, &[(":status", "100")]), head(s, 0, &[(":status", "103"), ("link", "</a>")]), whole(s, "ok")].concat(), Keep, Answered("ok")),
    // Ends.
    ("reset in peace", |s| reset(s, 0), Keep, ENDED),
    ("reset for a breach", |s| reset(s, 1), Keep, ENDED),
    ("reset for a bug", |s| reset(s, 2), Keep, ENDED),
    ("reset for a window", |s| reset(s, 3), Keep, ENDED),
    ("reset for settings", |s| reset(s, 4), Keep, ENDED),
    ("reset for a stream that is closed", |s| reset(s, 5), Keep, ENDED),
    ("reset for a frame", |s| reset(s, 6), Keep, ENDED),
    ("reset, since refused unseen", |s| reset(s, 7), Keep, AGAIN),
    ("reset, since cancelled", |s| reset(s, 8), Keep, ENDED),
    ("reset for compression", |s| reset(s, 9), Keep, ENDED),
    ("reset for a tunnel", |s| reset(s, 10), Keep, ENDED),
    ("reset for too much of it", |s| reset(s, 11), Keep, ENDED),
    ("reset for too little security", |s| reset(s, 12), Keep, ENDED),
    ("reset for another protocol", |s| reset(s, 13), Keep, ENDED),
    ("reset for nobody knows what", |s| reset(s, 99), Keep, ENDED),
    ("going away before this", |_| goaway(0, 0), Keep, AGAIN),
    ("going away before this, and closing", |_| goaway(0, 0), Close, AGAIN),
    ("going away in error", |_| goaway(0, 2), Close, ENDED),
    ("going away after this, and closing", |s| goaway(s, 0), Close, ENDED),
    ("going away after this, and answering", |s| [goaway(s, 0), whole(s, "ok")].concat(), Keep, Answered("ok")),
    ("going away twice, later and later", |s| [goaway(s, 0), goaway(s + 10, 0), whole(s, "EVIL")].concat(), Keep, PROTOCOL),
    ("closing", |_| Vec::new(), Close, ENDED),
    ("silence", |_| Vec::new(), Keep, Late),
    // Floods.
    ("pings", |_| Vec::new(), Repeat(|_| frame(PING, 0, 0, &[0; 8])), PROTOCOL),
    ("settings", |_| Vec::new(), Repeat(|_| frame(SETTINGS, 0, 0, &[])), PROTOCOL),
    ("windows", |_| Vec::new(), Repeat(|s| frame(WINDOW, 0, s, &[0, 0, 0, 1])), PROTOCOL),
    ("priorities", |_| Vec::new(), Repeat(|s| frame(2, 0, s, &[0, 0, 0, 0, 16])), PROTOCOL),
    ("frames of no kind", |_| Vec::new(), Repeat(|_| frame(0x5a, 0, 0, b"")), PROTOCOL),
    ("interim answers", |_| Vec::new(), Repeat(|s| head(s, 0, &[(":status", "103"), ("link", "</a>")])), PROTOCOL),
    ("a head without end", |s| frame(HEADERS, 0, s, &block(&[OK])), Repeat(|s| frame(CONTINUATION, 0, s, &block(&[("x-a", "1")]))), PROTOCOL),
    ("a head without end, of nothing", |s| frame(HEADERS, 0, s, &block(&[OK])), Repeat(|s| frame(CONTINUATION, 0, s, &[])), PROTOCOL),
    ("resets of what has ended", |_| Vec::new(), Repeat(|s| if s > 1 { reset(s - 2, 8) } else { frame(PING, 0, 0, &[0; 8]) }), PROTOCOL),
];

/// An endpoint that answers as it should, but once whenever it has been armed.
fn origin(armed: &Arc<AtomicBool>, settings: bool, reply: Bytes, then: Then) -> Origin {
    let armed = Arc::clone(armed);
    Origin::serving(move |mut peer| {
        let mut preface = [0; 24];
        let Ok(()) = peer.reader().read_exact(&mut preface) else { return };
        if settings {
            peer.send(frame(SETTINGS, 0, 0, &[]));
        }
        while let Some((kind, flags, stream)) = next(&mut peer) {
            let said = match kind {
                SETTINGS if flags == 0 => frame(SETTINGS, 1, 0, &[]),
                HEADERS if !armed.swap(false, SeqCst) => whole(stream, "own"),
                HEADERS => {
                    peer.send(reply(stream));
                    match then {
                        Keep => continue,
                        Close => return,
                        Repeat(part) => return flood(&mut peer, &part(stream)),
                    }
                }
                _ => continue,
            };
            peer.send(said);
        }
    })
}

/// Sends this until nobody takes it.
fn flood(peer: &mut Peer, part: &[u8]) {
    let parts = part.repeat(1000);
    while peer.send(&parts) {}
}

/// The next frame's kind, flags and stream.
fn next(peer: &mut Peer) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    peer.reader().read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    peer.reader().read_exact(&mut payload).ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
}

/// One cluster for each of these endpoints, `/N` for the one with this number. Nothing is tried again but what has not been
/// looked at.
fn proxy(origins: &[Origin], is_flood: impl Fn(usize) -> bool) -> Proxy {
    let all = |line: &dyn Fn(usize, &Origin) -> String| {
        origins.iter().enumerate().map(|(number, origin)| line(number, origin)).collect::<Vec<_>>().join("\n")
    };
    // A flood is to be cut off, and not to be waited for.
    let limit = |number| if is_flood(number) { "20s" } else { "600ms" };
    let policy = |number| format!("retries: off, timeout: {0}, idle_timeout: {0}", limit(number));
    Proxy::start(&format!(
        "workers: 1
listeners:
  - name: web
    address: 127.0.0.1:0
    routes:
{}
clusters:
{}
",
        all(&|number, _| format!("      - {{ match: {{ path: /{number} }}, cluster: c{number}, {} }}", policy(number))),
        all(&|number, origin| format!(
            "  - {{ name: c{number}, endpoints: [\"{}\"], protocol: http2, health: off }}",
            origin.address
        )),
    ))
}

/// What a client got: a status with the error and the body, or nothing whole.
type Got = Result<(u16, Option<String>, String), String>;

fn got(answer: &Message, body: &str) -> Got {
    Ok((answer.status(), answer.error().map(str::to_owned), body.to_owned()))
}

fn over_http1(proxy: &Proxy, number: usize) -> Got {
    let mut client = proxy.connect();
    client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let answer = client.answer(false).map_err(|fault| format!("{fault:?}"))?;
    got(&answer, &answer.body)
}

fn over_http2(proxy: &Proxy, number: usize) -> Got {
    let answer = curl(&["--http2-prior-knowledge", &proxy.url(&format!("/{number}"))]);
    if answer.exit == 0 { got(answer.head(), &answer.body) } else { Err(format!("{answer:?}")) }
}

fn check(cases: &[(&str, Bytes, Then, Wanted)]) {
    let armed: Vec<Arc<AtomicBool>> = cases.iter().map(|_| Arc::default()).collect();
    let origins: Vec<Origin> =
        cases.iter().zip(&armed).map(|((_, reply, then, _), armed)| origin(armed, true, *reply, *then)).collect();
    let proxy = proxy(&origins, |number| matches!(cases[number].2, Repeat(_)));
    let mut wrong = Vec::new();
    for (number, ((name, _, _, wanted), armed)) in cases.iter().zip(&armed).enumerate() {
        for (over, ask) in [("http1", over_http1 as fn(&Proxy, usize) -> Got), ("http2", over_http2)] {
            armed.store(true, SeqCst);
            let got = ask(&proxy, number);
            let fits = match (wanted, &got) {
                (Refused(wanted), Ok((502, error, _))) => error.as_deref() == Some(wanted),
                (Broken, Ok((502, ..)) | Err(_)) => true,
                (Late, Ok((504, error, _))) => error.as_deref() == Some("http_response_timeout"),
                (Answered(wanted), Ok((200, None, body))) => body == wanted,
                _ => false,
            };
            if !fits {
                wrong.push(format!("{name} over {over}: wanted {wanted:?}, got {got:?}"));
            }
            let own = ask(&proxy, number);
            if own != Ok((200, None, "own".to_owned())) {
                wrong.push(format!("after {name} over {over}: {own:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
    assert!(proxy.peak_memory() < 150, "{} MiB", proxy.peak_memory());
}

#[test]
fn heads_that_are_none_are_refused() {
    check(HEADS);
}

#[test]
fn bodies_that_go_wrong_break_off() {
    check(BODIES);
}

#[test]
fn frames_out_of_order_end_what_they_concern_and_floods_end_the_connection() {
    check(FRAMES);
}

/// Answers that have no body, with one.
#[test]
fn a_body_where_none_may_be_reaches_nobody() {
    let answers: [(&str, Bytes); 4] = [
        ("204", |s| [head(s, 0, &[(":status", "204")]), data(s, END_STREAM, "EVIL")].concat()),
        ("304", |s| [head(s, 0, &[(":status", "304")]), data(s, END_STREAM, "EVIL")].concat()),
        ("304", |s| [head(s, 0, &[(":status", "304"), ("content-length", "4")]), data(s, END_STREAM, "EVIL")].concat()),
        ("200", |s| sized(s, "0", &["EVIL"])),
    ];
    let armed: Vec<Arc<AtomicBool>> = answers.iter().map(|_| Arc::default()).collect();
    let origins: Vec<Origin> = answers.iter().zip(&armed).map(|((_, reply), armed)| origin(armed, true, *reply, Keep)).collect();
    let proxy = proxy(&origins, |_| false);
    for (number, ((status, _), armed)) in answers.iter().zip(&armed).enumerate() {
        for ask in [over_http1 as fn(&Proxy, usize) -> Got, over_http2] {
            armed.store(true, SeqCst);
            let got = ask(&proxy, number);
            let fits = match &got {
                Ok((answered, _, body)) => answered.to_string() == *status && body.is_empty() || *answered == 502,
                Err(_) => true,
            };
            assert!(fits, "{status}: {got:?}");
            assert_eq!(ask(&proxy, number), Ok((200, None, "own".to_owned())), "after {status}");
        }
    }
}

#[test]
fn who_never_says_settings_is_answered_for_and_who_speaks_otherwise_is_not() {
    let armed: Arc<AtomicBool> = Arc::default();
    let origins = [origin(&armed, false, |s| whole(s, "ok"), Keep)];
    let proxy = proxy(&origins, |_| false);
    for ask in [over_http1 as fn(&Proxy, usize) -> Got, over_http2] {
        // Its first word is an answer: some are taken, and no other is broken by it.
        let got = ask(&proxy, 0);
        assert!(matches!(&got, Ok((200, None, body)) if body == "own") || matches!(got, Ok((502, ..))), "{got:?}");
    }
}

/// An endpoint that sends more than it was allowed to is not taken from, and costs no memory.
#[test]
fn more_than_the_window_is_not_kept() {
    let armed: Arc<AtomicBool> = Arc::default();
    let origins = [origin(&armed, true, |s| head(s, 0, &[OK]), Repeat(|s| frame(DATA, 0, s, &[b'x'; 16_384])))];
    let proxy = proxy(&origins, |_| false);
    armed.store(true, SeqCst);
    let mut client = proxy.connect();
    client.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    // It reads nothing until the endpoint is cut off.
    proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"upstream_aborted\""], 1);
    assert!(client.answer(false).is_err());
    assert!(proxy.peak_memory() < 150, "{} MiB", proxy.peak_memory());
    assert_eq!(over_http1(&proxy, 0), Ok((200, None, "own".to_owned())));
}

/// An endpoint that does this with every request.
fn always(reply: Bytes) -> Origin {
    Origin::serving(move |mut peer| {
        let mut preface = [0; 24];
        let Ok(()) = peer.reader().read_exact(&mut preface) else { return };
        peer.send(frame(SETTINGS, 0, 0, &[]));
        while let Some((kind, _, stream)) = next(&mut peer) {
            if kind == HEADERS {
                peer.send(reply(stream));
            }
        }
    })
}

/// Who has answered and does not care for the rest of the request says so by a reset without an error.
#[test]
fn an_answer_before_its_request_has_ended_is_whole() {
    let proxy = proxy(&[always(|s| [whole(s, "early"), reset(s, 0)].concat())], |_| false);
    for _ in 0..5 {
        let mut client = proxy.connect();
        client.send("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nall but ");
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status(), &*answer.body), (200, "early"));
    }
}

#[test]
fn a_probe_whose_answer_breaks_off_has_failed() {
    let cases: [(Bytes, &str); 3] = [
        (|s| whole(s, "well"), "healthy"),
        (|s| begun(s, &reset(s, 0)), "unhealthy"),
        (|s| begun(s, &data(s + 2, 0, "k")), "unhealthy"),
    ];
    let origins = cases.map(|(reply, _)| always(reply));
    let cluster = |number: usize| {
        let address = origins[number].address;
        format!("  - {{ name: c{number}, endpoints: [\"{address}\"], protocol: http2, health: {{ path: / }} }}\n")
    };
    let clusters: String = (0..cases.len()).map(cluster).collect();
    let proxy = Proxy::start(&format!("workers: 1\nclusters:\n{clusters}"));
    let status: serde_json::Value = serde_json::from_str(&proxy.status()).unwrap();
    for (number, (_, wanted)) in cases.iter().enumerate() {
        let endpoint = &status["clusters"][number]["endpoints"][0];
        assert_eq!(endpoint["state"], *wanted, "{number}: {endpoint:#}");
    }
}

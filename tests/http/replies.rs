//! Endpoints that answer with what is no answer, or with more than one: the client gets an error or a broken connection, and
//! whoever comes next on the same pool gets the answer to his own question.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use socket2::SockRef;

use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::{Fault, Message, PATIENCE, Peer};

/// What a client is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// 502 with this error.
    Refused(&'static str),
    /// A body that breaks off, or not even its head.
    Broken,
    /// 504: nothing whole came in time.
    Late,
    /// An answer with this body.
    Answered(&'static str),
}

/// What the endpoint does once it has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It waits for the next request.
    Keep,
    /// It closes.
    Close,
    /// It resets.
    Reset,
    /// It sends the last part again and again until nobody takes it.
    Repeat(&'static str),
}

use Then::{Close, Keep, Repeat, Reset};
use Wanted::{Answered, Broken, Late, Refused};

const PROTOCOL: Wanted = Refused("http_protocol_error");
const CODING: Wanted = Refused("http_response_transfer_coding");
const TOO_LARGE: Wanted = Refused("http_response_header_section_size");
const ENDED: Wanted = Refused("connection_terminated");

/// An answer that nobody asked for.
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What the endpoint sends, what it does then, and what the client gets.
#[rustfmt::skip]
const REPLIES: &[(&str, Then, Wanted)] = &[
    // Status lines.
    ("garbage\r\n\r\n", Keep, PROTOCOL),
    ("only a body, as in HTTP/0.9", Close, PROTOCOL),
    ("<html>as in HTTP/0.9</html>\n", Keep, PROTOCOL),
    ("HTTP/1.1\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("ICY 200 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    (" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("garbage\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 200 O\u{0}K\r\nContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n", Keep, PROTOCOL),
    // Lengths.
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 6\r\n\r\nokEVIL", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 6\r\n\r\nokEVIL", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2a\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Close, Broken),
    ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Reset, Broken),
    ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Keep, Broken),
    ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", Close, Broken),
    // Transfer codings.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", Close, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, CODING),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, PROTOCOL),
    // Header lines.
    ("HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nX: a\u{0}b\r\nContent-Length: 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nX\u{0}: a\r\nContent-Length: 2\r\n\r\nok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nX: a\rContent-Length: 6\r\nContent-Length: 2\r\n\r\nokEVIL", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\rok", Keep, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nX: ", Repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), TOO_LARGE),
    ("HTTP/1.1 200 OK\r\n", Repeat("X: 1\r\n"), TOO_LARGE),
    ("HTTP/1.1 200 OK\r\nContent-Le", Close, ENDED),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", Keep, Late),
    ("HTTP/1.1 2", Close, ENDED),
    ("", Close, ENDED),
    ("", Reset, ENDED),
    ("", Keep, Late),
    ("", Repeat("\r\n"), TOO_LARGE),
    // Interim answers.
    ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", Keep, Refused("http_upgrade_failed")),
    ("", Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), PROTOCOL),
    ("HTTP/1.1 100 Continue\r\n\r\n", Close, ENDED),
    ("HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nEVIL", Keep, PROTOCOL),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Keep, Answered("ok")),
];

/// Bodies in chunks that go wrong, and what follows them.
const CHUNKS: &[(&str, Then)] = &[
    ("2\r\nok\r\n", Close),
    ("2\r\nok\r\n", Reset),
    ("2\r\nok\r\n", Keep),
    ("2\r\nok\r\n0\r\n", Close),
    ("5\r\nok", Close),
    ("5\r\nok", Keep),
    ("z\r\nok\r\n0\r\n\r\n", Keep),
    ("-2\r\nok\r\n0\r\n\r\n", Keep),
    ("+2\r\nok\r\n0\r\n\r\n", Keep),
    ("0x2\r\nok\r\n0\r\n\r\n", Keep),
    ("\r\n2\r\nok\r\n0\r\n\r\n", Keep),
    (" 2\r\nok\r\n0\r\n\r\n", Keep),
    ("2 2\r\nok\r\n0\r\n\r\n", Keep),
    ("ffffffffffffffffff\r\nok\r\n0\r\n\r\n", Keep),
    ("10000000000000002\r\nok\r\n0\r\n\r\n", Keep),
    ("2\r\nok0\r\n\r\n", Keep),
    ("2\r\nokEVIL\r\n0\r\n\r\n", Keep),
    ("2\rok\r\n0\r\n\r\n", Keep),
    ("2\nok\r\n0\r\n\r\n", Keep),
    ("2;x=\ny\r\nok\r\n0\r\n\r\n", Keep),
    ("2\r\nok\r\n0\r\nX: 1\r\n folded: 1\r\n\r\n", Keep),
    ("2\r\nok\r\n0\r\nX Y: 1\r\n\r\n", Keep),
    ("2\r\nok\r\n0\r\nno colon\r\n\r\n", Keep),
    ("2\r\nok\r\n0\r\nX: ", Repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")),
    ("2\r\nok\r\n0\r\n", Repeat("X: 1\r\n")),
    ("2;", Repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")),
];

/// Whole answers, to which [`EVIL`] is added.
const WHOLE: &[(&str, &str, &str)] = &[
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("POST", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n", "ok"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", ""),
    ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", ""),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
    ("HEAD", "HTTP/1.1 404 Not Found\r\nContent-Length: 400\r\n\r\n", ""),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", "ok"),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", "ok"),
];

/// `/case/N` gets what stands there; everything else gets its own target back.
fn origin(count: usize, reply: impl Fn(usize) -> (String, Then) + Send + Sync + 'static) -> Origin {
    Origin::serving(move |mut peer| {
        while let Ok(request) = peer.request() {
            let case = request.target().strip_prefix("/case/").map(|number| number.parse::<usize>().unwrap());
            let Some(case) = case.filter(|case| *case < count) else {
                peer.send(ok(request.target()));
                continue;
            };
            let (bytes, then) = reply(case);
            peer.send(bytes);
            match then {
                Keep => {}
                Close => return,
                Reset => return reset(peer.socket()),
                Repeat(part) => {
                    let parts = part.repeat(1000);
                    while peer.send(&parts) {}
                    return;
                }
            }
        }
    })
}

fn reset(socket: &TcpStream) {
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Cases are tried once; what else is asked for may be tried again, as usual.
fn proxy(origin: &Origin) -> Proxy {
    Proxy::start(&format!(
        "workers: 1
listeners:
  - name: web
    address: 127.0.0.1:0
    routes:
      - {{ match: {{ path_prefix: /case }}, cluster: app, retries: off, timeout: 300ms, idle_timeout: 300ms }}
      - {{ cluster: app }}
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
        origin.address
    ))
}

/// Asks a few questions, on new connections and on one, and compares each answer with its question.
fn everybody_gets_his_own(proxy: &Proxy, after: &str) {
    let mut kept = proxy.connect();
    for number in 0..3 {
        for client in [&mut proxy.connect(), &mut kept] {
            let target = format!("/own/{number}");
            let answer = client.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!((answer.status(), answer.body), (200, target), "after {after:?}");
        }
    }
    let answer = kept.ask("POST /own/post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!((answer.status(), answer.body.as_str()), (200, "/own/post"), "after {after:?}");
}

fn ask(client: &mut Peer, method: &str, case: usize) -> Result<Message, Fault> {
    client.send(format!("{method} /case/{case} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.answer(method == "HEAD")
}

#[test]
fn what_is_no_answer_is_an_error_for_one_and_nothing_for_the_next() {
    let origin = origin(REPLIES.len(), |case| (REPLIES[case].0.to_owned(), REPLIES[case].1));
    let proxy = proxy(&origin);
    for (case, (reply, then, wanted)) in REPLIES.iter().enumerate() {
        everybody_gets_his_own(&proxy, "nothing");
        let answer = ask(&mut proxy.connect(), "GET", case);
        let shown = format!("{reply:?} {then:?} gave {answer:?}");
        match wanted {
            Refused(error) => assert_eq!(answer.as_ref().map(|a| (a.status(), a.error())), Ok((502, Some(*error))), "{shown}"),
            Late => assert_eq!(answer.as_ref().map(Message::status), Ok(504), "{shown}"),
            Broken => assert!(answer.is_err(), "{shown}"),
            Answered(body) => assert_eq!(answer.as_ref().map(|a| a.body.as_str()), Ok(*body), "{shown}"),
        }
        everybody_gets_his_own(&proxy, reply);
    }
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
}

#[test]
fn a_body_that_goes_wrong_breaks_off_for_the_client() {
    let origin = origin(CHUNKS.len(), |case| (format!("{CHUNKED}{}", CHUNKS[case].0), CHUNKS[case].1));
    let proxy = proxy(&origin);
    for (case, (body, then)) in CHUNKS.iter().enumerate() {
        everybody_gets_his_own(&proxy, "nothing");
        let answer = ask(&mut proxy.connect(), "GET", case);
        let refused = answer.as_ref().is_ok_and(|answer| answer.status() == 502);
        assert!(refused || answer.is_err(), "{body:?} {then:?} gave {answer:?}");
        // A client of HTTP/1.0 knows the end of a body by a proper end of its connection alone.
        let mut old = proxy.connect();
        old.send(format!("GET /case/{case} HTTP/1.0\r\nHost: a\r\n\r\n"));
        let answer = old.answer(false);
        let refused = answer.as_ref().is_ok_and(|answer| answer.status() == 502);
        assert!(refused || answer.is_err(), "{body:?} {then:?} gave an old client {answer:?}");
        everybody_gets_his_own(&proxy, body);
    }
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
}

#[test]
fn what_is_only_unusual_is_passed_on_in_plain_form() {
    let replies = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: \t2 \r\n\r\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n02;ext=\"1\"\r\nok\r\n0;last\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \t\r\nok\r\n00\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    ];
    let origin = origin(replies.len(), move |case| (replies[case].to_owned(), Keep));
    let proxy = proxy(&origin);
    for (case, reply) in replies.iter().enumerate() {
        let answer = ask(&mut proxy.connect(), "GET", case).unwrap_or_else(|fault| panic!("{reply:?} gave {fault:?}"));
        if answer.status() == 200 {
            assert_eq!(answer.body, "ok", "{reply:?}");
            assert!(answer.header("content-length").is_none_or(|length| length.parse() == Ok(2)), "{reply:?} gave {answer:?}");
        } else {
            assert_eq!(answer.status(), 502, "{reply:?} gave {answer:?}");
        }
        everybody_gets_his_own(&proxy, reply);
    }
}

#[test]
fn what_follows_an_answer_at_once_is_nobodys_answer() {
    let origin = origin(WHOLE.len(), |case| (format!("{}{EVIL}", WHOLE[case].1), Keep));
    let proxy = proxy(&origin);
    for (case, (method, reply, body)) in WHOLE.iter().enumerate() {
        for _ in 0..20 {
            let mut client = proxy.connect();
            let answer = ask(&mut client, method, case).unwrap_or_else(|fault| panic!("{reply:?} gave {fault:?}"));
            assert_eq!(answer.body, *body, "{method} {reply:?}");
            let own = client.ask("GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(own.body, "/own", "after {method} {reply:?}");
        }
        everybody_gets_his_own(&proxy, reply);
    }
}

/// The endpoint adds its bytes after the client has its answer, and before the next one asks.
#[test]
fn what_follows_an_answer_later_is_nobodys_answer() {
    for late in [EVIL, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "x"] {
        let (go, wait) = sync_channel::<()>(0);
        let wait = Mutex::new(wait);
        let (said, added) = sync_channel::<()>(0);
        let origin = Origin::serving(move |mut peer| {
            while let Ok(request) = peer.request() {
                let case = request.target().strip_prefix("/case/").map(|case| case.parse::<usize>().unwrap());
                peer.send(case.map_or_else(|| ok(request.target()), |case| WHOLE[case].1.to_owned()));
                if case.is_some() {
                    wait.lock().unwrap().recv().unwrap();
                    peer.send(late);
                    said.send(()).unwrap();
                }
            }
        });
        let proxy = proxy(&origin);
        for (case, (method, reply, body)) in WHOLE.iter().enumerate() {
            let mut client = proxy.connect();
            let answer = ask(&mut client, method, case).unwrap_or_else(|fault| panic!("{reply:?} gave {fault:?}"));
            assert_eq!(answer.body, *body, "{method} {reply:?}");
            go.send(()).unwrap();
            added.recv_timeout(PATIENCE).unwrap();
            let own = client.ask("GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!((own.status(), own.body.as_str()), (200, "/own"), "after {method} {reply:?} and {late:?}");
            everybody_gets_his_own(&proxy, reply);
        }
    }
}

/// A large body, so that its end and what follows it come by different reads.
#[test]
fn what_follows_a_large_answer_is_nobodys_answer() {
    let sizes = [8_000, 65_536, 500_000, 3_000_000];
    let origin = origin(sizes.len() * 2, move |case| {
        let body = "x".repeat(sizes[case / 2]);
        let whole = if case % 2 == 0 { ok(&body) } else { format!("{CHUNKED}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()) };
        (format!("{whole}{EVIL}"), Keep)
    });
    let proxy = proxy(&origin);
    for case in 0..sizes.len() * 2 {
        for _ in 0..5 {
            let mut client = proxy.connect();
            assert_eq!(ask(&mut client, "GET", case).unwrap().body.len(), sizes[case / 2]);
            assert_eq!(client.ask("GET /own HTTP/1.1\r\nHost: a\r\n\r\n").body, "/own", "after {}", sizes[case / 2]);
        }
        everybody_gets_his_own(&proxy, "a large body");
    }
}

/// Many clients on one pool, some of whose answers have something behind them.
#[test]
fn answers_never_change_places_under_load() {
    let origin = origin(WHOLE.len(), |case| (format!("{}{EVIL}", WHOLE[case].1), Keep));
    let proxy = proxy(&origin);
    let address = proxy.address();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            std::thread::spawn(move || {
                let mut peer = Peer::connect(address);
                for number in 0..150 {
                    let (method, _, body) = WHOLE[number % WHOLE.len()];
                    assert_eq!(ask(&mut peer, method, number % WHOLE.len()).unwrap().body, body);
                    for _ in 0..3 {
                        let target = format!("/own/{client}/{number}");
                        let answer = peer.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
                        assert_eq!((answer.status(), answer.body), (200, target));
                    }
                }
            })
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().is_ok()));
}

/// Something else listens there, and speaks first.
#[test]
fn a_greeting_is_no_answer() {
    let origin = Origin::serving(|mut peer| {
        peer.send("220 mail.example ESMTP\r\n");
        while peer.line().is_ok() {
            peer.send("500 unknown command\r\n");
        }
    });
    let proxy = proxy(&origin);
    for _ in 0..10 {
        let answer = ask(&mut proxy.connect(), "GET", 0).unwrap();
        // Whether it came before the question or after it cannot be told for certain.
        assert_eq!(answer.status(), 502);
        assert!(matches!(answer.error(), Some("http_protocol_error" | "connection_terminated")), "{answer:?}");
    }
}

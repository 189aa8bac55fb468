//! HTTP/2 by the byte: what must be refused, what is bounded, and how a connection ends.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RESET, SETTINGS, WINDOW};
use crate::frames::{block, frame};
use crate::origin::{Origin, ok, shown};
use crate::program::Proxy;
use crate::wire::{PATIENCE, Role};

/// A client that writes frames.
struct Client(TcpStream);

/// What came of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Reset(u8),
    GoneAway(u8),
    Closed,
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];

/// An ordinary request with one field in another's place, or one more.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = GET.to_vec();
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some(field) => field.1 = value,
        None => fields.push((name, value)),
    }
    fields
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|(known, _)| *known != name).collect()
}

impl Client {
    fn connect(proxy: &Proxy) -> Self {
        Self::with_settings(proxy, &[])
    }

    fn with_settings(proxy: &Proxy, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self(stream);
        client.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        client
    }

    /// Whether it could be sent: the proxy may have closed.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields)));
    }

    /// The next frame: its kind, flags, stream and payload.
    fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Waits until it is known what becomes of a stream.
    fn fate(&mut self, wanted: u32) -> Fate {
        while let Some((kind, flags, stream, payload)) = self.read() {
            match kind {
                SETTINGS if flags == 0 => drop(self.send(&frame(SETTINGS, 1, 0, &[]))),
                HEADERS if stream == wanted => return Fate::Answered,
                RESET if stream == wanted => return Fate::Reset(payload[3]),
                GOAWAY if payload[7] != 0 => return Fate::GoneAway(payload[7]),
                _ => {}
            }
        }
        Fate::Closed
    }

    /// Reads beside until the end; gives the code of the GOAWAY that came last, if one did.
    fn drained(&self) -> std::thread::JoinHandle<Option<u8>> {
        let mut reader = Self(self.0.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut last = None;
            while let Some((kind, _, _, payload)) = reader.read() {
                last = if kind == GOAWAY { Some(payload[7]) } else { last };
            }
            last
        })
    }
}

fn errors(proxy: &Proxy, reason: &str, wanted: u64) {
    proxy.until_metric("pulsegate_downstream_errors_total", &["listener=\"web\"", &format!("reason=\"{reason}\"")], wanted);
}

/// A proxy with these limits in front of an endpoint.
fn limited(origin: &Origin, limits: &str, route: &str) -> Proxy {
    Proxy::start(&format!(
        "workers: 1
listeners:
  - {{ name: web, address: 127.0.0.1:0, limits: {{ {limits} }}, routes: [{{ cluster: app, {route} }}] }}
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
        origin.address
    ))
}

#[test]
fn heads_that_are_no_requests_end_their_stream_and_reach_nobody() {
    let origin = Origin::serving(|_| panic!("a malformed request came through"));
    let proxy = Proxy::before(&origin);
    let long = "x".repeat(100);
    let cases: Vec<Vec<(&str, &str)>> = vec![
        without(":method"),
        without(":path"),
        without(":scheme"),
        [&GET[..], &[(":path", "/b")]].concat(),
        [&GET[..], &[(":method", "GET")]].concat(),
        [&GET[..], &[(":authority", "b.test")]].concat(),
        [&[("x-a", "1")][..], &GET[..]].concat(),
        with(":status", "200"),
        with(":other", "1"),
        with(":path", ""),
        with(":path", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /b"),
        with(":path", "/a b"),
        with(":method", "GET / HTTP/1.1\r\nX: "),
        with(":authority", "a.test:80:80"),
        with(":authority", "a.test\r\nX-Injected: 1"),
        with("X-Upper", "1"),
        with("x-a", "1\r\nx-injected: 2"),
        with("x-a", "1\nx-injected: 2"),
        with("x-a", "1\0"),
        with("x-a: 1\r\nx-injected", "2"),
        with("x a", "1"),
        with("", "1"),
        with("connection", "close"),
        with("connection", "x-secret"),
        with("keep-alive", "5"),
        with("proxy-connection", "close"),
        with("transfer-encoding", "chunked"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("content-length", "5"),
        with("content-length", "-1"),
        with("content-length", &*long.leak()),
    ];
    for fields in cases {
        let mut client = Client::connect(&proxy);
        client.ask(1, &fields);
        let fate = client.fate(1);
        assert!(matches!(fate, Fate::Reset(1) | Fate::GoneAway(1)), "{fate:?} for {fields:?}");
    }
}

#[test]
fn what_two_servers_could_read_differently_is_refused_with_a_status() {
    let origin = Origin::serving(|_| panic!("an ambiguous request came through"));
    let proxy = Proxy::before(&origin);
    let cases: [(Vec<(&str, &str)>, &str); 10] = [
        (with(":authority", "me@a.test"), "400"),
        (with("host", "b.test"), "400"),
        (without(":authority"), "400"),
        (with(":path", "/a/../b"), "400"),
        (with(":path", "/%2e%2e/b"), "400"),
        (with(":path", "*"), "400"),
        (with(":scheme", "ftp"), "400"),
        ([&without(":authority")[..], &[("host", "a"), ("host", "b")]].concat(), "400"),
        (vec![(":method", "CONNECT"), (":authority", "a.test:443")], "501"),
        ([&GET[..], &[("x-a", "1"); 101]].concat(), "431"),
    ];
    let mut seen = std::collections::BTreeMap::<&str, u64>::new();
    for (fields, status) in cases {
        let mut client = Client::connect(&proxy);
        client.ask(1, &fields);
        assert_eq!(client.fate(1), Fate::Answered, "{fields:?}");
        *seen.entry(status).or_default() += 1;
        proxy.until_metric("pulsegate_requests_total", &[&format!("code=\"{status}\"")], seen[status]);
    }
}

#[test]
fn a_body_of_another_length_than_announced_is_refused_to_both_sides() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for (length, pieces) in [("5", &["abc"][..]), ("2", &["abc"]), ("3", &["ab", "cd"]), ("0", &["a"])] {
        let mut client = Client::connect(&proxy);
        let fields = [&with(":method", "POST")[..], &[("content-length", length)]].concat();
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        for (number, piece) in pieces.iter().enumerate() {
            let flags = if number + 1 == pieces.len() { END_STREAM } else { 0 };
            client.send(&frame(DATA, flags, 1, piece.as_bytes()));
        }
        let fate = client.fate(1);
        assert!(matches!(fate, Fate::Reset(1) | Fate::GoneAway(1)), "{fate:?} for {length} and {pieces:?}");
    }
}

/// Whoever takes back what he has begun to send has not sent it, however politely he does it.
#[test]
fn a_request_that_is_taken_back_is_whole_to_nobody() {
    // Room for all: some is heard of late.
    let (told, heard) = std::sync::mpsc::sync_channel(64);
    let origin = Origin::serving(move |mut peer| {
        while let Ok(mut request) = peer.head() {
            told.send(None).unwrap();
            let whole = peer.body(&mut request, Role::Request).is_ok();
            told.send(Some(whole)).unwrap();
            if !whole || !peer.send(ok("")) {
                return;
            }
        }
    });
    let proxy = Proxy::before(&origin);
    for code in [0, 8, 2, 5, 7] {
        for length in [None, Some(("content-length", "9"))] {
            let mut client = Client::connect(&proxy);
            let fields: Vec<(&str, &str)> = with(":method", "POST").into_iter().chain(length).collect();
            client.send(&[frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, 0, 1, b"all but ")].concat());
            assert_eq!(heard.recv(), Ok(None), "the endpoint reads its head");
            client.send(&frame(RESET, 0, 1, &[0, 0, 0, code]));
            assert_eq!(heard.recv(), Ok(Some(false)), "{length:?}, reset for {code}");
        }
    }
}

#[test]
fn cookies_in_pieces_reach_an_endpoint_in_one_line() {
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    let origin = Origin::answering(move |request| {
        told.send(shown(request)).unwrap();
        ok("")
    });
    let proxy = Proxy::before(&origin);
    let mut client = Client::connect(&proxy);
    client.ask(1, &[&GET[..], &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]].concat());
    assert_eq!(client.fate(1), Fate::Answered);
    let echo = heard.recv().unwrap();
    assert!(
        echo.contains("\ncookie: a=1; b=2\n") && echo.contains("\nte: trailers\n") && echo.contains("\nhost: a.test\n"),
        "{echo}"
    );
    assert!(echo.contains("via: 2.0 pulsegate"), "{echo}");
}

#[test]
fn a_client_may_take_back_all_that_it_has_under_way() {
    let origin = Origin::echo();
    let proxy = limited(&origin, "", "");
    let mut client = Client::connect(&proxy);
    let streams = || (0..60).map(|number| 2 * number + 1);
    let asked = streams().flat_map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET)));
    let taken_back = streams().flat_map(|stream| frame(RESET, 0, stream, &[0, 0, 0, 8]));
    // In one piece, so that none of them has been looked at when they are taken back.
    let mut all: Vec<u8> = asked.chain(taken_back).collect();
    all.extend(frame(HEADERS, END_HEADERS | END_STREAM, 121, &block(&GET)));
    client.send(&all);
    assert_eq!(client.fate(121), Fate::Answered);
}

#[test]
fn floods_are_cut_off_and_counted() {
    let origin = Origin::echo();
    let proxy = limited(&origin, "", "");
    let request = |stream: u32| {
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET)), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
    };
    type Flood<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;
    let floods: [(&str, Flood<'_>); 6] = [
        ("requests taken back", Box::new(|round| request(2 * round + 1))),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        (
            "empty data",
            Box::new(|round| {
                if round == 0 { frame(HEADERS, END_HEADERS, 1, &block(&with(":method", "POST"))) } else { frame(DATA, 0, 1, &[]) }
            }),
        ),
        ("window updates", Box::new(|_| frame(WINDOW, 0, 0, &[0, 0, 0, 1]))),
        (
            "continuations",
            Box::new(|round| frame(if round == 0 { HEADERS } else { CONTINUATION }, 0, 1, &block(&[("x-a", "1")]))),
        ),
    ];
    for (number, (name, flood)) in (1..).zip(&floods) {
        let mut client = Client::connect(&proxy);
        let drained = client.drained();
        let cut = (0..200_000).find(|round| !client.send(&flood(*round)));
        assert!(cut.is_some(), "{name} go on");
        let code = drained.join().unwrap();
        assert!(code != Some(0), "{name}");
        if *name != "continuations" {
            errors(&proxy, "flood", number);
        }
    }
    assert_eq!(crate::curl::curl(&["--http2-prior-knowledge", &proxy.url("/")]).status(), 200);
}

/// As clients of gRPC do that find out how much the way to them holds: each message is answered by a wider window and a ping.
#[test]
fn who_takes_many_small_pieces_may_say_so_for_each() {
    const PIECES: usize = 4000;
    let origin = Origin::answering(|_| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", "4\r\ntick\r\n".repeat(PIECES))
    });
    let proxy = limited(&origin, "", "");
    let mut client = Client::connect(&proxy);
    client.ask(1, &GET);
    let mut taken = 0;
    loop {
        match client.read().unwrap_or_else(|| panic!("cut off after {taken} bytes")) {
            (DATA, flags, 1, payload) => {
                taken += payload.len();
                if flags & END_STREAM != 0 {
                    break;
                }
                // An empty one may say the end.
                let more = u8::try_from(payload.len().clamp(1, 100)).unwrap();
                let wider = |stream| frame(WINDOW, 0, stream, &[0, 0, 0, more]);
                client.send(&[wider(0), wider(1), frame(PING, 0, 0, &[7; 8])].concat());
            }
            (SETTINGS, 0, ..) => drop(client.send(&frame(SETTINGS, 1, 0, &[]))),
            (RESET | GOAWAY, _, _, payload) => panic!("ended by {payload:?} after {taken} bytes"),
            _ => {}
        }
    }
    assert_eq!(taken, 4 * PIECES);
    errors(&proxy, "flood", 0);
}

#[test]
fn streams_and_heads_are_bounded_and_so_are_their_times() {
    let origin = Origin::serving(|mut peer| {
        drop(peer.request());
        let _ = peer.at_end();
    });
    let proxy = limited(&origin, "streams: 2, head_bytes: 8KiB, head_timeout: 300ms, keepalive_timeout: 300ms", "timeout: 5s");
    let mut client = Client::connect(&proxy);
    for stream in [1, 3, 5] {
        client.ask(stream, &GET);
    }
    assert_eq!(client.fate(5), Fate::Reset(7), "refused, and so may be sent again");
    // A list of fields that is too large.
    let mut client = Client::connect(&proxy);
    let large = "y".repeat(120);
    let fields: Vec<(&str, &str)> = GET.into_iter().chain(std::iter::repeat_n(("x-large", &*large), 80)).collect();
    client.ask(1, &fields);
    assert_eq!(client.fate(1), Fate::Answered, "refused by a status: the endpoint itself never answers");
    // Nothing at all; half a head; nothing after an exchange.
    let mut silent = Client(TcpStream::connect(proxy.address()).unwrap());
    silent.send(&PREFACE[..20]);
    assert_eq!(silent.fate(1), Fate::Closed);
    let mut slow = Client::connect(&proxy);
    slow.send(&frame(HEADERS, 0, 1, &block(&GET)));
    // No word in between, for that would end it too.
    assert_eq!(slow.drained().join().unwrap(), None);
    errors(&proxy, "head_timeout", 2);
    let mut idle = Client::connect(&proxy);
    idle.ask(1, &with(":path", "/a/../b"));
    assert_eq!(idle.fate(1), Fate::Answered);
    assert_eq!(idle.fate(3), Fate::Closed);
    errors(&proxy, "head_timeout", 2);
}

#[test]
fn a_client_that_takes_nothing_is_let_go_after_the_idle_time() {
    let origin = Origin::answering(|_| ok(&"x".repeat(1_000_000)));
    let proxy = limited(&origin, "", "idle_timeout: 300ms");
    // SETTINGS_INITIAL_WINDOW_SIZE of 10 bytes, and no word afterwards.
    let mut client = Client::with_settings(&proxy, &[0, 4, 0, 0, 0, 10]);
    client.ask(1, &GET);
    assert_eq!(client.fate(1), Fate::Answered);
    assert!(matches!(client.fate(1), Fate::Reset(_)));
    errors(&proxy, "idle_timeout", 1);
    // The connection itself goes on.
    client.ask(3, &with(":path", "/a/../b"));
    assert_eq!(client.fate(3), Fate::Answered);
}

#[test]
fn what_begins_like_neither_protocol_is_closed() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let mut client = Client(TcpStream::connect(proxy.address()).unwrap());
    client.send(b"INVALID CONNECTION PREFACE\r\n\r\n");
    assert_eq!(client.fate(1), Fate::Closed);
    errors(&proxy, "bad_request", 1);
    // A preface in pieces is one all the same.
    let mut client = Client(TcpStream::connect(proxy.address()).unwrap());
    client.0.set_nodelay(true).unwrap();
    for piece in PREFACE.chunks(5) {
        client.send(piece);
    }
    client.send(&frame(SETTINGS, 0, 0, &[]));
    client.ask(1, &GET);
    assert_eq!(client.fate(1), Fate::Answered);
}

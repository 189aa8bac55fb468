//! Heartbeats as senders push them, over real sockets; control is played by the test.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::base::address::EndpointAddress;
use crate::base::ids::{ClusterId, EndpointId};
use crate::cluster::Endpoint;
use crate::config::model::{HeartbeatToken, HeartbeatTokens, Secret};
use crate::health::policy::{Detector, HeartbeatPolicy};
use crate::health::signal::{BeatResult, ReportReading};
use crate::health::verdict::{EndpointView, State};
use crate::heartbeat::{Counts, Directory, FirstBeat, Gate, Identity, MAX_BEAT, Pushed, Service, serve};
use crate::report::spec::Spec;
use crate::runtime::{clock, task, thread};

const LONG: Duration = Duration::from_secs(60);
/// As long as the tokens that people make.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Rig {
    address: SocketAddr,
    counts: Counts,
    pushed: Rc<RefCell<Vec<Pushed>>>,
    _socket: task::Owned,
}

fn run<F: Future>(test: F) -> F::Output {
    thread::block_on(async { tokio::time::timeout(LONG, test).await.expect("the test waits for ever") }).unwrap()
}

fn token(token: &str, endpoints: &[&str]) -> HeartbeatToken {
    HeartbeatToken { token: Secret(token.into()), endpoints: endpoints.iter().map(|one| Arc::from(*one)).collect() }
}

/// Takes heartbeats of cluster `app` with two endpoints in; whoever is spoken for is healthy from then on.
fn rig() -> Rig {
    let now = clock::now();
    let policy = HeartbeatPolicy { period: Duration::from_secs(2), ttl: Duration::from_secs(7), detector: Detector::Ttl };
    let tokens = HeartbeatTokens([token(TOKEN, &[]), token("only-one", &["10.0.0.1:9000"])].into());
    let endpoints = ["10.0.0.1:9000", "orders.internal:9000"].map(|text| {
        let address = EndpointAddress::parse(text).unwrap();
        Arc::new(Endpoint::new(EndpointId(1), ClusterId(1), "app".into(), address, now))
    });
    let directory = Rc::new(Directory::default());
    let keys = directory.keys("app", Some(&tokens));
    let open_tokens = HeartbeatTokens([token(TOKEN, &[]), token("only-one", &["10.0.0.1:9000"])].into());
    let open_keys = directory.keys("open", Some(&open_tokens));
    let open = Gate::new("open".into(), policy, None, open_keys, [], now).joined(true);
    directory.install(vec![Gate::new("app".into(), policy, Some(Spec::default()), keys, endpoints, now), open]);
    let (control, mut beats) = mpsc::channel::<Pushed>(16);
    let (counts, pushed) = (Counts::default(), Rc::new(RefCell::new(Vec::new())));
    let proxy = Identity { name: "edge-1.example.internal".into(), boot_id: "0123456789abcdef".into() };
    let (first, mut newcomers) = mpsc::channel::<FirstBeat>(16);
    let service = Rc::new(Service::new(directory, control, first, proxy, counts.clone()));
    drop(task::spawn(async move {
        // The one whose port is 1 finds no room.
        while let Some(FirstBeat { address, taken, .. }) = newcomers.recv().await {
            let full = address.port() == 1;
            let endpoint = Arc::new(Endpoint::new(EndpointId(2), ClusterId(2), "open".into(), address, now));
            drop(taken.send((!full).then_some((endpoint, BeatResult::Ok))));
        }
    }));
    let heard = Rc::clone(&pushed);
    drop(task::spawn(async move {
        while let Some(mut beat) = beats.recv().await {
            let view = EndpointView { state: State::Healthy, available: true, ..EndpointView::clone(&beat.endpoint.view()) };
            beat.endpoint.show(view);
            let taken = std::mem::replace(&mut beat.taken, tokio::sync::oneshot::channel().0);
            heard.borrow_mut().push(beat);
            let from_before = heard.borrow().last().is_some_and(|beat| beat.beat.boot_id.as_deref() == Some("before"));
            let _ = taken.send(if from_before { BeatResult::Zombie } else { BeatResult::Ok });
        }
    }));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    Rig { address, counts, pushed, _socket: serve(socket, "127.0.0.1:9901".into(), None, service).unwrap() }
}

impl Rig {
    /// Says something on a connection of its own and reads all that comes until the other side is done.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses closes before it has read all.
        drop(stream.write_all(bytes).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    async fn post(&self, token: &str, body: &str) -> String {
        self.say(&beat(token, body)).await
    }

    fn count(&self, cluster: &str, endpoint: &str, result: &str) -> u64 {
        self.counts.series().get(&[cluster, endpoint, result])
    }
}

/// A heartbeat as HTTP, with the headers that common clients send.
fn beat(token: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST /v1/heartbeats HTTP/1.1\r\nHost: 127.0.0.1:9901\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

fn body_of(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).unwrap()
}

#[test]
fn a_beat_is_answered_with_how_we_see_the_sender_in_less_than_700_bytes_both_ways() {
    run(async {
        let rig = rig();
        let body = r#"{"cluster":"app","endpoint":"10.0.0.1:9000","boot_id":"0123456789abcdef","seq":123456,"sent_at_ms":1795478400007,"period_ms":2000,"state":"ready"}"#;
        let answer = rig.post(TOKEN, body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(beat(TOKEN, body).len() + answer.len() < 700, "{} and {}", beat(TOKEN, body).len(), answer.len());
        let ack = body_of(&answer);
        assert!(ack["received_at_ms"].as_u64().unwrap() > 1_700_000_000_000);
        assert_eq!((&ack["seq"], &ack["ttl_ms"], &ack["next_in_ms"]), (&123_456.into(), &7000.into(), &2000.into()));
        assert_eq!((&ack["state"], &ack["available"], &ack["leader"]), (&"healthy".into(), &true.into(), &serde_json::json!({})));
        assert_eq!(ack["proxy"]["name"], "edge-1.example.internal");
        let pushed = rig.pushed.borrow();
        assert_eq!((pushed.len(), pushed[0].beat.seq, pushed[0].endpoint.address.as_str()), (1, Some(123_456), "10.0.0.1:9000"));
    });
}

#[test]
fn the_report_in_a_beat_is_read() {
    run(async {
        let rig = rig();
        rig.post(TOKEN, r#"{"cluster":"app","endpoint":"ORDERS.internal:9000","report":{"cpu":0.93,"status":"warn"}}"#).await;
        let pushed = rig.pushed.borrow();
        let Some(ReportReading::Read(report)) = &pushed[0].report else { panic!("{pushed:?}") };
        assert_eq!((report.metric("cpu"), report.word.as_deref()), (Some(0.93), Some("warn")));
    });
}

#[test]
fn a_report_that_nobody_can_read_costs_its_beat_nothing() {
    run(async {
        let rig = rig();
        let deep = |open: &str, close: &str| format!("{{\"cpu\":{}1{}}}", open.repeat(8000), close.repeat(8000));
        for report in [deep("[", "]"), deep("{\"a\":", "}"), "{\"cpu\":1e999}".to_owned()] {
            let body = format!(r#"{{"cluster":"app","endpoint":"orders.internal:9000","report":{report}}}"#);
            let answer = rig.post(TOKEN, &body).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let last = rig.pushed.borrow_mut().pop();
            assert!(matches!(last, Some(Pushed { report: Some(ReportReading::Void(_)), .. })), "{last:?}");
        }
    });
}

#[test]
fn what_may_not_be_said_is_refused_and_counted() {
    run(async {
        let rig = rig();
        let one = r#"{"cluster":"app","endpoint":"10.0.0.1:9000"}"#;
        let other = r#"{"cluster":"app","endpoint":"orders.internal:9000"}"#;
        let nobody = r#"{"cluster":"app","endpoint":"10.0.0.9:9000"}"#;
        let elsewhere = r#"{"cluster":"shop","endpoint":"10.0.0.1:9000"}"#;
        let long = format!(r#"{{"cluster":"app","endpoint":"10.0.0.1:9000","report":{{"x":"{}"}}}}"#, "x".repeat(MAX_BEAT));
        for (token, body, status, labels) in [
            ("wrong", one, 401, ("app", "", "unauthorized")),
            ("", one, 401, ("app", "", "unauthorized")),
            ("wrong", elsewhere, 401, ("", "", "unauthorized")),
            (TOKEN, elsewhere, 404, ("", "", "unknown_cluster")),
            (TOKEN, nobody, 404, ("app", "", "unknown_endpoint")),
            ("only-one", other, 403, ("app", "orders.internal:9000", "forbidden")),
            ("only-one", nobody, 403, ("app", "", "forbidden")),
            (TOKEN, "nonsense", 400, ("", "", "malformed")),
            (TOKEN, r#"{"cluster":"app","endpoint":"10.0.0.1:9000","cpu":1}"#, 400, ("", "", "malformed")),
            (TOKEN, r#"{"cluster":"app","endpoint":"10.0.0.1:9000","period_ms":0}"#, 400, ("", "", "malformed")),
            (TOKEN, &long, 413, ("", "", "too_large")),
        ] {
            let (cluster, endpoint, result) = labels;
            let before = rig.count(cluster, endpoint, result);
            let answer = rig.post(token, body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{token} {}: {answer}", &body[..body.len().min(80)]);
            assert!(body_of(&answer)["detail"].is_string());
            assert_eq!(rig.count(cluster, endpoint, result), before + 1, "{labels:?}");
        }
        assert!(rig.pushed.borrow().is_empty());
        assert!(rig.post("only-one", one).await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn who_has_been_followed_is_refused_and_no_other_whatever_came_last() {
    run(async {
        let rig = rig();
        // What is shown of the endpoint says nothing of either.
        for (boot_id, status) in [("before", "409"), ("now", "200"), ("before", "409")] {
            let body = format!(r#"{{"cluster":"app","endpoint":"10.0.0.1:9000","boot_id":"{boot_id}"}}"#);
            let answer = rig.post(TOKEN, &body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{boot_id}: {answer}");
        }
    });
}

#[test]
fn who_is_not_there_yet_joins_where_endpoints_may_and_a_token_vouches_for_it() {
    run(async {
        let rig = rig();
        let open = |endpoint: &str, more: &str| format!(r#"{{"cluster":"open","endpoint":"{endpoint}"{more}}}"#);
        for (token, body, status, result) in [
            (TOKEN, open("10.0.0.7:9000", ""), 200, ""),
            (TOKEN, open("Orders.internal:9000", ""), 200, ""),
            (TOKEN, open("[0:0::1]:9000", ""), 200, ""),
            ("only-one", open("10.0.0.1:9000", ""), 200, ""),
            ("only-one", open("10.0.0.7:9000", ""), 403, "forbidden"),
            ("wrong", open("10.0.0.7:9000", ""), 401, "unauthorized"),
            (TOKEN, open("10.0.0.7", ""), 400, "malformed"),
            (TOKEN, open("10.0.0.7:0", ""), 400, "malformed"),
            (TOKEN, open("a b:80", ""), 400, "malformed"),
            (TOKEN, open("0.0.0.0:9000", ""), 400, "malformed"),
            (TOKEN, open("[::]:9000", ""), 400, "malformed"),
            (TOKEN, open("[::ffff:0.0.0.0]:9000", ""), 400, "malformed"),
            (TOKEN, open("224.0.0.1:9000", ""), 400, "malformed"),
            (TOKEN, open("255.255.255.255:9000", ""), 400, "malformed"),
            (TOKEN, open("unix:/run/other.sock", ""), 400, "malformed"),
            (TOKEN, open("10.0.0.7:9000", r#","state":"bye""#), 404, "unknown_endpoint"),
            (TOKEN, open("10.0.0.7:1", ""), 503, "cluster_full"),
        ] {
            let answer = rig.post(token, &body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {answer}");
            assert!(result.is_empty() || rig.count("open", "", result) >= 1, "{body}");
        }
    });
}

#[test]
fn what_is_no_request_for_heartbeats_changes_nothing() {
    run(async {
        let rig = rig();
        for (bytes, status) in [
            ("GET /v1/heartbeats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "404"),
            ("POST /v1/heartbeats HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"cluster\":", ""),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let answer = rig.say(bytes.as_bytes()).await;
            assert!(status.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:?}: {answer}");
        }
        assert!(rig.pushed.borrow().is_empty());
        assert!(rig.count("", "", "malformed") >= 1, "what is cut short or no HTTP");
    });
}

#[test]
fn beats_on_one_connection_are_answered_one_by_one_however_their_bytes_come() {
    run(async {
        let rig = rig();
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        let mut acked = Vec::new();
        let one = |seq: u32| beat(TOKEN, &format!(r#"{{"cluster":"app","endpoint":"10.0.0.1:9000","seq":{seq}}}"#));
        let close = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen("\r\n", "\r\nConnection: close\r\n", 1);
        // Two and half of a third at once; the rest of it, and what is refused between two beats.
        let (third, refused) = (one(3), beat("no-token", r#"{"cluster":"app","endpoint":"10.0.0.1:9000"}"#));
        let (begun, rest) = third.split_at(third.len() / 2);
        let pieces = [[one(1), one(2), begun.to_vec()].concat(), rest.to_vec(), refused, one(4), close(one(5)).into_bytes()];
        let answers = [2, 1, 1, 1, 1];
        for (piece, answers) in pieces.iter().zip(answers) {
            stream.write_all(piece).await.unwrap();
            let wanted = acked.len() + answers;
            while acked.len() < wanted {
                acked.push(next_answer(&mut stream).await);
            }
        }
        let seqs: Vec<Option<u64>> = acked.iter().map(|answer| body_of(answer)["seq"].as_u64()).collect();
        assert_eq!(seqs, [Some(1), Some(2), Some(3), None, Some(4), Some(5)]);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "who asked for the end gets it");
    });
}

/// One whole answer, by its length.
async fn next_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        answer.push(stream.read_u8().await.unwrap());
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split_once("content-length: ").unwrap().1;
        if body.len() == length.split("\r\n").next().unwrap().parse::<usize>().unwrap() {
            return String::from_utf8(answer).unwrap();
        }
    }
}

#[test]
fn a_sender_that_floods_is_held_up_and_no_other() {
    run(async {
        let rig = rig();
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        let flood = beat(TOKEN, r#"{"cluster":"app","endpoint":"10.0.0.1:9000"}"#).repeat(200);
        stream.write_all(&flood).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert!(answers.matches("HTTP/1.1 429").count() >= 100, "{answers}");
        assert!(answers.matches("HTTP/1.1 200").count() >= 40);
        assert!(rig.count("app", "10.0.0.1:9000", "rate_limited") >= 100);
        let other = rig.post(TOKEN, r#"{"cluster":"app","endpoint":"orders.internal:9000"}"#).await;
        assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    });
}

//! What is tried again, where, and what never is; recalls; signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::rig::{PATIENCE, Rig, answers, endpoint, endpoint_object, refuses, snapshot};
use crate::cluster::Recall;
use crate::health::signal::Observation;
use crate::runtime::clock;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// An endpoint that takes requests and closes without a word, and counts them.
fn closes() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = endpoint(move |mut client| {
        if client.request().is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

#[test]
fn a_refused_endpoint_costs_no_request_and_is_reported() {
    let mut rig = Rig::start(&[refuses(), answers(OK)]);
    for request in [GET, POST, GET, POST] {
        assert_eq!(rig.ask(request).status(), 200);
    }
    assert_eq!(rig.signals.try_recv().unwrap().observation, Observation::Refused);
}

#[test]
fn a_reset_get_goes_elsewhere_and_a_reset_post_does_not() {
    let (bad, count) = closes();
    let mut rig = Rig::start(&[bad, answers(OK)]);
    for _ in 0..4 {
        assert_eq!(rig.ask(GET).status(), 200);
    }
    assert_eq!(rig.signals.try_recv().unwrap().observation, Observation::Reset);
    let before = count.load(Ordering::SeqCst);
    let statuses: Vec<_> = (0..4).map(|_| rig.ask(POST).status()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2, "{statuses:?}");
    assert_eq!(count.load(Ordering::SeqCst) - before, 2, "a POST was sent twice");
}

#[test]
fn a_503_is_tried_elsewhere_unless_it_says_when_to_come_back() {
    let rig = Rig::start(&[answers("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), answers(OK)]);
    assert!((0..4).all(|_| rig.ask(GET).status() == 200));
    let rig =
        Rig::start(&[answers("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n"), answers(OK)]);
    assert_eq!((0..4).filter(|_| rig.ask(GET).status() == 503).count(), 2);
}

#[test]
fn at_the_end_the_last_endpoints_answer_is_passed_on() {
    let rig = Rig::start(&[answers("HTTP/1.1 503 Gone Fishing\r\nContent-Length: 3\r\n\r\nout"), refuses()]);
    for _ in 0..4 {
        let reply = rig.ask(GET);
        assert_eq!((reply.first.as_str(), reply.body.as_str()), ("HTTP/1.1 503 Gone Fishing", "out"));
    }
    assert_eq!(rig.endpoints[0].in_flight(), 0);
}

#[test]
fn the_budget_bounds_retries() {
    let rig = Rig::start_with(&[answers("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")], |settings| {
        settings.route.retries.attempts = 10;
    });
    for _ in 0..30 {
        assert_eq!(rig.ask(GET).status(), 503);
    }
    let asked: u64 = rig.endpoints[0].cells(0).classes.iter().map(|class| class.get()).sum();
    // 30 requests, and the floor of 10 retries a second in a window of 10 seconds.
    assert_eq!(asked, 30 + 100);
}

#[test]
fn a_recalled_get_goes_elsewhere_and_a_recalled_post_stays() {
    let (arrived, arrivals) = std::sync::mpsc::sync_channel(2);
    let hung = endpoint(move |mut client| {
        drop(client.request());
        arrived.send(()).unwrap();
        let _ = client.at_end();
    });
    let rig = Rig::start_with(&[hung], |settings| settings.route.timeout = Some(Duration::from_secs(2)));
    let spare = endpoint_object(answers(OK), 7);
    std::thread::scope(|scope| {
        let get = scope.spawn(|| rig.ask(GET).status());
        let post = scope.spawn(|| rig.ask(POST).status());
        // Until it has been sent, even a POST may go elsewhere.
        arrivals.recv_timeout(PATIENCE).unwrap();
        arrivals.recv_timeout(PATIENCE).unwrap();
        let cluster = Arc::clone(&rig.live.world().load().clusters[0]);
        let upstream = cluster.snapshot().load().upstream;
        let all: Vec<_> = rig.endpoints.iter().cloned().chain([Arc::clone(&spare)]).collect();
        cluster.publish(snapshot(&[spare], &all, upstream));
        rig.recall.send(Recall::all(rig.endpoints[0].id)).unwrap();
        assert_eq!(get.join().unwrap(), 200);
        assert_eq!(post.join().unwrap(), 504);
    });
}

#[test]
fn who_has_waited_for_too_long_goes_elsewhere_if_he_may() {
    let (arrived, arrivals) = std::sync::mpsc::sync_channel(8);
    let arrived_too = arrived.clone();
    let slow = endpoint(move |mut client| {
        drop(client.request());
        arrived.send(()).unwrap();
        let _ = client.at_end();
    });
    let quick = endpoint(move |mut client| {
        while client.request().is_some() {
            arrived_too.send(()).unwrap();
            client.send(OK);
        }
    });
    let two_arrive = || (0..2).for_each(|_| arrivals.recv_timeout(PATIENCE).unwrap());
    let rig = Rig::start_with(&[slow, quick], |settings| settings.route.timeout = Some(Duration::from_secs(2)));
    std::thread::scope(|scope| {
        // In turns, each kind meets the slow one.
        let gets: Vec<_> = (0..2).map(|_| scope.spawn(|| rig.ask(GET).status())).collect();
        two_arrive();
        let posts: Vec<_> = (0..2).map(|_| scope.spawn(|| rig.ask(POST).status())).collect();
        two_arrive();
        rig.recall.send(Recall { endpoint: rig.endpoints[0].id, overdue: Some(clock::now()) }).unwrap();
        assert!(gets.into_iter().all(|get| get.join().unwrap() == 200));
        let mut posts: Vec<u16> = posts.into_iter().map(|post| post.join().unwrap()).collect();
        posts.sort_unstable();
        assert_eq!(posts, [200, 504], "what may have been carried out is not sent again");
    });
    let overdue: u64 = rig.endpoints[0].all_cells().map(|cells| cells.overdue.get()).sum();
    assert_eq!(overdue, 1, "it counts as an answer that took so long");
}

#[test]
fn an_endpoint_that_says_nothing_is_504_and_a_slow_try_goes_elsewhere() {
    let hung = || {
        endpoint(|mut client| {
            drop(client.request());
            let _ = client.at_end();
        })
    };
    let rig = Rig::start_with(&[hung()], |settings| settings.route.timeout = Some(Duration::from_millis(100)));
    let reply = rig.ask(GET);
    assert_eq!((reply.status(), reply.header("proxy-status")), (504, Some("pulsegate; error=http_response_timeout")));
    assert!(reply.body.contains("timeout, 100ms"), "{}", reply.body);
    let rig = Rig::start_with(&[hung(), answers(OK)], |settings| {
        settings.route.retries.per_try_timeout = Some(Duration::from_millis(50))
    });
    assert!((0..4).all(|_| rig.ask(GET).status() == 200));
}

#[test]
fn a_pooled_connection_that_the_endpoint_closed_fails_nobody() {
    let (closed, closes) = std::sync::mpsc::sync_channel(8);
    let origin = endpoint(move |mut client| {
        // One answer, then the connection ends without a word, as servers do when an idle time is over.
        if client.request().is_some() {
            client.send(OK);
            drop(client);
            closed.send(()).unwrap();
        }
    });
    let rig = Rig::start_with(&[origin], |settings| settings.route.retries.attempts = 1);
    for request in [GET, POST, POST, POST] {
        assert_eq!(rig.ask(request).status(), 200);
        // From here on the close can be seen on the socket; a POST must look before it trusts.
        closes.recv_timeout(PATIENCE).unwrap();
    }
}

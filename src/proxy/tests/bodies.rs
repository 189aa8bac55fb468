//! Bodies both ways: streamed, with one framing, with trailers, and without where there is none.

use std::io::{Read, Write};

use super::rig::{Rig, answers, endpoint};

#[test]
fn chunked_bodies_and_named_trailers_pass_both_ways() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            let seen = format!("{} {:?} {:?}", request.body, request.trailers, request.header("te"));
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
            client.send(&format!("{:x}\r\n{seen}\r\n0\r\nX-Sum: 7\r\nX-Other: 1\r\n\r\n", seen.len()));
        }
    });
    let rig = Rig::start(&[origin]);
    let reply = rig.ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Check: 5\r\n\r\n",
    );
    assert_eq!(reply.body, r#"abcde [("x-check", "5")] Some("trailers")"#);
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

/// Trailers are the last that comes, in either direction, so the connection is free then and the exchange at its end.
#[test]
fn trailers_end_an_exchange_like_any_other() {
    let origin = endpoint(|mut client| {
        while client.request().is_some() {
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum: 7\r\n\r\n");
        }
    });
    let rig = Rig::start(&[origin]);
    let mut client = rig.connect();
    for _ in 0..3 {
        client
            .send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n1\r\na\r\n0\r\nX-A: 1\r\n\r\n");
        assert_eq!(client.reply(false).status(), 200);
    }
    assert_eq!(rig.statuses(3), [(200, 3)]);
    assert_eq!(rig.endpoints[0].cells(0).connects[0].get(), 1);
}

/// HTTP/1.0 knows no chunks: a proper end of the connection would be the proper end of the answer.
#[test]
fn a_broken_answer_ends_with_a_reset_for_an_old_client() {
    let rig = Rig::start(&[endpoint(|mut client| {
        drop(client.request());
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n");
    })]);
    let mut client = rig.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut all = Vec::new();
    let end = client.stream.read_to_end(&mut all);
    assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn answers_without_a_body_keep_the_connection() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            client.send(match request.first.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"1\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            });
        }
    });
    let rig = Rig::start(&[origin]);
    let mut client = rig.connect();
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply(true).header("content-length"), Some("99"));
    client.send("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.reply(false);
    assert_eq!((reply.status(), reply.header("content-length")), (204, None));
    client.send("GET /304 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply(false).header("etag"), Some("\"1\""));
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply(true).status(), 200);
    assert_eq!(rig.endpoints[0].cells(0).connects[0].get(), 1);
}

#[test]
fn a_body_that_ends_with_its_connection_is_passed_on() {
    let rig = Rig::start(&[endpoint(|mut client| {
        drop(client.request());
        client.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    })]);
    let reply = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.body, "until the end");
}

#[test]
fn a_broken_answer_is_broken_for_the_client_too() {
    let rig = Rig::start(&[endpoint(|mut client| {
        drop(client.request());
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort");
    })]);
    let mut client = rig.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut all = String::new();
    drop(client.stream.read_to_string(&mut all));
    assert!(all.ends_with("short"), "{all}");
    assert_eq!(rig.statuses(1), [(200, 1)]);
    let world = rig.live.world().load_full();
    assert_eq!(world.listeners[0].cells[0].errors[crate::cluster::ListenerError::UpstreamAborted as usize].get(), 1);
}

#[test]
fn the_body_waits_for_100_continue() {
    let origin = endpoint(|mut client| {
        let head = client.request_head().unwrap();
        assert_eq!(head.header("expect"), Some("100-continue"));
        client.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 5];
        client.stream.read_exact(&mut body).unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        client.stream.get_mut().write_all(&body).unwrap();
    });
    let rig = Rig::start(&[origin]);
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.line().unwrap(), "HTTP/1.1 100 Continue");
    assert_eq!(client.line().unwrap(), "");
    client.send("hello");
    assert_eq!(client.reply(false).body, "hello");
}

#[test]
fn a_final_answer_instead_of_100_reaches_the_client_without_its_body() {
    let origin = endpoint(|mut client| {
        drop(client.request_head());
        client.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
        let _ = client.at_end();
    });
    let rig = Rig::start(&[origin]);
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let reply = client.reply(false);
    assert_eq!((reply.status(), reply.body.as_str(), reply.header("connection")), (417, "no", Some("close")));
}

#[test]
fn our_own_answer_instead_of_100_closes_too() {
    let rig = Rig::start_with(&[super::rig::refuses()], |settings| {
        settings.route.matches.path_prefixes.push("/here".into());
        settings.route.retries.attempts = 1;
    });
    for (path, status) in [("/here", 502), ("/there", 404)] {
        let reply = rig.ask(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
        assert_eq!((reply.status(), reply.header("connection")), (status, Some("close")));
    }
}

#[test]
fn an_endpoint_that_knows_no_expect_gets_the_body_after_a_second() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", request.body.len(), request.body));
        }
    });
    let rig = Rig::start(&[origin]);
    let reply = rig.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    assert_eq!(reply.body, "hello");
}

#[test]
fn an_early_answer_to_a_large_upload_reaches_the_client() {
    let rig = Rig::start(&[endpoint(|mut client| {
        drop(client.request_head());
        client.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
        // Reading on, as a careful server does, keeps its answer from being lost.
        drop(std::io::copy(&mut client.stream, &mut std::io::sink()));
    })]);
    let mut client = rig.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    client.send(&"x".repeat(300_000));
    let reply = client.reply(false);
    assert_eq!((reply.status(), reply.body.as_str()), (413, "big"));
}

/// A client that reads nothing until it has sent everything, and an endpoint that does not wait for that with its answer.
#[test]
fn a_large_answer_that_comes_early_does_not_keep_its_request_from_being_sent() {
    const SIZE: usize = 16 << 20;
    let rig = Rig::start(&[endpoint(|mut client| {
        drop(client.request_head());
        let mut answering = client.stream.get_ref().try_clone().unwrap();
        let answer = std::thread::spawn(move || {
            answering.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).unwrap();
            answering.write_all(&vec![b'x'; SIZE - 1]).unwrap();
        });
        let mut body = vec![0; SIZE];
        client.stream.read_exact(&mut body).unwrap();
        answer.join().unwrap();
        // With the end of an answer ends what is still to come of its request.
        client.send("x");
    })]);
    let mut client = rig.connect();
    client.send(&format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    client.stream.get_ref().set_write_timeout(Some(super::rig::PATIENCE)).unwrap();
    client.stream.get_mut().write_all(&vec![b'y'; SIZE]).unwrap();
    assert_eq!(client.reply(false).body.len(), SIZE);
}

/// How a client's leaving is noticed that sends `head` and reads what the endpoint `says` at first.
fn leaves(head: &str, says: &'static str) {
    let (gone, noticed) = std::sync::mpsc::sync_channel(1);
    let origin = endpoint(move |mut client| {
        drop(client.request());
        client.send(says);
        gone.send(client.at_end()).unwrap();
    });
    let rig = Rig::start(&[origin]);
    let mut client = rig.connect();
    client.send(head);
    while rig.endpoints[0].in_flight() == 0 {
        std::thread::yield_now();
    }
    if !says.is_empty() {
        assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"));
    }
    drop(client);
    assert_eq!(noticed.recv_timeout(super::rig::PATIENCE), Ok(true));
    assert_eq!(rig.statuses(1), [(499, 1)]);
    assert_eq!(rig.endpoints[0].in_flight(), 0);
}

#[test]
fn a_client_that_goes_away_takes_its_attempt_with_it() {
    let heads = ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"];
    for head in heads {
        leaves(head, "");
        leaves(head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
    }
}

#[test]
fn bytes_after_the_last_request_do_not_cost_its_answer() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (sent, ready) = std::sync::mpsc::sync_channel(1);
    let ready = std::sync::Arc::new(std::sync::Mutex::new(ready));
    let rig = Rig::start(&[endpoint(move |mut client| {
        drop(client.request());
        ready.lock().unwrap().recv().unwrap();
        client.send(ANSWER);
    })]);
    for _ in 0..20 {
        let mut client = rig.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        while rig.endpoints[0].in_flight() == 0 {
            std::thread::yield_now();
        }
        client.send("\r\nand what nobody asked for");
        sent.send(()).unwrap();
        assert_eq!(client.reply(false).body, "ok");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_is_counted_as_gone() {
    let rig = Rig::start(&[endpoint(|mut client| drop(client.request()))]);
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    while rig.endpoints[0].in_flight() == 0 {
        std::thread::yield_now();
    }
    drop(client);
    assert_eq!(rig.statuses(1), [(499, 1)]);
}

#[test]
fn lengths_listed_in_one_line_become_one() {
    let rig = Rig::start(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok")]);
    let reply = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.header("content-length"), reply.body.as_str()), (Some("2"), "ok"));
}

#[test]
fn repeated_equal_lengths_become_one() {
    let rig = Rig::start(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")]);
    let reply = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.head.iter().filter(|(name, _)| name == "content-length").count(), 1);
    assert_eq!(reply.body, "ok");
}

#[test]
fn a_get_with_a_body_keeps_it() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", request.body.len(), request.body));
        }
    });
    let rig = Rig::start(&[origin]);
    assert_eq!(rig.ask("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").body, "abc");
    assert_eq!(rig.ask("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").body, "abc");
    assert_eq!(rig.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").body, "");
}

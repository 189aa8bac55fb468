//! Clients that go away in the middle: the endpoint hears of it, the account says so, and nothing stays in flight.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::{Receiver, sync_channel};

use socket2::SockRef;

use crate::curl::Beside;
use crate::origin::Origin;
use crate::program::Proxy;
use crate::wire::{Fault, PATIENCE, Peer, Role};

const LEFT: &[&str] = &["code=\"499\""];

/// An endpoint that reads a request and tells how that ended.
fn reading() -> (Origin, Receiver<Result<crate::wire::Message, Fault>>) {
    let (tell, told) = sync_channel(8);
    let origin = Origin::serving(move |mut peer| {
        let request = peer.message(Role::Request);
        tell.send(request).unwrap();
    });
    (origin, told)
}

/// An endpoint that sends for ever and tells when it no longer can.
fn endless() -> (Origin, Receiver<()>) {
    let (tell, told) = sync_channel(8);
    let origin = Origin::serving(move |mut peer| {
        drop(peer.request());
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while peer.send(&chunk) {}
        tell.send(()).unwrap();
    });
    (origin, told)
}

/// Ends a connection at once, with a reset instead of an end.
fn reset(client: Peer) {
    SockRef::from(client.socket()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
}

fn settled(proxy: &Proxy, left: u64) {
    proxy.until_metric("pulsegate_requests_total", LEFT, left);
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
    proxy.until_metric("pulsegate_upstream_connections", &["state=\"active\""], 0);
    assert_eq!(proxy.metric("pulsegate_upstream_connections", &["state=\"idle\""]), 0, "a half-used connection is not kept");
}

#[test]
fn a_curl_that_is_killed_in_the_middle_of_an_upload() {
    let (origin, told) = reading();
    let proxy = Proxy::before(&origin);
    let mut curl = Beside::start(&["--header", "Expect:", "--upload-file", "-", &proxy.url("/")]);
    let mut input = curl.0.stdin.take().unwrap();
    input.write_all(&vec![b'x'; 1 << 20]).unwrap();
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 1);
    drop(curl);
    let ended = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(ended, Err(Fault::Broken(_))), "the endpoint took it for whole: {ended:?}");
    settled(&proxy, 1);
}

#[test]
fn a_curl_that_is_killed_in_the_middle_of_a_download() {
    let (origin, told) = endless();
    let proxy = Proxy::before(&origin);
    let mut curl = Beside::start(&["--no-buffer", &proxy.url("/")]);
    let mut some = vec![0; 1 << 20];
    curl.0.stdout.take().unwrap().read_exact(&mut some).unwrap();
    drop(curl);
    told.recv_timeout(PATIENCE).unwrap();
    settled(&proxy, 1);
}

#[test]
fn clients_that_end_or_reset_their_connection_at_any_point() {
    let (origin, told) = reading();
    let (source, stopped) = endless();
    let proxy = Proxy::start(&two_routes(origin.address, source.address));
    let leave: [fn(Peer); 2] = [drop, reset];
    let uploads = ["Content-Length: 1000000\r\n\r\nsome", "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"];
    for go in leave {
        for upload in uploads {
            let mut client = proxy.connect();
            client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\n{upload}"));
            proxy.until_metric("pulsegate_upstream_requests_active", &[], 1);
            go(client);
            let ended = told.recv_timeout(PATIENCE).unwrap();
            assert!(matches!(ended, Err(Fault::Broken(_) | Fault::Closed)), "{ended:?}");
            proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
        }
        let mut client = proxy.connect();
        client.send("GET /down HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().unwrap().status(), 200);
        go(client);
        stopped.recv_timeout(PATIENCE).unwrap();
    }
    settled(&proxy, 6);
}

fn two_routes(up: SocketAddr, down: SocketAddr) -> String {
    format!(
        "workers: 1
listeners:
  - name: web
    address: 127.0.0.1:0
    routes: [{{ match: {{ path: /up }}, cluster: up }}, {{ cluster: down }}]
clusters:
  - {{ name: up, endpoints: [\"{up}\"], health: off }}
  - {{ name: down, endpoints: [\"{down}\"], health: off }}
"
    )
}

#[test]
fn a_client_that_goes_while_the_endpoint_thinks() {
    let (tell, told) = sync_channel(8);
    let origin = Origin::serving(move |mut peer| {
        drop(peer.request());
        tell.send(peer.at_end()).unwrap();
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 1);
    client.socket().shutdown(Shutdown::Both).unwrap();
    assert!(told.recv_timeout(PATIENCE).unwrap(), "the endpoint's connection is closed, so that it can stop");
    settled(&proxy, 1);
}

//! Large bodies: every byte arrives, and none of them is kept.

use std::io::{BufRead, Read, Write};
use std::sync::mpsc::sync_channel;

use crate::curl::{Beside, command};
use crate::origin::{Origin, ok};
use crate::pattern::Pattern;
use crate::program::Proxy;
use crate::wire::{PATIENCE, Peer};

const GIB: u64 = 1 << 30;
/// MiB of memory that the proxy may take at most, whatever passes through it.
const MEMORY: u64 = 50;

#[test]
fn a_gibibyte_passes_each_way_unchanged_in_little_memory() {
    let (report, reports) = sync_channel(1);
    let origin = Origin::serving(move |mut peer| {
        while let Ok(request) = peer.head() {
            match request.method() {
                "GET" => give(&mut peer),
                _ => report.send(take(&mut peer)).unwrap(),
            }
        }
    });
    let proxy = Proxy::before(&origin);
    download(&proxy);
    let after_download = proxy.peak_memory();
    upload(&proxy);
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), Ok(GIB), "what the endpoint got");
    let after_upload = proxy.peak_memory();
    assert!(after_upload < MEMORY, "{after_download} MiB after the download, {after_upload} after the upload");
    proxy.until_metric("pulsegate_requests_total", &["code=\"200\""], 2);
}

/// What a client has left behind is on its way somewhere between the two sockets, and must not reach anybody else.
#[test]
fn what_a_client_leaves_behind_is_nobodys() {
    const LENGTH: u64 = 2 << 20;
    let origin = Origin::serving(move |mut peer| {
        while let Ok(request) = peer.head() {
            let whole = request.target() == "/whole";
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
            let body = if whole { pattern(LENGTH) } else { vec![b'x'; pattern(LENGTH).len()] };
            if !peer.send(body) {
                return;
            }
        }
    });
    let proxy = Proxy::before(&origin);
    for left_after in (0..24).map(|step| step * 50_000) {
        let mut leaving = proxy.connect();
        leaving.send("GET /left HTTP/1.1\r\nHost: a\r\n\r\n");
        leaving.reader().read_exact(&mut vec![0; left_after]).unwrap();
        drop(leaving);
        let whole = command(&["--fail", &proxy.url("/whole")]).output().unwrap();
        assert!(whole.stdout == pattern(LENGTH), "after one that left after {left_after} bytes");
    }
}

/// All that has come is passed on, and no more, and the client can tell that it was not all.
#[test]
fn a_long_answer_that_breaks_off_is_seen_to() {
    let origin = Origin::serving(move |mut peer| {
        drop(peer.head());
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
        peer.send(pattern(3 << 20));
    });
    let proxy = Proxy::before(&origin);
    let part = command(&["--fail", &proxy.url("/")]).output().unwrap();
    assert!(part.stdout == pattern(3 << 20), "{} bytes", part.stdout.len());
    assert_eq!(part.status.code(), Some(18), "curl's code for a part of a file");
    proxy.until_metric("pulsegate_requests_total", &["code=\"200\""], 1);
}

fn pattern(length: u64) -> Vec<u8> {
    let mut pattern = Pattern::new();
    let mut bytes = Vec::new();
    while pattern.position() < length {
        let next = pattern.next();
        let next = &next[..next.len().min(usize::try_from(length - pattern.position()).unwrap())];
        bytes.extend_from_slice(next);
        pattern.advance(next.len());
    }
    bytes
}

fn download(proxy: &Proxy) {
    let mut curl = Beside::start(&["--fail", &proxy.url("/")]);
    let mut body = curl.0.stdout.take().unwrap();
    let (mut pattern, mut piece) = (Pattern::new(), vec![0; 1 << 16]);
    while let Ok(length @ 1..) = body.read(&mut piece) {
        assert!(pattern.continues(&piece[..length]), "after {} bytes", pattern.position());
    }
    assert!(curl.0.wait().unwrap().success());
    assert_eq!(pattern.position(), GIB);
}

/// From a pipe, so that nobody knows the length: it goes chunked, all the way.
fn upload(proxy: &Proxy) {
    let mut curl = Beside::start(&["--fail", "--upload-file", "-", &proxy.url("/")]);
    let mut body = curl.0.stdin.take().unwrap();
    let mut pattern = Pattern::new();
    while pattern.position() < GIB {
        let length = pattern.next().len();
        body.write_all(pattern.next()).unwrap();
        pattern.advance(length);
    }
    drop(body);
    let mut said = String::new();
    curl.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(curl.0.wait().unwrap().success());
    assert_eq!(said, GIB.to_string(), "what the endpoint answered");
}

/// Sends the stream with its length.
fn give(peer: &mut Peer) {
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
    let mut pattern = Pattern::new();
    while pattern.position() < GIB {
        let length = pattern.next().len();
        if !peer.send(pattern.next()) {
            return;
        }
        pattern.advance(length);
    }
}

/// Reads chunks as long as they continue the stream, and answers with their total length.
fn take(peer: &mut Peer) -> Result<u64, String> {
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    let mut pattern = Pattern::new();
    loop {
        let line = peer.line().map_err(|fault| format!("{fault:?}"))?;
        let size = u64::from_str_radix(&line, 16).map_err(|error| format!("{line:?}: {error}"))?;
        compare(peer, size, &mut pattern)?;
        if peer.line() != Ok(String::new()) {
            return Err("a chunk has no end".to_owned());
        }
        if size == 0 {
            peer.send(ok(&pattern.position().to_string()));
            return Ok(pattern.position());
        }
    }
}

fn compare(peer: &mut Peer, mut left: u64, pattern: &mut Pattern) -> Result<(), String> {
    while left > 0 {
        let waiting = peer.reader().fill_buf().map_err(|error| error.to_string())?;
        let length = waiting.len().min(usize::try_from(left).unwrap());
        if length == 0 || !pattern.continues(&waiting[..length]) {
            return Err(format!("wrong or at its end after {} bytes", pattern.position()));
        }
        peer.reader().consume(length);
        left -= u64::try_from(length).unwrap();
    }
    Ok(())
}

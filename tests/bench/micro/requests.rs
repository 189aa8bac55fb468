//! What a request costs beside its bytes: its route, its headers, its pick, and the counts when it is done.

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pulsegate::balance::Cursor;
use pulsegate::traffic::added::Client;
use pulsegate::traffic::forward;
use pulsegate::traffic::policy::{HostPattern, Match};
use pulsegate::traffic::route::{RouteTable, Target};

use crate::{SIZES, Scene, at};

/// A browser's request, more or less.
const LINES: [(&str, &str); 9] = [
    ("host", "shop.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "keep-alive"),
    ("cookie", "session=5f8d0d55b54764421b7156c9; theme=dark"),
    ("cache-control", "no-cache"),
    ("x-requested-with", "fetch"),
];

#[divan::bench(args = SIZES)]
fn pick_and_settle(bencher: Bencher<'_, '_>, size: usize) {
    let scene = Scene::new(size, false);
    let snapshot = scene.live.snapshot().load_full();
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(1));
    let mut millis = 0;
    bencher.bench_local(|| {
        let loads = |candidate: usize| snapshot.endpoint(snapshot.members[candidate]).in_flight();
        let picked = snapshot.picker.pick(&mut cursor, &mut rng, &loads, None, &[]).expect("all are well");
        let endpoint = snapshot.endpoint(snapshot.members[picked]);
        assert!(endpoint.enter_below(None));
        millis += 1;
        endpoint.cells(0).answered(200, at(millis), at(millis) + Duration::from_micros(250));
        endpoint.leave();
    });
}

/// Routes by host and by prefix; the one that is wanted is the last of its kind.
fn routed(bencher: Bencher<'_, '_>, size: usize, host: &str, path: &str) {
    let of = |number: usize| {
        let hosts = vec![HostPattern::Exact(format!("s{number}.example.com").into())];
        let path_prefixes = vec![format!("/team{}/service{number}", number % 7).into()];
        if number.is_multiple_of(2) { Match { hosts, ..Match::default() } } else { Match { path_prefixes, ..Match::default() } }
    };
    let table = RouteTable::new((0..size).map(of).collect());
    let headers = HeaderMap::new();
    let target = Target { host, path, method: &Method::GET, headers: &headers };
    assert!(table.find(target).is_some());
    bencher.bench_local(|| table.find(black_box(target)));
}

#[divan::bench(args = [10, 10_000])]
fn route_by_host(bencher: Bencher<'_, '_>, size: usize) {
    routed(bencher, size, &format!("s{}.example.com", size - 2), "/orders/4711/items?page=3");
}

#[divan::bench(args = [10, 10_000])]
fn route_by_prefix(bencher: Bencher<'_, '_>, size: usize) {
    let number = size - 1;
    routed(bencher, size, "shop.example.com", &format!("/team{}/service{number}/orders/4711", number % 7));
}

#[divan::bench]
fn rewrite_the_headers(bencher: Bencher<'_, '_>) {
    let mut headers = HeaderMap::new();
    for (name, value) in LINES {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let client = Client::new(Some([192, 0, 2, 1].into()), false, false, None);
    let host = HeaderValue::from_static("shop.example.com");
    let mut rng = fastrand::Rng::with_seed(1);
    let mut out = Vec::new();
    bencher.with_inputs(|| headers.clone()).bench_local_refs(|headers| {
        let added = forward::request(headers, &client, Some(&host), Version::HTTP_11, &mut rng);
        out.clear();
        if let Some(added) = added {
            added.write(&client, &mut out);
        }
    });
}

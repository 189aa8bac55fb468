//! The access log: a line for every exchange, which nobody waits for, and a file that others may rename.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::Value;

use crate::support::misbehaving::{Misbehaving, Misbehaviour};
use crate::support::{Client, Folder, Kind, Load, PATIENCE, Proxy, Service, alone, ask, get, one_listener, until};

/// Requests that are sent at once.
const PIPELINED: usize = 500;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_exchange_has_its_line() {
    let service = Service::start(Kind::Nginx);
    let broken = Misbehaving::start(Misbehaviour::ClosesWithoutAnswer);
    let config = format!(
        "admin: {{ address: ADMIN }}
workers: 2
access_log: {{ path: access.log }}
listeners:
  - name: web
    address: LISTENER
    routes:
      - {{ name: broken, match: {{ path: /broken }}, cluster: broken, retries: off }}
      - {{ name: all, match: {{ host: shop }}, cluster: app }}
clusters:
  - {{ name: app, endpoints: [{}] }}
  - {{ name: broken, endpoints: [{}] }}
",
        service.name(),
        broken.name()
    );
    let proxy = Proxy::start(&config);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let send = |target: &str, host: &str, more: &str| {
        ask(proxy.address(), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).unwrap()
    };
    assert_eq!(send("/?q=1", "shop", &format!("X-Request-Id: r-1\r\ntraceparent: {trace}\r\nUser-Agent: t\"x\r\n")).status, 200);
    assert_eq!(send("/broken", "shop", "").status, 502);
    assert_eq!(send("/", "nobody", "").status, 404);
    let written = || std::fs::read_to_string(proxy.file("access.log")).unwrap_or_default();
    until(PATIENCE, "three lines are written", || (written().lines().count() == 3).then_some(()));
    let all = lines(&written());
    let by_status = |status: u16| all.iter().find(|line| line["status"] == status).unwrap();
    let well = by_status(200);
    for (key, wanted) in [
        ("client", "127.0.0.1".into()),
        ("listener", "web".into()),
        ("route", "all".into()),
        ("cluster", "app".into()),
        ("endpoint", service.name().into()),
        ("method", "GET".into()),
        ("target", "/?q=1".into()),
        ("protocol", "HTTP/1.1".into()),
        ("host", "shop".into()),
        ("bytes", service.says().len().into()),
        ("attempts", 1.into()),
        ("request_id", "r-1".into()),
        ("traceparent", trace.into()),
        ("user_agent", "t\"x".into()),
        ("error", Value::Null),
    ] {
        assert_eq!(well[key], wanted, "{key}: {well}");
    }
    assert!(well["duration_seconds"].as_f64().unwrap() > 0.0 && well["time"].as_str().unwrap().ends_with('Z'), "{well}");
    let failed = by_status(502);
    assert_eq!((&failed["error"], &failed["route"]), (&"connection_terminated".into(), &"broken".into()), "{failed}");
    assert_eq!(failed["request_id"].as_str().unwrap().len(), 32, "made anew: {failed}");
    let lost = by_status(404);
    assert_eq!((&lost["error"], &lost["cluster"]), (&"destination_not_found".into(), &Value::Null), "{lost}");

    proxy.rewrite(&config.replace("access.log }", "other.log, format: combined }"));
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(send("/", "shop", "").status, 200);
    let other = || std::fs::read_to_string(proxy.file("other.log")).unwrap_or_default();
    until(PATIENCE, "a line is written elsewhere", || other().ends_with('\n').then_some(()));
    assert!(other().starts_with("127.0.0.1 - - [") && other().contains("] \"GET / HTTP/1.1\" 200 "), "{}", other());
    proxy.rewrite(&config.replace("access.log", "no/such/folder/access.log"));
    assert_eq!(proxy.reload().status, 422);
}

#[test]
fn a_renamed_file_is_made_anew_and_no_line_is_lost() {
    let _alone = alone();
    let service = Service::start(Kind::Nginx);
    let cluster = format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", service.name());
    let proxy = Proxy::start(&one_listener(&format!("access_log: {{ path: access.log }}\n{cluster}")));
    let load = Load::start(proxy.address(), "/", 500, 8);
    let rename = |to: &str| std::fs::rename(proxy.file("access.log"), proxy.file(to)).unwrap();
    let is_back = || std::fs::metadata(proxy.file("access.log")).is_ok_and(|file| file.len() > 0);
    load.go_on(100);
    rename("one.log");
    proxy.signal("HUP");
    until(PATIENCE, "it is opened anew", || is_back().then_some(()));
    load.go_on(100);
    rename("two.log");
    until(PATIENCE, "it is opened anew without a word", || is_back().then_some(()));
    let tally = load.end(true);
    tally.assert_all_answered(200);
    let count = || {
        ["one.log", "two.log", "access.log"]
            .map(|file| std::fs::read_to_string(proxy.file(file)).unwrap_or_default().lines().count() as u64)
    };
    until(PATIENCE, "every line is written", || (count().iter().sum::<u64>() == tally.answered).then_some(()));
    assert_eq!(proxy.page().one("access_log_dropped_total", &[]), 0);
}

/// A reader that stops reading stops no request: what finds no room is dropped and counted, and lines go on when it reads again.
#[test]
fn a_log_that_nobody_takes_costs_lines_and_no_request() {
    let folder = Folder::new();
    let pipe = folder.file("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for both, so that neither side waits for the other.
    let reader = BufReader::new(OpenOptions::new().read(true).write(true).open(&pipe).unwrap());
    let proxy = Proxy::start(&format!(
        "admin: {{ address: ADMIN }}
workers: 1
access_log: {{ path: '{pipe}' }}
listeners: [{{ name: web, address: LISTENER, routes: [{{ match: {{ path: /none }}, redirect: https }}] }}]
"
    ));
    let dropped = || proxy.page().one("access_log_dropped_total", &[]);
    let mut client = Client::connect(proxy.address()).unwrap();
    let mut requests = 0;
    while dropped() == 0 {
        client.send(&"GET /lost HTTP/1.1\r\nHost: shop\r\n\r\n".repeat(PIPELINED)).unwrap();
        for _ in 0..PIPELINED {
            assert_eq!(client.answer().unwrap().status, 404);
        }
        requests += PIPELINED;
        assert!(requests < 100_000, "the queue has no end");
    }
    // Whoever reads again makes room for what comes then.
    let found = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&found);
    std::thread::spawn(move || {
        let mut lines = reader.lines().map_while(Result::ok);
        told.store(lines.any(|line| line.contains("/found")), SeqCst);
    });
    until(PATIENCE, "a line comes through again", || {
        assert_eq!(get(proxy.address(), "/found").unwrap().status, 404);
        found.load(SeqCst).then_some(())
    });
}

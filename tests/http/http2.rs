//! Other people's HTTP/2 clients: curl, h2load, Python's httpx, Node's http2; over TLS and in the clear.

use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::curl::curl;
use crate::origin::{Origin, ok};
use crate::program::Proxy;

/// Many requests at once over one connection, each compared with what was asked; a large upload and download; HEAD.
const PYTHON: &str = r#"
import asyncio, httpx, sys
base, ca = sys.argv[1], sys.argv[2]
async def main():
    async with httpx.AsyncClient(http1=False, http2=True, verify=ca or False, timeout=20) as c:
        async def one(i):
            kind = i % 3
            if kind == 0:
                r = await c.get(f"{base}/echo/{i}")
            elif kind == 1:
                r = await c.post(f"{base}/echo/{i}", content=b"p%d" % i)
            else:
                r = await c.head(f"{base}/echo/{i}")
            assert r.status_code == 200 and r.http_version == "HTTP/2", (i, r.status_code, r.http_version)
            assert r.headers["x-target"] == f"/echo/{i}", (i, r.headers)
            assert (r.text == "") == (kind == 2), (i, r.text)
            if kind == 1:
                assert r.text.endswith("p%d" % i), (i, r.text)
        await asyncio.gather(*[one(i) for i in range(200)])
        large = b"x" * 3_000_000
        r = await c.post(f"{base}/length", content=large)
        assert r.text == "3000000", r.text
        r = await c.get(f"{base}/large")
        assert len(r.content) == 3_000_000
asyncio.run(main())
print("well")
"#;

/// The same in Node, with trailers, and requests that are taken back.
const NODE: &str = r#"
const http2 = require('http2');
const fs = require('fs');
const [base, ca] = [process.argv[1], process.argv[2]];
const client = http2.connect(base, ca ? { ca: fs.readFileSync(ca) } : {});
client.on('error', e => { console.error(e); process.exit(1); });
function one(i, cancel) {
  return new Promise((resolve, reject) => {
    const r = client.request({ ':path': `/echo/${i}`, ':method': i % 2 ? 'POST' : 'GET' });
    let head, body = '', trailers;
    r.on('response', h => head = h);
    r.on('trailers', t => trailers = t);
    r.on('data', d => body += d);
    r.on('error', reject);
    r.on('close', () => {
      if (cancel) return resolve();
      if (!head || head[':status'] !== 200 || head['x-target'] !== `/echo/${i}`) return reject(new Error(`${i} ${JSON.stringify(head)}`));
      if (i % 2 && !body.endsWith(`p${i}`)) return reject(new Error(`${i} ${body}`));
      if (i % 4 === 0 && (!trailers || trailers['x-sum'] !== `${i}`)) return reject(new Error(`${i}: no trailers`));
      resolve();
    });
    r.end(i % 2 ? `p${i}` : undefined);
    if (cancel) r.close(http2.constants.NGHTTP2_CANCEL);
  });
}
(async () => {
  await Promise.all([...Array(200).keys()].map(i => one(i, false)));
  await Promise.all([...Array(50).keys()].map(i => one(i, true)));
  await Promise.all([...Array(50).keys()].map(i => one(i, false)));
  client.close();
  console.log('well');
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
"#;

/// An endpoint that names the target it saw; every fourth answer is chunked and has a trailer.
fn endpoint() -> Origin {
    Origin::answering(|request| {
        let target = request.target();
        let body = format!("{}\n{}", request.first, request.body);
        let number = target.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
        match (target, number) {
            ("/length", _) => ok(&request.body.len().to_string()),
            ("/large", _) => ok(&"y".repeat(3_000_000)),
            (_, Some(number)) if number % 4 == 0 && request.method() != "HEAD" => format!(
                "HTTP/1.1 200 OK\r\nX-Target: {target}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: {number}\r\n\r\n",
                body.len()
            ),
            _ => {
                let shown = if request.method() == "HEAD" { "" } else { &body };
                format!("HTTP/1.1 200 OK\r\nX-Target: {target}\r\nContent-Length: {}\r\n\r\n{shown}", body.len())
            }
        }
    })
}

/// A proxy with one listener in the clear, `web`, and one with TLS, `safe`.
fn proxy(origin: &Origin, certificates: &Certificates) -> Proxy {
    certificates.sign("site", "site", &["127.0.0.1"]);
    Proxy::start(&format!(
        "workers: 2
listeners:
  - {{ name: web, address: 127.0.0.1:0, limits: {{ streams: 300 }}, cluster: app }}
  - {{ name: safe, address: 127.0.0.1:0, tls: {{ cert: {}, key: {} }}, limits: {{ streams: 300 }}, cluster: app }}
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
        certificates.file("site.crt"),
        certificates.file("site.key"),
        origin.address
    ))
}

/// Runs a client until it says that all is well.
fn run(program: &str, arguments: &[&str], proxy: &Proxy) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}\n{}", proxy.said());
    said
}

#[test]
fn clients_of_every_make_get_what_they_ask_for() {
    let (origin, certificates) = (endpoint(), Certificates::new());
    let proxy = proxy(&origin, &certificates);
    let ca = certificates.file("ca.crt");
    let safe = format!("https://{}", proxy.listener("safe"));
    let clear = proxy.url("");
    assert_eq!(run("/usr/bin/python3", &["-c", PYTHON, &safe, &ca], &proxy).trim(), "well");
    for (base, ca) in [(&clear, ""), (&safe, &*ca)] {
        assert_eq!(run("node", &["-e", NODE, "--", base, ca], &proxy).trim(), "well");
        let said = run("h2load", &["-n", "500", "-c", "4", "-m", "20", &format!("{base}/echo/1")], &proxy);
        assert!(said.contains("500 succeeded, 0 failed, 0 errored"), "{said}");
        let how = if ca.is_empty() { "--http2-prior-knowledge" } else { "--http2" };
        let ask = |more: &[&str]| curl(&[&["--cacert", &*certificates.file("ca.crt"), how], more].concat());
        let got = ask(&[&format!("{base}/echo/4"), "--data", "some=body"]);
        assert!(got.head().first.starts_with("HTTP/2 200") && got.body.ends_with("some=body"), "{got:?}");
        let got = ask(&[&format!("{base}/echo/5"), "--head"]);
        assert_eq!((got.exit, got.head().header("content-length")), (0, Some("22")), "{got:?}");
        // Answers of our own to HEAD have no body either.
        let got = ask(&[&format!("{base}/../b"), "--path-as-is", "--head"]);
        assert_eq!((got.exit, got.status()), (0, 400), "{got:?}");
    }
    proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"flood\""], 0);
}

#[test]
fn a_drain_tells_http2_clients_and_finishes_what_they_have() {
    let (begun, is_begun) = std::sync::mpsc::sync_channel(0);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let released = std::sync::Mutex::new(released);
    let origin = Origin::answering(move |_| {
        begun.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        ok("late")
    });
    let proxy = Proxy::before(&origin);
    let url = proxy.url("/");
    let client = std::thread::spawn(move || curl(&["--http2-prior-knowledge", &url]));
    is_begun.recv().unwrap();
    proxy.drain();
    // Nobody new is let in by now, which says that the drain has begun.
    while std::net::TcpStream::connect(proxy.address()).is_ok() {}
    release.send(()).unwrap();
    let got = client.join().unwrap();
    assert_eq!((got.exit, got.status(), &*got.body), (0, 200, "late"), "{got:?}");
}

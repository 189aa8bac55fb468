//! Clients of every make over every way in: HTTP/1.1 and HTTP/2, over TLS and over TLS with a certificate of the client's own.
//!
//! What each of them does with a connection once it is there stands in `clients` and `http2`.

use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::curl::curl;
use crate::origin::{Origin, seen};
use crate::program::Proxy;

/// Python's httpx over both protocols: some requests at once, then one without the certificate.
const PYTHON: &str = r#"
import asyncio, httpx, ssl, sys
safe, mutual, ca, crt, key = sys.argv[1:]
def trust(own):
    context = ssl.create_default_context(cafile=ca)
    if own:
        context.load_cert_chain(crt, key)
    return context
async def main():
    for http2 in (False, True):
        def client(own):
            return httpx.AsyncClient(http1=not http2, http2=http2, verify=trust(own), timeout=20)
        for base, own in ((safe, False), (mutual, True)):
            async with client(own) as c:
                async def one(i):
                    r = await c.post(f"{base}/echo/{i}", content=b"p%d" % i)
                    assert r.status_code == 200 and r.http_version == ("HTTP/2" if http2 else "HTTP/1.1"), r
                    assert r.text.startswith(f"POST /echo/{i} ") and f"\n\np{i}\n" in r.text, r.text
                    assert ("x-client-cert-subject: CN=client\n" in r.text) == own, r.text
                await asyncio.gather(*[one(i) for i in range(20)])
        async with client(False) as c:
            try:
                r = await c.get(mutual)
            except (httpx.TransportError, ssl.SSLError):
                continue
            raise AssertionError(r)
asyncio.run(main())
print("well")
"#;

/// The same with Node's own modules.
const NODE: &str = r#"
const https = require('https'), http2 = require('http2'), fs = require('fs');
const [safe, mutual, ca, crt, key] = process.argv.slice(1);
const trust = own => Object.assign({ ca: fs.readFileSync(ca) }, own ? { cert: fs.readFileSync(crt), key: fs.readFileSync(key) } : {});
function check(i, own, body) {
  if (!body.startsWith(`POST /echo/${i} `) || !body.includes(`\n\np${i}\n`)) throw new Error(body);
  if (body.includes('x-client-cert-subject: CN=client\n') !== own) throw new Error(body);
}
function read(stream, then, reject) {
  let body = '';
  stream.setEncoding('utf8').on('data', d => body += d).on('end', () => then(body)).on('error', reject);
}
function overHttp1(base, own) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 4, ...trust(own) });
  const one = i => new Promise((resolve, reject) => {
    const req = https.request(`${base}/echo/${i}`, { agent, method: 'POST' }, res => {
      if (res.statusCode !== 200 || res.httpVersion !== '1.1') return reject(new Error(`${res.statusCode}`));
      read(res, resolve, reject);
    });
    req.on('error', reject).end(`p${i}`);
  }).then(body => check(i, own, body));
  return Promise.all([...Array(20).keys()].map(one)).finally(() => agent.destroy());
}
function overHttp2(base, own) {
  const client = http2.connect(base, trust(own));
  const lost = new Promise((_, reject) => client.on('error', reject));
  const one = i => new Promise((resolve, reject) => {
    const req = client.request({ ':path': `/echo/${i}`, ':method': 'POST' });
    req.on('response', head => { if (head[':status'] !== 200) reject(new Error(`${head[':status']}`)); });
    read(req, resolve, reject);
    req.end(`p${i}`);
  }).then(body => check(i, own, body));
  return Promise.race([lost, Promise.all([...Array(20).keys()].map(one))]).finally(() => client.destroy());
}
(async () => {
  for (const over of [overHttp1, overHttp2]) {
    await over(safe, false);
    await over(mutual, true);
    const refused = await over(mutual, false).then(() => false, () => true);
    if (!refused) throw new Error('let in without a certificate');
  }
  console.log('well');
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
"#;

/// Runs a client and gives what it says.
fn said(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn clients_of_every_make_come_in_by_tls_and_with_certificates_of_their_own() {
    let (origin, certificates) = (Origin::echo(), Certificates::new());
    certificates.sign("site", "site", &["127.0.0.1"]);
    certificates.sign("client", "client", &[]);
    let file = |name: &str| certificates.file(name);
    let [ca, crt, key] = ["ca.crt", "client.crt", "client.key"].map(file);
    let tls = format!("cert: {}, key: {}", file("site.crt"), file("site.key"));
    let proxy = Proxy::start(&format!(
        "workers: 2
listeners:
  - {{ name: web, address: 127.0.0.1:0, cluster: app }}
  - {{ name: safe, address: 127.0.0.1:0, tls: {{ {tls} }}, cluster: app }}
  - {{ name: mutual, address: 127.0.0.1:0, tls: {{ {tls}, client_ca: {ca}, client_auth: required }}, cluster: app }}
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
        origin.address
    ));
    let [safe, mutual] = ["safe", "mutual"].map(|name| format!("https://{}", proxy.listener(name)));
    let arguments = [&*safe, &*mutual, &*ca, &*crt, &*key];
    let python = said("/usr/bin/python3", &[&["-c", PYTHON], &arguments[..]].concat());
    assert_eq!(python.trim(), "well", "{}", proxy.said());
    let node = said("node", &[&["-e", NODE, "--"], &arguments[..]].concat());
    assert_eq!(node.trim(), "well", "{}", proxy.said());

    for (protocol, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
        let own = ["--cert", &*crt, "--key", &*key];
        for (base, own, subject) in [(&safe, &own[..0], None), (&mutual, &own[..], Some("CN=client"))] {
            let got = curl(&[&[protocol, "--cacert", &*ca, base, "--data", "some=body"], own].concat());
            assert!(got.head().first.starts_with(version), "{got:?}");
            assert_eq!((got.status(), seen(&got.body, "x-client-cert-subject")), (200, subject), "{got:?}");
        }
    }
    for (base, more) in [(&proxy.url(""), &["--h1"][..]), (&safe, &["--h1"]), (&safe, &[])] {
        let said = said("h2load", &[&["-n", "200", "-c", "4", &format!("{base}/echo")], more].concat());
        assert!(said.contains("200 succeeded, 0 failed, 0 errored"), "{more:?} {said}");
    }
    // h2load has no certificate of its own; its sister has.
    let nghttp = said("nghttp", &["--cert", &crt, "--key", &key, &format!("{mutual}/echo")]);
    assert!(nghttp.contains("x-client-cert-subject: CN=client"), "{nghttp}");
}

//! Other people's programs on both sides: nginx as an endpoint, Python's http.client and Node's agent as clients.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::curl::curl;
use crate::origin::Origin;
use crate::program::Proxy;

/// Requests of each client, over one connection.
const REQUESTS: usize = 200;
/// Between two looks at whether nginx listens.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A client in Python: one connection, requests with and without bodies, every answer compared with what was asked.
const PYTHON: &str = r#"
import http.client, sys
host, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
c = http.client.HTTPConnection(host, port, timeout=20)
c.connect()
first = c.sock.getsockname()
for i in range(n):
    kind = i % 5
    if kind == 0:
        c.request("GET", f"/echo/{i}")
    elif kind == 1:
        c.request("POST", f"/echo/{i}", body=b"p%d" % i)
    elif kind == 2:
        c.request("PUT", f"/echo/{i}", body=iter([b"p", b"%d" % i]), encode_chunked=True)
    elif kind == 3:
        c.request("HEAD", f"/echo/{i}")
    else:
        c.request("DELETE", f"/echo/{i}")
    r = c.getresponse()
    body = r.read()
    assert r.status == 200, (i, r.status, body)
    assert r.headers["x-target"] == f"/echo/{i}", (i, dict(r.headers))
    if kind == 3:
        assert body == b"", (i, body)
    else:
        assert body.decode().split("\n")[0].split(" ")[1] == f"/echo/{i}", (i, body)
    if kind in (1, 2):
        assert body.endswith(b"p%d" % i), (i, body)
    assert c.sock is not None and c.sock.getsockname() == first, f"a new connection at {i}"
print("well")
"#;

/// A client in Node: an agent that keeps one socket, and the same comparison.
const NODE: &str = r#"
const http = require('http');
const [host, port, n] = [process.argv[1], +process.argv[2], +process.argv[3]];
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ports = new Set();
function one(i) {
  return new Promise((resolve, reject) => {
    const method = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE'][i % 5];
    const headers = method === 'POST' ? { 'Content-Length': `p${i}`.length } : {};
    const req = http.request({ host, port, agent, method, path: `/echo/${i}`, headers, timeout: 20000 }, res => {
      let body = '';
      res.setEncoding('utf8');
      res.on('data', d => body += d);
      res.on('end', () => {
        ports.add(req.socket ? req.socket.localPort : res.socket.localPort);
        if (res.statusCode !== 200 || res.headers['x-target'] !== `/echo/${i}` || !res.complete)
          return reject(new Error(`${i}: ${res.statusCode} ${JSON.stringify(res.headers)} ${body}`));
        if (method === 'HEAD' ? body !== '' : !body.startsWith(`${method} /echo/${i} `))
          return reject(new Error(`${i}: ${body}`));
        if ((method === 'POST' || method === 'PUT') && !body.endsWith(`p${i}`))
          return reject(new Error(`${i}: ${body}`));
        resolve();
      });
      res.on('aborted', () => reject(new Error(`${i}: aborted`)));
    });
    req.on('error', reject);
    if (method === 'PUT') { req.write('p'); req.write(`${i}`); }
    req.end(method === 'POST' ? `p${i}` : undefined);
  });
}
(async () => {
  for (let i = 0; i < n; i++) await one(i);
  ports.delete(undefined);
  if (ports.size > 1) throw new Error(`${ports.size} connections`);
  console.log('well');
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
"#;

/// Runs a client and fails with what it says unless all is well.
fn run(program: &str, arguments: &[&str], proxy: &Proxy) {
    let (host, port) = (proxy.address().ip().to_string(), proxy.address().port().to_string());
    let mut command = Command::new(program);
    command.args(arguments).args([&host, &port, &REQUESTS.to_string()]).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim() == "well", "{program}: {said}\n{}", proxy.said());
}

/// An endpoint that names the target it saw, and changes its framing from answer to answer.
fn changing() -> Origin {
    Origin::answering(|request| {
        let to_head = request.method() == "HEAD";
        let body = format!("{}\n{}", request.first, request.body);
        let number = request.target().rsplit('/').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        let target = request.target();
        let (framing, framed) = if to_head || number % 2 == 0 {
            (format!("Content-Length: {}", body.len()), body)
        } else {
            ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
        };
        format!("HTTP/1.1 200 OK\r\nX-Target: {target}\r\n{framing}\r\n\r\n{}", if to_head { "" } else { &framed })
    })
}

#[test]
fn python_and_node_keep_one_connection_for_two_hundred_requests() {
    let origin = changing();
    let proxy = Proxy::before(&origin);
    run("python3", &["-c", PYTHON], &proxy);
    run("node", &["-e", NODE, "--"], &proxy);
    assert_eq!(proxy.metric("pulsegate_requests_total", &["code=\"200\""]), 400);
    assert_eq!(origin.connections(), 1, "and neither does the endpoint see more");
}

/// A running nginx in a folder of its own, which echoes as well as nginx can.
struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// nginx cannot be told to take any port that is free, so it is given one that was free a moment ago, and another one if
    /// somebody was faster.
    fn start() -> Self {
        (0..5).find_map(|_| Self::try_start()).expect("nginx listens; tests/run installs it")
    }

    fn try_start() -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{}", address.port()));
        std::fs::create_dir_all(folder.join("files")).unwrap();
        std::fs::write(folder.join("files/large"), "0123456789".repeat(300_000)).unwrap();
        std::fs::write(folder.join("nginx.conf"), configuration(address, &folder)).unwrap();
        let program = ["/usr/sbin/nginx", "/sbin/nginx"].into_iter().find(|path| std::path::Path::new(path).exists());
        let mut command = Command::new(program.unwrap_or("nginx"));
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("nginx: {error}; tests/run installs it"));
        let mut nginx = Self { child, folder, address };
        while nginx.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(address).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        eprintln!("{}", std::fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default());
        None
    }

    /// How many connections and requests it has seen, from its own account.
    fn seen(&self) -> (u64, u64) {
        let got = curl(&[&format!("http://{}/account", self.address)]);
        let line = got.body.lines().nth(2).unwrap_or_default();
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        (numbers[1], numbers[2])
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master process ends by this alone: it has no workers.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn configuration(address: SocketAddr, folder: &std::path::Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 100000; client_max_body_size 100m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {address};
    location /echo/ {{ add_header X-Target $request_uri always; return 200 \"$request_method $request_uri $host\"; }}
    location /large {{ root {folder}/files; }}
    location /account {{ stub_status; }}
    location /missing {{ return 404; }}
    location /moved {{ return 301 /echo/; }}
  }}
}}
"
    )
}

/// Asks the same of the endpoint and of the proxy in front of it: no answer differs by anything but what belongs to the way.
#[test]
fn nginx_says_the_same_directly_and_through_the_proxy() {
    let nginx = Nginx::start();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, cluster: app }}]
clusters: [{{ name: app, endpoints: [\"{}\"], health: off }}]
",
        nginx.address
    ));
    let direct = format!("http://{}", nginx.address);
    let cases: [&[&str]; 9] = [
        &["/echo/1"],
        &["/echo/2", "--head"],
        &["/echo/3", "--data", "some=body"],
        &["/large"],
        &["/large", "--range", "5-14"],
        &["/large", "--head"],
        &["/missing"],
        &["/moved"],
        &["/large", "--header", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"],
    ];
    for case in cases {
        let ask = |base: &str| curl(&[&[&format!("{base}{}", case[0]) as &str, "--header", "Host: shop"], &case[1..]].concat());
        let (plain, proxied) = (ask(&direct), ask(&proxy.url("")));
        let own = |name: &str| matches!(name, "date" | "connection" | "keep-alive");
        let kept = |got: &crate::curl::Got| {
            let mut fields = got.head().fields.clone();
            fields.retain(|(name, _)| !own(name));
            fields.sort();
            fields
        };
        assert_eq!((plain.exit, plain.head().first.as_str()), (proxied.exit, proxied.head().first.as_str()), "{case:?}");
        assert_eq!(kept(&plain), kept(&proxied), "{case:?}");
        // With --head, curl takes the head for the body.
        assert!(case.contains(&"--head") || plain.body == proxied.body, "{case:?}: {} for {}", proxied.body, plain.body);
    }
}

#[test]
fn nginx_sees_few_connections_for_many_requests() {
    let nginx = Nginx::start();
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, cluster: app }}]
clusters: [{{ name: app, endpoints: [\"{}\"], health: off }}]
",
        nginx.address
    ));
    let before = nginx.seen();
    let got = curl(&[&proxy.url("/echo/[1-200]"), "--write-out", "\n"]);
    assert_eq!((got.exit, got.heads.len()), (0, REQUESTS), "{}", got.said);
    for (number, line) in (1..).zip(got.body.lines()) {
        assert!(line.starts_with(&format!("GET /echo/{number} ")), "{line}");
    }
    // Clients side by side, each with its own connection.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let url = proxy.url("/echo/[1-200]");
            std::thread::spawn(move || curl(&[&url]).heads.iter().filter(|head| head.status() == 200).count())
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap() == REQUESTS));
    let (connections, requests) = nginx.seen();
    assert_eq!(requests - before.1, 1001, "five times two hundred, and the second look at the account");
    assert!(connections - before.0 <= 6, "{} connections", connections - before.0);
}

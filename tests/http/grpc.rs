//! gRPC through the proxy: a server and a client of the gRPC project's own, every kind of call, and our own failures.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::origin::Origin;
use crate::program::Proxy;

/// Calls are echoes of bytes, so that nothing has to be compiled; `State` tells how many calls hang, and were cancelled.
const SERVER: &str = r#"
import grpc, threading
from concurrent import futures
state = {"hanging": 0, "cancelled": 0}
def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: 100% ü")
def hang(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    state["hanging"] += 1
    ended.wait(20)
    state["cancelled"] += 1
    return b""
HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
    "Server": grpc.unary_stream_rpc_method_handler(lambda request, context: (b"%d" % i for i in range(int(request)))),
    "Client": grpc.stream_unary_rpc_method_handler(lambda requests, context: b"%d" % sum(len(r) for r in requests)),
    "Bidi": grpc.stream_stream_rpc_method_handler(lambda requests, context: (r[::-1] for r in requests)),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "State": grpc.unary_unary_rpc_method_handler(lambda request, context: repr(sorted(state.items())).encode()),
    "Stop": grpc.unary_unary_rpc_method_handler(lambda request, context: stop() or b""),
}
class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        service, name = details.method.rsplit("/", 1)
        return HANDLERS.get(name) if service == "/test.Test" else None
server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
server.add_generic_rpc_handlers((Handler(),))
try:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    servicer = health.HealthServicer()
    servicer.set("orders.v1", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    stop = lambda: servicer.set("orders.v1", health_pb2.HealthCheckResponse.NOT_SERVING)
except ImportError:
    pass
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import grpc, queue, sys, time
from concurrent import futures
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
def channel(address):
    return grpc.insecure_channel(address, options=OPTIONS)
works, refused, elsewhere, slow = [channel(address) for address in sys.argv[1:5]]
def unary(name, on=works):
    return on.unary_unary("/test.Test/" + name)
def fails(call, code, details):
    try:
        call()
    except grpc.RpcError as e:
        assert e.code() == code and details in e.details(), (e.code(), e.details())
        return e
    raise AssertionError("it did not fail")
for message in (b"", b"hi", bytes(8_000_000)):
    assert unary("Unary")(message, timeout=30) == message
assert [int(x) for x in works.unary_stream("/test.Test/Server")(b"500", timeout=20)] == list(range(500))
assert works.stream_unary("/test.Test/Client")(iter([b"abc"] * 500), timeout=20) == b"1500"
asked = queue.Queue()
answers = works.stream_stream("/test.Test/Bidi")(iter(asked.get, None), timeout=20)
for i in range(50):
    asked.put(b"ab%d" % i)
    assert next(answers) == (b"ab%d" % i)[::-1]
asked.put(None)
assert list(answers) == []
e = fails(lambda: unary("Fail")(b"x", timeout=20), grpc.StatusCode.FAILED_PRECONDITION, "no: 100% ü")
assert ("x-why", "because") in e.trailing_metadata()
fails(lambda: unary("Nope")(b"x", timeout=20), grpc.StatusCode.UNIMPLEMENTED, "")
fails(lambda: unary("Hang")(b"x", timeout=0.3), grpc.StatusCode.DEADLINE_EXCEEDED, "")
call = unary("Hang").future(b"x", timeout=20)
while b"('hanging', 2)" not in unary("State")(b"", timeout=20):
    pass
call.cancel()
while b"('cancelled', 2)" not in unary("State")(b"", timeout=20):
    pass
with futures.ThreadPoolExecutor(16) as pool:
    assert all(x == b"z" for x in pool.map(lambda i: unary("Unary")(b"z", timeout=20), range(300)))
try:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    service = health_pb2_grpc.HealthStub(works)
    asks = lambda name: health_pb2.HealthCheckRequest(service=name)
    kinds = health_pb2.HealthCheckResponse
    assert service.Check(asks("orders.v1"), timeout=20).status == kinds.SERVING
    assert service.Check(asks(""), timeout=20).status == kinds.SERVING
    fails(lambda: service.Check(asks("nobody"), timeout=20), grpc.StatusCode.NOT_FOUND, "")
    watched = service.Watch(asks("orders.v1"), timeout=20)
    assert next(watched).status == kinds.SERVING
    unary("Stop")(b"", timeout=20)
    assert next(watched).status == kinds.NOT_SERVING
    watched.cancel()
except ImportError:
    print("left out, since packages of PyPI are not here; tests/run fetches them", file=sys.stderr)
fails(lambda: unary("Unary", refused)(b"x", timeout=20), grpc.StatusCode.UNAVAILABLE, "refuses connections")
fails(lambda: unary("Unary", elsewhere)(b"x", timeout=20), grpc.StatusCode.UNIMPLEMENTED, "no route")
fails(lambda: unary("Hang", slow)(b"x", timeout=20), grpc.StatusCode.DEADLINE_EXCEEDED, "timeout, 200ms")
print("well")
"#;

/// Python with the grpcio and the health service of PyPI that `tests/run` fetches; without them the one of the system.
fn python() -> Command {
    const FETCHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python3");
    Command::new(if std::fs::exists(FETCHED).unwrap() { FETCHED } else { "/usr/bin/python3" })
}

/// A running server.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut command = python();
        command.args(["-c", SERVER]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("python3: {error}; tests/run installs it"));
        let mut port = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        assert!(!port.is_empty(), "the server does not start; tests/run installs what it needs");
        Self { child, address: format!("127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn every_kind_of_call_works_and_our_own_failures_are_told_in_its_words() {
    let server = Server::start();
    let gone = Origin::serving(drop);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(
        &format!(
            "workers: 1
listeners:
  - {{ name: works, address: 127.0.0.1:0, cluster: grpc }}
  - {{ name: refused, address: 127.0.0.1:0, cluster: refused }}
  - {{ name: elsewhere, address: 127.0.0.1:0, routes: [{{ match: {{ host: other.test }}, cluster: grpc }}] }}
  - {{ name: slow, address: 127.0.0.1:0, protocol: http2, routes: [{{ cluster: grpc, timeout: 200ms }}] }}
clusters:
  - {{ name: grpc, endpoints: [\"{}\"], protocol: http2, health: off }}
  - {{ name: refused, endpoints: [\"{nobody}\", \"{}\"], protocol: http2, health: off }}
",
            server.address, nobody
        )
        .replace(&format!(", \"{nobody}\"]"), "]"),
    );
    let addresses = ["works", "refused", "elsewhere", "slow"].map(|name| proxy.listener(name).to_string());
    let mut command = python();
    command.args(["-c", CLIENT]).args(&addresses).stdin(Stdio::null());
    let output = command.output().unwrap();
    let [said, errors] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(output.status.success() && said.trim() == "well", "{said}{errors}\n{}", proxy.said());
    let connections = proxy.metric("pulsegate_upstream_connects_total", &["cluster=\"grpc\"", "result=\"ok\""]);
    assert!(connections <= 3, "{connections} connections for some 400 calls");
    drop(gone);
}

//! A worker of its own with a world made by hand, and endpoints and clients that speak bytes over real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::balance::{Algorithm, Picker};
use crate::base::address::{EndpointAddress, Site};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::units::Ratio;
use crate::cluster::{
    Affinity, Cluster, Dropped, Endpoint, Listener, Live, Member, Recall, RecallSender, Route, SignalQueue, Snapshot, Target,
    Upstream, World, signals,
};
use crate::config::model;
use crate::proxy::door::{Doors, Leave, Opening};
use crate::proxy::{AccessLog, Setup, Stage, worker};
use crate::runtime::{clock, thread};
use crate::tls::Renewable;
use crate::traffic::limits::{Limit, Limits};
use crate::traffic::policy::{Action, Match, RetryOn, RetryPolicy, Role, RoutePolicy};
use crate::traffic::route::RouteTable;

/// Long enough for anything that should happen; only a failing test waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A running worker.
pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) live: Arc<Live>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) signals: SignalQueue,
    pub(super) recall: RecallSender,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a test may change about the world.
pub(super) struct Settings {
    pub(super) route: RoutePolicy,
    pub(super) listener: model::Listener,
    pub(super) upstream: Upstream,
}

impl Rig {
    pub(super) fn start(endpoints: &[SocketAddr]) -> Self {
        Self::start_with(endpoints, |_| {})
    }

    pub(super) fn start_with(endpoints: &[SocketAddr], change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let live = Arc::new(Live::new());
        let endpoints: Vec<_> = endpoints.iter().zip(0..).map(|(address, id)| endpoint_object(*address, id)).collect();
        live.publish(world(&settings, &endpoints));
        let (reporter, signals) = signals(Arc::new(Dropped::default()));
        let recall = Recall::queue();
        let recalls = recall.subscribe();
        let (stage, stages) = watch::channel(Stage::Serving);
        let socket = crate::net::listen::bind_shared(settings.listener.address.ip().unwrap()).unwrap();
        socket.open().unwrap();
        let address = socket.address().unwrap().ip().unwrap();
        let opening = Opening { id: 1, listener: Arc::clone(&settings.listener.name), socket: Arc::new(socket) };
        let (_doors, orders) = watch::channel(Doors { openings: vec![opening], leave: Leave::default() });
        let setup = Setup {
            index: 0,
            live: Arc::clone(&live),
            reporter,
            recall: recalls,
            access: Arc::new(AccessLog::off()),
            doors: orders,
            stage: stages,
        };
        let thread = thread::spawn("worker-0", move || worker(setup)).unwrap();
        Self { address, live, stage, signals, recall, endpoints, thread: Some(thread) }
    }

    /// A client's connection.
    pub(super) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// One exchange on a connection of its own.
    pub(super) fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect();
        client.send(request);
        client.reply(request.starts_with("HEAD"))
    }

    /// Publishes a snapshot in which these get traffic.
    pub(super) fn publish_with(&self, admitted: &[Arc<Endpoint>], affinity: Arc<Affinity>) {
        let cluster = &self.live.world().load().clusters[0];
        let plain = snapshot(admitted, &self.endpoints, cluster.snapshot().load().upstream);
        cluster.publish(Snapshot { picker: affinity.picker(&plain.members), affinity, ..plain });
    }

    /// Publishes a snapshot with these limits.
    pub(super) fn limit(&self, limits: Limits) {
        let cluster = &self.live.world().load().clusters[0];
        let plain = snapshot(&self.endpoints, &self.endpoints, cluster.snapshot().load().upstream);
        cluster.publish(Snapshot { limits, ..plain });
    }

    /// How many requests a limit has turned away.
    pub(super) fn rejected(&self, limit: Limit) -> u64 {
        self.live.world().load().clusters[0].cells(0).rejected[limit as usize].get()
    }

    /// Waits for the worker to end.
    pub(super) fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    /// The count of exchanges by status, once they are `total`.
    pub(super) fn statuses(&self, total: u64) -> Vec<(u16, u64)> {
        let world = self.live.world().load_full();
        loop {
            let counts: Vec<_> = world.listeners[0].routes[0].targets()[0].cells[0].statuses.counts().collect();
            if counts.iter().map(|(_, n)| n).sum::<u64>() >= total {
                return counts;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Ended);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn settings() -> Settings {
    let route = RoutePolicy {
        role: Role::Any,
        name: "all".into(),
        matches: Match::default(),
        action: Action::to("app"),
        timeout: Some(PATIENCE),
        idle_timeout: Some(PATIENCE),
        upgrade_idle_timeout: Some(PATIENCE),
        strip_prefix: false,
        request_headers: Default::default(),
        response_headers: Default::default(),
        retries: RetryPolicy {
            attempts: 3,
            per_try_timeout: None,
            on: RetryOn { connect: true, reset: true, silence: true },
            statuses: vec![502, 503, 504],
            budget: Ratio::parse("20%").unwrap(),
        },
    };
    let listener = model::Listener {
        name: "web".into(),
        address: Site::parse_listen("127.0.0.1:0").unwrap(),
        socket_mode: 0,
        protocol: model::Protocol::Auto,
        tls: None,
        proxy_protocol: false,
        trusted_proxies: Vec::new(),
        trusts_unix: false,
        health_path: None,
        limits: model::ListenerLimits {
            connections: 100,
            handshakes: 100,
            streams: 100,
            head_bytes: 64 * 1024,
            head_count: 100,
            head_timeout: PATIENCE,
            keepalive_timeout: PATIENCE,
        },
        routes: Vec::new(),
    };
    let upstream = Upstream {
        connect_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(4),
        idle_connections: 8,
        protocol: model::Protocol::Http1,
        proxy_protocol: None,
    };
    Settings { route, listener, upstream }
}

pub(super) fn endpoint_object(address: SocketAddr, id: u32) -> Arc<Endpoint> {
    let address = EndpointAddress::parse(&address.to_string()).unwrap();
    Arc::new(Endpoint::new(EndpointId(id), ClusterId(0), "app".into(), address, clock::now()))
}

fn world(settings: &Settings, endpoints: &[Arc<Endpoint>]) -> World {
    let place = Arc::new(Cluster::new(ClusterId(0), "app".into(), snapshot(endpoints, endpoints, settings.upstream)));
    let forwards = !settings.route.action.shares().is_empty();
    let (name, cluster) = if forwards { ("app".into(), Some(0)) } else { ("".into(), None) };
    let target = Target { name, cluster, cells: Arc::default() };
    let route = Route::new(settings.route.clone(), vec![target]);
    let listener = Listener {
        config: Arc::new(settings.listener.clone()),
        table: RouteTable::new(vec![settings.route.matches.clone()]),
        routes: vec![route],
        cells: Arc::default(),
        connections: Arc::default(),
        handshakes: Arc::default(),
        tls: settings.listener.tls.as_ref().map(|tls| Arc::new(Renewable::new(tls.terms(settings.listener.protocol)).unwrap())),
    };
    World { listeners: vec![listener], clusters: vec![place], ..World::default() }
}

pub(super) fn snapshot(admitted: &[Arc<Endpoint>], all: &[Arc<Endpoint>], upstream: Upstream) -> Snapshot {
    Snapshot {
        generation: 0,
        members: (0..)
            .zip(all)
            .filter(|(_, one)| admitted.iter().any(|other| Arc::ptr_eq(one, other)))
            .map(|(number, _)| Member { number, weight: 1.0 })
            .collect(),
        picker: Picker::new(Algorithm::RoundRobin, &vec![1.0; admitted.len()]),
        endpoints: all.into(),
        affinity: Arc::default(),
        upstream,
        limits: Limits::none(),
        available: admitted.len(),
        tls: None,
        panic: false,
        frozen: false,
        leadership: None,
    }
}

/// An endpoint whose every connection is handled by `behaviour` on a thread of its own.
pub(super) fn endpoint(behaviour: impl Fn(Client) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let behaviour = behaviour.clone();
            std::thread::spawn(move || behaviour(Client::new(stream)));
        }
    });
    address
}

/// An endpoint that answers every request on a connection with these bytes.
pub(super) fn answers(bytes: &'static str) -> SocketAddr {
    endpoint(move |mut client| {
        while client.request().is_some() {
            client.send(bytes);
        }
    })
}

/// An address that nobody listens at.
pub(super) fn refuses() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One side of a connection.
pub(super) struct Client {
    pub(super) stream: BufReader<TcpStream>,
}

/// A message that came: its head, line by line in lower case but for the first, and its body.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) first: String,
    pub(super) head: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) trailers: Vec<(String, String)>,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(super) fn send(&mut self, bytes: &str) {
        self.send_bytes(bytes.as_bytes());
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        // The other side may have closed; what it said before is what a test looks at.
        drop(self.stream.get_mut().write_all(bytes));
    }

    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            _ => None,
        }
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        fields
    }

    /// A whole request, if one comes.
    pub(super) fn request(&mut self) -> Option<Reply> {
        self.message(false, false)
    }

    /// A request's head alone.
    pub(super) fn request_head(&mut self) -> Option<Reply> {
        let first = self.line()?;
        Some(Reply { first, head: self.fields(), body: String::new(), trailers: Vec::new() })
    }

    /// A whole answer; interim ones are passed over.
    pub(super) fn reply(&mut self, is_head: bool) -> Reply {
        loop {
            let reply = self.message(true, is_head).expect("an answer");
            if reply.status() >= 200 {
                return reply;
            }
        }
    }

    fn message(&mut self, to_end: bool, is_head: bool) -> Option<Reply> {
        let reply = self.request_head()?;
        self.body(reply, to_end, is_head)
    }

    /// The body that belongs to a head.
    pub(super) fn body(&mut self, mut reply: Reply, to_end: bool, is_head: bool) -> Option<Reply> {
        let length = reply.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let bodyless = is_head || (to_end && (matches!(reply.status(), 204 | 304) || reply.status() < 200));
        if bodyless {
            return Some(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut reply)?;
        } else if let Some(length) = length {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).ok()?;
            reply.body = String::from_utf8(body).unwrap();
        } else if to_end {
            self.stream.read_to_string(&mut reply.body).ok()?;
        }
        Some(reply)
    }

    fn chunks(&mut self, reply: &mut Reply) -> Option<()> {
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).unwrap();
            if size == 0 {
                reply.trailers = self.fields();
                return Some(());
            }
            let mut chunk = vec![0; size];
            self.stream.read_exact(&mut chunk).ok()?;
            reply.body.push_str(&String::from_utf8(chunk).unwrap());
            self.line()?;
        }
    }

    /// Whether the other side has closed, and everything it said has been read.
    pub(super) fn at_end(&mut self) -> bool {
        let mut rest = [0; 1];
        match self.stream.read(&mut rest) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

//! Three endpoints, one system under test in front of them, load on it, and everything that is said about them meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pulsegate::base::time::Timestamp;
use pulsegate::runtime::clock;
use socket2::{Domain, Socket, Type};

use crate::load::{Load, Method, Sample};
use crate::relay::Relay;
use crate::system::{Event, Kind, System};

/// How many endpoints there are.
pub(crate) const ENDPOINTS: usize = 3;
/// Requests that an endpoint serves at a time: more than ever come.
const SEATS: usize = 10_000;
/// A request that takes longer is worth telling.
const SLOW: Duration = Duration::from_millis(300);
/// So many of them are enough to see what happened.
const TOLD: usize = 100;
/// Longer than anything takes to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within_patience(look).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// Looks until there is something to see, or patience is at its end.
pub(crate) fn within_patience<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = clock::now();
    while clock::now().since(began) < PATIENCE {
        if let Some(seen) = look() {
            return Some(seen);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Lets time pass while load and faults act.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// A folder that is gone at the end.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pulsegate-scenarios-{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A port that stays ours while nobody listens on it: a socket is bound to it that never does.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _bound: Socket,
}

impl Port {
    /// A free port of 127.0.0.`host`.
    pub(crate) fn free(host: u8) -> Self {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.set_reuse_address(true).unwrap();
        bound.set_reuse_port(true).unwrap();
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        bound.bind(&SocketAddr::new(ip, 0).into()).unwrap();
        let address = bound.local_addr().unwrap().as_socket().unwrap();
        Self { address, _bound: bound }
    }
}

/// A process with its children, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it in a process group of its own.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.process_group(0).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs what is missing")))
    }

    fn group(&self) -> String {
        format!("-{}", self.0.id())
    }

    /// Sends a signal, by its name without SIG, to it and its children.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, &self.group()]).status().unwrap();
        assert!(status.success(), "SIG{name}: {status}");
    }

    /// Lets it run for only a tenth of the time: 10 ms of each 100 ms.
    pub(crate) fn starve(&self, time: Duration) {
        let rounds = time.as_millis() / 100;
        let script = format!(
            "i=0; while [ $i -lt {rounds} ]; do kill -s STOP -- $0; sleep 0.09; kill -s CONT -- $0; sleep 0.01; i=$((i+1)); done"
        );
        Command::new("sh").args(["-c", &script, &self.group()]).status().unwrap();
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("KILL");
            self.0.wait().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    number: usize,
    seats: usize,
    port: Port,
    process: Process,
    relay: Option<Relay>,
    received: Arc<Mutex<Vec<u32>>>,
    ready: Arc<AtomicUsize>,
    starts: usize,
}

impl Endpoint {
    fn start(number: usize, stage: &Stage) -> Self {
        let port = Port::free(11 + u8::try_from(number).unwrap());
        let (received, ready) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let process = spawn(port.address, number, SEATS, Duration::ZERO, &received, &ready);
        let relay = stage.relayed.then(|| Relay::start(port.address));
        Self { number, seats: SEATS, port, process, relay, received, ready, starts: 1 }
    }

    fn wait(&self) {
        until("an endpoint listens", || (self.ready.load(Relaxed) >= self.starts).then_some(()));
    }

    /// Where the system finds it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.relay.as_ref().map_or(self.port.address, Relay::address)
    }

    /// The network in front of it.
    pub(crate) const fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("a stage that wants a bad network is relayed")
    }

    /// Stops it where it is: the system still takes connections for it.
    pub(crate) fn hang(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.process.signal("CONT");
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, cold for so long and with so many seats.
    pub(crate) fn restart_cold(&mut self, cold: Duration, seats: usize) {
        self.seats = seats;
        self.restart(cold);
    }

    /// Starts it again; it is cold for so long.
    pub(crate) fn restart(&mut self, cold: Duration) {
        self.starts += 1;
        self.process = spawn(self.port.address, self.number, self.seats, cold, &self.received, &self.ready);
    }

    /// Tells it what to do; the words are those of the endpoint.
    pub(crate) fn order(&mut self, words: &str) {
        let stdin = self.process.0.stdin.as_mut().expect("it was started with one");
        writeln!(stdin, "{words}").unwrap();
    }

    /// Waits until it has read everything that was sent to it: nothing new for half a second.
    pub(crate) fn settle(&self) {
        let mut seen = usize::MAX;
        while seen != self.received().len() {
            seen = self.received().len();
            pass(Duration::from_millis(500));
        }
    }

    /// The ids of all requests that have reached it.
    pub(crate) fn received(&self) -> Vec<u32> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn spawn(
    address: SocketAddr,
    number: usize,
    seats: usize,
    cold: Duration,
    received: &Arc<Mutex<Vec<u32>>>,
    ready: &Arc<AtomicUsize>,
) -> Process {
    let words = [address.to_string(), number.to_string(), seats.to_string(), cold.as_millis().to_string()];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("endpoint").args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process::start(&mut command);
    let stdout = process.0.stdout.take().expect("it was asked for");
    let (received, ready) = (Arc::clone(received), Arc::clone(ready));
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match line.parse() {
                Ok(id) => received.lock().unwrap_or_else(PoisonError::into_inner).push(id),
                Err(_) => drop(ready.fetch_add(1, Relaxed)),
            }
        }
    });
    process
}

/// What a scenario is played on.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// The system under test.
    pub(crate) kind: Kind,
    /// Requests a second.
    pub(crate) rate: f64,
    /// 1 for the whole length; a smoke is shorter.
    pub(crate) scale: f64,
    /// For everything that is random in it.
    pub(crate) seed: u64,
    /// Whether a relay stands in front of each endpoint.
    pub(crate) relayed: bool,
    /// Probe interval.
    pub(crate) interval: Duration,
    /// `panic: 0%`, where there is such a thing.
    pub(crate) panic: bool,
    /// GET or POST.
    pub(crate) method: Method,
    /// Whether everything that the system said is told at the end.
    pub(crate) talks: bool,
}

impl Stage {
    /// The common settings.
    pub(crate) const fn new(kind: Kind, rate: f64, scale: f64, seed: u64) -> Self {
        let interval = Duration::from_millis(500);
        Self { kind, rate, scale, seed, relayed: false, interval, panic: false, method: Method::Get, talks: false }
    }

    /// So much time, less in a smoke.
    pub(crate) fn time(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }

    /// A moment within half a second that depends on the seed, so that runs meet probes at every phase.
    pub(crate) fn phase(&self) -> Duration {
        Duration::from_secs_f64(fastrand::Rng::with_seed(self.seed).f64() * 0.5 * self.scale)
    }
}

/// A stage with everybody on it.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) system: System,
    load: Option<Load>,
    stage: Stage,
    // After the processes, which may write into it until their end.
    _folder: Folder,
}

impl Rig {
    /// Starts endpoints, the system, and then the load.
    pub(crate) fn start(stage: &Stage) -> Self {
        let folder = Folder::new();
        let endpoints: Vec<Endpoint> = (0..ENDPOINTS).map(|number| Endpoint::start(number, stage)).collect();
        for endpoint in &endpoints {
            endpoint.wait();
        }
        let addresses: Vec<SocketAddr> = endpoints.iter().map(Endpoint::address).collect();
        let system = System::start(stage, &addresses, &folder);
        let mut rig = Self { endpoints, system, load: None, stage: stage.clone(), _folder: folder };
        rig.load = Some(Load::start(rig.system.address(), stage.rate, stage.method, stage.seed));
        rig
    }

    fn tell(&self) {
        let events = self.events();
        let Some(first) = events.first() else { return };
        for event in &events {
            eprintln!("  {:>8.0} ms: {} {}", event.at.since(first.at).as_secs_f64() * 1000.0, event.endpoint, event.words);
        }
    }

    /// Ends the load: every request and what became of it.
    pub(crate) fn end_load(&mut self) -> Vec<Sample> {
        let samples = self.load.take().map(Load::end).unwrap_or_default();
        if self.stage.talks {
            self.tell_slow(&samples);
        }
        samples
    }

    /// Tells which requests were slow, on the same clock as what the system said.
    fn tell_slow(&self, samples: &[Sample]) {
        let events = self.events();
        let Some(first) = events.first().map(|event| event.at).or(samples.first().map(|sample| sample.start)) else { return };
        let millis = |span: Duration| span.as_secs_f64() * 1000.0;
        for sample in samples.iter().filter(|sample| sample.latency > SLOW).take(TOLD) {
            let at = millis(sample.start.since(first)) - millis(first.since(sample.start));
            eprintln!("  {at:>8.0} ms: {} by {:?} in {:.0} ms", sample.status, sample.endpoint, millis(sample.latency));
        }
    }

    /// Everything that the system has said of its endpoints.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.system.events()
    }

    /// Lets the load go on for a while, less in a smoke; gives the moment at its end.
    pub(crate) fn go_on(&self, seconds: f64) -> Timestamp {
        pass(self.stage.time(seconds));
        clock::now()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.stage.talks {
            self.tell();
        }
    }
}

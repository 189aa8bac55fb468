//! The client commands against a running process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use pulsegate::config;
use pulsegate::runtime::thread;
use pulsegate::server::{Options, start_in_process};
use socket2::Socket;
use tokio::sync::oneshot;

use crate::program::{File, err, nobody, out, pulsegate, run};

/// A process within this one, with its admin interface on a free port; it ends with this.
struct Process {
    admin: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    fn start(file: &File) -> Self {
        let (tell, told) = sync_channel::<SocketAddr>(1);
        let (end, ended) = oneshot::channel::<()>();
        let source = PathBuf::from(file.path());
        let thread = thread::spawn("process", move || async move {
            let config = config::load(&source).unwrap_or_else(|problems| panic!("{problems}")).config;
            let running = start_in_process(Options { config, source: Some(source) }).await.unwrap();
            tell.send(running.admin).unwrap();
            drop(ended.await);
            running.end().await;
        });
        let admin = format!("http://{}", told.recv().unwrap());
        Self { admin, end: Some(end), thread: Some(thread.unwrap()) }
    }

    /// What a command prints that succeeds.
    fn says(&self, command: &[&str]) -> String {
        let output = run(&[command, &["--admin", &self.admin]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", err(&output));
        out(&output)
    }

    /// What a command prints that does not.
    fn refuses(&self, command: &[&str]) -> String {
        let output = run(&[command, &["--admin", &self.admin]].concat());
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        format!("{}{}", out(&output), err(&output))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.end.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Two endpoints that nobody probes, so that they are well until somebody says otherwise.
struct Endpoints {
    _bound: [Socket; 2],
    first: String,
    second: String,
}

impl Endpoints {
    fn new() -> Self {
        let ((a, first), (b, second)) = (nobody(), nobody());
        let bare = |url: String| url.trim_start_matches("http://").to_owned();
        Self { _bound: [a, b], first: bare(first), second: bare(second) }
    }

    /// A configuration that watches them.
    fn text(&self, admin: &str, weight: u32) -> String {
        let Self { first, second, .. } = self;
        format!(
            "admin: {{ address: 127.0.0.1:0{admin} }}\nclusters:\n  - name: app\n    \
             endpoints: [\"{first}\", {{ address: \"{second}\", weight: {weight} }}]\n"
        )
    }
}

#[test]
fn an_operator_sees_and_changes_the_state_of_endpoints() {
    let endpoints = Endpoints::new();
    let file = File::new("operated", &endpoints.text("", 1));
    let process = Process::start(&file);
    let first = endpoints.first.as_str();

    assert_eq!(process.says(&["health"]), "ready\n");
    let status = process.says(&["status"]);
    assert!(
        status.starts_with(concat!("pulsegate ", env!("CARGO_PKG_VERSION"), ", ready\n\napp: 2 of 2 available\n")),
        "{status}"
    );

    let drained = process.says(&["drain", "app", first, "--for", "10m", "--reason", "new disk"]);
    assert_eq!(drained, format!("app {first} is draining, for 10m\n"));
    let status = process.says(&["status"]);
    assert!(status.contains("app: 1 of 2 available") && status.contains("draining: new disk"), "{status}");
    let explained = process.says(&["explain", "app", first]);
    assert!(explained.starts_with(&format!("app {first} is draining, not available\n")), "{explained}");
    for what in ["new disk; ends in ", "healthy -> draining", "Next change"] {
        assert!(explained.contains(what), "{what}: {explained}");
    }
    let json: serde_json::Value = serde_json::from_str(&process.says(&["status", "--json"])).unwrap();
    assert_eq!(json["clusters"][0]["endpoints"][0]["state"], "draining");
    let json: serde_json::Value = serde_json::from_str(&process.says(&["explain", "app", first, "--json"])).unwrap();
    assert_eq!((&json["cluster"], &json["state"]), (&"app".into(), &"draining".into()));

    assert_eq!(process.says(&["maintenance", "app", first]), format!("app {first} is maintenance\n"));
    assert_eq!(process.says(&["ready", "app", first]), format!("app {first} is healthy\n"));
    assert!(process.refuses(&["ready", "app", "a:1"]).contains("404 Not Found: no endpoint"));
    assert!(process.refuses(&["explain", "shop", first]).contains("404 Not Found: no cluster"));
}

#[test]
fn a_reload_tells_what_changes_and_problems_change_nothing() {
    let endpoints = Endpoints::new();
    let file = File::new("reloaded", &endpoints.text("", 1));
    let process = Process::start(&file);
    assert_eq!(process.says(&["reload"]), "nothing changes\n");

    file.write(&endpoints.text("", 3));
    let rehearsed = process.says(&["reload", "--dry-run"]);
    assert!(rehearsed.contains(&endpoints.second) && rehearsed.ends_with("not applied: --dry-run\n"), "{rehearsed}");
    let applied = process.says(&["reload"]);
    assert_eq!(applied, rehearsed.replace("not applied: --dry-run", "applied"));
    assert_eq!(process.says(&["reload"]), "nothing changes\n");

    file.write(&endpoints.text("", 0));
    let refused = process.refuses(&["reload"]);
    assert!(refused.starts_with(&format!("{}:4:", file.path())), "{refused}");
    assert!(refused.ends_with("nothing was changed\n"), "{refused}");
}

#[test]
fn events_are_told_as_they_happen() {
    let endpoints = Endpoints::new();
    let file = File::new("followed", &endpoints.text("", 1));
    let process = Process::start(&file);
    let mut following =
        pulsegate(&["events", "--admin", &process.admin]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (tell, told) = sync_channel(1);
    let reading = std::thread::spawn(move || tell.send(lines.map_while(Result::ok).next()));
    // Nobody but the follower knows since when it follows, so things go on happening until it tells one.
    let line = loop {
        process.says(&["drain", "app", &endpoints.first]);
        process.says(&["ready", "app", &endpoints.first]);
        match told.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => break line.unwrap(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => panic!("{error}"),
        }
    };
    following.kill().unwrap();
    following.wait().unwrap();
    reading.join().unwrap().unwrap();
    let wanted = [format!("  app  {}  healthy -> draining  draining", endpoints.first), "  draining -> healthy".to_owned()];
    assert!(wanted.iter().any(|wanted| line.contains(wanted)), "{line}");
}

#[test]
fn a_token_is_asked_for_and_given() {
    let endpoints = Endpoints::new();
    let (right, wrong) = (File::new("right", "sesame\n"), File::new("wrong", "barley\n"));
    let file = File::new("guarded", &endpoints.text(&format!(", token_file: \"{}\"", right.path()), 1));
    let process = Process::start(&file);
    let refused = process.refuses(&["status"]);
    assert!(refused.contains("401 Unauthorized") && refused.contains("--token-file FILE"), "{refused}");
    assert!(process.refuses(&["status", "--token-file", wrong.path()]).contains("401"));
    assert!(process.says(&["status", "--token-file", right.path()]).contains("app: 2 of 2 available"));
    assert_eq!(process.says(&["health"]), "ready\n");
}

#[test]
fn a_process_runs_until_it_is_told_to_end() {
    let endpoints = Endpoints::new();
    let file = File::new("run", &endpoints.text("", 1));
    let mut process = pulsegate(&["run", "-c", file.path()]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("\"started\"")), "a line of JSON says so");
    let told = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(told.success());
    let rest: Vec<String> = log.collect();
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), out(&output)), (Some(0), String::new()), "{rest:?}");
}

#[test]
fn what_cannot_be_run_is_told() {
    let check = |arguments: &[&str], wanted: &str| {
        let output = run(arguments);
        assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()), "{arguments:?}");
        assert!(err(&output).contains(wanted), "{arguments:?}: {}", err(&output));
    };
    check(&["run", "--listen", "here", "--to", "127.0.0.1:1"], "command line: --listen: said ");
    check(&["run", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1,b"], "command line: --to: said ");
    check(&["run", "-c", "/nowhere/pulsegate.yaml"], "/nowhere/pulsegate.yaml: ");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("\nlisteners: [{{ address: \"{}\", cluster: app }}]\n", taken.local_addr().unwrap());
    let file = File::new("taken", &(Endpoints::new().text("", 1) + &listener));
    check(&["run", "-c", file.path()], "the address is in use");
}

//! The program under test: a process with a configuration file, and its command line asked from outside.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Answer, Folder, PATIENCE, Page, Port, Process, get, post, until};

/// A running program.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Process,
    listener: Port,
    admin: Port,
    // After the process, which may write into it until its end.
    folder: Folder,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A configuration of one listener with one route to cluster `app`, and what follows: more settings, or clusters.
pub(crate) fn one_listener(more: &str) -> String {
    format!("admin: {{ address: ADMIN }}\nworkers: 2\nlisteners:\n  - {{ name: web, address: LISTENER, cluster: app }}\n{more}")
}

impl Proxy {
    /// Starts it with a configuration in which LISTENER and ADMIN stand for its addresses, and waits until it is ready.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same, with these files beside the configuration.
    pub(crate) fn start_with(config: &str, files: &[(&str, &str)]) -> Self {
        let (folder, listener, admin) = (Folder::new(), Port::free(), Port::free());
        files.iter().for_each(|(name, text)| folder.write(name, text));
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
        command.args(["run", "-c", &folder.file("pulsegate.yaml")]);
        folder.write("pulsegate.yaml", &filled(config, &listener, &admin));
        let process = Process::start(command, &folder.path().join("pulsegate.log"));
        let mut proxy = Self { process, listener, admin, folder };
        until(PATIENCE, "the proxy is ready", || {
            assert!(!proxy.process.has_ended(), "the proxy has ended");
            get(proxy.admin(), "/readyz").ok().filter(|answer| answer.status == 200)
        });
        proxy
    }

    /// Where its listener is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where its admin interface is.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// One GET through it.
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address(), path).unwrap()
    }

    /// Writes its configuration anew; it does not read it by itself.
    pub(crate) fn rewrite(&self, config: &str) {
        self.folder.write("pulsegate.yaml", &filled(config, &self.listener, &self.admin));
    }

    /// A configuration with its addresses in it.
    pub(crate) fn filled(&self, config: &str) -> String {
        filled(config, &self.listener, &self.admin)
    }

    /// From the next reload on its admin interface is elsewhere.
    pub(crate) fn move_admin(&mut self) {
        self.admin = Port::free();
    }

    /// Orders a reload and waits for its end.
    pub(crate) fn reload(&self) -> Answer {
        post(self.admin(), "/api/v1/reload").unwrap()
    }

    /// Sends it a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Has another process take over, and waits until the one before has ended. Gives how long that took.
    #[track_caller]
    pub(crate) fn upgrade(&mut self) -> Duration {
        let before = self.process.group();
        let [old] = before.as_slice() else { panic!("one process, not {before:?}") };
        Process::signal_one("USR2", *old);
        let replaced = |process: &mut Process| {
            // The first one is ours to bury.
            let _ = process.has_ended();
            let now = process.group();
            (now.len() == 1 && now != before).then_some(())
        };
        until(PATIENCE, "another process has taken over", || replaced(&mut self.process)).1
    }

    /// The processes that run.
    pub(crate) fn group(&self) -> Vec<u32> {
        self.process.group()
    }

    /// Starts it again with the configuration that it has now.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
        command.args(["run", "-c", &self.folder.file("pulsegate.yaml")]);
        self.process = Process::start(command, &self.folder.path().join("pulsegate.log"));
        until(PATIENCE, "the proxy is ready", || get(self.admin(), "/readyz").ok().filter(|answer| answer.status == 200));
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn exit(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        self.process.exit(limit)
    }

    /// Its metrics.
    pub(crate) fn page(&self) -> Page {
        Page::new(get(self.admin(), "/metrics").unwrap().text())
    }

    /// Everything it says of itself.
    pub(crate) fn status(&self) -> Value {
        get(self.admin(), "/api/v1/status").unwrap().json()
    }

    /// What the status says of an endpoint of cluster `app`.
    #[track_caller]
    pub(crate) fn endpoint(&self, address: &str) -> Value {
        let status = self.status();
        let clusters = status["clusters"].as_array().unwrap();
        let app = clusters.iter().find(|cluster| cluster["name"] == "app").unwrap();
        let found = app["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["address"] == address);
        found.unwrap_or_else(|| panic!("no {address} in {status:#}")).clone()
    }

    /// Waits until an endpoint of `app` is in this state; gives what the status then says, and how long it took.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, limit: Duration, address: &str, state: &str) -> (Value, Duration) {
        until(limit, &format!("{address} is {state}"), || {
            Some(self.endpoint(address)).filter(|endpoint| endpoint["state"] == state)
        })
    }

    /// Waits until `pulsegate_endpoint_up` of an endpoint of `app` is this, and gives how long it took.
    #[track_caller]
    pub(crate) fn wait_for_up(&self, limit: Duration, address: &str, up: bool) -> Duration {
        let labels = [("cluster", "app"), ("endpoint", address)];
        let is = |page: &Page| (page.one("endpoint_up", &labels) == 1) == up;
        until(limit, &format!("endpoint_up of {address} is {up}"), || Some(self.page()).filter(is)).1
    }

    /// A command that asks this process, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
        command.args(arguments).env("PULSEGATE_ADMIN", format!("http://{}", self.admin())).stdin(Stdio::null());
        command
    }

    /// What a command says that asks this process.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// What a command says that must succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{arguments:?}: {}", said.out);
        said.out
    }
}

fn filled(config: &str, listener: &Port, admin: &Port) -> String {
    config.replace("LISTENER", &listener.address().to_string()).replace("ADMIN", &admin.address().to_string())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            // Writing to a string cannot fail.
            let _ = write!(text, "the proxy's log:\n{}", self.process.said());
            eprintln!("{text}");
        }
    }
}

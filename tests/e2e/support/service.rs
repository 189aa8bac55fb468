//! Real services of three makes. Each answers `/` with its make and port and `/health` with what it is told to say.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::{Folder, PATIENCE, Port, Process, get, until};

/// What a service is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Python's `http.server`.
    Python,
    /// Node's `http`.
    Node,
    /// Debian's nginx: a master and a worker.
    Nginx,
}

/// A service that is up unless it was killed.
#[derive(Debug)]
pub(crate) struct Service {
    kind: Kind,
    port: Port,
    process: Process,
    // After the process, which may write into it until its end.
    folder: Folder,
}

/// One service of each make, all of them answering.
pub(crate) fn three() -> [Service; 3] {
    // All of them start at once; the wait is that for the slowest.
    let services = [Kind::Python, Kind::Node, Kind::Nginx].map(Service::spawn);
    for service in &services {
        service.wait();
    }
    services
}

impl Service {
    /// Starts a service and waits until it answers.
    pub(crate) fn start(kind: Kind) -> Self {
        let service = Self::spawn(kind);
        service.wait();
        service
    }

    fn spawn(kind: Kind) -> Self {
        let (folder, port) = (Folder::new(), Port::free());
        folder.write("report.json", "{\"status\":\"UP\",\"cpu\":0.1}\n");
        let process = Process::start(command(kind, &folder, &port), &folder.path().join("service.log"));
        Self { kind, port, process, folder }
    }

    /// Waits until it answers.
    pub(crate) fn wait(&self) -> Duration {
        let (_, took) = until(PATIENCE, &format!("{:?} answers", self.kind), || get(self.address(), "/").ok());
        took
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its address as a configuration has it.
    pub(crate) fn name(&self) -> String {
        self.address().to_string()
    }

    /// What it is written with.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// What it answers to `GET /`.
    pub(crate) fn says(&self) -> String {
        format!("{} {}\n", format!("{:?}", self.kind).to_lowercase(), self.address().port())
    }

    /// Kills it with all its processes, as the kernel does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, without waiting.
    pub(crate) fn restart(&mut self) {
        self.process = Process::start(command(self.kind, &self.folder, &self.port), &self.folder.path().join("service.log"));
    }

    /// Stops it where it is: the system still takes connections for it, and nobody answers.
    pub(crate) fn hang(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.process.signal("CONT");
    }

    /// From now on `/health` is answered 503; everything else as before.
    pub(crate) fn turn_sick(&self) {
        self.folder.write("sick", "");
    }

    /// From now on `/health` is answered 200.
    pub(crate) fn turn_well(&self) {
        self.folder.remove("sick");
    }

    /// From now on `/health` is answered with this.
    pub(crate) fn report(&self, json: &str) {
        self.folder.write("report.json", json);
    }
}

fn command(kind: Kind, folder: &Folder, port: &Port) -> Command {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/services");
    let number = port.address().port().to_string();
    let mut command;
    match kind {
        Kind::Python => {
            command = Command::new("python3");
            command.arg(format!("{scripts}/service.py")).arg(folder.path()).arg(number);
        }
        Kind::Node => {
            command = Command::new("node");
            command.arg(format!("{scripts}/service.mjs")).arg(folder.path()).arg(number);
        }
        Kind::Nginx => {
            let text = std::fs::read_to_string(format!("{scripts}/nginx.conf")).unwrap();
            folder.write("nginx.conf", &text.replace("PORT", &number).replace("FOLDER", folder.path().to_str().unwrap()));
            command = Command::new("nginx");
            // Its folder is not on everybody's path.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]);
        }
    }
    command
}

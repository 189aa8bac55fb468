//! A network of the test's own: hosts that are network namespaces, joined by a bridge in one more, and cables that can be cut.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The network; gone with everything in it at the end of the test.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    hosts: Vec<String>,
}

impl Network {
    /// A network of so many hosts, numbered from 1, each with an address. `None` if this user may not make one: only root may.
    pub(crate) fn of(hosts: usize) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pg{}x{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let may = Command::new("ip").args(["netns", "add", &name]).stderr(Stdio::null()).status();
        if !may.unwrap_or_else(|error| panic!("ip: {error}; tests/run installs what is missing")).success() {
            return None;
        }
        let mut network = Self { name, hosts: Vec::new() };
        ip(&["-n", &network.name, "link", "add", "hub", "type", "bridge"]);
        ip(&["-n", &network.name, "link", "set", "hub", "up"]);
        for number in 1..=hosts {
            network.plug_in(number);
        }
        Some(network)
    }

    fn plug_in(&mut self, number: usize) {
        let host = format!("{}h{number}", self.name);
        ip(&["netns", "add", &host]);
        self.hosts.push(host.clone());
        let port = format!("port{number}");
        ip(&["-n", &self.name, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host]);
        ip(&["-n", &self.name, "link", "set", &port, "master", "hub", "up"]);
        ip(&["-n", &host, "address", "add", &format!("{}/24", Self::address(number)), "dev", "eth0"]);
        ip(&["-n", &host, "link", "set", "lo", "up"]);
        ip(&["-n", &host, "link", "set", "eth0", "up"]);
    }

    /// Where a host is.
    pub(crate) fn address(number: usize) -> String {
        format!("10.77.0.{number}")
    }

    /// A command that runs on a host.
    pub(crate) fn command(&self, host: usize, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.hosts[host - 1]]).args(words);
        command
    }

    /// Loses whatever a host would hear of another.
    pub(crate) fn deafen(&self, host: usize, to: usize) {
        self.rule(host, &["-A", "INPUT", "-s", &Self::address(to), "-j", "DROP"]);
    }

    /// Loses whatever a host would say to another.
    pub(crate) fn silence(&self, host: usize, to: usize) {
        self.rule(host, &["-A", "OUTPUT", "-d", &Self::address(to), "-j", "DROP"]);
    }

    /// Mends everything that a host has lost.
    pub(crate) fn mend(&self, host: usize) {
        self.rule(host, &["-F"]);
    }

    fn rule(&self, host: usize, words: &[&str]) {
        let done = self.command(host, &[&["iptables", "-w"], words].concat()).output().unwrap();
        assert!(done.status.success(), "iptables {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// What is answered at a path of an address, asked from a host itself.
    pub(crate) fn fetch(&self, host: usize, url: &str) -> Option<String> {
        let done = self.command(host, &["curl", "-s", "--max-time", "5", url]).output().unwrap();
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.name]) {
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
    }
}

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output().unwrap();
    assert!(done.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

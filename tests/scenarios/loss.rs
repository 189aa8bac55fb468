//! Packets that are lost between a proxy and endpoints, by the kernel: iptables' statistic match in a network namespace of our own.

use std::process::Command;

use crate::rig::Endpoint;

/// Loss that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Lossy(Vec<[String; 2]>);

/// Loses this share of the packets to these endpoints, and of those from them.
pub(crate) fn on(endpoints: &[Endpoint], share: f64) -> Lossy {
    let ways = endpoints.iter().flat_map(|endpoint| {
        let ip = endpoint.address().ip().to_string();
        [["-s".to_owned(), ip.clone()], ["-d".to_owned(), ip]]
    });
    let ways: Vec<[String; 2]> = ways.collect();
    for way in &ways {
        rule("-A", way, share);
    }
    Lossy(ways)
}

fn rule(what: &str, way: &[String; 2], share: f64) {
    let mut command = Command::new("iptables");
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command.args([what, "INPUT", "-i", "lo"]).args(way).args(["-m", "statistic", "--mode", "random", "--probability"]);
    command.arg(share.to_string()).args(["-j", "DROP"]);
    let done = command.output().unwrap_or_else(|error| panic!("iptables: {error}"));
    assert!(done.status.success(), "iptables: {}", String::from_utf8_lossy(&done.stderr));
}

impl Drop for Lossy {
    fn drop(&mut self) {
        let flushed = Command::new("iptables")
            .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
            .args(["-F", "INPUT"])
            .status();
        // The namespace is ours alone, and ends with us.
        drop(flushed);
        self.0.clear();
    }
}

/// Whether packets can be lost here: we are in a namespace of our own, and there is iptables with its match.
pub(crate) fn possible() -> bool {
    let nowhere = ["-s".to_owned(), "127.9.9.9".to_owned()];
    std::panic::catch_unwind(|| rule("-A", &nowhere, 0.5)).is_ok()
}

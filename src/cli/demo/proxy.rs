//! Owns the proxy of the demo: its configuration, on free ports of this machine, and what is seen of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use crate::base::address::ListenAddress;
use crate::cli::failure::Failure;
use crate::config::{self, Config};
use crate::control::{Event, What};
use crate::health::verdict::{EndpointView, State};
use crate::net::listen;
use crate::server::{self, Fatal, Options, Running};

const CLUSTER: &str = "demo";
/// The ports that are tried first.
const PROXY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9900;
/// How many ports from there on are tried.
const PORTS: u16 = 100;
/// How often a port that was free a moment ago may be taken.
const TRIES: usize = 5;

/// A running proxy; it ends at once when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    running: Running,
    address: SocketAddr,
    /// The last event that was counted.
    counted: u64,
    ejections: u64,
}

impl Proxy {
    /// Starts a proxy for these endpoints, and waits until it serves.
    ///
    /// # Errors
    /// If there is no free port, or the system gives no thread.
    pub(super) async fn start(endpoints: &[SocketAddr]) -> Result<Self, Failure> {
        let mut tries = 0;
        loop {
            let admin = free(ADMIN_PORT)?;
            // A demo that starts beside this one has another admin port already, but does not listen to requests yet.
            let address = free(PROXY_PORT + (admin.port() - ADMIN_PORT))?;
            let config = configuration(address, admin, endpoints)?;
            match server::start_in_process(Options { config, source: None }).await {
                Ok(running) => return Ok(Self { running, address, counted: 0, ejections: 0 }),
                // Somebody was quicker.
                Err(Fatal::Listen { .. }) if tries < TRIES => tries += 1,
                Err(fatal) => return Err(Failure::new(format!("demo: {fatal}"))),
            }
        }
    }

    /// Where requests go in.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin interface.
    pub(super) const fn admin(&self) -> SocketAddr {
        self.running.admin
    }

    /// What is seen of each endpoint now, in order.
    pub(super) fn views(&self) -> Vec<Arc<EndpointView>> {
        let world = self.running.handle.live().world().load();
        let cluster = world.cluster(CLUSTER).map(|cluster| cluster.snapshot().load());
        cluster.iter().flat_map(|snapshot| snapshot.endpoints.iter()).map(|endpoint| endpoint.view()).collect()
    }

    /// How often an endpoint was taken out so far.
    pub(super) fn ejections(&mut self) -> u64 {
        let unseen = self.running.handle.events().since(self.counted).events;
        self.counted = unseen.last().map_or(self.counted, |event| event.id);
        let took_out = |event: &&Arc<Event>| matches!(event.what, What::Transition { from, to, .. } if takes_out(from, to));
        self.ejections += unseen.iter().filter(took_out).count() as u64;
        self.ejections
    }

    /// Ends it and waits for its threads.
    pub(super) async fn end(self) {
        self.running.end().await;
    }
}

/// The text of the configuration, for these addresses.
fn text(proxy: SocketAddr, admin: SocketAddr, endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
    format!(
        "admin: {{ address: \"{admin}\" }}\n\
         log: {{ level: error }}\n\
         workers: 2\n\
         listeners:\n  - {{ name: demo, address: \"{proxy}\", cluster: {CLUSTER} }}\n\
         clusters:\n  - name: {CLUSTER}\n    endpoints: [{}]\n    health:\n      path: /health\n      interval: 500ms\n      \
         timeout: 200ms\n      fall: 3\n      rise: 2\n      report:\n        rules:\n          \
         - {{ metric: cpu, eject: 95%, for: 3 }}\n",
        endpoints.join(", ")
    )
}

fn configuration(proxy: SocketAddr, admin: SocketAddr, endpoints: &[SocketAddr]) -> Result<Config, Failure> {
    let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    config::from_text(&text(proxy, admin, endpoints), "demo", Path::new(""), &|_| None, &no_file)
        .map_err(|problems| Failure::new(problems.to_string()))
}

/// The first port from `first` on that nobody has.
fn free(first: u16) -> Result<SocketAddr, Failure> {
    let mut candidates = (first..first + PORTS).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let is_free = |address: &SocketAddr| listen::bind_exclusive(ListenAddress::from(*address)).is_ok();
    let taken = || Failure::new(format!("demo: no free port on 127.0.0.1 from {first} to {}", first + PORTS - 1));
    candidates.find(is_free).ok_or_else(taken)
}

const fn takes_out(from: State, to: State) -> bool {
    matches!(from, State::Healthy | State::Degraded) && matches!(to, State::Unhealthy | State::Ejected | State::Suspect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn the_configuration_is_valid() {
        let config = configuration(at(8080), at(9900), &[at(1), at(2), at(3)]).unwrap();
        assert_eq!(config.clusters[0].endpoints.len(), 3);
        assert_eq!(&*config.clusters[0].health.rules[0].metric, "cpu");
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let (taken, port) = (PROXY_PORT..u16::MAX - PORTS)
            .find_map(|port| {
                let socket = listen::bind_exclusive(ListenAddress::from(at(port))).ok()?;
                socket.open().ok().map(|()| (socket, port))
            })
            .unwrap();
        assert!(free(port).unwrap().port() > port);
        drop(taken);
    }

    #[test]
    fn an_ejection_leaves_what_is_available() {
        assert!(takes_out(State::Healthy, State::Unhealthy) && takes_out(State::Degraded, State::Ejected));
        assert!(!takes_out(State::Unknown, State::Unhealthy) && !takes_out(State::Healthy, State::Draining));
    }
}

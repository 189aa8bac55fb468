//! The listening sockets of the process: had before they are needed, shared out to workers, closed with their last handle.
//!
//! Every listener has one socket for each worker, so that the kernel spreads connections. A socket that is closed takes the
//! connections with it that wait there, so sockets outlive whoever accepts on them: they stay over reloads that keep their
//! address, go to another worker when theirs retires, and are only closed when no listener wants their address.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::address::{ListenAddress, Site};
use crate::config::Config;
use crate::net::listen::{ListenSocket, bind_exclusive, bind_path, bind_shared};
use crate::net::socket_file::SocketFile;
use crate::proxy::Opening;
use crate::server::Fatal;

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener's name.
    pub name: Arc<str>,
    /// The address, with the port that the system gave where the configuration says 0.
    pub address: Site,
}

/// All sockets of one configuration.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    listeners: Vec<Held>,
    admin: Option<Held>,
    metrics: Option<Held>,
    fleet: Option<Held>,
    heartbeats: Vec<Held>,
    /// Inherited ones, for the first configuration.
    spare: Vec<Spare>,
}

/// A socket that somebody else bound for us.
#[derive(Debug)]
pub(super) struct Spare {
    /// Whose it is, if that was said.
    pub(super) name: Option<String>,
    pub(super) socket: Arc<ListenSocket>,
}

/// One address, and the sockets on it.
#[derive(Debug, Clone)]
struct Held {
    /// Who wants it.
    name: Arc<str>,
    wanted: Wanted,
    bound: Site,
    sockets: Vec<Numbered>,
}

/// What is wanted of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    site: Site,
    /// The bits of the mode of its file, where it has one.
    mode: u32,
}

#[derive(Debug, Clone)]
struct Numbered {
    id: u32,
    socket: Arc<ListenSocket>,
}

/// Gives every socket a number of its own.
#[derive(Debug, Default)]
pub(super) struct Numbers(u32);

impl Numbers {
    fn give(&mut self, socket: Arc<ListenSocket>) -> Numbered {
        self.0 += 1;
        Numbered { id: self.0, socket }
    }
}

impl Sockets {
    /// Nothing but what was inherited.
    pub(super) fn inherited(spare: Vec<Spare>) -> Self {
        Self { spare, ..Self::default() }
    }

    /// The sockets of `config` for so many workers: those there are, and new ones, which nobody can connect to yet.
    pub(super) fn plan(&self, config: &Config, workers: usize, numbers: &mut Numbers) -> Result<Self, Vec<Fatal>> {
        let mut fatal = Vec::new();
        let mut hold_at = |who: &str, name: &Arc<str>, wanted: Wanted, count: usize| {
            let (held, address) = (self.hold(name, &wanted, count, numbers), wanted.site.to_string());
            held.map_err(|error| fatal.push(Fatal::Listen { who: who.to_owned(), address, error })).ok()
        };
        let mut hold = |who: &str, name: &Arc<str>, address: ListenAddress| hold_at(who, name, Wanted::on_network(address), 1);
        let mut plan = Self { admin: hold("admin", &"admin".into(), config.admin.address), ..Self::default() };
        plan.metrics = config.metrics.and_then(|address| hold("metrics", &"metrics".into(), address));
        plan.fleet = config.fleet.as_ref().and_then(|fleet| hold("fleet", &"fleet".into(), fleet.address));
        for (index, heartbeats) in config.heartbeats.iter().enumerate() {
            let name = format!("heartbeats[{index}]").into();
            plan.heartbeats.extend(hold("heartbeats", &name, heartbeats.address));
        }
        for listener in &config.listeners {
            let who = format!("listener {}", listener.name);
            let wanted = Wanted { site: listener.address.clone(), mode: listener.socket_mode };
            plan.listeners.extend(hold_at(&who, &listener.name, wanted, workers));
        }
        if fatal.is_empty() { Ok(plan) } else { Err(fatal) }
    }

    fn hold(&self, name: &Arc<str>, wanted: &Wanted, count: usize, numbers: &mut Numbers) -> std::io::Result<Held> {
        let known = self.all().find(|held| held.is(name, &wanted.site));
        let mut sockets = known.map(|held| held.sockets.clone()).unwrap_or_default();
        let mut bound = known.map_or_else(|| wanted.site.clone(), |held| held.bound.clone());
        for spare in self.spare.iter().filter(|spare| known.is_none() && spare.is_for(name, &wanted.site)) {
            bound = spare.socket.address()?;
            sockets.push(numbers.give(Arc::clone(&spare.socket)));
        }
        match &bound {
            Site::Unix(path) if sockets.is_empty() => sockets.push(numbers.give(Arc::new(bind_path(path, wanted.mode)?))),
            // Workers take turns on it.
            Site::Unix(_) => {}
            Site::Ip(address) => bound = self.fill(&mut sockets, *address, count, numbers)?.into(),
        }
        Ok(Held { name: Arc::clone(name), wanted: wanted.clone(), bound, sockets })
    }

    /// Adds sockets until there are as many as wanted. Returns where they are.
    fn fill(
        &self,
        sockets: &mut Vec<Numbered>,
        mut address: SocketAddr,
        count: usize,
        numbers: &mut Numbers,
    ) -> std::io::Result<SocketAddr> {
        let site = Site::Ip(address);
        if sockets.is_empty() && !self.bound_here().any(|bound| bound.clashes_with(&site)) {
            // Sockets that share an address would listen beside those of another process unnoticed, and take turns with it.
            drop(bind_exclusive(address.into())?);
        }
        while sockets.len() < count {
            let socket = match bind_shared(address) {
                Ok(socket) => socket,
                // One that was inherited may not want to share; then workers take turns on it.
                Err(_) if !sockets.is_empty() => break,
                Err(error) => return Err(error),
            };
            // The first socket decides the port where the configuration leaves it to the system.
            address = socket.address()?.ip().unwrap_or(address);
            sockets.push(numbers.give(Arc::new(socket)));
        }
        Ok(address)
    }

    fn all(&self) -> impl Iterator<Item = &Held> {
        self.listeners.iter().chain(&self.admin).chain(&self.metrics).chain(&self.fleet).chain(&self.heartbeats)
    }

    /// Every address that this process has, or has been given.
    fn bound_here(&self) -> impl Iterator<Item = Site> {
        let spare = self.spare.iter().filter_map(|spare| spare.socket.address().ok());
        self.all().map(|held| held.bound.clone()).chain(spare)
    }

    /// Every socket with the name of its owner, for another process to inherit.
    pub(super) fn legacy(&self) -> Vec<(Arc<str>, Arc<ListenSocket>)> {
        let of = |held: &Held| {
            held.sockets.iter().map(|numbered| (Arc::clone(&held.name), Arc::clone(&numbered.socket))).collect::<Vec<_>>()
        };
        self.all().flat_map(of).collect()
    }

    /// Where the listeners listen, in the order of the configuration.
    pub(super) fn bound(&self) -> Vec<Bound> {
        self.listeners.iter().map(|held| Bound { name: Arc::clone(&held.name), address: held.bound.clone() }).collect()
    }

    /// The socket of the admin interface, and where it is.
    pub(super) fn admin(&self) -> Option<(Arc<ListenSocket>, SocketAddr)> {
        self.admin.as_ref().and_then(Held::only)
    }

    /// The socket of the metrics listener, and where it is.
    pub(super) fn metrics(&self) -> Option<(Arc<ListenSocket>, SocketAddr)> {
        self.metrics.as_ref().and_then(Held::only)
    }

    /// The socket that votes of the fleet come in by.
    pub(super) fn fleet(&self) -> Option<Arc<ListenSocket>> {
        self.fleet.as_ref().and_then(Held::only).map(|(socket, _)| socket)
    }

    /// The sockets that heartbeats come in by, and where they are, in the order of the configuration.
    pub(super) fn heartbeats(&self) -> Vec<(Arc<ListenSocket>, SocketAddr)> {
        self.heartbeats.iter().filter_map(Held::only).collect()
    }

    /// Lets everybody connect to the sockets of the listeners.
    pub(super) fn open(&self) -> Result<(), Fatal> {
        for held in &self.listeners {
            for numbered in &held.sockets {
                let fatal =
                    |error| Fatal::Listen { who: format!("listener {}", held.name), address: held.bound.to_string(), error };
                let mode = |file: &SocketFile| file.set_mode(held.wanted.mode);
                numbered.socket.file().map_or(Ok(()), mode).and_then(|()| numbered.socket.open()).map_err(fatal)?;
            }
        }
        Ok(())
    }

    /// Holds the sockets of the listeners no longer. Files go at once, so that nobody comes while the last ones are let in.
    pub(super) fn let_listeners_go(&mut self) {
        let files = self.listeners.iter().flat_map(|held| &held.sockets).filter_map(|numbered| numbered.socket.file());
        files.for_each(SocketFile::remove);
        self.listeners.clear();
    }

    /// What one of so many workers is to accept on. Where there are more sockets than workers, some have several; where there
    /// are fewer, workers share.
    pub(super) fn share(&self, worker: usize, workers: usize) -> Vec<Opening> {
        let own = |held: &Held, number: usize| number % workers == worker || number == worker % held.sockets.len();
        let of = |held: &Held| {
            let shares = (0..held.sockets.len()).filter(|number| own(held, *number));
            let opening = |number: usize| {
                let Numbered { id, socket } = held.sockets[number].clone();
                Opening { id, listener: Arc::clone(&held.name), socket }
            };
            shares.map(opening).collect::<Vec<_>>()
        };
        self.listeners.iter().flat_map(of).collect()
    }
}

impl Spare {
    /// Whether it is for that address; where the system chose the port, its owner's name decides.
    fn is_for(&self, name: &str, wanted: &Site) -> bool {
        let Ok(bound) = self.socket.address() else { return false };
        match (&bound, wanted) {
            (Site::Ip(bound), Site::Ip(wanted)) if wanted.port() == 0 => {
                self.name.as_deref() == Some(name) && bound.ip() == wanted.ip()
            }
            (bound, wanted) => bound == wanted,
        }
    }
}

impl Wanted {
    fn on_network(address: ListenAddress) -> Self {
        Self { site: address.into(), mode: 0 }
    }
}

impl Held {
    /// Whether these are the sockets for that address; where the system chose the port, they are its owner's alone.
    fn is(&self, name: &str, wanted: &Site) -> bool {
        self.wanted.site == *wanted && (!wanted.is_open() || *self.name == *name)
    }

    fn only(&self) -> Option<(Arc<ListenSocket>, SocketAddr)> {
        self.sockets.first().and_then(|numbered| Some((Arc::clone(&numbered.socket), self.bound.ip()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(listeners: &str) -> Config {
        let text = format!(
            "admin: {{ address: 127.0.0.1:0 }}\nlisteners: [{listeners}]\nclusters: [{{ name: app, endpoints: [a:1] }}]\n"
        );
        let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        crate::config::from_text(&text, "test", Path::new(""), &|_| None, &no_file).unwrap()
    }

    fn ids(sockets: &Sockets, worker: usize, workers: usize) -> Vec<u32> {
        sockets.share(worker, workers).iter().map(|opening| opening.id).collect()
    }

    #[test]
    fn sockets_stay_with_their_address() {
        let numbers = &mut Numbers::default();
        let web = config("{ name: web, address: 127.0.0.1:0, cluster: app }");
        let first = Sockets::default().plan(&web, 2, numbers).unwrap();
        let again = first.plan(&web, 2, numbers).unwrap();
        assert_eq!(first.bound(), again.bound());
        assert_eq!(ids(&first, 0, 2), ids(&again, 0, 2));
        let address = first.bound()[0].address.clone();
        let two = config(&format!(
            "{{ name: edge, address: '127.0.0.1:0', cluster: app }}, {{ name: x, address: '{address}', cluster: app }}"
        ));
        let other = first.plan(&two, 2, numbers).unwrap();
        assert_ne!(other.bound()[0].address, address, "a port that the system chose is its owner's");
        assert_eq!(other.bound()[1].address, address);
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        let numbers = &mut Numbers::default();
        let web = config("{ name: web, address: 127.0.0.1:0, cluster: app }");
        let four = Sockets::default().plan(&web, 4, numbers).unwrap();
        let shared: Vec<Vec<u32>> = (0..3).map(|worker| ids(&four, worker, 3)).collect();
        let mut all = shared.concat();
        all.sort_unstable();
        assert_eq!(all.len(), 4, "{shared:?}");
        all.dedup();
        assert_eq!(all.len(), 4);
        let five = four.plan(&web, 5, numbers).unwrap();
        assert!((0..5).all(|worker| ids(&five, worker, 5).len() == 1));
        assert_eq!(ids(&five, 0, 5), ids(&four, 0, 4));
        let one = four.share(0, 1);
        assert_eq!(one.len(), 4);
        assert!((0..9).all(|worker| ids(&four, worker, 9).len() == 1), "workers share");
    }

    #[test]
    fn what_is_inherited_goes_to_its_owner() {
        let socket = || Arc::new(bind_shared("127.0.0.1:0".parse().unwrap()).unwrap());
        let (first, second, stray) = (socket(), socket(), socket());
        first.open().unwrap();
        let (address, chosen) = (first.address().unwrap(), second.address().unwrap());
        let spare =
            |name: Option<&str>, socket: &Arc<ListenSocket>| Spare { name: name.map(str::to_owned), socket: Arc::clone(socket) };
        let spares = vec![spare(None, &first), spare(Some("edge"), &second), spare(Some("gone"), &stray)];
        let two = config(&format!(
            "{{ name: web, address: '{address}', cluster: app }}, {{ name: edge, address: '127.0.0.1:0', cluster: app }}"
        ));
        let sockets = Sockets::inherited(spares).plan(&two, 2, &mut Numbers::default()).unwrap();
        let bound: Vec<Site> = sockets.bound().into_iter().map(|bound| bound.address).collect();
        assert_eq!(bound, [address, chosen]);
        assert_eq!(sockets.legacy().len(), 5, "a second socket for the second worker each, and the admin interface's");
    }

    #[test]
    fn every_clash_is_told() {
        let taken = bind_shared("127.0.0.1:0".parse().unwrap()).unwrap();
        taken.open().unwrap();
        let address = taken.address().unwrap();
        let web = config(&format!("{{ name: web, address: '{address}', cluster: app }}"));
        let fatal = Sockets::default().plan(&web, 1, &mut Numbers::default()).unwrap_err();
        assert!(fatal[0].to_string().starts_with(&format!("listener web cannot listen on {address}: ")), "{fatal:?}");
    }
}

//! Where a probe goes: the endpoint itself, another port of it, or an address of the probe's own, whose name is kept resolved.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::base::address::{EndpointAddress, Host};
use crate::cluster::Endpoint;
use crate::config::model::{self, ProxyVersion};
use crate::health::check::ProbeSpec;
use crate::net::dial::{self, DialError};
use crate::net::proxy_header;
use crate::net::resolve;
use crate::net::secure::secure;
use crate::net::stream::Stream;
use crate::runtime::task::Owned;
use crate::tls::{Application, Towards};

/// From the end of one lookup to the next.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same while a name has never resolved.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// How connections to a cluster's endpoints begin.
#[derive(Debug, Clone, Default)]
pub struct Approach {
    /// TLS, if there is any.
    pub tls: Option<Arc<Towards>>,
    /// The header that comes before everything else, if there is one.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// Where a probe goes.
#[derive(Debug)]
pub(super) struct Target {
    /// The Host header of those requests that have no other.
    pub(super) host: Arc<str>,
    /// The endpoint's own host and port, whatever the probe asks.
    pub(super) name: String,
    pub(super) port: u16,
    /// The address of ours that connections are made from.
    source: Option<IpAddr>,
    place: Place,
    /// TLS on the way there, and the host whose name a certificate must have.
    tls: Option<(Arc<Towards>, Arc<str>)>,
    /// The header that connections begin with.
    header: Option<ProxyVersion>,
}

#[derive(Debug)]
enum Place {
    /// Where the endpoint is, whose name others look up; on another port if there is one.
    Endpoint(Arc<Endpoint>, Option<u16>),
    Fixed(Vec<SocketAddr>),
    Named(Names),
}

/// The addresses behind a name of the probe's own.
#[derive(Debug)]
struct Names {
    /// `None` until the first lookup has ended, and empty until one has succeeded.
    found: watch::Receiver<Option<Vec<SocketAddr>>>,
    /// Ends when dropped.
    _lookups: Owned,
}

impl Approach {
    /// That of a cluster.
    #[must_use]
    pub fn of(cluster: &model::Cluster) -> Self {
        Self { tls: cluster.tls.as_ref().map(|tls| Arc::clone(&tls.towards)), proxy_protocol: cluster.proxy_protocol }
    }
}

impl Target {
    /// Where `spec` goes when it probes `endpoint`. A name of its own begins to be looked up.
    pub(super) fn of(spec: &ProbeSpec, endpoint: &Arc<Endpoint>) -> Self {
        let (name, port, source) = (host_name(&endpoint.address), endpoint.address.port(), spec.source);
        let Some(address) = &spec.address else {
            let host = host_header(&endpoint.address, spec.port);
            let place = Place::Endpoint(Arc::clone(endpoint), spec.port);
            return Self { host, name, port, source, place, tls: None, header: None };
        };
        let place = match address.socket() {
            Some(socket) => Place::Fixed(vec![socket]),
            None => Place::Named(Names::look_up(address.clone())),
        };
        Self { host: address.text(), name, port, source, place, tls: None, header: None }
    }

    /// The same for an endpoint that only has an address: its name is looked up now, once. Without an answer the target
    /// has no addresses.
    pub(super) async fn resolve(spec: &ProbeSpec, endpoint: &EndpointAddress) -> Self {
        let (address, host) = match &spec.address {
            Some(address) => (address, address.text()),
            None => (endpoint, host_header(endpoint, spec.port)),
        };
        let mut found = resolve::look_up(address).await.unwrap_or_default();
        set_port(&mut found, spec.port.filter(|_| spec.address.is_none()));
        Self {
            host,
            name: host_name(endpoint),
            port: endpoint.port(),
            source: spec.source,
            place: Place::Fixed(found),
            tls: None,
            header: None,
        }
    }

    /// The same as the cluster's connections begin: over TLS, unless the probe wants none, and behind a header, unless it goes
    /// elsewhere than requests do: a management port knows nothing of the proxies in front of the service.
    pub(super) fn approached(mut self, spec: &ProbeSpec, approach: &Approach) -> Self {
        let host = match (&spec.address, &self.place) {
            (Some(address), _) => address.host().to_string(),
            (None, Place::Endpoint(endpoint, _)) => endpoint.address.host().to_string(),
            (None, Place::Fixed(_) | Place::Named(_)) => without_port(&self.host).to_owned(),
        };
        self.tls = approach.tls.as_ref().filter(|_| spec.tls).map(|tls| (Arc::clone(tls), host.into()));
        let elsewhere = spec.address.is_some() || spec.port.is_some_and(|port| port != self.port);
        self.header = approach.proxy_protocol.filter(|_| !elsewhere);
        self
    }

    /// A fresh connection, secured and behind a header where it should be, for what is spoken on it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn connect(&self, application: Application) -> Result<Stream, DialError> {
        let mut stream = self.connect_plain().await?;
        if let Some(version) = self.header {
            proxy_header::send(&mut stream, version, None).await?;
        }
        Ok(match &self.tls {
            None => Stream::from(stream),
            Some((tls, host)) => Stream::from(secure(stream, tls, application, host).await?),
        })
    }

    /// A fresh connection in the clear, whatever the endpoint speaks otherwise.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn connect_plain(&self) -> Result<TcpStream, DialError> {
        dial::connect_from(self.source, &self.addresses()).await
    }

    /// Whether connections are secured.
    pub(super) const fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Waits until it is known whether there are addresses: until the first lookup of a name of its own has ended.
    pub(super) async fn looked_up(&mut self) {
        if let Place::Named(names) = &mut self.place {
            // The sender lives as long as the lookups, and they as long as this.
            drop(names.found.wait_for(Option::is_some).await);
        }
    }

    /// The addresses to connect to, in order; empty if the name does not resolve.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.place {
            Place::Endpoint(endpoint, port) => {
                let mut addresses = endpoint.addresses().to_vec();
                set_port(&mut addresses, *port);
                addresses
            }
            Place::Fixed(addresses) => addresses.clone(),
            Place::Named(names) => names.found.borrow().clone().unwrap_or_default(),
        }
    }
}

impl Names {
    fn look_up(address: EndpointAddress) -> Self {
        let (tell, found) = watch::channel(None);
        Self { found, _lookups: Owned::spawn(keep_looked_up(address, tell)) }
    }
}

/// A lookup that fails leaves what the last good one found.
async fn keep_looked_up(address: EndpointAddress, tell: watch::Sender<Option<Vec<SocketAddr>>>) {
    loop {
        let answer = resolve::look_up(&address).await;
        if let Err(error) = &answer {
            tracing::debug!(%address, %error, "a probe's address does not resolve");
        }
        tell.send_modify(|found| match answer {
            Ok(addresses) => *found = Some(addresses),
            Err(_) => *found = Some(found.take().unwrap_or_default()),
        });
        let never = tell.borrow().as_ref().is_none_or(Vec::is_empty);
        tokio::time::sleep(if never { FIRST_INTERVAL } else { INTERVAL }).await;
    }
}

/// A host as it stands in a Host header.
fn without_port(host: &str) -> &str {
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    bare.trim_start_matches('[').trim_end_matches(']')
}

fn set_port(addresses: &mut [SocketAddr], port: Option<u16>) {
    if let Some(port) = port {
        addresses.iter_mut().for_each(|address| address.set_port(port));
    }
}

fn host_name(address: &EndpointAddress) -> String {
    match address.host() {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    }
}

fn host_header(address: &EndpointAddress, port: Option<u16>) -> Arc<str> {
    match (port, address.host()) {
        (None, _) => address.text(),
        (Some(port), Host::Ip(ip)) => SocketAddr::new(*ip, port).to_string().into(),
        (Some(port), Host::Name(name)) => format!("{name}:{port}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_changes_the_host_header_alone_in_its_port() {
        let check = |address: &str, port: Option<u16>, wanted: &str| {
            assert_eq!(&*host_header(&EndpointAddress::parse(address).unwrap(), port), wanted);
        };
        check("10.0.0.1:80", None, "10.0.0.1:80");
        check("10.0.0.1:80", Some(81), "10.0.0.1:81");
        check("[::1]:80", Some(81), "[::1]:81");
        check("orders.internal:80", Some(81), "orders.internal:81");
    }
}

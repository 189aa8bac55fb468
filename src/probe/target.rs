//! Where a probe goes: the endpoint itself, another port of it, or an address of the probe's own, whose name is kept resolved.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::address::{EndpointAddress, Host, Site};
use crate::cluster::Endpoint;
use crate::config::model::{self, Protocol, ProxyVersion};
use crate::health::check::ProbeSpec;
use crate::net::beginning::Beginning;
use crate::net::dial::{self, DialError};
use crate::net::proxy_header::Speaker;
use crate::net::resolve;
use crate::net::secure::speaks_http2;
use crate::net::socket::Socket;
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
    /// What is spoken.
    pub protocol: Protocol,
}

/// Where a probe goes. Thousands of probes have one, so what few of them need lies apart.
#[derive(Debug)]
pub(super) struct Target {
    /// The Host header of those requests that have no other.
    pub(super) host: Arc<str>,
    /// The address of ours that connections are made from.
    source: Option<Box<IpAddr>>,
    place: Place,
    /// TLS on the way there, and the host whose name a certificate must have.
    tls: Option<Box<(Arc<Towards>, Arc<str>)>>,
    /// The header that connections begin with.
    header: Option<ProxyVersion>,
    /// What http probes speak.
    protocol: Protocol,
}

#[derive(Debug)]
enum Place {
    /// Where the endpoint is, whose name others look up; on another port if there is one.
    Endpoint(Arc<Endpoint>, Option<u16>),
    Fixed(Box<[Site]>),
    Named(Box<Names>),
}

/// The addresses behind a name of the probe's own.
#[derive(Debug)]
struct Names {
    /// `None` until the first lookup has ended, and empty until one has succeeded.
    found: watch::Receiver<Option<Vec<Site>>>,
    /// Ends when dropped.
    _lookups: Owned,
}

impl Approach {
    /// That of a cluster.
    #[must_use]
    pub fn of(cluster: &model::Cluster) -> Self {
        let tls = cluster.tls.as_ref().map(|tls| Arc::clone(&tls.towards));
        Self { tls, proxy_protocol: cluster.proxy_protocol, protocol: cluster.protocol }
    }
}

impl Target {
    /// Where `spec` goes when it probes `endpoint`. A name of its own begins to be looked up.
    pub(super) fn of(spec: &ProbeSpec, endpoint: &Arc<Endpoint>) -> Self {
        let source = spec.source.map(Box::new);
        let Some(address) = &spec.address else {
            let host = host_header(&endpoint.address, spec.port);
            let place = Place::Endpoint(Arc::clone(endpoint), spec.port);
            return Self { host, source, place, tls: None, header: None, protocol: Protocol::Http1 };
        };
        let place = match address.site() {
            Some(site) => Place::Fixed(Box::new([site])),
            None => Place::Named(Box::new(Names::look_up(address.clone()))),
        };
        Self { host: address.authority(), source, place, tls: None, header: None, protocol: Protocol::Http1 }
    }

    /// The same for an endpoint that only has an address: its name is looked up now, once. Without an answer the target
    /// has no addresses.
    pub(super) async fn resolve(spec: &ProbeSpec, endpoint: &EndpointAddress) -> Self {
        let (address, host) = match &spec.address {
            Some(address) => (address, address.authority()),
            None => (endpoint, host_header(endpoint, spec.port)),
        };
        let mut found = resolve::look_up(address).await.unwrap_or_default();
        set_port(&mut found, spec.port.filter(|_| spec.address.is_none()));
        Self {
            host,
            source: spec.source.map(Box::new),
            place: Place::Fixed(found.into()),
            tls: None,
            header: None,
            protocol: Protocol::Http1,
        }
    }

    /// The same as the cluster's connections begin: over TLS, unless the probe wants none, and behind a header and in the cluster's
    /// protocol, unless it goes elsewhere than requests do: a management port knows nothing of the proxies in front of the
    /// service, and need not speak what that speaks; under TLS it may choose. `own` is the endpoint's own port.
    pub(super) fn approached(mut self, spec: &ProbeSpec, approach: &Approach, own: u16) -> Self {
        let host = match (&spec.address, &self.place) {
            (Some(address), _) => address.host().to_string(),
            (None, Place::Endpoint(endpoint, _)) => endpoint.address.host().to_string(),
            (None, Place::Fixed(_) | Place::Named(_)) => without_port(&self.host).to_owned(),
        };
        self.tls = approach.tls.as_ref().filter(|_| spec.tls).map(|tls| Box::new((Arc::clone(tls), host.into())));
        let elsewhere = spec.address.is_some() || spec.port.is_some_and(|port| port != own);
        self.header = approach.proxy_protocol.filter(|_| !elsewhere);
        self.protocol = if elsewhere && approach.protocol == Protocol::Http2 { Protocol::Auto } else { approach.protocol };
        self
    }

    /// A fresh connection, secured and behind a header where it should be, for what is spoken on it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn connect(&self, application: Application) -> Result<Stream, DialError> {
        let header = self.header.map(|version| (version, Speaker::Ourselves));
        let tls = self.tls.as_deref().map(|(tls, host)| (&**tls, &**host));
        Beginning { header, tls }.on(self.connect_plain().await?, application).await
    }

    /// A fresh connection for HTTP in the version that is spoken there, and whether that is HTTP/2.
    ///
    /// # Errors
    /// If there is none, or HTTP/2 must be spoken and the endpoint does not offer it.
    pub(super) async fn connect_http(&self) -> Result<(Stream, bool), DialError> {
        let stream = self.connect(self.protocol.application()).await?;
        let http2 = match (self.protocol, &self.tls) {
            (Protocol::Http1, _) | (Protocol::Auto, None) => false,
            (Protocol::Http2, None) => true,
            (Protocol::Auto | Protocol::Http2, Some(_)) => speaks_http2(&stream),
        };
        if self.protocol == Protocol::Http2 && !http2 {
            return Err(DialError::Tls("the endpoint does not offer HTTP/2".to_owned()));
        }
        Ok((stream, http2))
    }

    /// A fresh connection in the clear, whatever the endpoint speaks otherwise.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn connect_plain(&self) -> Result<Socket, DialError> {
        dial::reach(self.source.as_deref().copied(), &self.addresses()).await
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

    /// Whether there is anywhere to connect to.
    pub(super) fn is_known(&self) -> bool {
        match &self.place {
            // Another port leaves no place in the file system.
            Place::Endpoint(endpoint, None) => endpoint.is_resolved(),
            Place::Fixed(addresses) => !addresses.is_empty(),
            Place::Endpoint(_, Some(_)) | Place::Named(_) => !self.addresses().is_empty(),
        }
    }

    /// Where to connect to, in order; empty if the name does not resolve.
    pub(super) fn addresses(&self) -> Vec<Site> {
        match &self.place {
            Place::Endpoint(endpoint, port) => {
                let mut addresses = endpoint.addresses().to_vec();
                set_port(&mut addresses, *port);
                addresses
            }
            Place::Fixed(addresses) => addresses.to_vec(),
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
async fn keep_looked_up(address: EndpointAddress, tell: watch::Sender<Option<Vec<Site>>>) {
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

/// A socket in the file system has no other ports, so it leads nowhere then.
fn set_port(addresses: &mut Vec<Site>, port: Option<u16>) {
    let Some(port) = port else { return };
    addresses.retain_mut(|site| match site {
        Site::Ip(address) => {
            address.set_port(port);
            true
        }
        Site::Unix(_) => false,
    });
}

/// What stands for the endpoint in the path of a file. That of a socket in the file system is its path, less what would lead to
/// another folder.
pub(super) fn host_name(address: &EndpointAddress) -> String {
    match address.host() {
        Host::Unix(path) => path.path().to_string_lossy().trim_matches('/').replace('/', "-"),
        host => host.to_string(),
    }
}

fn host_header(address: &EndpointAddress, port: Option<u16>) -> Arc<str> {
    match (port, address.host()) {
        (None, _) | (_, Host::Unix(_)) => address.authority(),
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

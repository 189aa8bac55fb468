//! The settings of routes, as the request path uses them.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::base::units::Ratio;

/// A pattern for the request's host, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This very name.
    Exact(Arc<str>),
    /// `*.example.com`: any name that ends in `.example.com`; holds the part from the dot on.
    Suffix(Arc<str>),
}

/// What a request must be like. Within a list one must hold; all that are given must hold; nothing given matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// Hosts.
    pub hosts: Vec<HostPattern>,
    /// Whole paths.
    pub paths: Vec<Arc<str>>,
    /// Prefixes that end on a segment border: `/a` matches `/a` and `/a/b`, not `/ab`.
    pub path_prefixes: Vec<Arc<str>>,
    /// Methods.
    pub methods: Vec<Method>,
    /// Headers and the whole value that one of their lines must have.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Changes to one direction's headers: removals first, then settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderRules {
    /// Set to this value, whatever was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Taken away.
    pub remove: Vec<HeaderName>,
}

impl HeaderRules {
    /// Whether there is nothing to change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// What may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// The connection could not be made.
    pub connect: bool,
    /// It was reset or closed before an answer.
    pub reset: bool,
    /// It was recalled, since the endpoint went silent or sick.
    pub silence: bool,
}

/// When an exchange is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Tries in all, 1 to 10; 1 means no retry.
    pub attempts: u32,
    /// Until one try's head; none by default.
    pub per_try_timeout: Option<Duration>,
    /// Failures that are tried again.
    pub on: RetryOn,
    /// Statuses that are tried again, 400 to 599, in order.
    pub statuses: Vec<u16>,
    /// Retries over requests within 10 s, with a floor of 10 a second.
    pub budget: Ratio,
}

/// A cluster that requests go to, and its share of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub cluster: Arc<str>,
    /// Its share against the others', 0 to 1000.
    pub weight: u32,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It goes to one of these, not all of which weigh 0; mostly there is one.
    Forward(Vec<Share>),
    /// It is sent to the same place by https.
    RedirectToHttps {
        /// The port of ours on which https is spoken, where that is not the usual one.
        port: Option<u16>,
    },
}

impl Action {
    /// The action that sends everything to one cluster.
    #[must_use]
    pub fn to(cluster: &str) -> Self {
        Self::Forward(vec![Share { cluster: cluster.into(), weight: 1 }])
    }

    /// The clusters that requests go to.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        match self {
            Self::Forward(shares) => shares,
            Self::RedirectToHttps { .. } => &[],
        }
    }
}

/// Who of a cluster may get a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Whoever gets traffic.
    #[default]
    Any,
    /// The leader alone.
    Leader,
    /// Everybody but the leader.
    Replica,
}

impl Role {
    /// The name used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Leader => "leader",
            Self::Replica => "replica",
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutePolicy {
    /// Its name, the label in metrics.
    pub name: Arc<str>,
    /// Which requests.
    pub matches: Match,
    /// What becomes of them.
    pub action: Action,
    /// Who of the cluster may get them.
    pub role: Role,
    /// Until the answer's head, from the last byte of the request on.
    pub timeout: Option<Duration>,
    /// Between bytes of a body, either way.
    pub idle_timeout: Option<Duration>,
    /// Between bytes of a connection that has left HTTP behind, either way.
    pub upgrade_idle_timeout: Option<Duration>,
    /// Whether the matched prefix is taken off the path.
    pub strip_prefix: bool,
    /// Towards the endpoint.
    pub request_headers: HeaderRules,
    /// Towards the client.
    pub response_headers: HeaderRules,
    /// Tries.
    pub retries: RetryPolicy,
}

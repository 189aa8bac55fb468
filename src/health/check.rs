//! What a probe asks and how its answer is judged.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::base::address::EndpointAddress;
use crate::health::policy::Timing;

/// A range of statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status.
    pub low: u16,
    /// Highest status.
    pub high: u16,
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheck {
    /// Path and query.
    pub path: Arc<str>,
    /// The method, GET by default.
    pub method: Method,
    /// The Host header; the endpoint's address by default.
    pub host: Option<Arc<str>>,
    /// More headers.
    pub headers: HeaderMap,
    /// Statuses that pass.
    pub status: Vec<StatusRange>,
    /// Text that the body must contain.
    pub body_contains: Option<Arc<str>>,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// A request whose answer is judged.
    Http(HttpCheck),
    /// A connection that is accepted.
    Tcp,
}

/// One configured probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSpec {
    /// Its name, unique within the cluster.
    pub name: Arc<str>,
    /// What it does.
    pub check: Check,
    /// Another address than the endpoint's.
    pub address: Option<EndpointAddress>,
    /// Another port than the endpoint's; not beside `address`.
    pub port: Option<u16>,
    /// Its pace.
    pub timing: Timing,
}

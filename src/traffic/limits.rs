//! How much may go to a cluster at once, and how long what is too much may wait.
//!
//! An endpoint that is overrun answers nobody in time; one that gets what it can take answers most. What exceeds a limit
//! waits in a queue that is bounded in length and time, since an answer that comes after its client has left is waste.

use std::time::Duration;

/// The limits of one cluster, for the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to all of its endpoints, idle ones included; at least 1.
    pub connections: Option<u32>,
    /// Requests in flight; at least 1.
    pub requests: Option<u32>,
    /// Requests that wait; 0 means that none does.
    pub pending: u32,
    /// The longest that one waits.
    pub queue_timeout: Duration,
    /// Connections to one endpoint, idle ones included; at least 1.
    pub endpoint_connections: Option<u32>,
    /// Requests in flight at one endpoint; at least 1.
    pub endpoint_requests: Option<u32>,
    /// Whether endpoints may ask for a bound of their own, as agents do.
    pub asked: bool,
}

impl Limits {
    /// No limit; nobody waits.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            connections: None,
            requests: None,
            pending: 0,
            queue_timeout: Duration::ZERO,
            endpoint_connections: None,
            endpoint_requests: None,
            asked: false,
        }
    }

    /// Whether there is any limit.
    #[must_use]
    pub const fn are_any(&self) -> bool {
        self.requests.is_some() || self.are_of_endpoints() || self.are_of_connections()
    }

    /// Whether requests at one endpoint are limited, or may be.
    #[must_use]
    pub const fn are_of_endpoints(&self) -> bool {
        self.endpoint_requests.is_some() || self.asked
    }

    /// Requests in flight at an endpoint that asks for at most so many: the lower bound holds.
    #[must_use]
    pub fn at_endpoint(&self, asked: Option<u32>) -> Option<u32> {
        let asked = asked.filter(|_| self.asked);
        self.endpoint_requests.into_iter().chain(asked).min()
    }

    /// Whether connections are limited.
    #[must_use]
    pub const fn are_of_connections(&self) -> bool {
        self.connections.is_some() || self.endpoint_connections.is_some()
    }
}

/// A limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `connections`.
    Connections,
    /// `requests`.
    Requests,
    /// `pending`.
    Pending,
    /// `queue_timeout`.
    QueueTimeout,
    /// `endpoint_connections`.
    EndpointConnections,
    /// `endpoint_requests`.
    EndpointRequests,
}

impl Limit {
    /// Every limit, with its key.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Connections, "connections"),
        (Self::Requests, "requests"),
        (Self::Pending, "pending"),
        (Self::QueueTimeout, "queue_timeout"),
        (Self::EndpointConnections, "endpoint_connections"),
        (Self::EndpointRequests, "endpoint_requests"),
    ];

    /// Its key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

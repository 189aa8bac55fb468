//! The access log as the request path sees it: a line's worth of facts, and a bounded queue that is never waited for.
//!
//! A log that is written by whoever serves stops serving when its disk or its reader stops. Here a worker hands over what it
//! has at hand, without writing a byte or waking a thread; what finds no place is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

use crate::base::time::WallTime;
use crate::traffic::added::{Added, REQUEST_ID, TRACEPARENT};

/// So many lines may wait to be written.
const WAITING: usize = 16_384;

/// What a line says of one exchange.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at: WallTime,
    /// Its address, if it has one.
    pub(crate) client: Option<HeaderValue>,
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) listener: Arc<str>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) cluster: Option<Arc<str>>,
    /// Whose answer was passed on.
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) status: u16,
    /// The Proxy-Status error, if the answer is ours.
    pub(crate) error: Option<&'static str>,
    /// Of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
    pub(crate) attempts: usize,
}

impl Record {
    /// What the head of a request says.
    pub(crate) fn begin(request: &Parts, client: Option<HeaderValue>, listener: &Arc<str>, at: WallTime) -> Box<Self> {
        let header = |name: HeaderName| request.headers.get(name).cloned();
        Box::new(Self {
            at,
            client,
            method: request.method.clone(),
            target: request.uri.clone(),
            version: request.version,
            host: header(header::HOST),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            request_id: None,
            traceparent: None,
            listener: Arc::clone(listener),
            route: None,
            cluster: None,
            endpoint: None,
            status: 0,
            error: None,
            bytes: 0,
            duration: Duration::ZERO,
            attempts: 0,
        })
    }

    /// The request goes to an endpoint with these headers; the ids in them, or beside them, were kept or made.
    pub(crate) fn sent(&mut self, headers: &HeaderMap, added: Option<&Added>) {
        let header = |name| headers.get(name).cloned();
        self.request_id = added.map_or_else(|| header(&REQUEST_ID), |added| Some(added.ids.request_id()));
        self.traceparent = added.map_or_else(|| header(&TRACEPARENT), |added| Some(added.ids.traceparent()));
    }
}

/// The workers' end of the queue.
#[derive(Debug)]
pub struct AccessLog {
    enabled: AtomicBool,
    queue: SyncSender<Box<Record>>,
}

/// The other end.
pub(super) type Records = Receiver<Box<Record>>;

impl AccessLog {
    /// A log that nobody writes as yet, and what would be written.
    pub(super) fn queue() -> (Self, Records) {
        let (queue, records) = sync_channel(WAITING);
        (Self { enabled: AtomicBool::new(false), queue }, records)
    }

    /// A log that is never written.
    #[must_use]
    pub fn off() -> Self {
        Self::queue().0
    }

    /// Whether anybody writes.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    pub(super) fn turn(&self, on: bool) {
        self.enabled.store(on, Relaxed);
    }

    /// Hands a record over; false if there is no room.
    pub(crate) fn offer(&self, record: Box<Record>) -> bool {
        self.queue.try_send(record).is_ok()
    }
}

//! One request and its answer: admit, route, then pick and try until there is an answer to pass on.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::base::time::Timestamp;
use crate::cluster::{Endpoint, RetryResult, Route, Target, Token};
use crate::http1::{self, RequestHead};
use crate::proxy::admission::{Admitted, Way, admit, wanted_protocol};
use crate::proxy::answer::Local;
use crate::proxy::attempt::{self, Answer, Head};
use crate::proxy::body::AnswerBody;
use crate::proxy::context::Context;
use crate::proxy::downstream::Downstream;
use crate::proxy::failure::{self, Failure};
use crate::proxy::ledger::Ledger;
use crate::proxy::place::{Place, Ticket};
use crate::proxy::queue::Waiter;
use crate::proxy::source::{Fault, RequestBody, Source};
use crate::proxy::tunnel::Tunnel;
use crate::proxy::upstream::Upstream;
use crate::proxy::view::{ClusterView, Picked, Roster, Tried, Wish};
use crate::proxy::worker::Worker;
use crate::runtime::{clock, timer};
use crate::traffic::added::{Added, REQUEST_ID};
use crate::traffic::limits::Limit;
use crate::traffic::policy::Role;
use crate::traffic::retry::{self, Ending};
use crate::traffic::{budget, forward, grpc};

/// How long an exchange waits that has lost its leave to open a connection to somebody else.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One exchange on its way through attempts.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    context: &'a Rc<Context>,
    route: &'a Route,
    target: &'a Target,
    wish: Wish,
    head: &'a mut Parts,
    /// What endpoints get beside its headers.
    added: Option<Added>,
    source: Option<Rc<Source>>,
    started: Timestamp,
    pub(crate) idempotent: bool,
    pub(crate) sent: Cell<bool>,
    /// Whether the client wants to speak another protocol from here on.
    pub(crate) upgrades: bool,
    tried: Vec<Tried>,
    /// The endpoint of the latest try.
    picked: Option<Picked>,
}

/// Serves one request.
///
/// Not an `async fn`: that keeps its arguments twice, and what this gives is copied whole for every request.
pub(crate) fn serve(
    worker: Rc<Worker>,
    context: Rc<Context>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> {
    let (mut parts, incoming) = request.into_parts();
    let is_last = ends_connection(&parts);
    if is_last && incoming.is_end_stream() {
        // Before anybody reads on.
        context.activity.have_patience();
    }
    async move {
        let started = clock::now();
        context.activity.busy(started);
        let sight = worker.sight(&context.door);
        let mut ledger = Ledger::open(Rc::clone(&worker), Rc::clone(&context), sight.clone(), started);
        let is_head = parts.method == Method::HEAD;
        if is_last {
            context.activity.make_last();
        }
        ledger.asked(&parts);
        let protocol = wanted_protocol(&parts, &incoming);
        let (mut exchange, cluster, roster) = match admit(&worker, &context, &sight, &mut parts, &mut ledger) {
            Ok(Admitted { way, cluster, roster, added }) => {
                let exchange = Exchange::new((&worker, &context), way, &mut parts, added, (protocol, incoming), started);
                (exchange, cluster, roster)
            }
            Err(local) => {
                let unread = !incoming.is_end_stream();
                context.activity.leave_unread(unread);
                let local = if unread && parts.headers.contains_key(EXPECT) { local.closing() } else { local };
                return Ok(own(ledger, &local, (&parts.headers, None), is_head));
            }
        };
        let outcome = exchange.run(cluster, roster, &mut ledger).await;
        exchange.note_unread();
        ledger.tried(exchange.tried.len(), outcome.as_ref().ok().map(|answer| &*answer.lease.upstream().endpoint));
        Ok(match outcome {
            Ok(answer) => exchange.relay(answer, ledger),
            Err(local) => {
                let local = if exchange.holds_body_back() { local.closing() } else { local };
                own(ledger, &local, (&exchange.head.headers, exchange.added.as_ref()), is_head)
            }
        })
    }
}

/// An answer of our own.
fn own(mut ledger: Ledger, local: &Local, (headers, added): (&HeaderMap, Option<&Added>), is_head: bool) -> Response<AnswerBody> {
    if local.token.is_some() && grpc::is_grpc(headers) {
        let mut response = local.to_grpc();
        ledger.answered(response.status().as_u16(), local.token);
        close_if_leaving(ledger.context(), &mut response);
        return response.map(|()| AnswerBody::bare(ledger));
    }
    let made = added.map(|added| added.ids.request_id());
    let (mut response, bytes) = local.response(made.as_ref().or_else(|| headers.get(&REQUEST_ID)));
    ledger.answered(local.status.as_u16(), local.token);
    close_if_leaving(ledger.context(), &mut response);
    if is_head {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        return response.map(|()| AnswerBody::described(ledger));
    }
    response.map(|()| AnswerBody::own(bytes, ledger))
}

/// Whether the client wants the connection to end with its answer (RFC 9112, section 9.3). One of HTTP/1.0 that says anything
/// about it may want it to stay.
fn ends_connection(request: &Parts) -> bool {
    let mut said = request.headers.get_all(CONNECTION).iter();
    match request.version {
        Version::HTTP_11 => said.any(|value| {
            let named = |token: &str| token.trim().eq_ignore_ascii_case("close");
            value.to_str().is_ok_and(|text| text.split(',').any(named))
        }),
        Version::HTTP_10 => said.next().is_none(),
        _ => false,
    }
}

fn close_if_leaving<B>(context: &Context, response: &mut Response<B>) {
    if context.door.is_closing() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl<'a> Exchange<'a> {
    fn new(
        (worker, context): (&'a Rc<Worker>, &'a Rc<Context>),
        Way { route, target, wish }: Way<'a>,
        head: &'a mut Parts,
        added: Option<Added>,
        (protocol, incoming): (Option<HeaderValue>, Incoming),
        started: Timestamp,
    ) -> Self {
        // Nothing else leaves this header in.
        let upgrades = protocol.is_some();
        if let Some(protocol) = protocol {
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, protocol);
        }
        let source = (!incoming.is_end_stream()).then(|| {
            let expects = head.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
            Rc::new(Source::new((incoming, head.version), expects, route.policy.idle_timeout, started))
        });
        context.activity.serve_version(head.version);
        head.version = Version::HTTP_11;
        context.activity.body_limit.set(route.policy.idle_timeout);
        let idempotent = retry::is_idempotent(&head.method);
        let (sent, tried) = (Cell::new(false), Vec::new());
        Self {
            worker,
            context,
            route,
            target,
            wish,
            head,
            added,
            source,
            started,
            idempotent,
            sent,
            upgrades,
            tried,
            picked: None,
        }
    }

    /// Picks and tries until there is an answer to pass on, or nothing more to try.
    async fn run(
        &mut self,
        cluster: &Rc<ClusterView>,
        mut roster: Rc<Roster>,
        ledger: &mut Ledger,
    ) -> Result<Box<Answer>, Local> {
        self.cells().recent_requests.inc(self.started);
        let mut last_answer = None;
        let mut again_until = None;
        let mut now = self.started;
        loop {
            let (picked, place) = match self.seat((cluster, &roster), ledger, now, last_answer.is_none()).await {
                Some(Ok(seat)) => seat,
                Some(Err(limit)) => return last_answer.ok_or_else(|| self.turned_away(cluster, limit, ledger)),
                None => return last_answer.ok_or_else(|| self.nobody(cluster)),
            };
            if picked.roster.snapshot.limits.are_any() {
                // It may have waited for its place, which is nobody's fault but ours.
                now = clock::now();
            }
            self.tried.push(picked.tried());
            let tried = attempt::run(self, place, &picked.roster.snapshot, now).await;
            if let Err(Failure::Limit(limit)) = tried {
                self.tried.pop();
                if !self.may_look_again(&mut again_until, picked.roster.snapshot.limits.queue_timeout).await {
                    return last_answer.ok_or_else(|| self.turned_away(cluster, limit, ledger));
                }
                roster = cluster.roster(self.worker);
                continue;
            }
            let ended = tried.and_then(|answer| self.check_answer(answer));
            match &ended {
                Ok(answer) => cluster.settle(&picked, now, answer.head.status.is_server_error()),
                Err(failure) if failure.blames_endpoint() => {
                    cluster.settle(&picked, now, true);
                    self.note(&picked.upstream, failure, now);
                }
                Err(_) => {}
            }
            let again = self.is_tried_again(&ended, ledger);
            match ended {
                Ok(answer) => {
                    self.picked = Some(picked);
                    if !again {
                        return Ok(answer);
                    }
                    last_answer = Some(answer);
                }
                Err(_) if again => {}
                Err(failure) => return last_answer.ok_or_else(|| failure.answer()),
            }
            now = clock::now();
            roster = cluster.roster(self.worker);
        }
    }

    /// A place at an endpoint, waited for if a limit has been met and `may_wait`; `None` if nobody gets traffic.
    async fn seat(
        &self,
        (cluster, roster): (&Rc<ClusterView>, &Rc<Roster>),
        ledger: &mut Ledger,
        now: Timestamp,
        may_wait: bool,
    ) -> Option<Result<(Picked, Place), Limit>> {
        let limits = roster.snapshot.limits;
        if !limits.are_any() {
            return cluster.seat((self.worker, roster), &self.wish, &self.tried, now);
        }
        let mut look = || {
            if let Some(limit) = limits.requests.filter(|_| !ledger.has_ticket()) {
                match Ticket::take(cluster, limit) {
                    Ok(ticket) => ledger.hold(ticket),
                    Err(limit) => return Some(Err(limit)),
                }
            }
            cluster.seat((self.worker, &cluster.roster(self.worker)), &self.wish, &self.tried, clock::now())
        };
        let met = match look() {
            Some(Err(met)) if may_wait => met,
            other => return other,
        };
        let until = clock::now() + limits.queue_timeout;
        let waiter = match Waiter::queue(cluster, limits, met, until.min(self.due(self.started))) {
            Ok(waiter) => waiter,
            Err(limit) => return Some(Err(limit)),
        };
        // An endpoint may also leave while one waits for it.
        let found = waiter.wait(self.worker, || match look() {
            Some(Err(_)) => None,
            seat_or_nobody => Some(seat_or_nobody),
        });
        Box::pin(found).await.unwrap_or_else(|limit| Some(Err(limit)))
    }

    /// The leave to open a connection was gone again when it was needed: waits a moment, unless that has gone on too long.
    async fn may_look_again(&self, until: &mut Option<Timestamp>, limit: Duration) -> bool {
        let now = clock::now();
        let until = *until.get_or_insert(now + limit);
        let may = now < until;
        if may {
            timer::sleep(LOOK_AGAIN).await;
        }
        may
    }

    /// A limit has been met.
    fn turned_away(&self, cluster: &ClusterView, limit: Limit, ledger: &Ledger) -> Local {
        ledger.rejected(limit);
        failure::limit_reached(limit, Some(&cluster.roster(self.worker).snapshot.limits))
    }

    /// Refuses an answer that ends HTTP on its connection, if nobody asked for that.
    fn check_answer(&self, answer: Box<Answer>) -> Result<Box<Answer>, Failure> {
        let unasked = answer.head.status == StatusCode::SWITCHING_PROTOCOLS && !self.upgrades;
        if unasked { Err(Failure::Upgrade) } else { Ok(answer) }
    }

    /// Counts a failure and tells control of what it wants to know.
    fn note(&self, upstream: &Rc<Upstream>, failure: &Failure, begun: Timestamp) {
        let endpoint = &upstream.endpoint;
        tracing::debug!(cluster = &*endpoint.cluster, endpoint = endpoint.address.as_str(), "an attempt failed: {failure}");
        let now = clock::now();
        upstream.failed(failure, self.sent.get(), begun, now);
        match failure {
            Failure::Dial(crate::net::dial::DialError::Refused) => upstream.report_refused(&self.worker.reporter, now),
            Failure::Reset(_) | Failure::Dial(_) | Failure::Protocol(_) => upstream.report_reset(&self.worker.reporter, now),
            _ => {}
        }
    }

    /// Whether policy, method and budget allow another try after this one.
    fn is_tried_again(&self, ended: &Result<Box<Answer>, Failure>, ledger: &Ledger) -> bool {
        let ending = match ended {
            Ok(answer) => Some(Ending::Status {
                status: answer.head.status.as_u16(),
                retry_after: answer.head.headers.contains_key(RETRY_AFTER),
            }),
            Err(failure) => failure.ending(),
        };
        // A recall has been judged and paid for before it was heeded.
        let again = matches!(ended, Err(Failure::Recalled | Failure::Overdue))
            || ending.is_some_and(|ending| self.is_affordable(ending, Some(ledger)));
        if self.tried.len() > 1 && !again {
            let success = matches!(ended, Ok(answer) if answer.head.status.as_u16() < 500);
            ledger.retried(if success { RetryResult::Success } else { RetryResult::Failure });
        }
        again
    }

    /// Whether the exchange may leave an endpoint that it waits for.
    pub(crate) fn may_leave(&self) -> bool {
        self.is_affordable(Ending::Silence, None)
    }

    fn is_affordable(&self, ending: Ending, ledger: Option<&Ledger>) -> bool {
        let policy = &self.route.policy.retries;
        let so_far = retry::Exchange {
            tries: u32::try_from(self.tried.len()).unwrap_or(u32::MAX),
            idempotent: self.idempotent,
            body_begun: self.source.as_ref().is_some_and(|source| source.begun()),
            sent: self.sent.get(),
        };
        if !retry::may_retry(policy, so_far, ending) {
            return false;
        }
        let now = clock::now();
        let cells = &self.target.cells;
        let requests = cells.iter().map(|worker| worker.recent_requests.sum(now)).sum();
        let retries = cells.iter().map(|worker| worker.recent_retries.sum(now)).sum();
        let allowed = budget::allows(requests, retries, policy.budget);
        if allowed {
            self.cells().recent_retries.inc(now);
        } else if let Some(ledger) = ledger {
            ledger.retried(RetryResult::Budget);
        }
        allowed
    }

    fn cells(&self) -> &crate::cluster::RouteCells {
        &self.target.cells[self.worker.index]
    }

    /// Nobody gets traffic.
    fn nobody(&self, cluster: &ClusterView) -> Local {
        let roster = cluster.roster(self.worker);
        let name = &cluster.cluster.name;
        let leadership = roster.snapshot.leadership.as_ref();
        match self.route.policy.role {
            Role::Leader => return failure::no_leader(name, leadership.and_then(|known| known.reason.as_ref())),
            Role::Replica if leadership.is_some_and(|known| known.leader.is_some()) => return failure::no_replica(name),
            Role::Any | Role::Replica => {}
        }
        let detail = format!(
            "no endpoint of cluster {} is available (0 of {}); health.panic decides whether sick ones are let in",
            name,
            roster.snapshot.endpoints.len()
        );
        Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, detail).retry_later()
    }

    /// A new try begins.
    pub(crate) fn begin_try(&self, now: Timestamp) {
        self.sent.set(false);
        self.context.deadline.set(self.due(now));
    }

    /// The answer's head is there; from now on its body must keep moving.
    pub(crate) fn end_wait(&self, now: Timestamp) {
        self.context.deadline.set(self.route.policy.idle_timeout.map_or(Timestamp::NEVER, |limit| now + limit));
        if let Some(gate) = self.source.as_ref().and_then(|source| source.gate()) {
            gate.open();
        }
    }

    /// Has the request's head written as it is sent to an endpoint.
    pub(crate) fn with_head<T>(&self, endpoint: &Endpoint, write: impl FnOnce(RequestHead<'_>) -> T) -> T {
        let mut more = self.worker.lines.take();
        more.clear();
        if let Some(added) = &self.added {
            added.write(&self.context.client, &mut more);
        }
        let written = write(RequestHead {
            method: &self.head.method,
            target: self.head.uri.path_and_query().map_or("/", |target| target.as_str()),
            headers: &self.head.headers,
            more: &more,
            // HTTP/1.0 may come without one; HTTP/1.1 may not.
            host: Some(endpoint.address.as_str()),
            title_case: false,
        });
        self.worker.lines.replace(more);
        written
    }

    /// The request as HTTP/2 carries it: the target is whole, and nothing in it concerns a connection.
    pub(crate) fn request(&self, endpoint: &Endpoint, secure: bool) -> Request<RequestBody> {
        let mut request = Request::new(self.request_body());
        *request.method_mut() = self.head.method.clone();
        *request.headers_mut() = self.head.headers.clone();
        let headers = request.headers_mut();
        if let Some(added) = self.added.clone() {
            added.insert(&self.context.client, headers);
        }
        for name in [CONNECTION, TRANSFER_ENCODING, EXPECT] {
            headers.remove(name);
        }
        let host = headers.remove(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let authority = host.or_else(|| Authority::try_from(endpoint.address.as_str()).ok());
        let mut target = self.head.uri.clone().into_parts();
        if let Some(authority) = authority {
            target.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
            target.authority = Some(authority);
        }
        *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
        // An interim answer would not be heard on the way back, so the client is not kept waiting for one.
        self.interim(StatusCode::CONTINUE);
        request
    }

    /// Whether any of the request's body has been read.
    pub(crate) fn has_body_begun(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.begun())
    }

    /// The request's body for the next attempt.
    pub(crate) fn request_body(&self) -> RequestBody {
        self.source.as_ref().map_or_else(RequestBody::empty, Source::for_attempt)
    }

    /// An interim answer has come.
    pub(crate) fn interim(&self, status: StatusCode) {
        if status == StatusCode::CONTINUE
            && let Some(gate) = self.source.as_ref().and_then(|source| source.gate())
        {
            gate.open();
        }
    }

    /// The client's body, if there is one.
    pub(crate) const fn source(&self) -> Option<&Rc<Source>> {
        self.source.as_ref()
    }

    /// How long a body may stand still.
    pub(crate) const fn idle_timeout(&self) -> Option<Duration> {
        self.route.policy.idle_timeout
    }

    /// The client's connection.
    pub(crate) fn downstream(&self) -> &Rc<Downstream> {
        &self.context.downstream
    }

    /// What went wrong with the client's body, if anything did.
    pub(crate) fn body_fault(&self) -> Option<Fault> {
        self.source.as_ref().and_then(|source| source.fault())
    }

    /// When waiting ends: a body that is still on its way postpones it.
    fn due(&self, try_started: Timestamp) -> Timestamp {
        let moved = self.source.as_ref().map_or(Timestamp::ZERO, |source| source.progress());
        let whole = self.route.policy.timeout.map_or(Timestamp::NEVER, |limit| self.started.max(moved) + limit);
        let one = self.route.policy.retries.per_try_timeout.map_or(Timestamp::NEVER, |limit| try_started.max(moved) + limit);
        whole.min(one)
    }

    /// Ready when the try, or the exchange, has taken too long.
    pub(crate) fn poll_deadline(&self, try_started: Timestamp, cx: &mut TaskContext<'_>) -> Poll<Failure> {
        let deadline = &self.context.deadline;
        while deadline.poll_reached(cx).is_ready() {
            let due = self.due(try_started);
            if due <= clock::now() {
                return Poll::Ready(self.overdue(due));
            }
            deadline.set(due);
        }
        Poll::Pending
    }

    fn overdue(&self, due: Timestamp) -> Failure {
        let moved = self.source.as_ref().map_or(Timestamp::ZERO, |source| source.progress());
        match (self.route.policy.timeout, self.route.policy.retries.per_try_timeout) {
            (Some(limit), _) if self.started.max(moved) + limit <= due => Failure::Timeout(limit),
            (_, Some(limit)) => Failure::TryTimeout(limit),
            (limit, None) => Failure::Timeout(limit.unwrap_or_default()),
        }
    }

    /// Whether the client may never send the body that it asked about: the next request could not be told from it.
    fn holds_body_back(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.gate().is_some() && !source.begun())
    }

    /// A client that is still sending must be let finish before its connection is closed.
    fn note_unread(&self) {
        let unread = self.source.as_ref().is_some_and(|source| !source.ended());
        self.context.activity.leave_unread(unread);
    }

    /// Passes on that another protocol is spoken from here on. Its bytes are the connection's.
    fn switch(&self, answer: Answer, mut ledger: Ledger) -> Response<AnswerBody> {
        let Answer { head: Head { status, mut headers, .. }, inflow, lease, .. } = answer;
        ledger.answered(status.as_u16(), None);
        let protocol = headers.remove(UPGRADE);
        drop(forward::response(&mut headers));
        forward::apply(&self.route.policy.response_headers, &mut headers);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            headers.insert(UPGRADE, protocol);
        }
        if let Some((stream, first)) = inflow.into_stream() {
            let tunnel = Tunnel::new(stream, first, self.route.policy.upgrade_idle_timeout, lease);
            self.context.activity.leave_http(tunnel);
        }
        let mut response = Response::new(AnswerBody::bare(ledger));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Passes an endpoint's answer on.
    fn relay(&mut self, mut answer: Box<Answer>, mut ledger: Ledger) -> Response<AnswerBody> {
        if answer.head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(*answer, ledger);
        }
        let (status, mut headers, reason) = answer.head.take();
        ledger.answered(status.as_u16(), None);
        if let Some(report) = forward::response(&mut headers) {
            answer.lease.upstream().report_load(&self.worker.reporter, &report, clock::now());
        }
        if status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        }
        if self.holds_body_back() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        forward::apply(&self.route.policy.response_headers, &mut headers);
        if let Some(cookie) =
            self.picked.as_ref().and_then(|picked| picked.roster.cookie(&self.wish, picked.number, self.context.client.secure))
        {
            headers.append(SET_COOKIE, cookie);
        }
        let described = status == StatusCode::NOT_MODIFIED && headers.contains_key(CONTENT_LENGTH);
        let mut response = Response::new(AnswerBody::relayed(answer, ledger, described));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        close_if_leaving(self.context, &mut response);
        http1::recycle(std::mem::take(&mut self.head.headers));
        response
    }
}

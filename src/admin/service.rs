//! From a request to its answer: who asks, what for, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::answer::{self, Answer, Problem};
use super::guard::{self, Denied};
use super::metrics::{self, Exposition};
use super::router::{self, Action, EndpointPath, Order, Refusal, Surface};
use super::shape::{self, Explanation, Fleet, Status};
use super::{INDEX, events};
use crate::base::units::parse_duration;
use crate::cluster::Endpoint;
use crate::cluster::readiness::{self, Readiness};
use crate::config::to_json;
use crate::control::{Handle, NotFound, ReloadOutcome};
use crate::health::signal::OperatorState;

/// Largest body of a request, in bytes.
const BODY_BYTES: usize = 64 * 1024;

/// For a request's whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What answers every request of both listeners.
#[derive(Debug)]
pub(super) struct Service {
    handle: Handle,
    exposition: Exposition,
    readers: Arc<Semaphore>,
}

impl Service {
    /// A service over the live process.
    ///
    /// # Errors
    /// If two metrics have the same name; a bug.
    pub(super) fn new(handle: Handle) -> prometheus::Result<Self> {
        let exposition = Exposition::new(&handle)?;
        Ok(Self { handle, exposition, readers: Arc::new(Semaphore::new(events::READERS)) })
    }

    /// Answers one request.
    pub(super) async fn answer<B>(&self, surface: Surface, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let action = match self.admit(surface, &parts) {
            Ok(Ok(action)) => action,
            Ok(Err(refusal)) => return answer::refused(&refusal),
            Err(denied) => return answer::denied(denied),
        };
        // Nobody but POST has anything to say in a body, and only an order does.
        let body = if parts.method == Method::POST { read(body).await } else { Ok(Bytes::new()) };
        match body {
            Ok(body) => self.act(action, &parts, &body).await.unwrap_or_else(Answer::from),
            Err(problem) => problem.into(),
        }
    }

    /// Whether the request may be answered at all, and what it asks for.
    fn admit(&self, surface: Surface, parts: &Parts) -> Result<Result<Action, Refusal>, Denied> {
        let action = router::route(surface, &parts.method, parts.uri.path(), parts.uri.query());
        if surface == Surface::Metrics {
            return Ok(action);
        }
        let config = self.handle.config();
        guard::check_source(&parts.method, &parts.uri, parts.version, &parts.headers, |name| guard::is_routed(&config, name))?;
        match &config.admin.token {
            Some(token) if !matches!(action, Ok(Action::Live | Action::Ready(_))) => guard::check_token(token, &parts.headers)?,
            _ => {}
        }
        Ok(action)
    }

    async fn act(&self, action: Action, parts: &Parts, body: &[u8]) -> Result<Answer, Problem> {
        Ok(match action {
            Action::Index => answer::text(INDEX),
            Action::Live => answer::text("alive\n"),
            Action::Ready(cluster) => self.ready(cluster.as_deref())?,
            Action::Metrics => match self.exposition.render() {
                Ok(page) => answer::page(metrics::CONTENT_TYPE, page),
                Err(error) => return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
            },
            Action::Status => answer::json(StatusCode::OK, &Status::of(self.handle.live())),
            Action::Explain(path) => self.explain(&path).await?,
            Action::Events => {
                let last = events::last_seen(&parts.headers).map_err(bad_request)?;
                events::stream(self.handle.events(), last, &self.readers)?
            }
            Action::Config => answer::json(StatusCode::OK, &to_json(&self.handle.config())),
            Action::Fleet => answer::json(StatusCode::OK, &self.fleet()?),
            Action::Operate(path, state, order) => self.operate(&path, state, order, body).await?,
            Action::OperateAll(cluster, state, order) => self.operate_all(&cluster, state, order, body).await?,
            Action::Freeze(cluster, frozen) => self.freeze(&cluster, frozen).await?,
            Action::Reload { dry_run } => self.reload(dry_run).await,
            Action::Drain => {
                self.handle.drain();
                answer::json(StatusCode::ACCEPTED, &json!({ "phase": self.handle.live().phase().as_str() }))
            }
        })
    }

    fn fleet(&self) -> Result<Fleet, Problem> {
        let missing = || Problem::new(StatusCode::NOT_FOUND, "the configuration has no fleet");
        self.handle.fleet().map(|fleet| Fleet::of(&fleet)).ok_or_else(missing)
    }

    fn ready(&self, cluster: Option<&str>) -> Result<Answer, Problem> {
        match readiness::of(self.handle.live(), cluster) {
            Readiness::Ready => Ok(answer::text("ready\n")),
            Readiness::NotReady(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)),
            Readiness::NoCluster => Err(not_found(&NotFound::Cluster(cluster.unwrap_or_default().to_owned()))),
        }
    }

    fn find(&self, path: &EndpointPath) -> Result<Arc<Endpoint>, Problem> {
        let world = self.handle.live().world().load();
        let cluster = world.cluster(&path.cluster).ok_or_else(|| not_found(&NotFound::Cluster(path.cluster.clone())))?;
        let snapshot = cluster.snapshot().load();
        let endpoint = snapshot.endpoints.iter().find(|endpoint| endpoint.address.as_str() == path.endpoint);
        endpoint.cloned().ok_or_else(|| not_found(&NotFound::Endpoint(path.endpoint.clone())))
    }

    async fn explain(&self, path: &EndpointPath) -> Result<Answer, Problem> {
        let endpoint = self.find(path)?;
        // Without control there is no history, but the verdict in force can still be told.
        let history = self.handle.history(&path.cluster, &path.endpoint).await.unwrap_or_default();
        Ok(answer::json(StatusCode::OK, &Explanation::of(&endpoint, &history)))
    }

    async fn operate(&self, path: &EndpointPath, state: OperatorState, order: Order, body: &[u8]) -> Result<Answer, Problem> {
        let order = complete(order, body).map_err(bad_request)?;
        let span = span(&order).map_err(bad_request)?;
        let done = self.handle.operate(&path.cluster, Some(&path.endpoint), state, span, order.reason).await;
        done.map_err(|missing| not_found(&missing))?;
        let endpoint = self.find(path)?;
        Ok(answer::json(StatusCode::OK, &shape::Endpoint::of(&endpoint, &endpoint.view())))
    }

    async fn operate_all(&self, cluster: &str, state: OperatorState, order: Order, body: &[u8]) -> Result<Answer, Problem> {
        let order = complete(order, body).map_err(bad_request)?;
        let span = span(&order).map_err(bad_request)?;
        self.handle.operate(cluster, None, state, span, order.reason).await.map_err(|missing| not_found(&missing))?;
        let world = self.handle.live().world().load();
        let cluster = world.cluster(cluster).ok_or_else(|| not_found(&NotFound::Cluster(cluster.to_owned())))?;
        Ok(answer::json(StatusCode::OK, &shape::Cluster::of(cluster)))
    }

    async fn freeze(&self, cluster: &str, frozen: bool) -> Result<Answer, Problem> {
        let done = if frozen { self.handle.freeze(cluster).await } else { self.handle.thaw(cluster).await };
        done.map_err(|missing| not_found(&missing))?;
        Ok(answer::json(StatusCode::OK, &json!({ "cluster": cluster, "frozen": frozen })))
    }

    async fn reload(&self, dry_run: bool) -> Answer {
        let outcome = if dry_run { self.handle.reload_dry_run().await } else { self.handle.reload().await };
        match outcome {
            ReloadOutcome::Applied { changes } => answer::json(StatusCode::OK, &json!({ "changes": changes })),
            ReloadOutcome::Refused { problems } => {
                let more: Value = json!({ "problems": problems });
                answer::problem_with(StatusCode::UNPROCESSABLE_ENTITY, "nothing was changed; problems says why", more)
            }
        }
    }
}

fn bad_request(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn not_found(missing: &NotFound) -> Problem {
    let status = match missing {
        NotFound::Cluster(_) | NotFound::Endpoint(_) => StatusCode::NOT_FOUND,
        NotFound::Control => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, missing.to_string())
}

/// Reads a body whole, within bounds of size and time.
async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BODY_BYTES} bytes")))
        }
        Ok(Err(error)) => Err(bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// What an order says in query and body together. What stands in both must be said once.
fn complete(order: Order, body: &[u8]) -> Result<Order, String> {
    if body.trim_ascii().is_empty() {
        return Ok(order);
    }
    let more: Order = serde_json::from_slice(body).map_err(|error| format!("the body is no order: {error}"))?;
    if (order.span.is_some() && more.span.is_some()) || (order.reason.is_some() && more.reason.is_some()) {
        return Err("for and reason stand in the query or in the body, not in both".to_owned());
    }
    Ok(Order { span: order.span.or(more.span), reason: order.reason.or(more.reason) })
}

/// How long an order holds; `None` is until further notice.
fn span(order: &Order) -> Result<Option<Duration>, String> {
    let Some(text) = &order.span else { return Ok(None) };
    match parse_duration(text) {
        Ok(span) if span.is_zero() => Err("\"for\" is more than nothing".to_owned()),
        Ok(span) => Ok(Some(span)),
        Err(error) => Err(format!("\"for\" is {error}, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(span: Option<&str>, reason: Option<&str>) -> Order {
        Order { span: span.map(str::to_owned), reason: reason.map(str::to_owned) }
    }

    #[test]
    fn an_order_is_read_from_query_and_body() {
        let full = order(Some("10m"), Some("new disk"));
        assert_eq!(complete(Order::default(), br#"{"for":"10m","reason":"new disk"}"#), Ok(full.clone()));
        assert_eq!(complete(order(Some("10m"), None), br#"{"reason":"new disk"}"#), Ok(full.clone()));
        assert_eq!(complete(full.clone(), b" \n"), Ok(full.clone()));
        assert_eq!(complete(full, b"{}"), Ok(order(Some("10m"), Some("new disk"))));
        for wrong in ["x", "[]", "\"10m\"", r#"{"fro":"10m"}"#, r#"{"for":10}"#, r#"{"for":"10m"} x"#] {
            assert!(complete(Order::default(), wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(complete(order(Some("10m"), None), br#"{"for":"10m"}"#).is_err());
    }

    #[test]
    fn the_span_of_an_order_is_more_than_nothing() {
        let check = |text: &str| span(&order(Some(text), None));
        assert_eq!(check("10m"), Ok(Some(Duration::from_secs(600))));
        assert_eq!(check("1.5s"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(span(&Order::default()), Ok(None));
        for wrong in ["", "10", "0s", "-1m", "tomorrow"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}

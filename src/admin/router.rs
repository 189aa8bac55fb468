//! From method, path and query to what is asked for. Pure: who may ask, and doing it, come elsewhere.
//!
//! Whatever changes something is asked for by POST alone, so that no link, image or prefetch can do it. A POST is read
//! strictly: a misspelt `dry_run` must not turn a rehearsal into the real thing.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::health::signal::OperatorState;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// The list of paths.
    Index,
    /// Whether the process lives.
    Live,
    /// Whether it serves, or whether this cluster can.
    Ready(Option<String>),
    /// The metrics page.
    Metrics,
    /// Every cluster and endpoint.
    Status,
    /// One endpoint with its history.
    Explain(EndpointPath),
    /// The transitions as they come.
    Events,
    /// The configuration without its secrets.
    Config,
    /// The proxies that agree on health.
    Fleet,
    /// An operator's order about an endpoint.
    Operate(EndpointPath, OperatorState, Order),
    /// An operator's order about every endpoint of a cluster.
    OperateAll(String, OperatorState, Order),
    /// Whether the verdicts of a cluster stand still.
    Freeze(String, bool),
    /// A new configuration, or what it would change.
    Reload {
        /// Only say what would change.
        dry_run: bool,
    },
    /// The end.
    Drain,
}

/// An endpoint as a path names it, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointPath {
    pub(super) cluster: String,
    pub(super) endpoint: String,
}

/// What an order may carry, as written in the query or the body.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// How long it holds, as a duration.
    #[serde(rename = "for")]
    pub(super) span: Option<String>,
    /// Why, in the operator's words.
    pub(super) reason: Option<String>,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such path.
    NotFound,
    /// The path takes these methods only.
    Method(&'static str),
    /// The path or query cannot be read.
    Malformed(String),
}

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// All of it.
    Admin,
    /// Only what scrapers and kubelets read.
    Metrics,
}

/// The methods of what only reads.
const READ: &str = "GET, HEAD";
/// The method of what changes something.
const CHANGE: &str = "POST";

/// Finds what is asked for.
///
/// # Errors
/// If there is no such path, it takes other methods, or something in it cannot be read.
pub(super) fn route(surface: Surface, method: &Method, path: &str, query: Option<&str>) -> Result<Action, Refusal> {
    let segments = decode_path(path)?;
    let segments: Vec<&str> = segments.iter().map(Cow::as_ref).collect();
    let query = query.unwrap_or_default();
    let common = match segments.as_slice() {
        ["livez"] => Some(Action::Live),
        ["readyz"] => Some(Action::Ready(pairs(query)?.into_iter().find(|(key, _)| key == "cluster").map(|(_, name)| name))),
        ["metrics"] => Some(Action::Metrics),
        _ => None,
    };
    match (common, surface) {
        (Some(action), _) => reading(method, action),
        (None, Surface::Admin) => route_admin(method, &segments, query),
        (None, Surface::Metrics) => Err(Refusal::NotFound),
    }
}

fn route_admin(method: &Method, segments: &[&str], query: &str) -> Result<Action, Refusal> {
    match *segments {
        [""] => reading(method, Action::Index),
        ["api", "v1", ref rest @ ..] => route_api(method, rest, query),
        _ => Err(Refusal::NotFound),
    }
}

fn route_api(method: &Method, segments: &[&str], query: &str) -> Result<Action, Refusal> {
    match *segments {
        ["status"] => reading(method, Action::Status),
        ["events"] => reading(method, Action::Events),
        ["config"] => reading(method, Action::Config),
        ["fleet"] => reading(method, Action::Fleet),
        ["clusters", cluster, "endpoints", endpoint] => reading(method, Action::Explain(endpoint_path(cluster, endpoint))),
        ["clusters", cluster, "endpoints", endpoint, verb] => {
            let state = operator_state(verb).ok_or(Refusal::NotFound)?;
            changing(method, || Ok(Action::Operate(endpoint_path(cluster, endpoint), state, order(query)?)))
        }
        ["clusters", cluster, verb @ ("freeze" | "thaw")] => changing(method, || {
            known_keys(query, &[])?;
            Ok(Action::Freeze(cluster.to_owned(), verb == "freeze"))
        }),
        ["clusters", cluster, verb] => {
            let state = operator_state(verb).ok_or(Refusal::NotFound)?;
            changing(method, || Ok(Action::OperateAll(cluster.to_owned(), state, order(query)?)))
        }
        ["reload"] => changing(method, || Ok(Action::Reload { dry_run: dry_run(query)? })),
        ["drain"] => changing(method, || known_keys(query, &[]).map(|_| Action::Drain)),
        _ => Err(Refusal::NotFound),
    }
}

fn reading(method: &Method, action: Action) -> Result<Action, Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(action) } else { Err(Refusal::Method(READ)) }
}

fn changing(method: &Method, action: impl FnOnce() -> Result<Action, Refusal>) -> Result<Action, Refusal> {
    if *method == Method::POST { action() } else { Err(Refusal::Method(CHANGE)) }
}

fn endpoint_path(cluster: &str, endpoint: &str) -> EndpointPath {
    EndpointPath { cluster: cluster.to_owned(), endpoint: endpoint.to_owned() }
}

fn operator_state(verb: &str) -> Option<OperatorState> {
    match verb {
        "drain" => Some(OperatorState::Draining),
        "maintenance" => Some(OperatorState::Maintenance),
        "ready" => Some(OperatorState::Ready),
        _ => None,
    }
}

fn order(query: &str) -> Result<Order, Refusal> {
    let mut order = Order::default();
    for (key, value) in known_keys(query, &["for", "reason"])? {
        *(if key == "for" { &mut order.span } else { &mut order.reason }) = Some(value);
    }
    Ok(order)
}

fn dry_run(query: &str) -> Result<bool, Refusal> {
    match known_keys(query, &["dry_run"])?.first().map(|(_, value)| value.as_str()) {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(other) => Err(Refusal::Malformed(format!("dry_run is true or false, not {other:?}"))),
    }
}

/// The pairs of a query, all of whose keys must be known and different.
fn known_keys(query: &str, known: &[&str]) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = pairs(query)?;
    for (position, (key, _)) in pairs.iter().enumerate() {
        if !known.contains(&key.as_str()) {
            return Err(Refusal::Malformed(format!("unknown parameter {key:?}")));
        }
        if pairs[..position].iter().any(|(earlier, _)| earlier == key) {
            return Err(Refusal::Malformed(format!("parameter {key:?} stands there twice")));
        }
    }
    Ok(pairs)
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let decoded = |text: &str| decode(&text.replace('+', " ")).map(Cow::into_owned);
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decoded(key)?, decoded(value)?))
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// The segments of a path, split before they are decoded: an encoded slash belongs to a name.
fn decode_path(path: &str) -> Result<Vec<Cow<'_, str>>, Refusal> {
    path.strip_prefix('/').ok_or(Refusal::NotFound)?.split('/').map(decode).collect()
}

fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    percent_decode_str(text).decode_utf8().map_err(|_| Refusal::Malformed("the path or query is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: Method, target: &str) -> Result<Action, Refusal> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        route(Surface::Admin, &method, path, query)
    }

    fn endpoint(address: &str) -> EndpointPath {
        endpoint_path("app", address)
    }

    #[test]
    fn every_path_leads_to_its_action() {
        let get = |target: &str, wanted: Action| {
            assert_eq!(find(Method::GET, target), Ok(wanted.clone()), "{target}");
            assert_eq!(find(Method::HEAD, target), Ok(wanted), "{target}");
            assert_eq!(find(Method::POST, target), Err(Refusal::Method(READ)), "{target}");
        };
        get("/", Action::Index);
        get("/livez", Action::Live);
        get("/readyz", Action::Ready(None));
        get("/readyz?verbose", Action::Ready(None));
        get("/readyz?cluster=a%20b", Action::Ready(Some("a b".to_owned())));
        get("/metrics", Action::Metrics);
        get("/api/v1/status", Action::Status);
        get("/api/v1/events", Action::Events);
        get("/api/v1/config", Action::Config);
        get("/api/v1/fleet", Action::Fleet);
        get("/api/v1/clusters/app/endpoints/127.0.0.1:80", Action::Explain(endpoint("127.0.0.1:80")));
        get("/api/v1/clusters/app/endpoints/%5B%3A%3A1%5D%3A80", Action::Explain(endpoint("[::1]:80")));
        get("/api/v1/clusters/a%2Fb/endpoints/x:1", Action::Explain(endpoint_path("a/b", "x:1")));
    }

    #[test]
    fn changes_are_made_by_post_alone() {
        let post = |target: &str, wanted: Action| {
            assert_eq!(find(Method::POST, target), Ok(wanted), "{target}");
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
                assert_eq!(find(method, target), Err(Refusal::Method(CHANGE)), "{target}");
            }
        };
        let order =
            |span: Option<&str>, reason: Option<&str>| Order { span: span.map(str::to_owned), reason: reason.map(str::to_owned) };
        let path = "/api/v1/clusters/app/endpoints/a:1";
        post(&format!("{path}/drain"), Action::Operate(endpoint("a:1"), OperatorState::Draining, Order::default()));
        post(&format!("{path}/ready"), Action::Operate(endpoint("a:1"), OperatorState::Ready, Order::default()));
        post(
            &format!("{path}/maintenance?for=10m&reason=new+disk%21"),
            Action::Operate(endpoint("a:1"), OperatorState::Maintenance, order(Some("10m"), Some("new disk!"))),
        );
        post(
            "/api/v1/clusters/app/drain?for=1m",
            Action::OperateAll("app".to_owned(), OperatorState::Draining, order(Some("1m"), None)),
        );
        post("/api/v1/clusters/app/freeze", Action::Freeze("app".to_owned(), true));
        post("/api/v1/clusters/app/thaw", Action::Freeze("app".to_owned(), false));
        post("/api/v1/reload", Action::Reload { dry_run: false });
        post("/api/v1/reload?dry_run=false", Action::Reload { dry_run: false });
        post("/api/v1/reload?dry_run=true", Action::Reload { dry_run: true });
        post("/api/v1/reload?dry_run", Action::Reload { dry_run: true });
        post("/api/v1/drain", Action::Drain);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let paths = [
            "/x",
            "/livez/",
            "//",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v2/status",
            "/api/v1/status/",
            "/api/v1/clusters/app",
            "/api/v1/clusters/app/endpoints/a:1/eject",
            "/api/v1/clusters/app/melt",
            "*",
            "",
        ];
        for path in paths {
            assert_eq!(find(Method::GET, path), Err(Refusal::NotFound), "{path}");
            assert_eq!(find(Method::POST, path), Err(Refusal::NotFound), "{path}");
        }
    }

    #[test]
    fn a_change_with_a_parameter_that_is_not_understood_is_refused() {
        let targets = [
            "/api/v1/reload?dryrun=true",
            "/api/v1/reload?dry_run=yes",
            "/api/v1/reload?dry_run=true&dry_run=false",
            "/api/v1/drain?now",
            "/api/v1/clusters/app/freeze?for=1m",
            "/api/v1/clusters/app/endpoints/a:1/drain?until=1m",
            "/api/v1/clusters/app/endpoints/%ff/drain",
            "/api/v1/clusters/app/endpoints/a:1/drain?reason=%ff",
        ];
        for target in targets {
            assert!(matches!(find(Method::POST, target), Err(Refusal::Malformed(_))), "{target}");
        }
    }

    #[test]
    fn the_metrics_listener_has_three_paths() {
        let find = |path: &str| route(Surface::Metrics, &Method::GET, path, None);
        assert_eq!(find("/livez"), Ok(Action::Live));
        assert_eq!(find("/readyz"), Ok(Action::Ready(None)));
        assert_eq!(find("/metrics"), Ok(Action::Metrics));
        for path in ["/", "/api/v1/status", "/api/v1/config", "/api/v1/drain", "/api/v1/events"] {
            assert_eq!(find(path), Err(Refusal::NotFound), "{path}");
        }
    }
}

//! Whether a request may pass, and where it leads.
//!
//! Whatever two servers could read in two ways ends here, before anybody behind us sees it; what is answered without an
//! endpoint (no route, a redirect, our own readiness) is answered here. What becomes of a request that may pass is the exchange's.

use std::rc::Rc;

use http::header::{CONNECTION, HOST, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::cluster::readiness::{self, Readiness};
use crate::cluster::{Listener, Route, Target, Token};
use crate::proxy::answer::Local;
use crate::proxy::context::Context;
use crate::proxy::door::Sight;
use crate::proxy::ledger::Ledger;
use crate::proxy::view::{ClusterView, Roster, Wish};
use crate::proxy::worker::Worker;
use crate::traffic::added::Added;
use crate::traffic::added::FORWARDED_PROTO;
use crate::traffic::affinity::Asked;
use crate::traffic::policy::Action;
use crate::traffic::route::Target as Wanted;
use crate::traffic::{affinity, forward, target};

/// Where a request goes that may pass.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    pub(crate) route: &'a Route,
    pub(crate) target: &'a Target,
    pub(crate) wish: Wish,
}

/// A request that may pass.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    pub(crate) way: Way<'a>,
    pub(crate) cluster: &'a Rc<ClusterView>,
    /// What the cluster's snapshot was when the request was looked at.
    pub(crate) roster: Rc<Roster>,
    /// What the endpoint gets beside the request's headers, if it is not among them.
    pub(crate) added: Option<Added>,
}

/// Whether the request may pass, and where it leads; its headers become the endpoint's, but for what is added to them.
pub(crate) fn admit<'a>(
    worker: &Worker,
    context: &Context,
    sight: &'a Sight,
    parts: &mut Parts,
    ledger: &mut Ledger,
) -> Result<Admitted<'a>, Local> {
    let (view, listener) = (&sight.view, sight.listener());
    let asked = target::check(&parts.method, &parts.uri, &parts.headers, parts.version)
        .map_err(|refusal| Local::new(refusal.status, Token::HttpRequestError, refusal.detail.to_owned()).closing())?;
    // The parser of HTTP/1.1 has counted them itself.
    if parts.version == Version::HTTP_2 && parts.headers.len() > context.limits.head_count {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Local::new(status, Token::HttpRequestError, "there are more header lines than limits.head_count".to_owned()));
    }
    if forward::is_loop(&parts.headers) {
        return Err(Local::new(
            StatusCode::BAD_GATEWAY,
            Token::ProxyLoopDetected,
            "the request goes round in circles".to_owned(),
        ));
    }
    if listener.config.health_path.as_deref() == Some(asked.path) {
        return Err(readiness(worker, &parts.uri));
    }
    let wanted = Wanted { host: &asked.host, path: asked.path, method: &parts.method, headers: &parts.headers };
    let mut found = listener.table.find(wanted).ok_or_else(not_found)?;
    // What is https already is nothing for a route that leads there: it would come back for ever.
    while redirects(&listener.routes[found.route]) && is_https(context, &parts.headers) {
        found = listener.table.find_from(found.route + 1, wanted).ok_or_else(not_found)?;
    }
    let route = &listener.routes[found.route];
    let role = route.policy.role;
    let chosen = route.choose(worker.index, |target| target.cluster.is_some_and(|position| view.cluster(position).serves(role)));
    ledger.routed(found.route, chosen);
    let target = &route.targets()[chosen];
    let Some(cluster) = target.cluster.map(|position| view.cluster(position)) else {
        return Err(redirect(&asked, &parts.uri, https_port(context, &route.policy.action, asked.port())));
    };
    let headers = &parts.headers;
    let roster = cluster.roster(worker);
    let wish = roster.wish(role, Asked { headers, path: asked.path, source: || source(context, listener, headers) });
    let host = asked.host_header;
    let prefix = if route.policy.strip_prefix { found.prefix } else { 0 };
    if let Some(host) = host.as_ref().filter(|_| parts.uri.authority().is_some()) {
        parts.headers.insert(HOST, host.clone());
    }
    // The target may be whole and have no path: `http://shop?x`.
    let pathless = parts.uri.path_and_query().is_some_and(|both| both.as_str().starts_with('?'));
    if prefix > 0 || pathless {
        parts.uri = target::stripped(&parts.uri, prefix).parse().unwrap_or_else(|_| Uri::from_static("/"));
    }
    let (client, rules) = (&context.client, &route.policy.request_headers);
    let mut added = forward::request(&mut parts.headers, client, host.as_ref(), parts.version, &mut worker.rng.borrow_mut());
    if !rules.is_empty() {
        if let Some(added) = added.take() {
            added.insert(client, &mut parts.headers);
        }
        forward::apply(rules, &mut parts.headers);
    }
    ledger.sent(&parts.headers, added.as_ref());
    Ok(Admitted { way: Way { route, target, wish }, cluster, roster, added })
}

/// The address that a request comes from: the connection's, or what a proxy that is trusted tells.
fn source<'a>(context: &'a Context, listener: &Listener, headers: &'a HeaderMap) -> &'a str {
    let peer = context.client.address.as_ref().and_then(|address| address.to_str().ok()).unwrap_or_default();
    if context.client.trusted { affinity::source(headers, &listener.config.trusted_proxies, peer) } else { peer }
}

/// What readyz would say on the admin interface.
fn readiness(worker: &Worker, uri: &Uri) -> Local {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let cluster =
        pairs.into_iter().find(|(key, _)| *key == "cluster").map(|(_, name)| percent_decode_str(name).decode_utf8_lossy());
    match readiness::of(&worker.live, cluster.as_deref()) {
        Readiness::Ready => Local::readiness(None),
        Readiness::NotReady(why) => Local::readiness(Some(why)),
        Readiness::NoCluster => not_found(),
    }
}

const fn redirects(route: &Route) -> bool {
    matches!(route.policy.action, Action::RedirectToHttps { .. })
}

/// Whether the client speaks https, to us or to a proxy in front of us that is trusted.
fn is_https(context: &Context, headers: &HeaderMap) -> bool {
    let told = || headers.get(&FORWARDED_PROTO).and_then(|value| value.to_str().ok()).and_then(|text| text.split(',').next());
    let client = &context.client;
    client.secure || (client.trusted && told().is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https")))
}

/// The port to send a client to that came to this one. Whoever came straight to our port finds https at ours; where somebody in
/// front maps ports, nobody here knows to which, and the usual one is the best guess.
fn https_port(context: &Context, action: &Action, asked: u16) -> Option<u16> {
    let Action::RedirectToHttps { port } = action else { return None };
    let straight = context.downstream.ends.is_some_and(|ends| ends.ours.port() == asked);
    port.filter(|_| straight)
}

/// Sends the client to the same place by https.
fn redirect(asked: &target::Asked<'_>, uri: &Uri, port: Option<u16>) -> Local {
    let host = &asked.host;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |both| both.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    match HeaderValue::from_str(&format!("https://{host}{port}{path}")) {
        Ok(location) if !host.is_empty() => Local::redirect(location),
        _ => {
            let detail = "a request without a host cannot be redirected to https";
            Local::new(StatusCode::BAD_REQUEST, Token::HttpRequestError, detail.to_owned())
        }
    }
}

/// The protocol that the client wants to speak from here on. HTTP/2 without TLS is none: a client that means it begins with it,
/// and one that asks an endpoint for it would get past us (RFC 9113, section 3.1).
pub(crate) fn wanted_protocol(request: &Parts, body: &Incoming) -> Option<HeaderValue> {
    let mut protocols = request.headers.get_all(UPGRADE).iter();
    let protocol = protocols.next()?;
    let named = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")))
    };
    let asks = request.version == Version::HTTP_11 && request.headers.get_all(CONNECTION).iter().any(named);
    let plain = protocol.to_str().is_ok_and(|text| !text.to_ascii_lowercase().contains("h2c"));
    (asks && plain && body.is_end_stream() && protocols.next().is_none()).then(|| protocol.clone())
}

fn not_found() -> Local {
    Local::new(StatusCode::NOT_FOUND, Token::DestinationNotFound, "no route of this listener matches the request".to_owned())
}

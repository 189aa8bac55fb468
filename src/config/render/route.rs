//! Owns a route as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::units::format_duration;
use crate::config::render::{headers, put};
use crate::traffic::policy::{Action, HeaderRules, HostPattern, Match, RetryPolicy, RoutePolicy};

/// A route.
pub(super) fn route(route: &RoutePolicy) -> Value {
    let mut all = json!({
        "name": &*route.name,
        "role": route.role.as_str(),
        "timeout": wait(route.timeout),
        "idle_timeout": wait(route.idle_timeout),
        "upgrade_idle_timeout": wait(route.upgrade_idle_timeout),
        "strip_prefix": route.strip_prefix,
        "retries": retries(&route.retries),
    });
    match &route.action {
        Action::RedirectToHttps { .. } => all["redirect"] = json!("https"),
        Action::Forward(shares) => match shares.as_slice() {
            [only] if only.weight == 1 => all["cluster"] = json!(&*only.cluster),
            many => all["split"] = many.iter().map(|share| ((*share.cluster).to_owned(), json!(share.weight))).collect(),
        },
    }
    put(&mut all, "match", matches(&route.matches));
    let mut both = json!({});
    put(&mut both, "request", rules(&route.request_headers));
    put(&mut both, "response", rules(&route.response_headers));
    put(&mut all, "headers", both);
    all
}

fn wait(span: Option<Duration>) -> String {
    span.map_or_else(|| "none".to_owned(), format_duration)
}

fn matches(matches: &Match) -> Value {
    let texts = |all: &[std::sync::Arc<str>]| json!(all.iter().map(|text| &**text).collect::<Vec<_>>());
    let host = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    };
    let mut all = json!({});
    put(&mut all, "host", json!(matches.hosts.iter().map(host).collect::<Vec<_>>()));
    put(&mut all, "path", texts(&matches.paths));
    put(&mut all, "path_prefix", texts(&matches.path_prefixes));
    put(&mut all, "methods", json!(matches.methods.iter().map(ToString::to_string).collect::<Vec<_>>()));
    put(&mut all, "headers", headers(matches.headers.iter().map(|(name, value)| (name, value))));
    all
}

fn rules(rules: &HeaderRules) -> Value {
    let mut all = json!({});
    put(&mut all, "set", headers(rules.set.iter().map(|(name, value)| (name, value))));
    put(&mut all, "remove", json!(rules.remove.iter().map(ToString::to_string).collect::<Vec<_>>()));
    all
}

fn retries(retries: &RetryPolicy) -> Value {
    let words = [("connect", retries.on.connect), ("reset", retries.on.reset), ("silence", retries.on.silence)];
    let words = words.into_iter().filter(|(_, on)| *on).map(|(word, _)| word.to_owned());
    let when: Vec<String> = words.chain(retries.statuses.iter().map(ToString::to_string)).collect();
    if retries.attempts == 1 && when.is_empty() {
        return json!("off");
    }
    json!({
        "attempts": retries.attempts,
        "per_try_timeout": wait(retries.per_try_timeout),
        "when": when,
        "budget": retries.budget.to_string(),
    })
}

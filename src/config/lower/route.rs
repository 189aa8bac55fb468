//! Owns the lowering of routes: what they match, their time-outs, header rules and retries.

use std::sync::Arc;
use std::time::Duration;

use crate::config::defaults;
use crate::config::lower::header::{header_rules, match_pairs, method};
use crate::config::lower::host::{host_pattern, match_path};
use crate::config::lower::scalar::{ratio_or, wait_or};
use crate::config::lower::unique::{ClusterNames, Given};
use crate::config::lower::{At, advice};
use crate::config::raw::{self, List, OneOrMany, OrOff, Pairs, RouteRole, WhenEntry};
use crate::traffic::policy::{Action, HeaderRules, Match, RetryOn, RetryPolicy, Role, RoutePolicy, Share};

/// The route of a listener that has a cluster and no routes: it takes everything.
pub(super) fn catch_all(listener: &str, cluster: &str) -> RoutePolicy {
    RoutePolicy {
        name: default_name(listener, 0),
        matches: Match::default(),
        action: Action::to(cluster),
        role: Role::Any,
        timeout: Some(defaults::ROUTE_TIMEOUT),
        idle_timeout: Some(defaults::IDLE_TIMEOUT),
        upgrade_idle_timeout: Some(defaults::UPGRADE_IDLE_TIMEOUT),
        strip_prefix: false,
        request_headers: HeaderRules::default(),
        response_headers: HeaderRules::default(),
        retries: default_retries(),
    }
}

/// The listener's name, a slash, and the position from 1, as people count.
fn default_name(listener: &str, index: usize) -> Arc<str> {
    format!("{listener}/{}", index + 1).into()
}

/// The routes of one listener, in their order.
pub(super) fn routes(at: &At<'_>, raw: &List<raw::Route>, listener: &str, clusters: &ClusterNames<'_>) -> Vec<RoutePolicy> {
    let mut names = Given::new();
    let mut all = Vec::new();
    let mut taken_all: Option<String> = None;
    for (index, raw) in raw.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let at = at.item(index);
        let route = route(&at, raw, default_name(listener, index), clusters);
        names.give(&at.key("name"), Arc::clone(&route.name), "a name that no other route of this listener has");
        if let Some(earlier) = &taken_all {
            at.warn("a route that can be reached", Some(format!("{earlier} takes every request before it")));
        } else if route.matches == Match::default() && !at.has("match") {
            taken_all = Some(at.to_string());
        }
        all.push(route);
    }
    all
}

fn route(at: &At<'_>, raw: &raw::Route, default_name: Arc<str>, clusters: &ClusterNames<'_>) -> RoutePolicy {
    let matches = raw.matches.as_ref().map(|raw| matches(&at.key("match"), raw)).unwrap_or_default();
    let strip_prefix = raw.strip_prefix.unwrap_or(false);
    if strip_prefix && !at.key("match").has("path_prefix") {
        at.key("strip_prefix").wrong("a path_prefix in match, which is what is taken off", None);
    }
    let timeout = wait_or(&at.key("timeout"), raw.timeout.as_ref(), Some(defaults::ROUTE_TIMEOUT));
    let headers = at.key("headers");
    RoutePolicy {
        name: raw.name.as_deref().map_or(default_name, Arc::from),
        matches,
        action: action(at, raw, clusters),
        role: match raw.role {
            None | Some(RouteRole::Any) => Role::Any,
            Some(RouteRole::Leader) => Role::Leader,
            Some(RouteRole::Replica) => Role::Replica,
        },
        timeout,
        idle_timeout: wait_or(&at.key("idle_timeout"), raw.idle_timeout.as_ref(), Some(defaults::IDLE_TIMEOUT)),
        upgrade_idle_timeout: wait_or(
            &at.key("upgrade_idle_timeout"),
            raw.upgrade_idle_timeout.as_ref(),
            Some(defaults::UPGRADE_IDLE_TIMEOUT),
        ),
        strip_prefix,
        request_headers: header_rules(&headers.key("request"), raw.headers.as_ref().and_then(|raw| raw.request.as_ref())),
        response_headers: header_rules(&headers.key("response"), raw.headers.as_ref().and_then(|raw| raw.response.as_ref())),
        retries: retries(&at.key("retries"), raw.retries.as_ref(), timeout),
    }
}

/// What becomes of requests: one of three keys says it.
fn action(at: &At<'_>, raw: &raw::Route, clusters: &ClusterNames<'_>) -> Action {
    let given: Vec<&str> = ["cluster", "split", "redirect"].into_iter().filter(|key| at.has(key)).collect();
    match given.as_slice() {
        [] => at.wrong_as("neither cluster nor split nor redirect", "one of them", None),
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                at.key(other).wrong_key(format!("both {first} and {other}"), "one of them", None);
            }
        }
    }
    if raw.redirect.is_some() {
        // Which port that is, is known when all listeners are.
        return Action::RedirectToHttps { port: None };
    }
    if let Some(split) = &raw.split {
        return Action::Forward(shares(&at.key("split"), split, clusters));
    }
    let cluster = raw.cluster.as_deref().unwrap_or_default();
    if !cluster.is_empty() {
        clusters.check(&at.key("cluster"), cluster);
    }
    Action::to(cluster)
}

fn shares(at: &At<'_>, raw: &Pairs<raw::Share>, clusters: &ClusterNames<'_>) -> Vec<Share> {
    for (name, _) in &raw.0 {
        clusters.check_key(&at.key(name), name);
    }
    if raw.0.iter().all(|(_, share)| share.0 == 0) && at.knows_every(raw.0.len()) {
        at.wrong("clusters and their shares, such as {stable: 95, canary: 5}, one of which is above 0", None);
    }
    raw.0.iter().map(|(name, share)| Share { cluster: name.as_str().into(), weight: share.0 }).collect()
}

fn matches(at: &At<'_>, raw: &raw::Match) -> Match {
    let methods = raw.methods.as_deref().unwrap_or_default().iter().enumerate();
    Match {
        hosts: each(&at.key("host"), raw.host.as_ref(), host_pattern),
        paths: each(&at.key("path"), raw.path.as_ref(), match_path),
        path_prefixes: each(&at.key("path_prefix"), raw.path_prefix.as_ref(), match_path),
        methods: methods.filter_map(|(index, text)| method(&at.key("methods").item(index), text.as_deref()?)).collect(),
        headers: raw.headers.as_ref().map(|pairs| match_pairs(&at.key("headers"), pairs)).unwrap_or_default(),
    }
}

fn each<T>(at: &At<'_>, raw: Option<&OneOrMany<String>>, one: impl Fn(&At<'_>, &str) -> Option<T>) -> Vec<T> {
    let all = raw.into_iter().flat_map(OneOrMany::iter);
    all.filter_map(|(index, text)| one(&at.maybe_item(index), text)).collect()
}

/// What is tried again if nothing is said.
fn default_retries() -> RetryPolicy {
    let entries = defaults::RETRY_WHEN.map(|word| Some(WhenEntry::Word(word.to_owned())));
    let (on, statuses) = when(&entries);
    let budget = defaults::constant(defaults::RETRY_BUDGET);
    RetryPolicy { attempts: defaults::ATTEMPTS, per_try_timeout: None, on, statuses, budget }
}

fn retries(at: &At<'_>, raw: Option<&OrOff<raw::Retries>>, timeout: Option<Duration>) -> RetryPolicy {
    let default = default_retries();
    let raw = match raw {
        None => return default,
        Some(OrOff::Off) => {
            return RetryPolicy { attempts: 1, per_try_timeout: None, on: RetryOn::default(), statuses: Vec::new(), ..default };
        }
        Some(OrOff::Block(raw)) => raw,
    };
    let per_try_timeout = wait_or(&at.key("per_try_timeout"), raw.per_try_timeout.as_ref(), None);
    if per_try_timeout.zip(timeout).is_some_and(|(one, all)| one >= all) {
        at.key("per_try_timeout").warn("less than the route's timeout", "as it is, the first try has all the time".to_owned());
    }
    let (on, statuses) = raw.when.as_deref().map_or((default.on, default.statuses), when);
    let policy = RetryPolicy {
        attempts: raw.attempts.unwrap_or(default.attempts),
        per_try_timeout,
        on,
        statuses,
        budget: ratio_or(&at.key("budget"), raw.budget.as_ref(), defaults::RETRY_BUDGET),
    };
    advice::retries(at, raw, &policy);
    policy
}

/// Failures and statuses that are tried again; statuses in order, each once.
fn when(entries: &[Option<WhenEntry>]) -> (RetryOn, Vec<u16>) {
    let mut on = RetryOn::default();
    let mut statuses = Vec::new();
    for entry in entries.iter().flatten() {
        match entry {
            WhenEntry::Status(status) => statuses.push(*status),
            WhenEntry::Word(word) => match word.as_str() {
                "connect" => on.connect = true,
                "reset" => on.reset = true,
                "silence" => on.silence = true,
                status => statuses.extend(status.parse::<u16>()),
            },
        }
    }
    statuses.sort_unstable();
    statuses.dedup();
    (on, statuses)
}

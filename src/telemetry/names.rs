//! The name, kind and help of every metric, each once. Dashboards, alert rules and the reference are checked against it.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count of durations in seconds.
    Histogram,
    /// Sum and count of durations in seconds, without quantiles.
    Summary,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric = Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// Every metric of ours; those of the process collector are not among them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    REQUESTS = Counter "pulsegate_requests_total" ["listener", "route", "cluster", "code"] "Exchanges by the status that the client got; 499 if it left first.";
    REQUEST_DURATION = Histogram "pulsegate_request_duration_seconds" ["cluster"] "From a request's head to the last byte of its answer.";
    LOCAL_RESPONSES = Counter "pulsegate_local_responses_total" ["listener", "route", "cluster", "error"] "Answers of our own, by Proxy-Status error.";
    DOWNSTREAM_ERRORS = Counter "pulsegate_downstream_errors_total" ["listener", "reason"] "Client connections that ended badly.";
    UPSTREAM_REQUESTS = Counter "pulsegate_upstream_requests_total" ["cluster", "endpoint", "code_class"] "Attempts by class of answer; error if none came.";
    UPSTREAM_ACTIVE = Gauge "pulsegate_upstream_requests_active" ["cluster", "endpoint"] "Attempts in flight.";
    UPSTREAM_FIRST_BYTE = Summary "pulsegate_upstream_first_byte_seconds" ["cluster", "endpoint"] "From sending a request to the head of its answer.";
    UPSTREAM_CONNECTIONS = Gauge "pulsegate_upstream_connections" ["cluster", "endpoint", "state"] "Connections to endpoints, active or idle.";
    UPSTREAM_CONNECTS = Counter "pulsegate_upstream_connects_total" ["cluster", "endpoint", "result"] "Connections tried, by result.";
    REQUESTS_REJECTED = Counter "pulsegate_requests_rejected_total" ["cluster", "limit"] "Requests that a limit of the cluster turned away.";
    RETRIES = Counter "pulsegate_retries_total" ["cluster", "result"] "Second and later attempts by result, and retries that the budget forbade.";
    ENDPOINT_UP = Gauge "pulsegate_endpoint_up" ["cluster", "endpoint"] "1 while the endpoint is available; stays 0 while panic lets it in.";
    ENDPOINT_STATE = Gauge "pulsegate_endpoint_state" ["cluster", "endpoint", "state"] "1 for the state that the endpoint is in.";
    ENDPOINT_REASON = Gauge "pulsegate_endpoint_reason" ["cluster", "endpoint", "reason"] "1 while the reason holds.";
    ENDPOINT_STATE_SINCE = Gauge "pulsegate_endpoint_state_since_timestamp_seconds" ["cluster", "endpoint"] "When the endpoint entered its state.";
    ENDPOINT_WEIGHT = Gauge "pulsegate_endpoint_weight" ["cluster", "endpoint"] "Effective weight; 0 if the endpoint gets no traffic.";
    ENDPOINT_CONFIGURED_WEIGHT = Gauge "pulsegate_endpoint_configured_weight" ["cluster", "endpoint", "tier"] "Weight as configured.";
    ENDPOINT_REPORT = Gauge "pulsegate_endpoint_report" ["cluster", "endpoint", "metric"] "What the endpoint last reported; shares are between 0 and 1.";
    REPORTS = Counter "pulsegate_reports_total" ["cluster", "endpoint", "result"] "Reports read, void or absent.";
    CLUSTER_ENDPOINTS = Gauge "pulsegate_cluster_endpoints" ["cluster", "state"] "Endpoints by state.";
    CLUSTER_PANIC = Gauge "pulsegate_cluster_panic" ["cluster"] "1 while sicker tiers are let in.";
    CLUSTER_LEADER = Gauge "pulsegate_cluster_leader" ["cluster", "endpoint"] "1 for the endpoint that leads its cluster, 0 for the others; only where one may lead.";
    LEADER_EPOCH = Gauge "pulsegate_leader_epoch" ["cluster"] "The highest epoch that an endpoint has said to lead in.";
    PROBES = Counter "pulsegate_probes_total" ["cluster", "endpoint", "probe", "result"] "Probes by result.";
    PROBE_DURATION = Histogram "pulsegate_probe_duration_seconds" ["cluster", "probe"] "From a probe's start to its result.";
    PROBE_LAG = Gauge "pulsegate_probe_lag_seconds" [] "How late the latest probe started against its slot.";
    STALLS = Counter "pulsegate_stall_seconds_total" ["thread"] "For how long control and the workers stood still, 20 ms at a time or more; while nothing passes, as far as that exceeds a quarter of a second.";
    SIGNALS_DROPPED = Counter "pulsegate_signals_dropped_total" ["kind"] "Signals from the data plane that found the queue full.";
    HEARTBEATS = Counter "pulsegate_heartbeats_total" ["cluster", "endpoint", "result"] "Heartbeats pushed by endpoints, by what they were taken for.";
    HEARTBEAT_DELAY = Histogram "pulsegate_heartbeat_delay_seconds" ["cluster"] "How late stamped heartbeats and answers to probes come against the quickest of the last minute.";
    SUSPICION_PHI = Gauge "pulsegate_suspicion_phi" ["cluster", "endpoint"] "How improbable the silence since an endpoint's last heartbeat is, in decades.";
    TRANSITIONS = Counter "pulsegate_transitions_total" ["cluster", "endpoint", "from", "to", "reason"] "Changes of state by their first reason.";
    EJECTIONS = Counter "pulsegate_ejections_total" ["cluster", "endpoint", "reason"] "Changes from available to unhealthy, ejected or suspect.";
    EJECTIONS_WITHHELD = Counter "pulsegate_ejections_withheld_total" ["cluster", "reason"] "Soft ejections that max_ejected forbade.";
    DISCOVERY_LAST_SUCCESS = Gauge "pulsegate_discovery_last_success_timestamp_seconds" ["cluster"] "When discovery last brought endpoints.";
    CONFIG_RELOADS = Counter "pulsegate_config_reloads_total" ["result"] "Reloads by result.";
    CONFIG_LAST_RELOAD = Gauge "pulsegate_config_last_reload_successful" [] "1 if the last reload was applied, or none was tried.";
    CERTIFICATE_NOT_AFTER = Gauge "pulsegate_tls_certificate_not_after_timestamp_seconds" ["listener", "name"] "When a listener's certificate ends; name is its file.";
    ACCESS_LOG_DROPPED = Counter "pulsegate_access_log_dropped_total" [] "Lines of the access log that found its queue full or could not be written.";
    LOG_DROPPED = Counter "pulsegate_log_dropped_total" [] "Log lines that found the queue full, since nobody took them from standard error.";
    PANICS = Counter "pulsegate_panics_total" [] "Bugs that ended one task; each is in the log.";
    FLEET_PEERS = Gauge "pulsegate_fleet_peers" ["state"] "Other proxies of the fleet by state.";
    FLEET_QUORUM = Gauge "pulsegate_fleet_quorum" [] "1 while a majority of the fleet is heard.";
    FLEET_MESSAGES = Counter "pulsegate_fleet_messages_total" ["result"] "Messages of other proxies, by what became of them.";
    BUILD_INFO = Gauge "pulsegate_build_info" ["version"] "1, with the version.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(metric.name.starts_with("pulsegate_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
    }
}

//! The metrics page over hand-made worlds: sums, labels, form and number of samples.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::admin::fixture;
use crate::base::time::Timestamp;
use crate::cluster::{Connect, Endpoint, ListenerError, Live, RetryResult, Token};
use crate::health::signal::ProbeResult;
use crate::health::verdict::{Code, State};
use crate::runtime::clock;

fn page(live: &Live) -> String {
    let families = families(live, &fixture::config(), &Dropped::default(), (&ProbeLag::default(), &Pulse::default()));
    // As the registry does.
    let filled: Vec<_> = families.into_iter().filter(|family| !family.get_metric().is_empty()).collect();
    TextEncoder::new().encode_to_string(&filled).unwrap()
}

fn samples(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}

fn assert_has(page: &str, sample: &str) {
    assert!(page.lines().any(|line| line == sample), "{sample} is not in\n{page}");
}

/// Gives an endpoint some of everything that is counted.
fn use_endpoint(endpoint: &Endpoint, now: Timestamp) {
    for worker in 0..fixture::WORKERS {
        let cells = endpoint.cells(worker);
        for status in [200, 204, 302, 404, 503] {
            cells.answered(status, now, now + Duration::from_millis(10));
        }
        cells.failed();
        Connect::ALL.into_iter().for_each(|(result, _)| cells.connected(result));
        cells.active.set(2);
        cells.idle.set(3);
    }
    endpoint.enter();
    endpoint.reports[0].add(7);
    endpoint.count_probes(["ready".into()].iter());
    (0..5).for_each(|_| drop(endpoint.probed(0, &ProbeResult::Pass)));
}

#[test]
fn cells_of_all_workers_are_summed() {
    let now = clock::now();
    let endpoint = fixture::endpoint("127.0.0.1:9001", now);
    use_endpoint(&endpoint, now);
    let page = page(&fixture::live(vec![endpoint]));
    for sample in [
        r#"pulsegate_upstream_requests_total{cluster="app",endpoint="127.0.0.1:9001",code_class="2xx"} 4"#,
        r#"pulsegate_upstream_requests_total{cluster="app",endpoint="127.0.0.1:9001",code_class="3xx"} 2"#,
        r#"pulsegate_upstream_requests_total{cluster="app",endpoint="127.0.0.1:9001",code_class="error"} 2"#,
        r#"pulsegate_upstream_requests_active{cluster="app",endpoint="127.0.0.1:9001"} 1"#,
        r#"pulsegate_upstream_first_byte_seconds_sum{cluster="app",endpoint="127.0.0.1:9001"} 0.1"#,
        r#"pulsegate_upstream_first_byte_seconds_count{cluster="app",endpoint="127.0.0.1:9001"} 10"#,
        r#"pulsegate_upstream_connections{cluster="app",endpoint="127.0.0.1:9001",state="active"} 4"#,
        r#"pulsegate_upstream_connections{cluster="app",endpoint="127.0.0.1:9001",state="idle"} 6"#,
        r#"pulsegate_upstream_connects_total{cluster="app",endpoint="127.0.0.1:9001",result="refused"} 2"#,
        r#"pulsegate_probes_total{cluster="app",endpoint="127.0.0.1:9001",probe="ready",result="pass"} 5"#,
        r#"pulsegate_probes_total{cluster="app",endpoint="127.0.0.1:9001",probe="ready",result="fail"} 0"#,
        r#"pulsegate_reports_total{cluster="app",endpoint="127.0.0.1:9001",result="ok"} 7"#,
        r#"pulsegate_endpoint_report{cluster="app",endpoint="127.0.0.1:9001",metric="cpu"} 0.31"#,
        r#"pulsegate_endpoint_configured_weight{cluster="app",endpoint="127.0.0.1:9001",tier="primary"} 1"#,
    ] {
        assert_has(&page, sample);
    }
    assert!(!page.contains("code_class=\"1xx\""), "zero, and nobody waits for it");
}

#[test]
fn a_verdict_is_one_hot_with_each_reason_once() {
    let now = clock::now();
    let well = fixture::endpoint("a:1", now);
    let sick = fixture::endpoint("b:1", now);
    let mut view = fixture::view(State::Unhealthy, now);
    view.reasons.push(fixture::reason(Code::ProbeTimeout, "other", now));
    view.reasons.push(fixture::reason(Code::Report("cpu".into()), "ready", now));
    sick.show(view);
    let page = page(&fixture::live(vec![well, sick]));
    for sample in [
        r#"pulsegate_endpoint_up{cluster="app",endpoint="a:1"} 1"#,
        r#"pulsegate_endpoint_up{cluster="app",endpoint="b:1"} 0"#,
        r#"pulsegate_endpoint_state{cluster="app",endpoint="a:1",state="healthy"} 1"#,
        r#"pulsegate_endpoint_state{cluster="app",endpoint="b:1",state="unhealthy"} 1"#,
        r#"pulsegate_endpoint_state{cluster="app",endpoint="b:1",state="healthy"} 0"#,
        r#"pulsegate_endpoint_reason{cluster="app",endpoint="b:1",reason="probe_timeout"} 1"#,
        r#"pulsegate_endpoint_reason{cluster="app",endpoint="b:1",reason="report_cpu"} 1"#,
        r#"pulsegate_endpoint_weight{cluster="app",endpoint="b:1"} 0"#,
        r#"pulsegate_cluster_endpoints{cluster="app",state="healthy"} 1"#,
        r#"pulsegate_cluster_endpoints{cluster="app",state="unhealthy"} 1"#,
        r#"pulsegate_cluster_endpoints{cluster="app",state="maintenance"} 0"#,
        r#"pulsegate_cluster_panic{cluster="app"} 0"#,
    ] {
        assert_has(&page, sample);
    }
    assert_eq!(samples(&page).iter().filter(|line| line.starts_with("pulsegate_endpoint_state{")).count(), 16);
    assert_eq!(page.matches("reason=\"probe_timeout\"").count(), 1);
}

#[test]
fn requests_are_told_by_listener_route_cluster_and_code() {
    let live = fixture::live(vec![fixture::endpoint("a:1", clock::now())]);
    let world = live.world().load();
    let [listener] = world.listeners.as_slice() else { panic!("one listener") };
    for worker in 0..fixture::WORKERS {
        let cells = &listener.routes[0].targets()[0].cells[worker];
        (400..430).for_each(|status| cells.statuses.inc(status));
        cells.local[Token::ConnectionTimeout as usize].inc();
    }
    listener.cells[1].unrouted.statuses.inc(404);
    listener.cells[1].unrouted.local[Token::DestinationNotFound as usize].inc();
    listener.cells[0].error(ListenerError::HeadTimeout);
    world.clusters[0].cells(0).retries[RetryResult::Budget as usize].inc();
    world.clusters[0].cells(1).durations.observe(Duration::from_micros(700));
    let page = page(&live);
    for sample in [
        r#"pulsegate_requests_total{listener="web",route="web/1",cluster="app",code="400"} 2"#,
        r#"pulsegate_requests_total{listener="web",route="web/1",cluster="app",code="other"} 12"#,
        r#"pulsegate_requests_total{listener="web",route="",cluster="",code="404"} 1"#,
        r#"pulsegate_local_responses_total{listener="web",route="web/1",cluster="app",error="connection_timeout"} 2"#,
        r#"pulsegate_local_responses_total{listener="web",route="web/1",cluster="app",error="destination_unavailable"} 0"#,
        r#"pulsegate_local_responses_total{listener="web",route="",cluster="",error="destination_not_found"} 1"#,
        r#"pulsegate_downstream_errors_total{listener="web",reason="head_timeout"} 1"#,
        r#"pulsegate_retries_total{cluster="app",result="budget_exhausted"} 1"#,
        r#"pulsegate_request_duration_seconds_bucket{cluster="app",le="0.0005"} 0"#,
        r#"pulsegate_request_duration_seconds_bucket{cluster="app",le="0.001"} 1"#,
        r#"pulsegate_request_duration_seconds_bucket{cluster="app",le="+Inf"} 1"#,
        r#"pulsegate_request_duration_seconds_sum{cluster="app"} 0.0007"#,
        r#"pulsegate_request_duration_seconds_count{cluster="app"} 1"#,
    ] {
        assert_has(&page, sample);
    }
}

#[test]
fn the_page_is_well_formed() {
    let now = clock::now();
    let endpoint = fixture::endpoint("127.0.0.1:9001", now);
    let mut view = fixture::view(State::Ejected, now);
    view.report.push(("od\"d\\na\nme".into(), f64::NAN));
    view.report.push(("quo\"te\\s\n".into(), 1.5));
    endpoint.show(view);
    use_endpoint(&endpoint, now);
    let page = page(&fixture::live(vec![endpoint]));
    let sample = regex_lite::Regex::new(
        r#"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? ([0-9.e+-]+)$"#,
    )
    .unwrap();
    let mut family = "";
    let mut seen = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
        } else if !line.starts_with("# HELP ") {
            let parts = sample.captures(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            assert!(parts[1].starts_with(family), "{line} stands under {family}");
            parts[6].parse::<f64>().unwrap();
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "twice: {line}");
        }
    }
    assert!(page.contains(r#"metric="quo\"te\\s\n"} 1.5"#));
    assert!(page.contains(concat!("pulsegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")));
}

#[test]
fn a_hundred_endpoints_stay_under_5000_series() {
    let now = clock::now();
    let endpoints: Vec<_> = (0..100).map(|n| fixture::endpoint(&format!("10.0.0.{n}:9000"), now)).collect();
    for endpoint in &endpoints {
        endpoint.show(fixture::view(State::Unhealthy, now));
        use_endpoint(endpoint, now);
    }
    let count = samples(&page(&fixture::live(endpoints))).len();
    assert!((3_000..4_500).contains(&count), "{count} series leave no room for what control counts");
}

#[test]
fn a_gap_in_the_list_of_collected_metrics_is_found() {
    let now = clock::now();
    let endpoint = fixture::endpoint("a:1", now);
    use_endpoint(&endpoint, now);
    endpoint.show(fixture::view(State::Unhealthy, now));
    let live = fixture::live(vec![endpoint]);
    let made = families(&live, &fixture::config(), &Dropped::default(), (&ProbeLag::default(), &Pulse::default()));
    // A process without a fleet has nothing to say of one.
    let fleet = [names::FLEET_PEERS, names::FLEET_QUORUM, names::FLEET_MESSAGES].map(|metric| metric.name);
    let made: BTreeSet<&str> = made.iter().map(MetricFamily::name).chain(fleet).collect();
    let declared: BTreeSet<&str> = Cells::METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(made, declared);
}

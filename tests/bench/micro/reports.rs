//! What it costs to read a report, in each format that endpoints write.

use divan::Bencher;
use divan::counter::BytesCount;
use pulsegate::report::spec::Spec;
use pulsegate::report::{Said, read};

const JSON: &str = r#"{"status":"ok","cpu":0.31,"memory":0.42,"queue":{"length":17,"oldest_seconds":0.4},"version":"1.4.2"}"#;
const HEALTH_JSON: &str = r#"{"status":"pass","version":"1","releaseId":"1.2.2","checks":{"cpu:utilization":[{"componentId":"6fd4","componentType":"system","observedValue":31,"observedUnit":"percent","status":"pass","time":"2026-01-17T03:36:48Z"}],"memory:utilization":[{"componentId":"6fd4","componentType":"system","observedValue":42,"observedUnit":"percent","status":"pass"}]}}"#;
const SPRING: &str = r#"{"status":"UP","components":{"db":{"status":"UP","details":{"database":"PostgreSQL","validationQuery":"isValid()"}},"diskSpace":{"status":"UP","details":{"total":510770802688,"free":335039389696,"threshold":10485760,"exists":true}},"ping":{"status":"UP"}}}"#;
const ORCA: &str =
    "TEXT cpu_utilization=0.31, mem_utilization=0.42, application_utilization=0.5, rps_fractional=120.5, named_metrics.queue=17";
const AGENT: &str = "up 75% maxconn:100";

fn reading(bencher: Bencher<'_, '_>, said: Said<'_>) {
    let spec = Spec { needed: vec!["cpu".into(), "memory".into()], ..Spec::default() };
    let bytes = said.body.len() + said.load.map_or(0, str::len);
    bencher.counter(BytesCount::new(bytes)).bench_local(|| read(&spec, &said));
}

#[divan::bench]
fn json(bencher: Bencher<'_, '_>) {
    reading(bencher, Said::new(Some("application/json"), JSON.as_bytes()));
}

#[divan::bench]
fn health_json(bencher: Bencher<'_, '_>) {
    reading(bencher, Said::new(Some("application/health+json"), HEALTH_JSON.as_bytes()));
}

#[divan::bench]
fn spring(bencher: Bencher<'_, '_>) {
    reading(bencher, Said::new(Some("application/vnd.spring-boot.actuator.v3+json"), SPRING.as_bytes()));
}

#[divan::bench]
fn orca(bencher: Bencher<'_, '_>) {
    reading(bencher, Said { load: Some(ORCA), ..Said::default() });
}

#[divan::bench]
fn agent(bencher: Bencher<'_, '_>) {
    reading(bencher, Said::new(None, AGENT.as_bytes()));
}

/// A page of so many lines, as a program with a client library writes it.
#[divan::bench(args = [50, 1000])]
fn prometheus(bencher: Bencher<'_, '_>, lines: usize) {
    let mut page = "# HELP process_cpu_usage The cpu usage.\n# TYPE process_cpu_usage gauge\nprocess_cpu_usage 0.31\n".to_owned();
    page.push_str("# TYPE http_requests_total counter\n");
    for line in 0..lines {
        page.push_str(&format!("http_requests_total{{method=\"GET\",path=\"/service/{line}\",code=\"200\"}} {}\n", line * 17));
    }
    reading(bencher, Said::new(Some("text/plain; version=0.0.4"), page.as_bytes()));
}

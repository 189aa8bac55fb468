//! Whole answers as services send them, and what no answer may do: panic, or read differently in another order.

use proptest::prelude::*;

use super::spec::{Format, Spec, Unit};
use super::*;
use crate::base::time::Timestamp;

fn spec(map: &[(&str, &str)], needed: &[&str]) -> Spec {
    Spec {
        map: map.iter().map(|(metric, place)| ((*metric).into(), (*place).into())).collect(),
        needed: needed.iter().map(|metric| (*metric).into()).collect(),
        ..Spec::default()
    }
}

fn report(spec: &Spec, content_type: Option<&str>, body: &str) -> Report {
    read(spec, &Said::new(content_type, body.as_bytes())).unwrap().unwrap()
}

fn metrics(report: &Report) -> Vec<(&str, f64)> {
    report.metrics.iter().map(|(metric, value)| (&**metric, *value)).collect()
}

fn hint<'a>(report: &'a Report, metric: &str) -> &'a str {
    &report.voids.iter().find(|void| &*void.metric == metric).unwrap_or_else(|| panic!("no void for {metric}: {report:?}")).hint
}

const HEALTH_JSON: &str = r#"{"status":"warn","version":"1","releaseId":"1.4.2","serviceId":"a1","description":"orders","notes":["slow db"],
 "checks":{"postgres:responseTime":[{"componentId":"db-1","componentType":"datastore","observedValue":180,"observedUnit":"ms","status":"warn","time":"2026-11-22T10:00:00Z"}],
           "cpu:utilization":[{"componentType":"system","observedValue":85,"observedUnit":"percent","status":"warn"}],
           "memory:utilization":[{"componentType":"system","observedValue":8.5,"observedUnit":"GiB","status":"pass"}],
           "uptime":[{"componentType":"system","observedValue":1209600.2,"observedUnit":"s","status":"pass"}]}}"#;

const SPRING: &str = r#"{"status":"DOWN","components":{"db":{"status":"DOWN","details":{"error":"timeout"}},"diskSpace":{"status":"UP","details":{"total":76887154688,"free":46753374208,"threshold":10485760,"path":"/app/.","exists":true}},"broker":{"status":"UP","components":{"us1":{"status":"UP"}}}},"groups":["liveness","readiness"]}"#;

const PROMETHEUS: &str = "# HELP system_cpu_usage The recent cpu usage\n# TYPE system_cpu_usage gauge\nsystem_cpu_usage 0.37\n\
    # TYPE process_cpu_usage gauge\nprocess_cpu_usage 0.02\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.47\n\
    # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 5.2428800e+07\n\
    jvm_memory_used_bytes{area=\"heap\",id=\"Eden\",} 1.0E8\njvm_memory_used_bytes{area=\"heap\",id=\"Old\",} 3.0E8\n\
    jvm_memory_used_bytes{area=\"nonheap\",id=\"Meta\",} 9.0E8\n\
    jvm_memory_max_bytes{area=\"heap\",id=\"Eden\",} -1.0\njvm_memory_max_bytes{area=\"heap\",id=\"Old\",} 8.0E8\n\
    jobs_waiting{queue=\"a\"} 3 1700000000000\njobs_waiting{queue=\"b\"} 4\n";

#[test]
fn health_json_is_read() {
    let spec = spec(&[("db", "postgres:responseTime"), ("up", "checks.uptime.0.observedValue")], &["cpu", "db"]);
    let report = report(&spec, Some("application/health+json; charset=utf-8"), HEALTH_JSON);
    assert_eq!(report.status, Some(StatusWord::Degraded));
    assert_eq!(report.word.as_deref(), Some("warn"));
    assert_eq!(metrics(&report), [("cpu", 0.85), ("db", 180.0), ("up", 1_209_600.2)]);
    assert!(hint(&report, "memory").contains("GiB"));
}

#[test]
fn spring_health_is_read() {
    let spec = spec(&[("free", "components.diskSpace.details.free")], &["free", "cpu"]);
    let report = report(&spec, Some("application/vnd.spring-boot.actuator.v3+json"), SPRING);
    assert_eq!(report.status, Some(StatusWord::Failing));
    assert_eq!(metrics(&report), [("free", 46_753_374_208.0)]);
    assert!(hint(&report, "cpu").contains("components.diskSpace.details.free"), "{report:?}");
}

#[test]
fn a_spring_meter_is_read() {
    let body =
        r#"{"name":"system.cpu.usage","description":"…","measurements":[{"statistic":"VALUE","value":0.37}],"availableTags":[]}"#;
    assert_eq!(metrics(&report(&Spec::default(), Some("application/json"), body)), [("cpu", 0.37)]);
}

#[test]
fn micro_profile_is_read() {
    let body = r#"{"status":"DOWN","checks":[{"name":"db","status":"DOWN","data":{"rootCause":"timed out","pool":5}},{"name":"mq","status":"UP"}]}"#;
    let report = report(&spec(&[("pool", "checks.db.data.pool")], &[]), Some("application/json"), body);
    assert_eq!(report.status, Some(StatusWord::Failing));
    assert_eq!(metrics(&report), [("pool", 5.0)]);
}

#[test]
fn prometheus_text_is_read() {
    let spec =
        spec(&[("queue", "jobs_waiting"), ("a", r#"jobs_waiting{queue="a"}"#), ("worst", "max(jobs_waiting)")], &["queue"]);
    let report = report(&spec, Some("text/plain; version=0.0.4; charset=utf-8"), PROMETHEUS);
    assert_eq!(report.status, None);
    assert_eq!(metrics(&report), [("a", 3.0), ("cpu", 0.37), ("memory", 0.5), ("queue", 7.0), ("worst", 4.0)]);
    assert!(report.voids.is_empty());
}

#[test]
fn counters_have_rates_from_their_second_page_on() {
    let spec = spec(&[("errors", "rate(errors_total)"), ("memory", "process_resident_memory_bytes / 1000")], &["cpu"]);
    let mut counters = Counters::default();
    let mut read = |seconds: f64, errors: u32, at: u64, cores: &str| {
        let page = format!(
            "process_cpu_seconds_total {seconds}\n{cores}process_resident_memory_bytes 250\nerrors_total{{a=\"b\"}} {errors}\nerrors_total 1\n"
        );
        read_on(&spec, &Said::new(None, page.as_bytes()), &mut counters, Timestamp::from_millis(at)).unwrap().unwrap()
    };
    let cores = "go_sched_gomaxprocs_threads 4\n";
    let first = read(12.0, 10, 1000, cores);
    assert_eq!(metrics(&first), [("memory", 0.25)]);
    assert!(hint(&first, "cpu").contains("two pages") && hint(&first, "errors").contains("two pages"), "{first:?}");
    assert_eq!(metrics(&read(14.0, 30, 3000, cores)), [("cpu", 0.25), ("errors", 10.0), ("memory", 0.25)]);
    let without = read(15.0, 30, 5000, "");
    assert!(hint(&without, "cpu").contains("rate(process_cpu_seconds_total) / N"), "{without:?}");
    assert_eq!(without.metric("errors"), Some(0.0));
    assert!(hint(&read(1.0, 2, 7000, cores), "errors").contains("reset"));
}

#[test]
fn the_format_is_told_from_content_type_and_shape() {
    let check = |content_type: Option<&str>, body: &str, wanted: Option<Format>| {
        assert_eq!(format_of(&Spec::default(), &Said::new(content_type, body.as_bytes())), Ok(wanted), "{content_type:?} {body}");
    };
    check(Some("application/json"), HEALTH_JSON, Some(Format::HealthJson));
    check(Some("application/json"), SPRING, Some(Format::Spring));
    check(None, r#" {"cpu":0.3}"#, Some(Format::Json));
    check(None, "\u{feff}{\"cpu\":0.3}", Some(Format::Json));
    check(Some("text/plain"), PROMETHEUS, Some(Format::Prometheus));
    check(None, "cpu_usage 0.3\n", Some(Format::Prometheus));
    check(Some("application/openmetrics-text; version=1.0.0"), "a 1\n# EOF\n", Some(Format::Prometheus));
    check(Some("text/html; charset=utf-8"), "<html>", None);
    check(Some("text/html"), "{", None);
    check(Some("application/json"), r#"{"cpu_utilization":0.3,"rps_fractional":10}"#, Some(Format::Orca));
    check(Some("application/json"), r#"{"cpu":0.3,"rps_fractional":10}"#, Some(Format::Json));
    check(Some("text/plain"), "TEXT cpu_utilization=0.3, rps_fractional=10", Some(Format::Orca));
    check(Some("text/plain"), "up ready 75%\n", Some(Format::Agent));
    check(None, "down #db gone", Some(Format::Agent));
    check(None, "ready", Some(Format::Agent));
    check(Some("text/plain"), "[+]ping ok\nreadyz check passed", Some(Format::Kubernetes));
    check(Some("application/json"), r#"[{"Status":"passing"}]"#, Some(Format::Json));
    for plain in ["OK", "pong", "Healthy", "true", "\"UP\"", "down"] {
        check(Some("text/plain"), plain, Some(Format::Plain));
        check(Some("application/json"), plain, Some(Format::Plain));
        check(None, plain, Some(Format::Plain));
    }
    for none in ["", " \r\n", "up and running", "[1]", "[", "TEXT of a page", "up\ndown 5%"] {
        check(Some("text/plain"), none, None);
        check(Some("application/json"), none, None);
        check(None, none, None);
    }
}

#[test]
fn the_status_of_every_dialect_is_read() {
    let check = |body: &str, wanted: Option<StatusWord>| {
        for content_type in [None, Some("application/json"), Some("text/plain; charset=utf-8")] {
            assert_eq!(report(&Spec::default(), content_type, body).status, wanted, "{content_type:?} {body}");
        }
    };
    let (well, weak, failing) = (Some(StatusWord::Healthy), Some(StatusWord::Degraded), Some(StatusWord::Failing));
    check(
        r#"{"status":"Degraded","totalDuration":"00:00:00.0123456","entries":{"redis":{"data":{},"description":"slow","duration":"00:00:00.0100000","status":"Degraded","tags":["ready"]}}}"#,
        weak,
    );
    check(
        r#"{"status":"error","info":{"db":{"status":"up"}},"error":{"redis":{"status":"down","message":"ECONNREFUSED"}},"details":{}}"#,
        failing,
    );
    check(r#"{"status":"shutting_down","info":{},"error":{},"details":{}}"#, failing);
    check(
        r#"{"status":"down","details":{"search":{"status":"down","timestamp":"2026-11-22T08:05:08.522685Z","error":"refused"}}}"#,
        failing,
    );
    check(
        r#"{"status":"Partially Available","timestamp":"2026-11-22T00:00:00.4+033:00","failures":{"rabbitmq":"refused"},"system":{"goroutines_count":4}}"#,
        weak,
    );
    check(
        r#"{"instance":{"app":"ORDERS","status":"UP","overriddenStatus":"OUT_OF_SERVICE","port":{"$":8082,"@enabled":"true"}}}"#,
        failing,
    );
    check(r#"{"db":{"healthy":true},"deadlocks":{"healthy":false,"message":"two"}}"#, failing);
    check(r#"{"status":"UNKNOWN","components":{"db":{"status":"UNKNOWN"}}}"#, None);
    check("[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n", failing);
    check("Unhealthy", failing);
    check("Degraded\n", weak);
    check("warning", weak);
    check("down #db gone\n", failing);
    check("up ready 75% maxconn:30\n", well);
}

#[test]
fn a_line_of_an_agent_says_what_it_asks_for() {
    let spec = Spec { format: Format::Agent, ..self::spec(&[("most", "maxconn")], &[]) };
    let read = report(&spec, None, "down #db gone\r\nup");
    assert_eq!((read.word.as_deref(), read.asks), (Some("down #db gone"), Asks::default()));
    let read = report(&spec, None, "up drain 75% maxconn:30");
    assert_eq!(read.asks, Asks { share: Some(Share::Part(0.75)), wish: Some(Wish::Drain), max_connections: Some(30) });
    assert_eq!(metrics(&read), [("most", 30.0)]);
}

#[test]
fn a_load_report_in_the_head_goes_before_the_body_and_the_word_is_the_bodys() {
    let said = |load, body: &'static str| Said { content_type: Some("application/json"), load, body: body.as_bytes() };
    let spec = spec(&[("jobs", "jobs.waiting")], &["queue"]);
    let load = "TEXT cpu_utilization=0.3, rps_fractional=60, named_metrics.queue=4";
    let both =
        read(&spec, &said(Some(load), r#"{"status":"DOWN","cpu":0.9,"memory":0.2,"jobs":{"waiting":7}}"#)).unwrap().unwrap();
    assert_eq!(both.status, Some(StatusWord::Failing));
    assert_eq!(metrics(&both), [("cpu", 0.3), ("jobs", 7.0), ("memory", 0.2), ("queue", 4.0)]);
    assert_eq!(both.asks.share, Some(Share::Capacity(200.0)));
    let alone = read(&spec, &said(Some(load), "")).unwrap().unwrap();
    assert_eq!((alone.metric("cpu"), alone.status), (Some(0.3), None));
    let spoiled = read(&spec, &said(Some("TEXT cpu=x"), r#"{"cpu":0.9}"#)).unwrap().unwrap();
    assert_eq!(spoiled.metric("cpu"), Some(0.9));
    assert!(hint(&spoiled, "").contains("endpoint-load-metrics"), "{spoiled:?}");
    assert!(read(&spec, &said(Some("TEXT cpu=x"), "")).is_err());
    let orca = Spec { format: Format::Orca, ..spec.clone() };
    assert_eq!(read(&orca, &said(Some(load), r#"{"cpu":0.9,"status":"DOWN"}"#)).unwrap().unwrap().status, None);
    assert!(read(&orca, &said(None, "")).is_err());
    let json = Spec { format: Format::Json, ..spec };
    assert_eq!(read(&json, &said(Some(load), r#"{"cpu":0.9}"#)).unwrap().unwrap().metric("cpu"), Some(0.9));
}

#[test]
fn a_page_of_metrics_may_be_longer_than_a_document() {
    let page: String = (0..20_000).map(|i| format!("metric_{i} {i}\n")).collect();
    assert!(page.len() > MAX_BODY);
    let spec = spec(&[("last", "metric_19999")], &[]);
    assert_eq!(report(&spec, Some("text/plain; version=0.0.4"), &page).metric("last"), Some(19_999.0));
    assert_eq!(max_body(Format::Auto, Some("text/plain")), MAX_PAGE);
    assert_eq!(max_body(Format::Auto, Some("application/json")), MAX_BODY);
    assert_eq!(max_body(Format::Prometheus, None), MAX_PAGE);
    assert!(read(&spec, &Said::new(Some("text/plain; version=0.0.4"), &b"a 1\n".repeat(300_000))).is_err());
}

#[test]
fn what_is_broken_is_unreadable_and_says_why() {
    let check = |format: Format, content_type: Option<&str>, body: &[u8], wanted: &str| {
        let spec = Spec { format, ..Spec::default() };
        let error = read(&spec, &Said::new(content_type, body)).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    check(Format::Auto, None, br#"{"cpu":0.3"#, "cut short");
    check(Format::Auto, Some("application/openmetrics-text"), b"a 1\n", "cut short");
    check(Format::Auto, None, b"# TYPE a gauge\na b\n", "line 2");
    check(Format::Json, None, b"", "no body");
    check(Format::Json, None, b"OK", "report.format");
    check(Format::Json, None, b"3", "is a number");
    check(Format::Prometheus, None, b"OK", "line 1");
    check(Format::Prometheus, None, b"a\xff 1", "UTF-8");
    check(Format::Json, None, &b" ".repeat(MAX_BODY + 1), "no body");
    check(Format::Json, None, format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY)).as_bytes(), "longer than 64 KiB");
    check(Format::Auto, None, format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY)).as_bytes(), "longer than 64 KiB");
    check(Format::Auto, None, r#"{"a":"#.repeat(100).as_bytes(), "nested");
    assert_eq!(read(&Spec { format: Format::None, ..Spec::default() }, &Said::new(None, b"{")), Ok(None));
    assert_eq!(read(&Spec::default(), &Said::new(None, "x".repeat(MAX_BODY + 1).as_bytes())), Ok(None));
}

#[test]
fn a_share_out_of_range_is_void_and_the_hint_names_the_setting() {
    let report = report(&Spec::default(), None, r#"{"status":"UP","cpu":37,"memory":0.4}"#);
    assert_eq!(metrics(&report), [("memory", 0.4)]);
    assert!(hint(&report, "cpu").contains("unit: percent"), "{report:?}");
    let percent = Spec { unit: Unit::Percent, ..Spec::default() };
    assert_eq!(metrics(&self::report(&percent, None, r#"{"cpu":37,"memory":0.4}"#)), [("cpu", 0.37), ("memory", 0.004)]);
    assert_eq!(
        metrics(&self::report(&Spec::default(), None, r#"{"cpu_percent":37,"mem_pct":40}"#)),
        [("cpu", 0.37), ("memory", 0.4)]
    );
}

#[test]
fn what_is_not_found_is_void_with_what_is_there() {
    let spec = spec(&[("queue", "jobs.wating")], &["lag", "cpu", "text", "twice"]);
    let body = r#"{"jobs":{"waiting":3},"text":"7","twice":1,"twice":2}"#;
    let report = report(&spec, None, body);
    assert!(metrics(&report).is_empty());
    assert!(hint(&report, "queue").contains("numbers found: `jobs.waiting`"), "{report:?}");
    assert!(hint(&report, "lag").contains("no number at `lag`"), "{report:?}");
    assert!(hint(&report, "cpu").contains("`map`"), "{report:?}");
    assert!(hint(&report, "text").contains("without quotes"), "{report:?}");
    assert!(hint(&report, "twice").contains("twice"), "{report:?}");
    assert!(report.voids.iter().all(|void| &*void.metric != "memory"), "memory was not wanted: {report:?}");
}

#[test]
fn not_a_number_and_infinity_are_void() {
    let report =
        report(&spec(&[("a", "a"), ("b", "b"), ("c", "max(c)")], &[]), None, "a NaN\nb +Inf\nc{x=\"1\"} 1\nc{x=\"2\"} NaN\n");
    assert!(metrics(&report).is_empty());
    assert_eq!(report.voids.len(), 3);
}

#[test]
fn only_wanted_metrics_are_kept() {
    let report = report(&spec(&[], &["a"]), None, r#"{"a":1,"b":2,"cpu":0.1,"memory":0.2,"disk":0.3}"#);
    assert_eq!(metrics(&report), [("a", 1.0), ("cpu", 0.1), ("memory", 0.2)]);
}

#[test]
fn a_mapped_metric_does_not_fall_back_to_its_usual_name() {
    let report = report(&spec(&[("cpu", "host.load")], &["cpu"]), None, r#"{"cpu":0.1}"#);
    assert!(metrics(&report).is_empty());
    assert!(hint(&report, "cpu").contains("`host.load`"));
}

#[test]
fn memory_used_and_its_limit_make_a_share() {
    assert_eq!(metrics(&report(&Spec::default(), None, r#"{"memory":{"used":1,"limit":4}}"#)), [("memory", 0.25)]);
    let percent = Spec { unit: Unit::Percent, ..Spec::default() };
    assert_eq!(metrics(&report(&percent, None, r#"{"memory":{"used":1,"limit":4}}"#)), [("memory", 0.25)]);
    assert!(hint(&report(&Spec::default(), None, r#"{"memory":{"used":5,"limit":4}}"#), "memory").contains("5 of 4"));
}

#[test]
fn found_metrics_are_places_that_map_takes() {
    for body in [HEALTH_JSON, SPRING, PROMETHEUS, r#"{"a.b":{"c":[1,{"d":2}]}}"#] {
        let found = found_metrics(&Spec::default(), &Said::new(None, body.as_bytes())).unwrap();
        assert!(!found.is_empty());
        for (index, Found { path, value }) in found.into_iter().enumerate() {
            let name = format!("m{index}");
            let got = report(&spec(&[(&name, &path)], &[]), None, body);
            assert_eq!(got.metric(&name), Some(value), "{path}");
        }
    }
    let many: String = (0..1000).map(|i| format!("m{i} 1\n")).collect();
    assert_eq!(found_metrics(&Spec::default(), &Said::new(None, many.as_bytes())).unwrap().len(), MAX_FOUND);
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let format = prop_oneof![
        Just(Format::Auto),
        Just(Format::Json),
        Just(Format::HealthJson),
        Just(Format::Spring),
        Just(Format::Orca),
        Just(Format::Agent),
        Just(Format::Prometheus)
    ];
    let unit = prop_oneof![Just(Unit::Ratio), Just(Unit::Percent)];
    let place = prop_oneof![any::<String>(), "[a-c.]{0,6}", Just(r#"a{b="c"}"#.to_owned())];
    (format, unit, proptest::collection::vec(("[a-c]", place), 0..4)).prop_map(|(format, unit, map)| Spec {
        format,
        unit,
        map: map.into_iter().map(|(metric, place)| (metric.into(), place.into())).collect(),
        needed: vec!["cpu".into(), "queue".into()],
        ..Spec::default()
    })
}

/// Bodies that come past the first byte of every parser.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "a",
        "b",
        ".",
        "0",
        "-",
        "1e9",
        "1e999",
        "NaN",
        "+Inf",
        "null",
        "true",
        " ",
        "\n",
        "# EOF",
        "# TYPE ",
        "=",
        "\"cpu\":",
        "\"checks\":",
        "\"status\":\"UP\"",
        "\"components\":{",
        "\"observedValue\":",
        "\u{feff}",
        "é",
        "\"a\":1,",
        "a{b=\"c\"} 1\n",
        "cpu 0.5\n",
    ]);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        proptest::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_body_panics_and_every_metric_is_finite(spec in any_spec(), body in any_body(), cut in 0_usize..400) {
        for content_type in [None, Some("application/json"), Some("text/plain; version=0.0.4"), Some("application/health+json")] {
            for body in [&body[..], &body[..cut.min(body.len())]] {
                if let Ok(Some(report)) = read(&spec, &Said::new(content_type, body)) {
                    prop_assert!(report.metrics.iter().all(|(_, value)| value.is_finite()));
                    prop_assert!(report.metrics.windows(2).all(|pair| pair[0].0 < pair[1].0));
                    prop_assert!(report.voids.iter().all(|void| !void.hint.contains('\n') && void.hint.len() < 2000));
                    prop_assert!(report.metrics.iter().all(|(name, _)| report.voids.iter().all(|void| void.metric != *name)));
                    let share = report.metric("cpu").or(report.metric("memory"));
                    prop_assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
                }
                let _found = found_metrics(&spec, &Said::new(content_type, body));
            }
        }
    }

    #[test]
    fn a_share_in_range_survives_every_format(share in 0.0..=1.0_f64) {
        let bodies = [
            format!(r#"{{"status":"UP","cpu":{share}}}"#),
            format!(r#"{{"status":"UP","components":{{"db":{{"status":"UP"}}}},"system":{{"cpu":{{"usage":{share}}}}}}}"#),
            format!(r#"{{"checks":{{"cpu:utilization":[{{"observedValue":{share},"observedUnit":"ratio"}}]}}}}"#),
            format!("# TYPE system_cpu_usage gauge\nsystem_cpu_usage {share}\n"),
        ];
        for body in bodies {
            let got = read(&Spec::default(), &Said::new(None, body.as_bytes())).unwrap().unwrap().metric("cpu");
            prop_assert!(got.is_some_and(|got| (got - share).abs() < 1e-12), "{body}: {got:?}");
        }
    }

    #[test]
    fn the_order_of_keys_changes_nothing(
        members in Just(vec![r#""status":"UP""#, r#""cpu":0.1"#, r#""cpu_usage":0.2"#, r#""memory":{"used":1,"limit":3}"#, r#""a.b":1"#,
            r#""a":{"b":2,"c":3}"#, r#""mem_percent":12"#]).prop_shuffle(),
    ) {
        let spec = spec(&[("x", "a.b"), ("y", "a.d")], &[]);
        let read = |members: &[&str]| report(&spec, None, &format!("{{{}}}", members.join(",")));
        let mut sorted = members.clone();
        sorted.sort_unstable();
        prop_assert_eq!(read(&members), read(&sorted));
    }

    #[test]
    fn the_order_of_lines_changes_nothing(
        lines in Just(vec!["a{x=\"1\"} 0.1", "a{x=\"2\"} 0.2", "a{x=\"3\"} 1e16", "a{x=\"4\"} -1e16", "b 1", "b 2", "system_cpu_usage 0.3",
            "process_cpu_usage 0.4"]).prop_shuffle(),
    ) {
        let spec = spec(&[("a", "a"), ("b", "b"), ("c", "avg(a)")], &[]);
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        prop_assert_eq!(report(&spec, None, &lines.join("\n")), report(&spec, None, &sorted.join("\n")));
    }
}

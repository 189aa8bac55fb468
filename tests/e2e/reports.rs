//! A service that answers its health path well, and reports that it has no CPU left.

use crate::support::{Kind, PATIENCE, Proxy, Service, one_listener, until};

#[test]
fn a_service_that_reports_too_much_cpu_is_out_until_it_reports_little() {
    let [busy, other] = [Kind::Python, Kind::Node].map(Service::start);
    let (busy_name, other_name) = (busy.name(), other.name());
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{busy_name}, {other_name}]
    health:
      path: /health
      interval: 300ms
      report: {{ rules: [{{ metric: cpu, eject: 95%, recover: 70% }}] }}
"
    )));
    let labels = [("cluster", "app"), ("endpoint", busy_name.as_str())];
    let reports = || proxy.page().sum("reports_total", &[labels[0], labels[1], ("result", "ok")]);
    let reported = |json: &str| {
        busy.report(json);
        let before = reports();
        // One may be on its way that still says what was so before.
        until(PATIENCE, "more reports", || (reports() >= before + 6).then_some(()));
    };

    let before = reports();
    busy.report("{\"cpu\":0.97}\n");
    let (endpoint, took) = proxy.wait_for_state(PATIENCE, &busy_name, "ejected");
    assert!(reports() >= before + 3, "out after {} reports", reports() - before);
    eprintln!("out after {took:?}");
    assert_eq!(endpoint["reasons"][0]["code"], "report_cpu", "{endpoint:#}");
    assert_eq!((&endpoint["available"], &endpoint["admitted"]), (&false.into(), &false.into()));
    assert!((endpoint["report"]["cpu"].as_f64().unwrap() - 0.97).abs() < 1e-9);
    let page = proxy.page();
    assert_eq!(page.one("endpoint_up", &labels), 0);
    assert_eq!(page.one("endpoint_reason", &[labels[1], ("reason", "report_cpu")]), 1);
    assert!((page.share("endpoint_report", &[labels[1], ("metric", "cpu")]) - 0.97).abs() < 1e-9);
    let explained = proxy.succeed(&["explain", "app", &busy_name]);
    for wanted in ["is ejected, not available", "report_cpu", "97", "cpu"] {
        assert!(explained.contains(wanted), "{wanted}: {explained}");
    }
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), other.says());
    }

    reported("{\"cpu\":0.71}\n");
    assert_eq!(proxy.endpoint(&busy_name)["state"], "ejected", "71 % is not below 70 %");
    busy.report("{\"cpu\":0.69}\n");
    let (_, took) = proxy.wait_for_state(PATIENCE, &busy_name, "healthy");
    eprintln!("back after {took:?}");
    until(PATIENCE, "it gets requests", || (proxy.get("/").text() == busy.says()).then_some(()));

    // A report that cannot be read is no reason, and says so.
    reported("{\"load\":1}\n");
    assert_eq!(proxy.endpoint(&busy_name)["state"], "healthy");
    let explained = proxy.succeed(&["explain", "app", &busy_name]);
    assert!(explained.contains("could not be read"), "{explained}");
}

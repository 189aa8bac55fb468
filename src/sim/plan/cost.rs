//! What probing costs endpoints and network while all is well.

use std::time::Duration;

use crate::config::model::Cluster;
use crate::health::check::Check;
use crate::report::spec::Source;
use crate::sim::plan::Assumptions;
use crate::sim::plan::loss::FRESH_EVERY;

/// Bytes on the wire, with the heads of Ethernet, IP and TCP, of a request and a short answer over a kept connection.
const WARM: f64 = 600.0;
/// Bytes that a handshake and an orderly close add.
const CONNECT: f64 = 490.0;
/// Bytes that the body of a report adds, as common services write them.
const REPORT: f64 = 900.0;

/// Rates while all is well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Probes a second that one endpoint answers, from all proxies.
    pub per_endpoint: f64,
    /// Probes a second of all proxies to all endpoints.
    pub probes: f64,
    /// Bytes a second of these, both ways, as an estimate.
    pub bytes: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
pub(super) fn cost(cluster: &Cluster, assumed: &Assumptions) -> Cost {
    let proxies = f64::from(assumed.proxies);
    let endpoints = cluster.endpoints.len() as f64;
    let mut rate = 0.0;
    let mut bytes = 0.0;
    let sent = cluster.probes.iter().filter(|probe| !matches!(probe.check, Check::File(_)));
    let asked = sent.map(|probe| (probe.timing.interval, matches!(probe.check, Check::Tcp | Check::Agent)));
    for (interval, connects) in asked.chain(fetched(cluster)) {
        let a_second = 1.0 / interval.as_secs_f64();
        rate += a_second;
        bytes += a_second * if connects { CONNECT } else { WARM + CONNECT / FRESH_EVERY };
    }
    bytes += if cluster.report.is_some() { REPORT / cluster.report_timing.interval.as_secs_f64() } else { 0.0 };
    Cost { per_endpoint: proxies * rate, probes: proxies * rate * endpoints, bytes: proxies * bytes * endpoints }
}

/// A report that is fetched from a path of its own is one more request.
fn fetched(cluster: &Cluster) -> Option<(Duration, bool)> {
    let report = cluster.report.as_ref()?;
    let own = matches!(report.source, Source::Own { .. });
    own.then_some((cluster.report_timing.interval, false))
}

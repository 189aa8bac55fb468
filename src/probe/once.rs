//! One run now, outside any schedule: for whoever wants to see what a probe sees.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};

use crate::base::address::EndpointAddress;
use crate::base::units::Ratio;
use crate::health::check::{Acknowledge, Check, HttpCheck, ProbeSpec, StatusRange};
use crate::health::policy::Timing;
use crate::health::signal::{ProbeRun, ReportReading};
use crate::health::verdict::State;
use crate::probe::answer::Answer;
use crate::probe::probing::report_probe;
use crate::probe::rounds::fetched;
use crate::probe::run::{Outcome, Probe};
use crate::probe::target::{Approach, Target};
use crate::probe::vigil;
use crate::report::spec::{Format, Source, Spec};
use crate::tls::{Towards, TowardsTerms};

/// What one run found.
#[derive(Debug)]
pub struct Finding {
    /// The run as control would have been told; its probe is number 0.
    pub run: ProbeRun,
    /// The whole answer; none for a tcp probe, and if no whole answer came.
    pub answer: Option<Answer>,
    /// What came of reading the report in it, if reports are read from this probe's answer and there is one.
    pub reading: Option<ReportReading>,
}

/// Why a text is not a URL to probe: a sentence that says what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a URL such as http://127.0.0.1:9001/health is wanted")]
pub struct UrlError;

/// Runs a probe of an endpoint now, over a fresh connection. A name is looked up first, which the probe's time-out does not
/// cover. The report is read from the answer if `report` takes it from there.
pub async fn once(endpoint: &EndpointAddress, spec: &ProbeSpec, report: Option<&Spec>, approach: &Approach) -> Finding {
    let reads = report.filter(|report| report.source == Source::FirstHttpProbe && report.format != Format::None);
    let outcome = run(endpoint, spec, reads, approach).await;
    let excerpt = outcome.excerpt(&Arc::default());
    let Outcome { started, latency, result, answer, reading, stamps, .. } = outcome;
    Finding { run: ProbeRun { probe: 0, started, latency, result, excerpt, stamps }, answer, reading }
}

/// Fetches an endpoint's report from its own path now; `None` if it has none. The answer is there if a whole one came.
pub async fn fetch_report(
    endpoint: &EndpointAddress,
    report: &Spec,
    timing: Timing,
    approach: &Approach,
) -> Option<(ReportReading, Option<Answer>)> {
    let spec = report_probe(report, timing)?;
    let mut outcome = run(endpoint, &spec, Some(report), approach).await;
    let answer = outcome.answer.take();
    Some((fetched(outcome), answer))
}

async fn run(endpoint: &EndpointAddress, spec: &ProbeSpec, reads: Option<&Spec>, approach: &Approach) -> Outcome {
    let target = Target::resolve(spec, endpoint).await.approached(spec, approach, endpoint.port());
    let mut probe = Probe::new(spec.clone(), endpoint, target, reads.cloned().map(Arc::new));
    probe.run(State::Unknown.as_str(), true, &mut vigil::timer()).await
}

/// The probe that a URL stands for, and the endpoint that it is of: a GET that passes with 2xx; and TLS for `https://`, which
/// believes the authorities of the system.
///
/// # Errors
/// If the text is no such URL.
pub fn plain(url: &str, timeout: Duration) -> Result<(EndpointAddress, ProbeSpec, Option<Arc<Towards>>), UrlError> {
    let uri: Uri = url.parse().map_err(|_| UrlError)?;
    let (port, tls) = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => (80, None),
        Some(scheme) if *scheme == Scheme::HTTPS => {
            let terms = TowardsTerms { authorities: None, identity: None, server_name: None };
            (443, Some(Arc::new(Towards::new(terms))))
        }
        _ => return Err(UrlError),
    };
    let authority = uri.authority().ok_or(UrlError)?.as_str();
    let endpoint =
        EndpointAddress::parse_network(authority).or_else(|_| EndpointAddress::parse_network(&format!("{authority}:{port}")));
    let endpoint = endpoint.map_err(|_| UrlError)?;
    let check = HttpCheck {
        path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
        method: Method::GET,
        host: Some(authority.into()),
        headers: HeaderMap::new(),
        status: vec![StatusRange { low: 200, high: 299 }],
        body_contains: None,
        acknowledge: Acknowledge::default(),
    };
    // Nothing repeats here: only the time-out counts.
    let timing = Timing { interval: timeout, timeout, fast_interval: timeout, down_interval: timeout, jitter: Ratio::ZERO };
    let check = Check::Http(check);
    Ok((endpoint, ProbeSpec { name: "url".into(), check, address: None, port: None, source: None, tls: true, timing }, tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |url: &str, wanted: Option<(&str, &str, &str)>| {
            let found = plain(url, Duration::from_secs(1)).ok().map(|(endpoint, spec, _)| {
                let Check::Http(http) = spec.check else { panic!("a URL is asked by HTTP") };
                (endpoint.to_string(), http.path.to_string(), http.host.map(|host| host.to_string()).unwrap_or_default())
            });
            let wanted = wanted.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
            assert_eq!(found, wanted, "{url}");
        };
        check("http://127.0.0.1:9001/health", Some(("127.0.0.1:9001", "/health", "127.0.0.1:9001")));
        check("http://orders.internal", Some(("orders.internal:80", "/", "orders.internal")));
        check("https://orders.internal", Some(("orders.internal:443", "/", "orders.internal")));
        check("http://[::1]:80/a?b=c", Some(("[::1]:80", "/a?b=c", "[::1]:80")));
        for bad in ["", "127.0.0.1:80", "/health", "https://", "ftp://a/", "http://", "http://u@a/", "http://a:x/", "http://a:0/"]
        {
            check(bad, None);
        }
    }
}

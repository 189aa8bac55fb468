//! Owns what the demo shows: where to look, each endpoint's state and why, the figures, and what happened last.
//!
//! On a terminal the whole picture is drawn again and again; elsewhere each thing that happens is one more line.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::cli::demo::load::{RATE, Tally};
use crate::cli::demo::script::Cue;
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};
use crate::cli::{age, table};
use crate::health::verdict::EndpointView;

/// How many of the last happenings stay in the picture.
const LAST: usize = 10;

/// The sockets of the demo.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Where requests go in.
    pub(super) proxy: SocketAddr,
    /// The admin interface.
    pub(super) admin: SocketAddr,
    /// The endpoints, in order.
    pub(super) endpoints: Vec<SocketAddr>,
}

/// The figures of the demo so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Figures {
    /// Requests that have ended.
    pub(super) requests: u64,
    /// Those of them that failed.
    pub(super) failed: u64,
    /// How often an endpoint was taken out.
    pub(super) ejections: u64,
}

impl Figures {
    /// The figures now.
    pub(super) fn new(tally: &Tally, ejections: u64) -> Self {
        Self { requests: tally.requests(), failed: tally.failed(), ejections }
    }

    /// The figures in one line.
    pub(super) fn line(self) -> String {
        format!("requests {}, failed {}, ejections {}", self.requests, self.failed, self.ejections)
    }
}

/// The picture of the demo.
#[derive(Debug)]
pub(super) struct Screen {
    addresses: Addresses,
    start: Timestamp,
    last: VecDeque<String>,
}

impl Screen {
    /// A picture of a demo that starts now; the addresses are shown at once.
    ///
    /// # Errors
    /// If they cannot be printed.
    pub(super) fn open(addresses: Addresses, start: Timestamp, out: &mut Output) -> Result<Self, Failure> {
        let screen = Self { addresses, start, last: VecDeque::new() };
        if out.is_terminal() {
            out.clear()?;
        } else {
            out.print(&screen.heading())?;
        }
        Ok(screen)
    }

    /// Tells what happens.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub(super) fn tell(&mut self, cue: &Cue, figures: Figures, now: Timestamp, out: &mut Output) -> Result<(), Failure> {
        let at = now.since(self.start).as_secs_f64();
        let line = format!("{at:6.1}s  {}", told(cue, &self.addresses.endpoints));
        if !out.is_terminal() {
            return out.line(&format!("{line} ({})", figures.line()));
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line);
        Ok(())
    }

    /// Draws the picture anew, if there is a terminal.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub(super) fn draw(
        &self,
        views: &[(SocketAddr, &EndpointView)],
        figures: Figures,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if out.is_terminal() { out.redraw(&self.picture(views, figures, now)) } else { Ok(()) }
    }

    fn heading(&self) -> String {
        let Addresses { proxy, admin, endpoints } = &self.addresses;
        format!(
            "pulsegate demo: {} endpoints behind a proxy, {RATE} requests a second, one endpoint sick at a time\n\n  \
             proxy    curl http://{proxy}/\n  \
             admin    curl http://{admin}/api/v1/status\n           \
             pulsegate --admin http://{admin} status --watch\n  \
             metrics  curl http://{admin}/metrics\n\n",
            endpoints.len()
        )
    }

    fn picture(&self, views: &[(SocketAddr, &EndpointView)], figures: Figures, now: Timestamp) -> String {
        let titles = ["ENDPOINT", "STATE", "SINCE", "CPU", "REASON"].map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(titles).chain(views.iter().map(|(at, view)| row(*at, view, now))).collect();
        let last: String = self.last.iter().map(|line| format!("{line}\n")).collect();
        format!("{}{}\n  {}\n\n{last}", self.heading(), table::columns(2, &rows), figures.line())
    }
}

fn row(address: SocketAddr, view: &EndpointView, now: Timestamp) -> Vec<String> {
    let cpu = view.report.iter().find(|(metric, _)| &**metric == "cpu").map(|(_, cpu)| format!("{:.0}%", cpu * 100.0));
    let reason = |reason: &crate::health::verdict::Reason| format!("{}: {}", reason.code, reason.detail);
    vec![
        address.to_string(),
        view.state.as_str().to_owned(),
        age::span(now.since(view.since)),
        cpu.unwrap_or_default(),
        plain(&view.reasons.first().map(reason).unwrap_or_default()).into_owned(),
    ]
}

fn told(cue: &Cue, endpoints: &[SocketAddr]) -> String {
    match cue {
        Cue::Sick(endpoint, fault) => format!("{} turns sick: it {}", endpoints[*endpoint], fault.as_str()),
        Cue::Found(endpoint, code, span) => format!("{} is out after {}: {code}", endpoints[*endpoint], took(*span)),
        Cue::Missed(endpoint, fault) => format!("{} was not found out: it {}", endpoints[*endpoint], fault.as_str()),
        Cue::Well(endpoint) => format!("{} is well again", endpoints[*endpoint]),
        Cue::Back(endpoint, span) => format!("{} gets requests again after {}", endpoints[*endpoint], took(*span)),
        Cue::Lost(endpoint) => format!("{} does not come back", endpoints[*endpoint]),
    }
}

/// How long something took: milliseconds below a second.
fn took(span: Duration) -> String {
    if span < Duration::from_secs(1) { format!("{}ms", span.as_millis()) } else { age::span(span) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::script::Fault;
    use crate::health::verdict::{Code, Reason, State};

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn view(state: State, reasons: Vec<Reason>) -> EndpointView {
        EndpointView {
            state,
            available: reasons.is_empty(),
            admitted: reasons.is_empty(),
            weight: 1.0,
            since: Timestamp::from_millis(2000),
            reasons,
            report: vec![("cpu".into(), 0.031)],
            report_voids: Vec::new(),
            report_at: None,
            probes: Vec::new(),
            heartbeat: None,
            role: None,
            most_requests: None,
            next_change: None,
        }
    }

    #[test]
    fn the_picture_has_addresses_endpoints_figures_and_the_last_happenings() {
        let addresses = Addresses { proxy: at(8080), admin: at(9900), endpoints: vec![at(1), at(2)] };
        let last = VecDeque::from(vec![format!("  3.0s  {}", told(&Cue::Sick(1, Fault::Hangs), &addresses.endpoints))]);
        let screen = Screen { addresses, start: Timestamp::ZERO, last };
        let reason = Reason {
            code: Code::ProbeTimeout,
            probe: None,
            detail: "no answer within 200ms".to_owned(),
            since: Timestamp::ZERO,
            until: None,
        };
        let (well, sick) = (view(State::Healthy, Vec::new()), view(State::Unhealthy, vec![reason]));
        let views = [(at(1), &well), (at(2), &sick)];
        let figures = Figures { requests: 1000, failed: 0, ejections: 2 };
        insta::assert_snapshot!(screen.picture(&views, figures, Timestamp::from_millis(4000)), @r"
        pulsegate demo: 2 endpoints behind a proxy, 200 requests a second, one endpoint sick at a time

          proxy    curl http://127.0.0.1:8080/
          admin    curl http://127.0.0.1:9900/api/v1/status
                   pulsegate --admin http://127.0.0.1:9900 status --watch
          metrics  curl http://127.0.0.1:9900/metrics

          ENDPOINT     STATE      SINCE  CPU  REASON
          127.0.0.1:1  healthy    2.0s   3%
          127.0.0.1:2  unhealthy  2.0s   3%   probe_timeout: no answer within 200ms

          requests 1000, failed 0, ejections 2

          3.0s  127.0.0.1:2 turns sick: it answers nothing any more
        ");
    }

    #[test]
    fn what_happens_is_told_in_a_line() {
        let endpoints = [at(1)];
        let check = |cue: &Cue, wanted: &str| assert_eq!(told(cue, &endpoints), wanted);
        let second = Duration::from_secs(1);
        check(&Cue::Sick(0, Fault::Refuses), "127.0.0.1:1 turns sick: it refuses connections");
        check(&Cue::Found(0, Code::Refused, second), "127.0.0.1:1 is out after 1.0s: refused");
        check(&Cue::Missed(0, Fault::ReportsCpu), "127.0.0.1:1 was not found out: it reports 97% cpu");
        check(&Cue::Well(0), "127.0.0.1:1 is well again");
        check(&Cue::Back(0, second / 2), "127.0.0.1:1 gets requests again after 500ms");
        check(&Cue::Lost(0), "127.0.0.1:1 does not come back");
    }
}

//! `beat`: sends heartbeats for a program that cannot, to one proxy or several, and ends when too few of them answer.
//!
//! That end is the point: whoever starts the program beside this learns in time that nobody sends it traffic any more, and can
//! stop what only the one in traffic may do. The time to live is counted from when an acknowledged beat was sent, which is
//! never later than when it was received: so this gives up before the proxies do.
//!
//! | file | owns |
//! |---|---|
//! | `path` | the connection to one proxy, and the beats on it |
//! | `tally` | who has acknowledged, and whether that is enough |
//! | `report` | what the report command says |
//! | `trust` | TLS on the way |

mod path;
mod report;
mod tally;
mod trust;

use std::path::Path as FilePath;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::base::time::Timestamp;
use crate::base::units::parse_duration;
use crate::cli::beat::path::{Ack, Path};
use crate::cli::beat::report::Reporter;
use crate::cli::beat::tally::Tally;
use crate::cli::beat::trust::{ProxyUrl, Trust};
use crate::cli::client::{Target, bearer, online};
use crate::cli::failure::Failure;
use crate::cli::output::plain;
use crate::runtime::clock;
use crate::tls::Towards;

/// Between two beats until a proxy has said how often it wants them.
const FIRST_PERIOD: Duration = Duration::from_millis(500);
/// Periods for which nobody need answer until a proxy has said its ttl.
const FIRST_TTL_PERIODS: f64 = 3.5;
/// Longest wait for one ack.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for anybody to take the last beat.
const BYE_TIMEOUT: Duration = Duration::from_millis(500);

/// How many proxies must acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Require {
    /// More than half of them.
    Majority,
    /// One of them.
    Any,
}

/// Whom to beat for, and where to.
#[derive(Debug, Args)]
pub(super) struct Beat {
    /// Where a proxy takes heartbeats; give it once for each
    #[arg(long, required = true, value_name = "URL")]
    to: Vec<ProxyUrl>,
    /// How many of them must acknowledge
    #[arg(long, value_enum, default_value = "majority")]
    require: Require,
    /// The cluster of the endpoint
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// The endpoint's address, as the proxies have it configured
    #[arg(long, value_name = "ADDRESS")]
    endpoint: String,
    /// From one beat to the next; by default what the proxies ask for
    #[arg(long, value_name = "DURATION", value_parser = period)]
    period: Option<Duration>,
    /// A shell command that prints the report as a JSON object; if it fails, the endpoint does
    #[arg(long, value_name = "CMD")]
    report_command: Option<String>,
    #[command(flatten)]
    trust: Trust,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = parse_duration(text).map_err(|error| error.to_string())?;
    if period < Duration::from_millis(10) { Err("at least 10ms".to_owned()) } else { Ok(period) }
}

impl Beat {
    /// Beats until it is told to end, or too few proxies have acknowledged for a ttl.
    ///
    /// # Errors
    /// If it cannot begin, or too few acknowledge.
    pub(super) fn run(&self, target: &Target) -> Result<ExitCode, Failure> {
        let token = target.token_file.as_deref().map(|file| token(file, &self.endpoint)).transpose()?;
        let towards = if self.to.iter().any(ProxyUrl::is_secured) { Some(self.trust.towards()?) } else { None };
        online(self.beat(token, towards))
    }

    async fn beat(&self, token: Option<HeaderValue>, towards: Option<Arc<Towards>>) -> Result<ExitCode, Failure> {
        let system = |error: std::io::Error| Failure::new(format!("the system refuses a signal handler: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let path = |url: &ProxyUrl| {
            let towards = towards.clone().filter(|_| url.is_secured());
            Path::new(url.0.clone(), towards, token.clone())
        };
        let paths: Vec<Path> = self.to.iter().map(path).collect();
        let needed = match self.require {
            Require::Majority => paths.len() / 2 + 1,
            Require::Any => 1,
        };
        let period = self.period.unwrap_or(FIRST_PERIOD);
        let tally = Tally::new(paths.len(), needed, period.mul_f64(FIRST_TTL_PERIODS).max(ANSWER_TIMEOUT), clock::now());
        let reporter = self.report_command.as_deref().map(|command| Reporter::start(command.to_owned()));
        let (boot_id, asked) = (format!("{:016x}", fastrand::Rng::new().u64(..)), vec![None; paths.len()]);
        let mut beats = Beats { beat: self, boot_id, seq: 0, period, asked, paths, tally };
        tokio::select! {
            cut_off = beats.go(reporter.as_ref()) => Err(cut_off),
            _ = terminate.recv() => Ok(beats.leave().await),
            _ = interrupt.recv() => Ok(beats.leave().await),
        }
    }
}

/// The beats of one run.
struct Beats<'a> {
    beat: &'a Beat,
    boot_id: String,
    seq: u64,
    period: Duration,
    /// When each proxy wanted the next beat, as it said last.
    asked: Vec<Option<Duration>>,
    paths: Vec<Path>,
    tally: Tally,
}

impl Beats<'_> {
    /// Beats until too few acknowledge.
    async fn go(&mut self, reporter: Option<&Reporter>) -> Failure {
        if let Some(reporter) = reporter {
            reporter.first().await;
        }
        self.tally.begin(clock::now());
        let mut next = clock::now();
        loop {
            let (state, report) = reporter.map_or(("ready", None), Reporter::said);
            if let Some(reporter) = reporter {
                reporter.again();
            }
            let timeout = timeout(self.period, self.tally.deadline(), clock::now());
            self.send(state, report, timeout).await;
            let now = clock::now();
            next = (next + self.period).max(now);
            tokio::time::sleep_until(clock::instant(next.min(self.tally.deadline()))).await;
            let now = clock::now();
            if self.tally.is_cut_off(now) {
                let (acknowledged, needed, ttl) = (self.tally.fresh(now), self.tally.needed(), self.tally.ttl());
                return Failure::new(format!(
                    "cut off: {acknowledged} of {} proxies have acknowledged within {ttl:?}, {needed} are required",
                    self.paths.len()
                ));
            }
        }
    }

    /// Sends one beat to every proxy and notes who acknowledges it.
    async fn send(&mut self, state: &str, report: Option<Value>, timeout: Duration) {
        let body = self.message(state, report);
        let sent = clock::now();
        let sending = self.paths.iter_mut().map(|path| path.beat(&body, timeout));
        let acks = all(sending).await;
        for (place, ack) in acks.into_iter().enumerate() {
            self.note(place, sent, ack);
        }
    }

    fn message(&mut self, state: &str, report: Option<Value>) -> String {
        self.seq += 1;
        let mut body = json!({
            "cluster": self.beat.cluster,
            "endpoint": self.beat.endpoint,
            "boot_id": self.boot_id,
            "seq": self.seq,
            "sent_at_ms": clock::wall().unix_millis(),
            "state": state,
        });
        if let Some(period) = self.beat.period {
            body["period_ms"] = json!(u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(report) = report {
            body["report"] = report;
        }
        body.to_string()
    }

    fn note(&mut self, place: usize, sent: Timestamp, ack: Result<Ack, String>) {
        let url = self.paths[place].url().to_string();
        match ack {
            Ok(ack) => {
                self.tally.acknowledged(place, sent, ack.ttl);
                self.asked[place] = Some(ack.next_in);
                self.period = pace(self.beat.period, &self.asked);
                if self.paths[place].learns(&format!("{} {}", ack.state, ack.available)) {
                    let traffic = if ack.available { "available" } else { "not available" };
                    eprintln!("{url} sees {} as {}, {traffic}", self.beat.endpoint, plain(&ack.state));
                }
            }
            Err(why) => {
                if self.paths[place].learns(&why) {
                    eprintln!("{url}: {}", plain(&why));
                }
            }
        }
    }

    /// Says goodbye to whoever listens.
    async fn leave(&mut self) -> ExitCode {
        self.send("bye", None, BYE_TIMEOUT).await;
        ExitCode::SUCCESS
    }
}

/// From one beat to the next: the shortest that any proxy wants, which knows the sender's own, and that never longer.
fn pace(own: Option<Duration>, asked: &[Option<Duration>]) -> Duration {
    own.into_iter().chain(asked.iter().flatten().copied()).min().unwrap_or(FIRST_PERIOD)
}

/// How long the acks of a beat are waited for. Not beyond the moment at which nobody's ack helps any more: this must have ended before the
/// proxies give up.
fn timeout(period: Duration, deadline: Timestamp, now: Timestamp) -> Duration {
    period.min(ANSWER_TIMEOUT).min(deadline.since(now))
}

/// Waits for all of them at once; there are as many as there are proxies.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut open = false;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => open = true,
                }
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

/// What a proxy is shown: the token of a file with one, or of a proxy's own, where lines may name the endpoints that they are for.
fn token(file: &FilePath, endpoint: &str) -> Result<HeaderValue, Failure> {
    let said = |what: String| Failure::new(format!("--token-file {}: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| said(error.to_string()))?;
    let token = pick(&text, endpoint).ok_or_else(|| said("no token in it for this endpoint".to_owned()))?;
    bearer(token).ok_or_else(|| said("the token for this endpoint is not of visible ASCII characters alone".to_owned()))
}

fn pick<'a>(text: &'a str, endpoint: &str) -> Option<&'a str> {
    let lines = || text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let tokens = || lines().filter(|words| words.first().is_some_and(|word| !word.starts_with('#')));
    let own = tokens().find(|words| words[1..].iter().any(|word| word.eq_ignore_ascii_case(endpoint)));
    own.or_else(|| tokens().find(|words| words.len() == 1)).map(|words| words[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_endpoints_own_or_one_for_all() {
        let file = "# tokens\n\nall\none 10.0.0.1:80 10.0.0.2:80\n";
        assert_eq!(pick(file, "10.0.0.2:80"), Some("one"));
        assert_eq!(pick(file, "10.0.0.3:80"), Some("all"));
        assert_eq!(pick("one 10.0.0.1:80", "10.0.0.3:80"), None);
        assert_eq!(pick(" lonely \n", "a:1"), Some("lonely"));
        assert_eq!(pick("", "a:1"), None);
    }

    #[test]
    fn the_shortest_period_that_anybody_wants_counts() {
        let ms = Duration::from_millis;
        assert_eq!(pace(None, &[None, None]), FIRST_PERIOD);
        assert_eq!(pace(None, &[Some(ms(2000)), None]), ms(2000));
        assert_eq!(pace(None, &[Some(ms(300)), Some(ms(2000))]), ms(300));
        assert_eq!(pace(None, &[Some(ms(2000)), Some(ms(300))]), ms(300));
        assert_eq!(pace(Some(ms(700)), &[None, None]), ms(700));
        assert_eq!(pace(Some(ms(700)), &[Some(ms(2000))]), ms(700));
        assert_eq!(pace(Some(ms(5000)), &[Some(ms(1312))]), ms(1312), "it would be over before its next beat");
    }

    #[test]
    fn nobody_is_waited_for_beyond_the_time_to_live() {
        let (ms, at) = (Duration::from_millis, Timestamp::from_millis);
        assert_eq!(timeout(ms(500), at(1750), at(0)), ms(500));
        assert_eq!(timeout(ms(5000), at(17_500), at(0)), ANSWER_TIMEOUT);
        assert_eq!(timeout(ms(500), at(1750), at(1500)), ms(250));
        assert_eq!(timeout(ms(500), at(1750), at(1800)), Duration::ZERO);
    }

    #[test]
    fn a_token_that_no_proxy_can_have_is_told_at_once() {
        let file = std::env::temp_dir().join(format!("pulsegate-tokens-{}", std::process::id()));
        std::fs::write(&file, "tok\u{e9}n a:1\nto\u{1}ken a:2\ngood a:3\n").unwrap();
        let read = |endpoint| token(&file, endpoint).map_err(|failure| failure.to_string());
        for endpoint in ["a:1", "a:2"] {
            let said = read(endpoint).unwrap_err();
            assert!(said.ends_with("the token for this endpoint is not of visible ASCII characters alone"), "{said}");
        }
        assert!(read("a:4").unwrap_err().ends_with("no token in it for this endpoint"));
        assert_eq!(read("a:3").unwrap(), "Bearer good");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn periods_are_durations_that_make_sense() {
        assert_eq!(period("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "5", "1ms", "0s"] {
            assert!(period(bad).is_err(), "{bad}");
        }
    }
}

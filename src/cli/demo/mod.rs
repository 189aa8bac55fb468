//! `demo [--for 20s]`: the main job on one machine with nothing else: three endpoints, a proxy before them, load, and one
//! endpoint at a time that turns sick in another way.
//!
//! It is a test as well as a show: it exits with 0 only if no request failed and each fault was found for the right
//! reason. The endpoints, the proxy and the load have threads of their own; this one only looks and gives cues.

mod endpoints;
mod load;
mod proxy;
mod screen;
mod script;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::base::time::Timestamp;
use crate::base::units::{format_duration, parse_duration};
use crate::cli::client::online;
use crate::cli::demo::endpoints::Endpoints;
use crate::cli::demo::load::{Load, Tally};
use crate::cli::demo::proxy::Proxy;
use crate::cli::demo::screen::{Addresses, Figures, Screen};
use crate::cli::demo::script::{Cue, Script, Seen};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::health::verdict::EndpointView;
use crate::runtime::clock;
use crate::sample::Mood;

/// The shortest demo that has room for every fault.
const SHORTEST: Duration = Duration::from_secs(20);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);

/// How long.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End after this long, at least 20s, and exit with 0 only if no request failed and each fault was found; without it go
    /// on until interrupted
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    span: Option<Duration>,
}

fn span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    let wanted = || format!("wanted is at least {}, which every fault takes once", format_duration(SHORTEST));
    if span < SHORTEST { Err(wanted()) } else { Ok(span) }
}

impl Demo {
    /// Runs the demo.
    ///
    /// # Errors
    /// If it cannot be set up, or nobody reads our output any more.
    pub(super) fn run(&self, out: &mut Output) -> Result<ExitCode, Failure> {
        online(self.play(out))
    }

    async fn play(&self, out: &mut Output) -> Result<ExitCode, Failure> {
        let cannot = |what: &str, error: &io::Error| Failure::new(format!("demo: cannot start {what}: {error}"));
        let endpoints = Endpoints::start().map_err(|error| cannot("the endpoints", &error))?;
        let proxy = Proxy::start(endpoints.addresses()).await?;
        let load = Load::start(proxy.address()).map_err(|error| cannot("the load", &error))?;
        let mut stage = Stage::open(self.span, &endpoints, proxy, &load, out)?;
        stage.play(out).await?;
        let Stage { mut proxy, script, .. } = stage;
        // Everything that is still waited for runs on other threads.
        let tally = load.finish();
        let ejections = proxy.ejections();
        proxy.end().await;
        close(&script, Figures::new(&tally, ejections), &tally, out)
    }
}

/// The last line, and whether all went well.
fn close(script: &Script, figures: Figures, tally: &Tally, out: &mut Output) -> Result<ExitCode, Failure> {
    out.line(&format!("{}, faults found {} of {}", figures.line(), script.found(), script.begun()))?;
    if let Some(failure) = tally.first_failure() {
        eprintln!("pulsegate: demo: the first request that failed: {failure}");
    }
    let good = script.is_good() && figures.failed == 0 && figures.requests > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that plays together.
struct Stage<'a> {
    endpoints: &'a Endpoints,
    proxy: Proxy,
    load: &'a Load,
    script: Script,
    screen: Screen,
}

impl<'a> Stage<'a> {
    fn open(
        span: Option<Duration>,
        endpoints: &'a Endpoints,
        proxy: Proxy,
        load: &'a Load,
        out: &mut Output,
    ) -> Result<Self, Failure> {
        let now = clock::now();
        let addresses = Addresses { proxy: proxy.address(), admin: proxy.admin(), endpoints: endpoints.addresses().to_vec() };
        let screen = Screen::open(addresses, now, out)?;
        let script = Script::new(now, span.map(|span| now + span));
        Ok(Self { endpoints, proxy, load, script, screen })
    }

    /// Plays until the script is over or somebody interrupts.
    async fn play(&mut self, out: &mut Output) -> Result<(), Failure> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        while !self.script.is_over(clock::now()) {
            tokio::select! {
                _ = &mut interrupted => break,
                _ = look.tick() => self.look(clock::now(), out).await?,
            }
        }
        Ok(())
    }

    async fn look(&mut self, now: Timestamp, out: &mut Output) -> Result<(), Failure> {
        let views = self.proxy.views();
        let figures = Figures::new(self.load.tally(), self.proxy.ejections());
        let seen: Vec<Seen> = views.iter().map(|view| seen(view)).collect();
        if let Some(cue) = self.script.step(now, &seen) {
            match cue {
                Cue::Sick(endpoint, fault) => self.endpoints.set_mood(endpoint, fault.mood()).await,
                Cue::Well(endpoint) => self.endpoints.set_mood(endpoint, Mood::Well).await,
                Cue::Found(..) | Cue::Missed(..) | Cue::Back(..) | Cue::Lost(..) => {}
            }
            self.screen.tell(&cue, figures, now, out)?;
        }
        let rows: Vec<(SocketAddr, &EndpointView)> =
            self.endpoints.addresses().iter().copied().zip(views.iter().map(|view| &**view)).collect();
        self.screen.draw(&rows, figures, now, out)
    }
}

fn seen(view: &EndpointView) -> Seen {
    Seen { available: view.available, since: view.since, codes: view.reasons.iter().map(|reason| reason.code.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_has_room_for_every_fault() {
        assert_eq!(span("20s"), Ok(SHORTEST));
        assert!(span("19s").unwrap_err().contains("at least 20s"));
        assert!(span("20").is_err());
    }
}

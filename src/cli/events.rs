//! `events`: every change of state of every endpoint, and of who leads, as it happens.
//!
//! A connection that ends is made anew from the last event on, so that a restart of either side loses nothing that the
//! process still remembers.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http_body_util::BodyExt;

use crate::admin::shape::{Succession, Transition};
use crate::cli::client::{Client, Stream, Target, online};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};
use crate::cli::reason;
use crate::cli::sse::{Event, Reader};
use crate::runtime::timer;

const PATH: &str = "/api/v1/events";
/// Between two attempts to connect again.
const PAUSE: Duration = Duration::from_secs(1);
/// A stream that is silent for so long is dead: the process says every few seconds that it lives.
const SILENCE: Duration = Duration::from_secs(60);

/// How to show them.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Print the JSON of the admin interface, one event a line
    #[arg(long)]
    json: bool,
}

impl Events {
    /// Shows changes until interrupted.
    ///
    /// # Errors
    /// If the process cannot be asked in the first place, or nobody reads our output any more.
    pub(super) fn run(&self, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        let client = target.client()?;
        online(async {
            let mut last = None;
            let mut stream = client.events(PATH, None).await?;
            loop {
                self.follow(&mut stream, &mut last, out).await?;
                eprintln!("pulsegate: the stream of events ended; connecting again every second");
                stream = reconnect(&client, last.as_deref()).await;
            }
        })
    }

    /// Shows what comes until the stream ends.
    async fn follow(&self, stream: &mut Stream, last: &mut Option<String>, out: &mut Output) -> Result<(), Failure> {
        let mut reader = Reader::default();
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, stream.body.frame()).await {
            let Ok(data) = frame.into_data() else { continue };
            let Ok(events) = reader.read(&data) else { return Ok(()) };
            for event in events {
                out.line(&self.shown(&event))?;
                *last = event.id.or_else(|| last.take());
            }
        }
        Ok(())
    }

    fn shown(&self, event: &Event) -> String {
        let transition = || serde_json::from_str(&event.data).ok().map(|transition| render(&transition));
        let succession = || serde_json::from_str(&event.data).ok().map(|succession| render_leader(&succession));
        let text = if self.json { None } else { transition().or_else(succession) };
        // What this version does not know is shown as it came rather than kept back.
        text.unwrap_or_else(|| plain(&event.data).into_owned())
    }
}

async fn reconnect(client: &Client<'_>, last: Option<&str>) -> Stream {
    loop {
        timer::sleep(PAUSE).await;
        if let Ok(stream) = client.events(PATH, last).await {
            return stream;
        }
    }
}

fn render(transition: &Transition) -> String {
    let Transition { at, cluster, endpoint, from, to, reasons, .. } = transition;
    let line = plain(&format!("{at}  {cluster}  {endpoint}  {from} -> {to}")).into_owned();
    if reasons.is_empty() { line } else { format!("{line}  {}", reason::lines(reasons)) }
}

fn render_leader(succession: &Succession) -> String {
    let Succession { at, cluster, before, leader, epoch, reasons, .. } = succession;
    let name = |address: &Option<String>| address.clone().unwrap_or_else(|| "nobody".to_owned());
    let line = plain(&format!("{at}  {cluster}  leader  {} -> {}  epoch {epoch}", name(before), name(leader))).into_owned();
    if reasons.is_empty() { line } else { format!("{line}  {}", reason::lines(reasons)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{"id":4,"at":"2026-11-24T00:00:00.000Z","cluster":"app","endpoint":"a:1","from":"healthy",
        "to":"unhealthy","reasons":[{"code":"probe_timeout","probe":"ready","detail":"no answer within 200ms",
        "since":"2026-11-24T00:00:00.000Z"}]}"#;

    fn shown(json: bool, data: &str) -> String {
        Events { json }.shown(&Event { data: data.to_owned(), ..Event::default() })
    }

    #[test]
    fn a_transition_is_one_line() {
        let wanted = "2026-11-24T00:00:00.000Z  app  a:1  healthy -> unhealthy  probe_timeout (ready): no answer within 200ms";
        assert_eq!(shown(false, DATA), wanted);
    }

    #[test]
    fn a_change_of_leader_is_one_line_too() {
        let data = r#"{"id":5,"at":"2026-11-24T00:00:00.000Z","cluster":"app","before":"a:1","leader":null,"epoch":7,"reasons":[
            {"code":"no_leader","detail":"no endpoint says that it leads","since":"2026-11-24T00:00:00.000Z"}]}"#;
        let wanted = "2026-11-24T00:00:00.000Z  app  leader  a:1 -> nobody  epoch 7  no_leader: no endpoint says that it leads";
        assert_eq!(shown(false, data), wanted);
    }

    #[test]
    fn json_and_unknown_events_are_shown_as_they_came() {
        let one_line = DATA.replace("\n        ", "");
        assert_eq!(shown(true, &one_line), one_line);
        assert_eq!(shown(false, "{\"what\":1}"), "{\"what\":1}");
    }
}

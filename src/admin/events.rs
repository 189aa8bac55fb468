//! Transitions, and changes of who leads, as server-sent events, from where the reader left off.
//!
//! A reader that is slow is waited for, and loses the oldest events when it falls behind by more than is kept; nothing is
//! queued for it but the few events of its own channel.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{self, Answer, Problem};
use super::shape::{Reason, Succession, Transition, time};
use crate::control::{Event, EventStream, What};
use crate::health::verdict;
use crate::runtime::task;

/// Readers at a time; more are turned away.
pub(super) const READERS: usize = 32;

/// Pieces that wait for one reader's connection.
const AHEAD: usize = 16;

/// How often a silent stream says that it lives: often enough for the idle limits of proxies on the way.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What opens a stream: it shows the reader that it is connected, and how long to wait before it connects again.
const OPENING: &str = ": changes as they come\nretry: 1000\n\n";

/// The header by which a reader says what it has seen.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The id of the last event that the reader has seen, if it says so.
///
/// # Errors
/// If it is no number: a sentence.
pub(super) fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| "Last-Event-ID is the id of an event, a whole number".to_owned())
}

/// Starts a stream: after the event `last`, or with the next one if there is no `last`.
///
/// # Errors
/// If there are [`READERS`] already.
pub(super) fn stream(events: EventStream, last: Option<u64>, readers: &Arc<Semaphore>) -> Result<Answer, Problem> {
    let full = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{READERS} readers follow the events already"));
    let place = Arc::clone(readers).try_acquire_owned().map_err(full)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    drop(task::spawn(async move {
        // The error says that the reader went away, which is how every stream ends.
        drop(feed(events, last, &sender).await);
        drop(place);
    }));
    let pieces = ReceiverStream::new(receiver).map(|piece: String| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
    Ok(answer::with_body(StatusCode::OK, "text/event-stream", StreamBody::new(pieces).boxed_unsync()))
}

/// Writes events until the reader goes away or control ends.
async fn feed(
    mut events: EventStream,
    last: Option<u64>,
    reader: &mpsc::Sender<String>,
) -> Result<(), mpsc::error::SendError<String>> {
    let newest = events.newest();
    // An id that was never given is one of an earlier process: everything is new to its reader.
    let mut last = last.map_or(newest, |last| if last > newest { 0 } else { last });
    reader.send(OPENING.to_owned()).await?;
    loop {
        let unseen = events.since(last);
        if unseen.lost > 0 {
            reader.send(format!(": {} events are no longer kept\n\n", unseen.lost)).await?;
        }
        for event in unseen.events {
            last = event.id;
            reader.send(frame(&event)).await?;
        }
        tokio::select! {
            more = events.beyond(last) => if !more { return Ok(()) },
            () = reader.closed() => return Ok(()),
            () = tokio::time::sleep(KEEP_ALIVE) => reader.send(": still here\n\n".to_owned()).await?,
        }
    }
}

/// One event as the stream has it. JSON has no line breaks, so it is one line of data.
fn frame(event: &Event) -> String {
    let (id, at, cluster) = (event.id, time(event.at), event.cluster.to_string());
    let told = |reasons: &[verdict::Reason]| reasons.iter().map(Reason::of).collect();
    let (kind, data) = match &event.what {
        What::Transition { endpoint, from, to, reasons } => {
            let (from, to) = (from.as_str().to_owned(), to.as_str().to_owned());
            let reasons = told(reasons);
            ("transition", json(&Transition { id, at, cluster, endpoint: endpoint.to_string(), from, to, reasons }))
        }
        What::Leader { before, leader, epoch, reasons } => {
            let text = |address: &Option<Arc<str>>| address.as_deref().map(str::to_owned);
            let (before, leader, reasons) = (text(before), text(leader), told(reasons));
            ("leader", json(&Succession { id, at, cluster, before, leader, epoch: *epoch, reasons }))
        }
    };
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("strings and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;
    use crate::health::verdict::{Code, State};
    use crate::runtime::clock;

    #[test]
    fn an_event_is_one_block_of_lines() {
        let now = clock::now();
        let event = Event {
            id: 7,
            at: now,
            cluster: "app".into(),
            what: What::Transition {
                endpoint: "a:1".into(),
                from: State::Healthy,
                to: State::Unhealthy,
                reasons: vec![fixture::reason(Code::ProbeTimeout, "ready", now)],
            },
        };
        let text = frame(&event);
        let data = text.strip_prefix("id: 7\nevent: transition\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        let read: Transition = serde_json::from_str(data).unwrap();
        assert_eq!((read.id, read.from.as_str(), read.to.as_str()), (7, "healthy", "unhealthy"));
        assert_eq!((read.reasons[0].code.as_str(), read.at), ("probe_timeout", time(now)));
    }

    #[test]
    fn a_change_of_leader_has_a_name_of_its_own() {
        let reasons = vec![fixture::reason(Code::LeaderConflict, "", clock::now())];
        let what = What::Leader { before: Some("a:1".into()), leader: None, epoch: 7, reasons };
        let text = frame(&Event { id: 8, at: clock::now(), cluster: "app".into(), what });
        let data = text.strip_prefix("id: 8\nevent: leader\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        let read: Succession = serde_json::from_str(data).unwrap();
        assert_eq!((read.before.as_deref(), read.leader, read.epoch), (Some("a:1"), None, 7));
        assert_eq!(read.reasons[0].code, "leader_conflict");
    }

    #[test]
    fn the_last_event_id_is_a_number_if_it_is_there() {
        let check = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (LAST_EVENT_ID, value.parse().unwrap())));
            last_seen(&headers)
        };
        assert_eq!(check(None), Ok(None));
        assert_eq!(check(Some("12")), Ok(Some(12)));
        for wrong in ["", "x", "-1", "1.5", "99999999999999999999"] {
            assert!(check(Some(wrong)).is_err(), "{wrong}");
        }
    }
}

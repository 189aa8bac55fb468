//! The bytes of a heartbeat, and of the ack that answers it. What is not understood is refused, not guessed at.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::health::MAX_BOOT_ID;
use crate::health::signal::{Beat, BeatState};
use crate::health::verdict::EndpointView;
use crate::report::MAX_ROLE;

/// Longest heartbeat, in bytes.
pub const MAX_BEAT: usize = crate::report::MAX_BODY;
/// Longest name in one, in bytes.
const MAX_NAME: usize = 256;
/// Periods that a sender may have, in milliseconds: below, beats are load; above, they are none.
const PERIODS: std::ops::RangeInclusive<f64> = 10.0..=86_400_000.0;
/// For an ack, in bytes: hardly one is longer.
const ROOM: usize = 384;
/// What a stamp may be at most, in milliseconds: numbers are exact up to there.
const MAX_STAMP: f64 = 9_007_199_254_740_991.0;

/// A heartbeat as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    #[serde(borrow)]
    cluster: Cow<'a, str>,
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    #[serde(borrow)]
    boot_id: Option<Cow<'a, str>>,
    seq: Option<u64>,
    // Many clocks give fractions of a millisecond.
    sent_at_ms: Option<f64>,
    period_ms: Option<f64>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    report: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    epoch: Option<u64>,
}

/// A heartbeat that has been understood.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) cluster: Cow<'a, str>,
    pub(super) endpoint: Cow<'a, str>,
    pub(super) beat: Beat,
    /// JSON, an object.
    pub(super) report: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// Reads a heartbeat.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, String> {
        let sent: Sent<'a> = serde_json::from_slice(body).map_err(|error| format!("no heartbeat: {error}"))?;
        let state = match &sent.state {
            None => BeatState::Ready,
            Some(word) => BeatState::ALL
                .into_iter()
                .find(|state| state.as_str() == word)
                .ok_or("state is one of ready, degraded, failing, draining, bye")?,
        };
        let bounded = |text: &str, most: usize| (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
        if !bounded(&sent.cluster, MAX_NAME) || !bounded(&sent.endpoint, MAX_NAME) {
            return Err("cluster and endpoint are names of 1 to 256 bytes".to_owned());
        }
        if sent.boot_id.as_ref().is_some_and(|id| !bounded(id, MAX_BOOT_ID)) {
            return Err("boot_id is a text of 1 to 64 bytes".to_owned());
        }
        if sent.role.as_ref().is_some_and(|role| !bounded(role, MAX_ROLE)) {
            return Err("role is a word of 1 to 64 bytes".to_owned());
        }
        if sent.period_ms.is_some_and(|period| !PERIODS.contains(&period)) {
            return Err("period_ms is between 10 and 86400000".to_owned());
        }
        if sent.sent_at_ms.is_some_and(|stamp| !(0.0..=MAX_STAMP).contains(&stamp)) {
            return Err("sent_at_ms counts milliseconds since 1970".to_owned());
        }
        let report = sent.report.map(RawValue::get);
        if report.is_some_and(|report| !report.starts_with('{')) {
            return Err("report is an object".to_owned());
        }
        let beat = Beat {
            boot_id: sent.boot_id.map(Arc::from),
            seq: sent.seq,
            sent_at_ms: sent.sent_at_ms.map(whole),
            received_at_ms: None,
            period: sent.period_ms.map(|millis| Duration::from_millis(whole(millis))),
            state,
            role: sent.role.map(Arc::from),
            epoch: sent.epoch,
            way: None,
        };
        Ok(Self { cluster: sent.cluster, endpoint: sent.endpoint, beat, report })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within what is exact")]
const fn whole(millis: f64) -> u64 {
    millis as u64
}

/// Who answers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Identity {
    /// The name of this proxy.
    pub name: Arc<str>,
    /// Drawn anew at every start.
    pub boot_id: Arc<str>,
}

/// The answer to a beat that was taken.
#[derive(Debug, Serialize)]
struct Ack<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    received_at_ms: u64,
    ttl_ms: u64,
    next_in_ms: u64,
    state: &'a str,
    available: bool,
    reasons: Vec<String>,
    leader: Leader<'a>,
    proxy: &'a Identity,
}

/// Who leads the sender's cluster; empty if nobody does.
#[derive(Debug, Default, Serialize)]
struct Leader<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

/// What an ack is made from besides the view of the endpoint.
#[derive(Debug)]
pub(super) struct Acked {
    pub(super) seq: Option<u64>,
    pub(super) received_at_ms: u64,
    pub(super) ttl: Duration,
    pub(super) next_in: Duration,
}

/// The answer to a beat that was taken: how we see its sender, and until when, and who leads in which epoch, if anybody does.
pub(super) fn ack(acked: &Acked, view: &EndpointView, leader: Option<&(Arc<str>, u64)>, proxy: &Identity) -> Vec<u8> {
    let mut reasons: Vec<String> = view.reasons.iter().map(|reason| reason.code.to_string()).collect();
    reasons.dedup();
    let ack = Ack {
        seq: acked.seq,
        received_at_ms: acked.received_at_ms,
        ttl_ms: millis(acked.ttl),
        next_in_ms: millis(acked.next_in),
        state: view.state.as_str(),
        available: view.available,
        reasons,
        leader: Leader { endpoint: leader.map(|(endpoint, _)| &**endpoint), epoch: leader.map(|(_, epoch)| *epoch) },
        proxy,
    };
    let mut bytes = Vec::with_capacity(ROOM);
    serde_json::to_writer(&mut bytes, &ack).expect("an ack has only text and numbers");
    bytes
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_heartbeat_needs_a_cluster_and_an_endpoint_and_nothing_else() {
        let message = Message::read(br#"{"cluster":"app","endpoint":"10.0.0.1:80"}"#).unwrap();
        assert_eq!((&*message.cluster, &*message.endpoint, message.report), ("app", "10.0.0.1:80", None));
        assert_eq!(message.beat, Beat::default());
        let full = br#"{"cluster":"app","endpoint":"a:80","boot_id":"b1","seq":7,"sent_at_ms":1795478400007.25,"period_ms":500,
            "state":"degraded","report":{"cpu":0.5},"role":"leader","epoch":3}"#;
        let message = Message::read(full).unwrap();
        let wanted = Beat {
            boot_id: Some("b1".into()),
            seq: Some(7),
            sent_at_ms: Some(1_795_478_400_007),
            received_at_ms: None,
            period: Some(Duration::from_millis(500)),
            state: BeatState::Degraded,
            role: Some("leader".into()),
            epoch: Some(3),
            way: None,
        };
        assert_eq!((message.beat, message.report), (wanted, Some(r#"{"cpu":0.5}"#)));
    }

    #[test]
    fn what_is_no_heartbeat_is_refused_with_a_sentence() {
        let long = "x".repeat(300);
        let with = |field: &str| format!(r#"{{"cluster":"app","endpoint":"a:80",{field}}}"#);
        for (bad, said) in [
            (String::new(), "EOF"),
            ("nonsense".to_owned(), "expected"),
            ("[]".to_owned(), "invalid length"),
            (r#"{"cluster":"app"}"#.to_owned(), "missing field `endpoint`"),
            (r#"{"cluster":"app","endpoint":"a:80""#.to_owned(), "EOF"),
            (r#"{"cluster":"app","endpoint":"a:80"} x"#.to_owned(), "trailing"),
            (r#"{"cluster":"","endpoint":"a:80"}"#.to_owned(), "names of 1 to 256"),
            (format!(r#"{{"cluster":"app","endpoint":"{long}"}}"#), "names of 1 to 256"),
            (r#"{"cluster":"a\nb","endpoint":"a:80"}"#.to_owned(), "names of 1 to 256"),
            (with(r#""cpu":1"#), "unknown field `cpu`"),
            (with(r#""seq":1,"seq":2"#), "duplicate field"),
            (with(r#""seq":-1"#), "invalid value"),
            (with(r#""seq":1.5"#), "invalid type"),
            (with(r#""boot_id":"""#), "boot_id"),
            (with(&format!(r#""boot_id":"{long}""#)), "boot_id"),
            (with(r#""period_ms":0"#), "period_ms"),
            (with(r#""period_ms":9"#), "period_ms"),
            (with(r#""period_ms":1e12"#), "period_ms"),
            (with(r#""sent_at_ms":-5"#), "sent_at_ms"),
            (with(r#""sent_at_ms":1e300"#), "sent_at_ms"),
            (with(r#""sent_at_ms":"now""#), "invalid type"),
            (with(r#""state":"Ready""#), "state is one of"),
            (with(r#""report":[1]"#), "report is an object"),
            (with(r#""report":"{}""#), "report is an object"),
            (with(&format!(r#""role":"{long}""#)), "role"),
        ] {
            let error = Message::read(bad.as_bytes()).expect_err(&bad);
            assert!(error.contains(said), "{bad}: {error}");
        }
        assert!(Message::read(b"\xff\xfe").is_err());
    }

    proptest! {
        /// Whatever stands in the fields of a heartbeat, it is understood within its bounds or refused.
        #[test]
        fn no_value_breaks_the_reader(
            seq in any::<i128>(), sent in any::<f64>(), period in any::<f64>(), boot_id in ".{0,80}", state in ".{0,10}", raw in "[\\[\\]{}\",:0-9a-e.+-]{0,40}",
        ) {
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let (boot_id, state) = (quoted(&boot_id), quoted(&state));
            for body in [
                format!(r#"{{"cluster":"a","endpoint":"b:1","seq":{seq},"boot_id":{boot_id}}}"#),
                format!(r#"{{"cluster":"a","endpoint":"b:1","sent_at_ms":{sent:e},"period_ms":{period:e}}}"#),
                format!(r#"{{"cluster":"a","endpoint":"b:1","state":{state},"report":{raw}}}"#),
                raw,
            ] {
                if let Ok(message) = Message::read(body.as_bytes()) {
                    prop_assert!(message.beat.period.is_none_or(|period| PERIODS.contains(&(period.as_secs_f64() * 1e3))));
                    prop_assert_eq!(message.report.map(|report| report.as_bytes()[0]), message.report.map(|_| 0x7b));
                }
            }
        }
    }
}

//! A line of the access log: JSON, or the combined format that analysers of web servers read.
//!
//! What a client wrote into its request must not be able to end a line or forge another one: everything but visible ASCII is
//! escaped.

use std::borrow::Cow;
use std::fmt::{Display, Write};

use http::{HeaderValue, Uri, Version};
use serde::{Serialize, Serializer};

use crate::base::time::WallTime;
use crate::config::model::AccessFormat;
use crate::proxy::access::Record;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Adds a line, with its end.
pub(super) fn write(record: &Record, format: AccessFormat, out: &mut Vec<u8>) {
    match format {
        AccessFormat::Json => serde_json::to_writer(&mut *out, &Line::of(record)).expect("a line has only text and numbers"),
        AccessFormat::Combined => out.extend_from_slice(combined_line(record).as_bytes()),
    }
    out.push(b'\n');
}

/// A line in JSON: what is not known is left out. It is written straight from the record, for there is one for each request.
#[derive(Serialize)]
struct Line<'a> {
    time: Shown<'a, WallTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Cow<'a, str>>,
    listener: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    target: Shown<'a, Uri>,
    protocol: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    bytes: u64,
    duration_seconds: f64,
    attempts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record) -> Self {
        let header = |value: &'a Option<HeaderValue>| value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()));
        Self {
            time: Shown(&record.at),
            client: header(&record.client),
            listener: &record.listener,
            route: record.route.as_deref(),
            cluster: record.cluster.as_deref(),
            endpoint: record.endpoint.as_deref(),
            method: record.method.as_str(),
            host: header(&record.host),
            target: Shown(&record.target),
            protocol: protocol(record.version),
            status: record.status,
            error: record.error,
            bytes: record.bytes,
            duration_seconds: record.duration.as_secs_f64(),
            attempts: record.attempts,
            referer: header(&record.referer),
            user_agent: header(&record.user_agent),
            request_id: header(&record.request_id),
            traceparent: header(&record.traceparent),
        }
    }
}

/// As it is displayed.
struct Shown<'a, T>(&'a T);

impl<T: Display> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// The combined format, with the request's id and trace after it.
fn combined_line(record: &Record) -> String {
    let header = |value: &Option<HeaderValue>| value.as_ref().map_or_else(|| "-".to_owned(), escaped);
    format!(
        "{} - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\" \"{}\" \"{}\"",
        header(&record.client),
        day_first(&record.at.to_string()),
        record.method,
        record.target,
        protocol(record.version),
        record.status,
        record.bytes,
        header(&record.referer),
        header(&record.user_agent),
        header(&record.request_id),
        header(&record.traceparent),
    )
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Visible ASCII as it is, but for quotes and backslashes.
fn escaped(value: &HeaderValue) -> String {
    let mut text = String::new();
    for byte in value.as_bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(text, "\\x{byte:02x}"),
        }
    }
    text
}

/// `2026-11-24T07:08:09.010Z` as `24/Nov/2026:07:08:09 +0000`.
fn day_first(rfc3339: &str) -> String {
    let part = |range: std::ops::Range<usize>| rfc3339.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"Jan");
    format!("{}/{month}/{}:{} +0000", part(8..10), part(0..4), part(11..19))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use serde_json::{Value, json};

    use super::*;

    fn record() -> Box<Record> {
        let request = Request::builder()
            .uri("/a?b=%22c")
            .header("host", "shop.example.com")
            .header("user-agent", HeaderValue::from_bytes(b"curl \"8\" \\ \xff\t").unwrap())
            .body(())
            .unwrap();
        let at = WallTime::from_unix_millis(1_795_478_400_007);
        let mut record = Record::begin(&request.into_parts().0, Some(HeaderValue::from_static("192.0.2.7")), &"web".into(), at);
        record.request_id = Some(HeaderValue::from_static("r-1"));
        (record.status, record.bytes, record.attempts) = (200, 12, 1);
        record.duration = Duration::from_micros(1500);
        record
    }

    fn line(format: AccessFormat) -> String {
        let mut out = Vec::new();
        write(&record(), format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_in_json_has_what_is_known() {
        let line = line(AccessFormat::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        let wanted = json!({
            "time": "2026-11-24T00:00:00.007Z", "client": "192.0.2.7", "listener": "web", "method": "GET",
            "host": "shop.example.com", "target": "/a?b=%22c", "protocol": "HTTP/1.1", "status": 200, "bytes": 12,
            "duration_seconds": 0.0015, "attempts": 1, "user_agent": "curl \"8\" \\ \u{fffd}\t", "request_id": "r-1",
        });
        assert_eq!(value, wanted);
    }

    #[test]
    fn a_combined_line_cannot_be_forged() {
        let wanted = "192.0.2.7 - - [24/Nov/2026:00:00:00 +0000] \"GET /a?b=%22c HTTP/1.1\" 200 12 \"-\" \
                      \"curl \\\"8\\\" \\\\ \\xff\\x09\" \"r-1\" \"-\"\n";
        assert_eq!(line(AccessFormat::Combined), wanted);
    }
}

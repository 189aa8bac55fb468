//! Which format an answer is in, and its page: told by the content type first, by the shape of the body otherwise.
//!
//! With `format: auto` an answer that is none of them, such as a sentence or an HTML page, is simply without a report. One
//! that is clearly meant to be one of them and is broken is unreadable, and so is whatever does not fit a format that the
//! configuration names.

use super::agent::Line;
use super::dialect;
use super::exposition;
use super::health_json::{self, HealthPage};
use super::json::JsonPage;
use super::orca::OrcaPage;
use super::page::Page;
use super::plain::PlainPage;
use super::prometheus::PrometheusPage;
use super::spec::Format;
use super::spring::{self, SpringPage};
use super::tree::Node;
use super::value::{Asks, Said, Unreadable};

/// Longest body that is read, in bytes, unless it is a page of metrics.
pub const MAX_BODY: usize = 64 * 1024;
/// Longest page of metrics that is read, in bytes.
pub const MAX_PAGE: usize = 1024 * 1024;

const OPENMETRICS: &str = "application/openmetrics-text";

/// A page and the format it was in.
pub(super) struct Opened<'a> {
    pub(super) format: Format,
    pub(super) page: Box<dyn Page + 'a>,
}

/// Opens the body of an answer in the wanted format; `None` if there is no report in it.
pub(super) fn open<'a>(wanted: Format, said: &Said<'a>) -> Result<Option<Opened<'a>>, Unreadable> {
    let body = said.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(said.body);
    let said = Said { body, ..*said };
    match wanted {
        Format::None => Ok(None),
        Format::Auto | Format::Plain | Format::Kubernetes => auto(&said),
        Format::Orca if said.load.is_some() => Ok(None),
        Format::Orca => orca(text(checked(body, MAX_BODY)?)?).map(Some),
        Format::Agent => agent(text(checked(body, MAX_BODY)?)?).map(Some),
        Format::Prometheus => prometheus(&said).map(Some),
        Format::Json | Format::HealthJson | Format::Spring => {
            let root = Node::parse(checked(body, MAX_BODY)?)?;
            if !matches!(root, Node::Object(_) | Node::List(_)) {
                return Err(Unreadable {
                    why: format!("the answer is {}", root.kind()),
                    hint: "a report in JSON is an object".to_owned(),
                });
            }
            Ok(Some(json(wanted, root)))
        }
    }
}

/// Opens the load report in the head of an answer; `None` if there is none, or it is not wanted.
pub(super) fn open_load<'a>(wanted: Format, said: &Said<'a>) -> Result<Option<Opened<'a>>, Unreadable> {
    match said.load {
        Some(value) if matches!(wanted, Format::Auto | Format::Orca) => orca(value).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Most bytes of a body that are read: a page of metrics is longer than a document about one instance.
#[must_use]
pub fn max_body(wanted: Format, content_type: Option<&str>) -> usize {
    let text = || content_type.map(essence).is_some_and(|essence| matches!(&*essence, "text/plain" | OPENMETRICS));
    match wanted {
        Format::Prometheus => MAX_PAGE,
        Format::Auto if text() => MAX_PAGE,
        _ => MAX_BODY,
    }
}

fn auto<'a>(said: &Said<'a>) -> Result<Option<Opened<'a>>, Unreadable> {
    let body = said.body;
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match declared(said.content_type) {
        Declared::Format(Format::Prometheus) => return prometheus(said).map(Some),
        Declared::Format(format) => return Ok(Some(json(format, Node::parse(checked(body, MAX_BODY)?)?))),
        Declared::Other => return Ok(None),
        Declared::Nothing => {}
    }
    match body.trim_ascii_start().first() {
        Some(b'{') => {
            let root = Node::parse(checked(body, MAX_BODY)?)?;
            // A document that only has a name in common with load reports is one of its own.
            let load = OrcaPage::looks_like(&root).then(|| text(body).and_then(orca).ok()).flatten();
            return Ok(Some(load.unwrap_or_else(|| json(shape(&root), root))));
        }
        Some(b'[') if let Some(opened) = list(body) => return Ok(Some(opened)),
        _ => {}
    }
    if body.starts_with(b"# HELP ") || body.starts_with(b"# TYPE ") {
        return prometheus(said).map(Some);
    }
    if let Some(opened) = std::str::from_utf8(body).ok().and_then(words) {
        return Ok(Some(opened));
    }
    // Samples without comments: any other text fails at its first line.
    Ok(prometheus(said).ok().filter(|opened| !is_empty(&*opened.page)))
}

/// A list in JSON, if there is a status word in it.
fn list<'a>(body: &[u8]) -> Option<Opened<'a>> {
    let root = Node::parse(checked(body, MAX_BODY).ok()?).ok()?;
    dialect::word(&root)?;
    Some(json(Format::Json, root))
}

/// A text that is words: of an agent, of a load report, or of a status alone.
fn words(body: &str) -> Option<Opened<'_>> {
    if body.starts_with("TEXT ") || body.starts_with("JSON ") {
        return orca(body).ok();
    }
    if let Ok(line) = Line::parse(body.trim_end())
        && body.trim_end().lines().count() == 1
        && line.all_known
        && (line.comment.is_some() || line.asks() != Asks::default())
    {
        return Some(Opened { format: Format::Agent, page: Box::new(line) });
    }
    let (format, page) = PlainPage::of(body)?;
    Some(Opened { format, page: Box::new(page) })
}

fn is_empty(page: &dyn Page) -> bool {
    let mut empty = true;
    page.visit(&mut |_| {
        empty = false;
        false
    });
    empty
}

/// What a content type says about a report.
enum Declared {
    Format(Format),
    /// Something that is no report.
    Other,
    Nothing,
}

fn declared(content_type: Option<&str>) -> Declared {
    let Some(value) = content_type else { return Declared::Nothing };
    let versioned = value
        .split(';')
        .skip(1)
        .any(|parameter| matches!(parameter.trim().trim_start_matches("version=").trim_matches('"'), "0.0.4" | "1.0.0"));
    match essence(value).as_str() {
        "application/health+json" => Declared::Format(Format::HealthJson),
        OPENMETRICS => Declared::Format(Format::Prometheus),
        "text/plain" if versioned => Declared::Format(Format::Prometheus),
        spring if spring.starts_with("application/vnd.spring-boot.actuator.") => Declared::Format(Format::Spring),
        html if html.starts_with("text/html") || html.starts_with("image/") => Declared::Other,
        _ => Declared::Nothing,
    }
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn shape(root: &Node) -> Format {
    if health_json::looks_like(root) {
        Format::HealthJson
    } else if spring::looks_like(root) {
        Format::Spring
    } else {
        Format::Json
    }
}

fn json<'a>(format: Format, root: Node) -> Opened<'a> {
    let page: Box<dyn Page> = match format {
        Format::HealthJson => Box::new(HealthPage::new(root)),
        Format::Spring => Box::new(SpringPage::new(root)),
        _ => Box::new(JsonPage::new(root)),
    };
    Opened { format, page }
}

fn orca<'a>(value: &str) -> Result<Opened<'a>, Unreadable> {
    let page = OrcaPage::parse(value).map_err(|why| Unreadable {
        why: format!("the load report is not in ORCA's format: {why}"),
        hint: "the header endpoint-load-metrics is `TEXT name=value, …` or `JSON {…}`".to_owned(),
    })?;
    Ok(Opened { format: Format::Orca, page: Box::new(page) })
}

fn agent(line: &str) -> Result<Opened<'_>, Unreadable> {
    let line = Line::parse(line)
        .map_err(|wanted| Unreadable { why: "the answer is no line of an agent".to_owned(), hint: wanted.to_owned() })?;
    Ok(Opened { format: Format::Agent, page: Box::new(line) })
}

fn prometheus<'a>(said: &Said<'a>) -> Result<Opened<'a>, Unreadable> {
    let to_eof = said.content_type.is_some_and(|value| essence(value) == OPENMETRICS);
    let text = text(checked(said.body, MAX_PAGE)?)?;
    let samples = exposition::parse(text, to_eof).map_err(|fault| Unreadable {
        why: format!("the answer is not in the Prometheus text format: {fault}"),
        hint: "a page of metrics in the Prometheus text format is wanted, with a line feed after every sample".to_owned(),
    })?;
    Ok(Opened { format: Format::Prometheus, page: Box::new(PrometheusPage::new(samples)) })
}

fn text(body: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(body)
        .map_err(|_| Unreadable { why: "the answer is not UTF-8".to_owned(), hint: "text is wanted".to_owned() })
}

/// The body, if it is neither blank nor too long.
fn checked(body: &[u8], most: usize) -> Result<&[u8], Unreadable> {
    if body.trim_ascii().is_empty() {
        return Err(Unreadable {
            why: "the answer has no body".to_owned(),
            hint: "a report stands in the body of the answer; does the probe use HEAD?".to_owned(),
        });
    }
    if body.len() > most {
        let hint = if most < MAX_PAGE {
            "give `report.path` a page that holds less; one of metrics may be longer with `format: prometheus`"
        } else {
            "give `report.path` a page that holds less, such as one with a filter of metrics' names in its query"
        };
        return Err(Unreadable { why: format!("the answer is longer than {} KiB", most / 1024), hint: hint.to_owned() });
    }
    Ok(body)
}

//! Which format an answer is in, and its page: told by the content type first, by the shape of the body otherwise.
//!
//! With `format: auto` an answer that is none of them, such as a plain `OK` or an HTML page, is simply without a report. One
//! that is clearly meant to be one of them and is broken is unreadable, and so is whatever does not fit a format that the
//! configuration names.

use super::exposition;
use super::health_json::{self, HealthPage};
use super::json::JsonPage;
use super::page::Page;
use super::prometheus::PrometheusPage;
use super::spec::Format;
use super::spring::{self, SpringPage};
use super::tree::Node;
use super::value::Unreadable;

/// Longest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// A page and the format it was in.
pub(super) struct Opened<'a> {
    pub(super) format: Format,
    pub(super) page: Box<dyn Page + 'a>,
}

/// Opens an answer in the wanted format; `None` if there is no report in it.
pub(super) fn open<'a>(wanted: Format, content_type: Option<&str>, body: &'a [u8]) -> Result<Option<Opened<'a>>, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let openmetrics = content_type.is_some_and(|value| essence(value) == "application/openmetrics-text");
    match wanted {
        Format::None => Ok(None),
        Format::Auto => auto(content_type, openmetrics, body),
        Format::Prometheus => prometheus(checked(body)?, openmetrics).map(Some),
        Format::Json | Format::HealthJson | Format::Spring => {
            let root = Node::parse(checked(body)?)?;
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

fn auto<'a>(content_type: Option<&str>, openmetrics: bool, body: &'a [u8]) -> Result<Option<Opened<'a>>, Unreadable> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match declared(content_type) {
        Declared::Format(Format::Prometheus) => return prometheus(checked(body)?, openmetrics).map(Some),
        Declared::Format(format) => return Ok(Some(json(format, Node::parse(checked(body)?)?))),
        Declared::Other => return Ok(None),
        Declared::Nothing => {}
    }
    if body.trim_ascii_start().starts_with(b"{") {
        let root = Node::parse(checked(body)?)?;
        let format = shape(&root);
        return Ok(Some(json(format, root)));
    }
    if body.starts_with(b"# HELP ") || body.starts_with(b"# TYPE ") {
        return prometheus(checked(body)?, openmetrics).map(Some);
    }
    // Samples without comments: any other text fails at its first line.
    Ok(checked(body).and_then(|body| prometheus(body, openmetrics)).ok().filter(|opened| !is_empty(&*opened.page)))
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
        "application/openmetrics-text" => Declared::Format(Format::Prometheus),
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
        Format::Auto | Format::Json | Format::Prometheus | Format::None => Box::new(JsonPage::new(root)),
    };
    Opened { format, page }
}

fn prometheus(body: &[u8], to_eof: bool) -> Result<Opened<'_>, Unreadable> {
    let unreadable = |why: String| Unreadable {
        why,
        hint: "a page of metrics in the Prometheus text format is wanted, with a line feed after every sample".to_owned(),
    };
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the answer is not UTF-8".to_owned()))?;
    let samples = exposition::parse(text, to_eof)
        .map_err(|fault| unreadable(format!("the answer is not in the Prometheus text format: {fault}")))?;
    Ok(Opened { format: Format::Prometheus, page: Box::new(PrometheusPage::new(samples)) })
}

/// The body, if it is neither blank nor too long.
fn checked(body: &[u8]) -> Result<&[u8], Unreadable> {
    if body.trim_ascii().is_empty() {
        return Err(Unreadable {
            why: "the answer has no body".to_owned(),
            hint: "a report stands in the body of the answer; does the probe use HEAD?".to_owned(),
        });
    }
    if body.len() > MAX_BODY {
        return Err(Unreadable {
            why: format!("the answer is longer than {} KiB", MAX_BODY / 1024),
            hint: "give `report.path` a page that holds less".to_owned(),
        });
    }
    Ok(body)
}

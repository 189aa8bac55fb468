//! The Prometheus text exposition format and OpenMetrics, line by line and strictly.
//!
//! It is our own because the libraries fall short: `prometheus-parse` splits label values at commas and braces, knows no
//! escapes, drops names with colons and skips bad lines without a word, and `openmetrics-parser` is under the LGPL. One pass,
//! no regular expression, no look-back: the work grows with the length of the text only.
//!
//! Read: names with colons, quoted UTF-8 names, escapes, NaN and infinities, timestamps and exemplars (both ignored), `# EOF`.
//! A line that is malformed spoils the page, as it does for Prometheus itself: a page that is half understood would be
//! summed up wrong.

use std::borrow::Cow;

/// A labelled name: what stands before the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series<'a> {
    /// The metric's name.
    pub(super) name: Cow<'a, str>,
    /// Its labels, in order of name, each name once.
    pub(super) labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Series<'_> {
    /// The value of a label, empty if it has none of that name.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    /// What it is a value of.
    pub(super) series: Series<'a>,
    /// Its value, which may be NaN or infinite.
    pub(super) value: f64,
}

/// Why a text is not in this format: the line, from 1, and what is wanted there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wanted}")]
pub(super) struct Fault {
    line: usize,
    wanted: &'static str,
}

/// Reads a whole page. With `to_eof` it must end with `# EOF`, as OpenMetrics does, so that one cut short is noticed.
pub(super) fn parse(text: &str, to_eof: bool) -> Result<Vec<Sample<'_>>, Fault> {
    let mut samples = Vec::new();
    let mut ended = false;
    let mut count = 0;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim_matches([' ', '\t', '\r']);
        count = index + 1;
        let fault = |wanted| Fault { line: index + 1, wanted };
        if line.is_empty() {
            continue;
        }
        if ended {
            return Err(fault("nothing may follow `# EOF`"));
        }
        if let Some(comment) = line.strip_prefix('#') {
            ended = comment.trim() == "EOF";
            continue;
        }
        samples.push(sample(line).map_err(fault)?);
    }
    if to_eof && !ended {
        return Err(Fault { line: count, wanted: "`# EOF` is wanted at the end; is the answer cut short?" });
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    let (series, rest) = series(line)?;
    let (value, rest) = token(rest);
    if value.is_empty() {
        return Err("a value is wanted after the name and its labels");
    }
    let value = value.parse().map_err(|_| "a number is wanted as the value")?;
    let (timestamp, rest) = if rest.starts_with('#') { ("", rest) } else { token(rest) };
    if !timestamp.is_empty() && timestamp.parse::<f64>().is_err() {
        return Err("a timestamp or nothing is wanted after the value");
    }
    if !rest.is_empty() && !rest.starts_with("# {") && !rest.starts_with("#{") {
        return Err("nothing but an exemplar may follow the value and its timestamp");
    }
    Ok(Sample { series, value })
}

/// Splits off what stands before the next blank, and the blanks.
fn token(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(BLANKS);
    let (token, rest) = text.split_at(text.find(BLANKS).unwrap_or(text.len()));
    (token, rest.trim_start_matches(BLANKS))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Reads a name and its labels, and returns what follows them: `name`, `name{label="v"}` or `{"name", label="v"}`.
pub(super) fn series(text: &str) -> Result<(Series<'_>, &str), &'static str> {
    let (name, rest) = split_name(text, true);
    let after = rest.trim_start_matches(BLANKS);
    let mut series = Series { name: Cow::Borrowed(name), labels: Vec::new() };
    let Some(inside) = after.strip_prefix('{') else {
        return if name.is_empty() {
            Err("a metric's name is wanted")
        } else if rest.is_empty() || rest.starts_with(BLANKS) {
            Ok((series, rest))
        } else {
            Err("a blank or `{` is wanted after the metric's name")
        };
    };
    let rest = labels(inside, &mut series)?;
    if series.name.is_empty() {
        return Err("a metric's name is wanted");
    }
    series.labels.sort();
    if series.labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("a label stands twice");
    }
    Ok((series, rest))
}

/// Reads up to the closing brace, and returns what follows it.
fn labels<'a>(mut text: &'a str, series: &mut Series<'a>) -> Result<&'a str, &'static str> {
    loop {
        text = text.trim_start_matches(BLANKS);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok(rest);
        }
        let (name, rest) = match text.strip_prefix('"') {
            Some(inside) => quoted(inside)?,
            None => {
                let (name, rest) = split_name(text, false);
                (Cow::Borrowed(name), rest)
            }
        };
        let quoted_name = text.starts_with('"');
        let rest = rest.trim_start_matches(BLANKS);
        let rest = match rest.strip_prefix('=') {
            Some(_) if name.is_empty() => return Err("a label's name is wanted before `=`"),
            Some(value) => {
                let value = value.trim_start_matches(BLANKS).strip_prefix('"').ok_or("a label's value is wanted in quotes")?;
                let (value, rest) = quoted(value)?;
                series.labels.push((name, value));
                rest
            }
            None if quoted_name && series.name.is_empty() && series.labels.is_empty() => {
                series.name = name;
                rest
            }
            None => return Err("`=` is wanted after a label's name"),
        };
        let rest = rest.trim_start_matches(BLANKS);
        text = match rest.strip_prefix(',') {
            Some(next) => next,
            None if rest.starts_with('}') => rest,
            None => return Err("`,` or `}` is wanted after a label"),
        };
    }
}

/// Splits off a bare name; only a metric's may have colons.
fn split_name(text: &str, colons: bool) -> (&str, &str) {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let end = if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { text.find(|c| !fits(c)).unwrap_or(text.len()) };
    text.split_at(end)
}

/// Whether a name needs no quotes.
pub(super) fn is_bare(name: &str, colons: bool) -> bool {
    !name.is_empty() && split_name(name, colons).1.is_empty()
}

/// Reads up to the closing quote. Escapes are `\\`, `\"` and `\n`; another backslash stands for itself.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let mut plain = String::new();
    let mut kept = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if kept == 0 => return Ok((Cow::Borrowed(&text[..at]), &text[at + 1..])),
            '"' => {
                plain.push_str(&text[kept..at]);
                return Ok((Cow::Owned(plain), &text[at + 1..]));
            }
            '\\' => {
                let Some((next, escaped)) = chars.next() else { break };
                plain.push_str(&text[kept..at]);
                match escaped {
                    'n' => plain.push('\n'),
                    '"' | '\\' => plain.push(escaped),
                    other => plain.extend(['\\', other]),
                }
                kept = next + escaped.len_utf8();
            }
            _ => {}
        }
    }
    Err("a closing quote is wanted")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plain = (String, Vec<(String, String)>, f64);

    fn one(line: &str) -> Result<Plain, String> {
        let samples = parse(line, false).map_err(|fault| fault.to_string())?;
        assert_eq!(samples.len(), 1, "{line}");
        let Sample { series, value } = &samples[0];
        let labels = series.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok((series.name.to_string(), labels, *value))
    }

    #[test]
    fn samples() {
        let check = |line: &str, name: &str, labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(one(line), Ok((name.to_owned(), labels, value)), "{line}");
        };
        check("a 1", "a", &[], 1.0);
        check("  a\t 1.5e3 \r", "a", &[], 1500.0);
        check("job:cpu:ratio 0.5", "job:cpu:ratio", &[], 0.5);
        check("a 1 1700000000000", "a", &[], 1.0);
        check("a 1 1700000000.123", "a", &[], 1.0);
        check("a +Inf", "a", &[], f64::INFINITY);
        check("a -Inf", "a", &[], f64::NEG_INFINITY);
        check("a{} 1", "a", &[], 1.0);
        check(r#"a{z="1",b="2",} 1"#, "a", &[("b", "2"), ("z", "1")], 1.0);
        check(r#"a { b = "2" , c="3" } 1"#, "a", &[("b", "2"), ("c", "3")], 1.0);
        check(r#"a{b="x,y=}\"\\\n\d#"} 1"#, "a", &[("b", "x,y=}\"\\\n\\d#")], 1.0);
        check(r#"a{b=""}1"#, "a", &[("b", "")], 1.0);
        check(r#"{"my.metric","my.label"="é"} 1"#, "my.metric", &[("my.label", "é")], 1.0);
        check(r#"a_bucket{le="1"} 17 # {trace_id="x"} 0.5 1700000000.1"#, "a_bucket", &[("le", "1")], 17.0);
        check(r#"a 17 1700000000 # {trace_id="x"} 0.5"#, "a", &[], 17.0);
        assert!(one("a NaN").unwrap().2.is_nan());
    }

    #[test]
    fn malformed_lines() {
        for bad in [
            "a",
            "1a 2",
            "a b",
            "a 1 b",
            "a 1 2 3",
            "a-b 1",
            "a{ 1",
            "a{b} 1",
            "a{b=1} 1",
            r#"a{b="x} 1"#,
            r#"a{b="x\"#,
            r#"a{b="1" c="2"} 1"#,
            r#"a{b="1",b="2"} 1"#,
            r#"a{="1"} 1"#,
            r#"a{,} 1"#,
            r#"{b="1"} 1"#,
            r#"{b="1","a"} 1"#,
            r#"a{"b"} 1"#,
            r#"{"a","b"} 1"#,
            "{} 1",
            "é 1",
            "a 1 # no exemplar",
            "a 0x1p3",
            "OK",
            "<html>",
        ] {
            assert!(one(bad).is_err(), "{bad}");
        }
        assert_eq!(one("# HELP a b\na 1\nb").unwrap_err(), "line 3: a value is wanted after the name and its labels");
    }

    #[test]
    fn the_end_mark() {
        assert_eq!(parse("a 1\n# EOF\n", true).unwrap().len(), 1);
        assert_eq!(parse("a 1", false).unwrap().len(), 1);
        assert!(parse("a 1\n", true).is_err());
        assert!(parse("# EOF\na 1\n", false).is_err());
        assert!(parse("", false).unwrap().is_empty());
    }

    #[test]
    fn a_long_page_takes_time_in_proportion_to_its_length() {
        // What a quadratic parser would choke on: one line of many labels, one of many backslashes, many short lines.
        let labels: String = (0..20_000).map(|i| format!("l{i}=\"\",")).collect();
        assert_eq!(parse(&format!("a{{{labels}}} 1"), false).unwrap()[0].series.labels.len(), 20_000);
        assert!(parse(&format!("a{{b=\"{}\"}} 1", r"\\".repeat(100_000)), false).is_ok());
        assert_eq!(parse(&"a 1\n".repeat(100_000), false).unwrap().len(), 100_000);
    }
}

//! ORCA load reports (the header `endpoint-load-metrics`), as Envoy and gRPC read them: `TEXT cpu_utilization=0.3, …` or `JSON {…}`.
//!
//! Names are those of `xds.data.orca.v3.OrcaLoadReport`; older senders leave `TEXT` out and write `:` for `=`. A name that is
//! unknown, stands twice, or has a value that is no quantity spoils the report, as it does for Envoy: half a load is none.
//!
//! What it says of its capacity is requests a second over utilization, errors counted on top (gRFC A58).

use std::collections::BTreeMap;

use super::page::{Fold, Lookup, Number, Page};
use super::tree::Node;
use super::value::{Asks, Share};

/// Longest report that is read, in bytes.
const MAX_REPORT: usize = 8 * 1024;
/// How much an error weighs against a whole utilization.
const ERROR_PENALTY: f64 = 1.0;

/// Names that stand alone, with the greatest value each may have.
const PLAIN: &[(&str, f64)] = &[
    ("cpu_utilization", f64::MAX),
    ("mem_utilization", 1.0),
    ("application_utilization", f64::MAX),
    ("rps", f64::MAX),
    ("rps_fractional", f64::MAX),
    ("eps", f64::MAX),
];
/// Names that a name of the sender's own follows, after a dot.
const FAMILIES: &[(&str, f64)] = &[("named_metrics", f64::MAX), ("utilization", 1.0), ("request_cost", f64::MAX)];

/// A load report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OrcaPage {
    /// By full name, such as `named_metrics.queue`.
    values: BTreeMap<String, f64>,
}

impl OrcaPage {
    /// Reads a header's value, or a body that holds the same.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_REPORT {
            return Err(format!("it is longer than {} KiB", MAX_REPORT / 1024));
        }
        let text = text.trim();
        let (kind, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let mut page = Self { values: BTreeMap::new() };
        match kind {
            "TEXT" => page.take_text(rest)?,
            "JSON" => page.take_json(rest)?,
            "BIN" => return Err("BIN is not read; send TEXT or JSON".to_owned()),
            _ if text.starts_with('{') => page.take_json(text)?,
            _ => page.take_text(text)?,
        }
        if page.values.is_empty() { Err("it says nothing".to_owned()) } else { Ok(page) }
    }

    /// Whether a JSON object is such a report: it has names that nothing else has.
    pub(super) fn looks_like(root: &Node) -> bool {
        ["rps_fractional", "rpsFractional", "named_metrics", "namedMetrics", "application_utilization", "applicationUtilization"]
            .iter()
            .any(|name| root.get(name).is_some())
    }

    fn take_text(&mut self, text: &str) -> Result<(), String> {
        for pair in text.split(',').map(str::trim) {
            let (name, value) = pair.split_once(['=', ':']).ok_or("pairs such as cpu_utilization=0.3 are wanted")?;
            let value = value.trim().parse().map_err(|_| "a number is wanted as the value")?;
            self.take(name.trim(), value)?;
        }
        Ok(())
    }

    fn take_json(&mut self, text: &str) -> Result<(), String> {
        let Node::Object(members) = Node::parse(text.as_bytes()).map_err(|unreadable| unreadable.why)? else {
            return Err("an object is wanted after JSON".to_owned());
        };
        for (key, member) in &members {
            let name = snake(key);
            match member {
                Node::Number(value) => self.take(&name, *value)?,
                Node::Object(family) => {
                    for (key, value) in family {
                        let value = value.number().ok_or("a number is wanted as the value")?;
                        self.take(&format!("{name}.{key}"), value)?;
                    }
                }
                Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Twice => {
                    return Err("a number is wanted as the value".to_owned());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, value: f64) -> Result<(), String> {
        let most = greatest(name).ok_or("a name is in it that no load report has")?;
        if !(0.0..=most).contains(&value) {
            return Err("a value in it is no such quantity".to_owned());
        }
        match self.values.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err("a name stands in it twice".to_owned()),
        }
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// What it can do: requests a second over utilization. `None` if it does not say both.
    fn capacity(&self) -> Option<f64> {
        let over_zero = |name: &str| self.value(name).filter(|value| *value > 0.0);
        let utilization = over_zero("application_utilization").or_else(|| over_zero("cpu_utilization"))?;
        let qps = over_zero("rps_fractional").or_else(|| over_zero("rps"))?;
        let errors = self.value("eps").unwrap_or(0.0) / qps * ERROR_PENALTY;
        Some(qps / (utilization + errors)).filter(|capacity| capacity.is_finite() && *capacity > 0.0)
    }

    fn find(&self, place: &str) -> Option<(&str, f64)> {
        let full = |name: &str| self.values.get_key_value(name).map(|(name, value)| (name.as_str(), *value));
        full(place).or_else(|| FAMILIES.iter().find_map(|(family, _)| full(&format!("{family}.{place}"))))
    }
}

/// The greatest value that a name may have; `None` if no report has it.
fn greatest(name: &str) -> Option<f64> {
    let among = |list: &[(&str, f64)], name: &str| list.iter().find(|(known, _)| *known == name).map(|(_, most)| *most);
    match name.split_once('.') {
        None => among(PLAIN, name),
        Some((_, "")) => None,
        Some((family, _)) => among(FAMILIES, family),
    }
}

/// `cpuUtilization`, as protobuf writes JSON, is `cpu_utilization`.
fn snake(key: &str) -> String {
    let mut name = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// Utilization of a processor may be over 1 (more runs than there are cores); as a share of the whole it is all of it.
fn as_share(name: &str, value: f64) -> f64 {
    if matches!(name, "cpu_utilization" | "application_utilization") { value.min(1.0) } else { value }
}

impl Page for OrcaPage {
    fn word(&self) -> Option<&str> {
        None
    }

    fn asks(&self) -> Asks {
        Asks { share: self.capacity().map(Share::Capacity), ..Asks::default() }
    }

    fn lookup(&self, place: &str, _: Fold) -> Lookup {
        let Some((name, value)) = self.find(place) else { return Lookup::Missing };
        let ratio = name.ends_with("_utilization") || name.starts_with("utilization.");
        Lookup::Number { value: as_share(name, value), key: name.to_owned(), unit: ratio.then(|| "ratio".to_owned()) }
    }

    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool) {
        for (name, value) in &self.values {
            if !see(Number { path: name, name, value: *value }) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let check = |text: &str, wanted: &[(&str, f64)]| {
            let page = OrcaPage::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            let values: Vec<(&str, f64)> = page.values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            assert_eq!(values, wanted, "{text}");
        };
        let wanted = [
            ("cpu_utilization", 0.3),
            ("eps", 1.0),
            ("mem_utilization", 0.8),
            ("named_metrics.queue", 0.4),
            ("rps_fractional", 10.0),
            ("utilization.disk", 0.5),
        ];
        check(
            "TEXT cpu_utilization=0.3, mem_utilization=0.8, rps_fractional=10.0, eps=1, named_metrics.queue=0.4, utilization.disk=0.5",
            &wanted,
        );
        check(
            r#"JSON {"cpu_utilization":0.3,"mem_utilization":0.8,"rps_fractional":10.0,"eps":1,"named_metrics":{"queue":0.4},"utilization":{"disk":0.5}}"#,
            &wanted,
        );
        check(r#"{"cpuUtilization":1.7,"rpsFractional":2}"#, &[("cpu_utilization", 1.7), ("rps_fractional", 2.0)]);
        check("TEXT cpu_utilization:0.3,eps = 1", &[("cpu_utilization", 0.3), ("eps", 1.0)]);
        check("cpu_utilization:0.3", &[("cpu_utilization", 0.3)]);
    }

    #[test]
    fn what_spoils_a_report() {
        for bad in [
            "",
            "TEXT",
            "TEXT ",
            "JSON",
            "JSON {}",
            "JSON [1]",
            "JSON {\"cpu_utilization\":",
            "JSON {\"cpu_utilization\":\"1\"}",
            "JSON {\"eps\":1,\"eps\":2}",
            "JSON {\"rps_fractional\":1,\"rpsFractional\":1}",
            "JSON {\"cpu\":0.3}",
            "JSON {\"named_metrics\":{\"a\":null}}",
            "TEXT cpu_utilization",
            "TEXT cpu_utilization=",
            "TEXT cpu_utilization=x",
            "TEXT cpu_utilization=NaN",
            "TEXT cpu_utilization=inf",
            "TEXT cpu_utilization=-1",
            "TEXT mem_utilization=1.1",
            "TEXT utilization.disk=2",
            "TEXT eps=1,eps=1",
            "TEXT eps=1,",
            "TEXT cpu=0.3",
            "TEXT named_metrics.=1",
            "TEXT named_metrics=1",
            "TEXT other.a=1",
            "text eps=1",
            "XML eps=1",
            "BIN CZqZmZmZmbk/",
            "TEXT eps=1 rps=2",
        ] {
            assert!(OrcaPage::parse(bad).is_err(), "{bad}");
        }
        assert!(OrcaPage::parse(&format!("TEXT eps={}1", "0".repeat(9000))).is_err(), "too long");
    }

    #[test]
    fn capacity_is_requests_over_utilization_and_errors() {
        let check = |text: &str, wanted: Option<f64>| {
            let got = OrcaPage::parse(text).unwrap().capacity();
            let near = match (got, wanted) {
                (Some(got), Some(wanted)) => (got - wanted).abs() < 1e-9,
                (got, wanted) => got.is_some() == wanted.is_some(),
            };
            assert!(near, "{text}: {got:?}");
        };
        check("TEXT cpu_utilization=0.5,rps_fractional=100", Some(200.0));
        check("TEXT cpu_utilization=0.5,application_utilization=0.25,rps_fractional=100", Some(400.0));
        check("TEXT cpu_utilization=0.5,application_utilization=0,rps=100", Some(200.0));
        check("TEXT cpu_utilization=0.5,rps_fractional=100,eps=50", Some(100.0));
        check("TEXT cpu_utilization=0,rps_fractional=100", None);
        check("TEXT cpu_utilization=0.5", None);
        check("TEXT rps_fractional=100", None);
        check("TEXT cpu_utilization=1e-320,rps_fractional=1e300", None);
    }

    #[test]
    fn names_are_found_with_and_without_their_family() {
        let page = OrcaPage::parse("TEXT cpu_utilization=1.5,named_metrics.queue=40,utilization.disk=0.5").unwrap();
        let value = |place: &str| match page.lookup(place, Fold::Max) {
            Lookup::Number { value, unit, .. } => Some((value, unit)),
            _ => None,
        };
        let ratio = Some("ratio".to_owned());
        assert_eq!(value("queue"), Some((40.0, None)));
        assert_eq!(value("named_metrics.queue"), Some((40.0, None)));
        assert_eq!(value("disk"), Some((0.5, ratio.clone())));
        assert_eq!(value("cpu_utilization"), Some((1.0, ratio)));
        assert_eq!(value("nope"), None);
    }
}

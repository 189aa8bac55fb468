//! Which series of a Prometheus page a metric is read from: `name`, `name{label="v"}`, or either inside `sum()`.
//!
//! Several series may match, for memory pools or queues say. Written inside `sum( )`, `max( )`, `min( )` or `avg( )` they
//! are folded so; otherwise shares take the greatest, because a machine is as full as its fullest part, and everything else
//! is summed. A label that a selector does not name may have any value; `label=""` wants it absent.

use super::exposition::{self, Series};
use super::page::Fold;

/// A selector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selector<'a> {
    fold: Option<Fold>,
    series: Series<'a>,
}

impl<'a> Selector<'a> {
    /// Reads a selector; an error says what is wanted.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (fold, inner) = split_fold(text);
        let (series, rest) = exposition::series(inner)?;
        if rest.trim().is_empty() { Ok(Self { fold, series }) } else { Err("only `label=\"value\"` pairs select series") }
    }

    /// The fold that is written, else `otherwise`.
    pub(super) fn fold_or(&self, otherwise: Fold) -> Fold {
        self.fold.unwrap_or(otherwise)
    }

    /// The name of the metric.
    pub(super) fn name(&self) -> &str {
        &self.series.name
    }

    /// Whether a series is selected.
    pub(super) fn matches(&self, series: &Series<'_>) -> bool {
        self.series.name == series.name && self.series.labels.iter().all(|(name, value)| series.label(name) == value)
    }
}

fn split_fold(text: &str) -> (Option<Fold>, &str) {
    let inside = |name: &str| text.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')');
    [("sum", Fold::Sum), ("max", Fold::Max), ("min", Fold::Min), ("avg", Fold::Avg)]
        .into_iter()
        .find_map(|(name, fold)| Some((Some(fold), inside(name)?.trim())))
        .unwrap_or((None, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let page = exposition::parse("a{x=\"1\",y=\"2\"} 1\na{x=\"2\"} 2\na 3\nsum 4\n", false).unwrap();
        let check = |text: &str, wanted: &[f64]| {
            let selector = Selector::parse(text).unwrap();
            let got: Vec<f64> = page.iter().filter(|s| selector.matches(&s.series)).map(|s| s.value).collect();
            assert_eq!(got, wanted, "{text}");
        };
        check("a", &[1.0, 2.0, 3.0]);
        check(r#"a{x="1"}"#, &[1.0]);
        check(r#" a { x = "2" } "#, &[2.0]);
        check(r#"a{y=""}"#, &[2.0, 3.0]);
        check(r#"{"a",x="2"}"#, &[2.0]);
        check(r#"max ( a{x="1"} )"#, &[1.0]);
        check("sum", &[4.0]);
        check("b", &[]);
    }

    #[test]
    fn a_written_fold_wins() {
        assert_eq!(Selector::parse("min(a)").unwrap().fold_or(Fold::Max), Fold::Min);
        assert_eq!(Selector::parse("a").unwrap().fold_or(Fold::Max), Fold::Max);
    }

    #[test]
    fn bad_selectors() {
        for bad in ["", "a b", "a{x!=\"1\"}", "a{x=~\"1\"}", "rate(a)", "sum(a", "a.b", "a{x=\"1\"} / b", "{x=\"1\"}"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }
}

//! A Prometheus page as a source of metrics.
//!
//! A counter such as `process_cpu_seconds_total` means something only by its rate, for which see `counters`. Memory of a JVM is the sum of its heap pools over the sum of those limits that are set (a pool
//! without a limit says -1).

use std::fmt::Write as _;

use super::exposition::{Sample, Series, is_bare};
use super::page::{Fold, Lookup, Number, Page, Pair};
use super::selector::Selector;

/// A page of samples.
#[derive(Debug)]
pub(super) struct PrometheusPage<'a> {
    samples: Vec<Sample<'a>>,
}

impl<'a> PrometheusPage<'a> {
    /// The page of these samples, put in order of their names so that nothing depends on the order they came in.
    pub(super) fn new(mut samples: Vec<Sample<'a>>) -> Self {
        samples.sort_by(|a, b| a.series.cmp(&b.series).then(a.value.total_cmp(&b.value)));
        Self { samples }
    }

    /// Those that a selector selects, in order. Only samples of its name are looked at, so that many metrics can be asked for on a
    /// long page.
    fn selected(&self, selector: &Selector<'_>) -> Vec<&Sample<'a>> {
        let from = self.samples.partition_point(|sample| *sample.series.name < *selector.name());
        let named = self.samples[from..].iter().take_while(|sample| sample.series.name == selector.name());
        named.filter(|sample| selector.matches(&sample.series)).collect()
    }

    fn sum_of(&self, selector: &str) -> Option<f64> {
        let values: Vec<f64> = self.selected(&Selector::parse(selector).ok()?).iter().map(|sample| sample.value).collect();
        Fold::Sum.of(&values.into_iter().filter(|value| value.is_nan() || *value >= 0.0).collect::<Vec<_>>())
    }
}

impl Page for PrometheusPage<'_> {
    fn word(&self) -> Option<&str> {
        None
    }

    fn lookup(&self, place: &str, fold: Fold) -> Lookup {
        let selector = match Selector::parse(place) {
            Ok(selector) => selector,
            Err(wanted) => return Lookup::BadPlace(wanted),
        };
        let selected = self.selected(&selector);
        if selected.windows(2).any(|pair| pair[0].series == pair[1].series) {
            return Lookup::Other("there twice with the same labels, so neither counts");
        }
        let values: Vec<f64> = selected.iter().map(|sample| sample.value).collect();
        match selector.fold_or(fold).of(&values) {
            Some(value) => Lookup::Number { value, key: selector.name().to_owned(), unit: None },
            None => Lookup::Missing,
        }
    }

    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool) {
        let mut path = String::new();
        for Sample { series, value } in &self.samples {
            path.clear();
            write_series(&mut path, series);
            if !see(Number { path: &path, name: &series.name, value: *value }) {
                return;
            }
        }
    }

    fn memory_pair(&self) -> Option<Pair> {
        const USED: &str = r#"jvm_memory_used_bytes{area="heap"}"#;
        const LIMIT: &str = r#"jvm_memory_max_bytes{area="heap"}"#;
        let (used, limit) = (self.sum_of(USED)?, self.sum_of(LIMIT)?);
        (limit > 0.0).then(|| Pair { used, limit, place: format!("{USED} / {LIMIT}") })
    }
}

/// Writes a series as a selector that finds it.
fn write_series(out: &mut String, series: &Series<'_>) {
    let bare = is_bare(&series.name, true);
    if bare {
        out.push_str(&series.name);
    }
    if bare && series.labels.is_empty() {
        return;
    }
    out.push('{');
    let mut between = "";
    if !bare {
        write_quoted(out, &series.name);
        between = ",";
    }
    for (name, value) in &series.labels {
        out.push_str(between);
        if is_bare(name, false) {
            out.push_str(name);
        } else {
            write_quoted(out, name);
        }
        out.push('=');
        write_quoted(out, value);
        between = ",";
    }
    out.push('}');
}

fn write_quoted(out: &mut String, text: &str) {
    let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    write!(out, "\"{text}\"").expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exposition;
    use super::*;

    fn page(text: &str) -> PrometheusPage<'_> {
        PrometheusPage::new(exposition::parse(text, false).unwrap())
    }

    fn value(page: &PrometheusPage<'_>, place: &str, fold: Fold) -> Option<f64> {
        match page.lookup(place, fold) {
            Lookup::Number { value, .. } => Some(value),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn what_is_selected_is_what_the_selector_matches(
            names in proptest::collection::vec("[ab]{0,2}", 0..20), labels in proptest::collection::vec("[xy]{0,1}", 20), wanted in "[ab]{1,2}",
        ) {
            let line = |(name, label): (&String, &String)| format!("a{name}{{l=\"{label}\"}} 1\n");
            let text: String = names.iter().zip(&labels).map(line).collect();
            let page = page(&text);
            for place in [format!("a{wanted}"), format!("a{wanted}{{l=\"x\"}}"), "a".to_owned(), "b".to_owned()] {
                let selector = Selector::parse(&place).unwrap();
                let all: Vec<_> = page.samples.iter().filter(|sample| selector.matches(&sample.series)).collect();
                prop_assert_eq!(page.selected(&selector), all);
            }
        }
    }

    #[test]
    fn several_series_are_folded() {
        let page = page("q{n=\"a\"} 3\nq{n=\"b\"} 5\n");
        assert_eq!(value(&page, "q", Fold::Sum), Some(8.0));
        assert_eq!(value(&page, "q", Fold::Max), Some(5.0));
        assert_eq!(value(&page, "avg(q)", Fold::Max), Some(4.0));
        assert_eq!(value(&page, "min(q)", Fold::Max), Some(3.0));
        assert_eq!(value(&page, r#"q{n="a"}"#, Fold::Sum), Some(3.0));
        assert_eq!(page.lookup("nope", Fold::Sum), Lookup::Missing);
        assert!(matches!(page.lookup("q{", Fold::Sum), Lookup::BadPlace(_)));
    }

    #[test]
    fn a_series_that_stands_twice_is_neither() {
        let page = page("q{n=\"a\"} 3\nq{n=\"a\"} 5\nq{n=\"b\"} 1\n");
        assert!(matches!(page.lookup("q", Fold::Sum), Lookup::Other(_)));
        assert_eq!(value(&page, r#"q{n="b"}"#, Fold::Sum), Some(1.0));
    }

    #[test]
    fn heap_pools_without_a_limit_do_not_count_as_limits() {
        let page = page(
            "jvm_memory_used_bytes{area=\"heap\",id=\"Eden\"} 10\njvm_memory_used_bytes{area=\"heap\",id=\"Old\"} 30\n\
             jvm_memory_used_bytes{area=\"nonheap\",id=\"Meta\"} 99\n\
             jvm_memory_max_bytes{area=\"heap\",id=\"Eden\"} -1\njvm_memory_max_bytes{area=\"heap\",id=\"Old\"} 100\n\
             jvm_memory_max_bytes{area=\"nonheap\",id=\"Meta\"} -1\n",
        );
        let pair = page.memory_pair().unwrap();
        assert_eq!((pair.used, pair.limit), (40.0, 100.0));
    }

    #[test]
    fn every_series_is_shown_as_a_selector_that_finds_it() {
        let page = page(
            "a 1\nb{x=\"q\\\"\\\\\\n\",y=\"\"} 2\n{\"my.metric\",\"my.label\"=\"v\"} 3\n{\"other.metric\"} 4\n{\"1st\",\"2nd\"=\"v\"} 5\n",
        );
        let mut seen = 0;
        page.visit(&mut |number| {
            seen += 1;
            assert_eq!(value(&page, number.path, Fold::Sum), Some(number.value), "{}", number.path);
            true
        });
        assert_eq!(seen, 5);
    }
}

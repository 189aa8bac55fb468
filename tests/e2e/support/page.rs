//! The metrics page, read as a scraper reads it.

/// The page.
#[derive(Debug)]
pub(crate) struct Page(String);

impl Page {
    /// Takes the page as it was served.
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The sum of all series of this name, without its prefix, that carry these labels; 0 if there is none.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.series(name, labels).map(whole).sum()
    }

    /// The one series of this name and these labels.
    #[track_caller]
    pub(crate) fn one(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        whole(self.only(name, labels))
    }

    /// The one series of this name and these labels, where it need not be whole.
    #[track_caller]
    pub(crate) fn share(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.only(name, labels).parse().unwrap()
    }

    #[track_caller]
    fn only(&self, name: &str, labels: &[(&str, &str)]) -> &str {
        let found: Vec<&str> = self.series(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?} in\n{}", self.0);
        found[0]
    }

    fn series<'a, 'n>(&'a self, name: &'n str, labels: &'n [(&'n str, &'n str)]) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix("pulsegate_")?.strip_prefix(name)?;
            let (given, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let has = |(label, value): &(&str, &str)| given.split(',').any(|pair| pair == format!("{label}=\"{value}\""));
            labels.iter().all(has).then_some(value)
        })
    }
}

fn whole(value: &str) -> u64 {
    value.parse().unwrap_or_else(|error| panic!("{value}: {error}"))
}

#[test]
fn series_are_found_by_name_and_labels() {
    let text = "# HELP pulsegate_a x\npulsegate_a{b=\"1\",c=\"2\"} 3\npulsegate_a{b=\"1\",c=\"3\"} 4\npulsegate_ab 0.5\n";
    let page = Page::new(text.to_owned());
    assert_eq!(page.sum("a", &[("b", "1")]), 7);
    assert_eq!(page.one("a", &[("c", "3"), ("b", "1")]), 4);
    assert_eq!(page.sum("a", &[("b", "2")]), 0);
    assert!((page.share("ab", &[]) - 0.5).abs() < 1e-9);
}

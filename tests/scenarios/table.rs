//! The table: scenarios, goals, and what each system did.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use pulsegate::runtime::clock;

use crate::facts::Facts;
use crate::scenario::Scenario;
use crate::system::Kind;

/// One scenario's runs.
pub(crate) struct Row {
    scenario: &'static Scenario,
    runs: BTreeMap<Kind, Vec<Facts>>,
}

impl Row {
    pub(crate) const fn new(scenario: &'static Scenario) -> Self {
        Self { scenario, runs: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, kind: Kind, facts: Facts) {
        self.runs.entry(kind).or_default().push(facts);
    }

    /// Whether Pulsegate kept every goal, if it was there.
    fn holds(&self) -> bool {
        let Some(runs) = self.runs.get(&Kind::Pulsegate) else { return true };
        self.scenario.goals.iter().all(|goal| goal.of(runs).is_none_or(|value| value <= goal.most))
    }

    /// All of it in a line or two, for whoever waits.
    pub(crate) fn told(&self) -> String {
        let verdict = if self.holds() { "PASS" } else { "FAIL" };
        format!("{verdict} {}\n{}", self.scenario.name, self.lines(&self.runs.keys().copied().collect::<Vec<_>>()))
    }

    fn lines(&self, kinds: &[Kind]) -> String {
        let mut text = String::new();
        for (at, goal) in self.scenario.goals.iter().enumerate() {
            let title = if at == 0 { self.title() } else { String::new() };
            // Writing to a string cannot fail.
            let _ = write!(text, "| {title} | {} | {} |", goal.words, cell(Some(goal.most), goal.unit));
            for kind in kinds {
                let value = self.runs.get(kind).and_then(|runs| goal.of(runs));
                let missed = *kind == Kind::Pulsegate && value.is_some_and(|value| value > goal.most);
                let _ = write!(text, " {}{} |", cell(value, goal.unit), if missed { " (missed)" } else { "" });
            }
            text.push('\n');
        }
        text
    }

    fn title(&self) -> String {
        let most = self.runs.values().map(Vec::len).max().unwrap_or(0);
        let runs = if most == 1 { "1 run".to_owned() } else { format!("{most} runs") };
        format!("`{}`: {} ({runs})", self.scenario.name, self.scenario.title)
    }
}

/// All rows.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn put(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Whether Pulsegate kept every goal.
    pub(crate) fn holds(&self) -> bool {
        self.0.iter().all(Row::holds)
    }

    /// Prints it as Markdown.
    pub(crate) fn print(&self, kinds: &[Kind], rate: f64) -> io::Result<()> {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let date = clock::wall().to_string();
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let mut out = io::stdout().lock();
        writeln!(out, "Measured on {} with {cpus} CPUs, {rate} requests a second.\n", &date[..10])?;
        writeln!(out, "| scenario | what | at most | {} |", names.join(" | "))?;
        writeln!(out, "|---|---|---|{}", "---|".repeat(names.len()))?;
        for row in &self.0 {
            out.write_all(row.lines(kinds).as_bytes())?;
        }
        Ok(())
    }
}

/// One run's numbers in a line.
pub(crate) fn told(facts: &Facts) -> String {
    facts.iter().map(|(key, value)| format!("{key} {}", cell(Some(*value), ""))).collect::<Vec<_>>().join(", ")
}

fn cell(value: Option<f64>, unit: &str) -> String {
    let space = if unit.is_empty() || unit == "%" { "" } else { " " };
    match value {
        None => "–".to_owned(),
        Some(value) if value.is_infinite() => "never".to_owned(),
        Some(value) if value.fract() == 0.0 || value >= 100.0 => format!("{value:.0}{space}{unit}"),
        Some(value) => format!("{value:.2}{space}{unit}"),
    }
}

//! Scenarios: faults under load, measured from outside, Pulsegate beside HAProxy and nginx.
//!
//! `cargo test` plays each of them for a moment, to see that it works. The whole of it, with the table for
//! `docs/detection.md`, takes most of an hour:
//!
//! ```sh
//! cargo test --release --test scenarios -- full
//! ```
//!
//! | argument | does |
//! |---|---|
//! | `full` | every scenario at full length, as often as it says |
//! | `--only a,b` | these scenarios |
//! | `--systems pulsegate,haproxy,nginx` | these systems |
//! | `--runs N` | another number of runs |
//! | `--peer-runs N` | another one for HAProxy and nginx |
//! | `--events` | tells what each system said of its endpoints, and which requests took over 300 ms |
//! | `--rate N` | another number of requests a second than 2000 |
//!
//! As root it moves into a network namespace of its own, where it can lose packets and meets nobody's ports, and takes
//! precedence over other work on the machine.
#![expect(clippy::unwrap_used, reason = "a scenario that panics has failed")]

mod endpoint;
mod facts;
mod faults;
mod load;
mod loss;
mod relay;
mod rig;
mod scenario;
mod system;
mod table;
mod trouble;

use std::process::{Command, ExitCode};

use rig::Stage;
use scenario::Scenario;
use system::Kind;
use table::{Row, Table};

/// Set in the process that is inside the namespace.
const INSIDE: &str = "PULSEGATE_SCENARIOS_INSIDE";
/// Requests a second at full length, and in a smoke.
const RATE: f64 = 2000.0;
const SMOKE_RATE: f64 = 150.0;
/// How much shorter a smoke is.
const SMOKE: f64 = 0.05;
/// Scenarios that a smoke plays at a time.
const AT_A_TIME: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "endpoint") {
        return endpoint::main(&arguments[1..]);
    }
    if std::env::var_os(INSIDE).is_none()
        && let Some(code) = move_inside(&arguments)
    {
        return code;
    }
    let wanted = Wanted::read(&arguments);
    if wanted.full { full(&wanted) } else { smoke(&wanted) }
}

/// Runs itself in a network namespace of its own, and gives the exit code; `None` where that cannot be.
fn move_inside(arguments: &[String]) -> Option<ExitCode> {
    let can = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !can.is_ok_and(|done| done.status.success()) {
        return None;
    }
    let inside = "ip link set lo up && exec nice -n -10 \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", inside]).arg(std::env::current_exe().unwrap()).args(arguments).env(INSIDE, "1");
    let code = command.status().ok()?.code().unwrap_or(1);
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// What the command line asks for.
struct Wanted {
    full: bool,
    only: Vec<String>,
    systems: Vec<Kind>,
    runs: Option<u32>,
    peer_runs: Option<u32>,
    rate: f64,
    talks: bool,
}

impl Wanted {
    fn read(arguments: &[String]) -> Self {
        let value = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
        let list = |name: &str| value(name).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let systems = list("--systems").unwrap_or_default();
        let wanted = |kind: &Kind| systems.is_empty() || systems.contains(&kind.name().to_lowercase());
        Self {
            full: arguments.iter().any(|word| word == "full"),
            only: list("--only").unwrap_or_default(),
            systems: Kind::ALL.into_iter().filter(wanted).collect(),
            runs: value("--runs").map(|text| text.parse().unwrap()),
            peer_runs: value("--peer-runs").map(|text| text.parse().unwrap()),
            rate: value("--rate").map_or(RATE, |text| text.parse().unwrap()),
            talks: arguments.iter().any(|word| word == "--events"),
        }
    }

    fn runs_of(&self, scenario: &Scenario, kind: Kind) -> u32 {
        let peers = self.peer_runs.filter(|_| kind != Kind::Pulsegate);
        peers.or(self.runs).unwrap_or(scenario.runs)
    }

    fn scenarios(&self) -> Vec<&'static Scenario> {
        let lossy = loss::possible();
        let all = faults::SCENARIOS.iter().chain(trouble::SCENARIOS);
        let named = all.filter(|scenario| self.only.is_empty() || self.only.iter().any(|name| name == scenario.name));
        let (can, cannot): (Vec<_>, Vec<_>) = named.partition(|scenario| lossy || !scenario.needs_loss);
        for scenario in cannot {
            eprintln!("{}: left out, since only root in a network namespace with iptables can lose packets", scenario.name);
        }
        can
    }
}

/// Everything at full length, one after the other; fails if Pulsegate misses a goal.
fn full(wanted: &Wanted) -> ExitCode {
    let mut table = Table::default();
    for scenario in wanted.scenarios() {
        let mut row = Row::new(scenario);
        for kind in &wanted.systems {
            for run in 0..wanted.runs_of(scenario, *kind) {
                let stage = Stage::new(*kind, wanted.rate, 1.0, u64::from(run) + 1);
                let facts = (scenario.play)(Stage { talks: wanted.talks, ..stage });
                eprintln!("{} {} {run}: {}", scenario.name, kind.name(), table::told(&facts));
                row.put(*kind, facts);
            }
        }
        eprintln!("{}", row.told());
        table.put(row);
    }
    // The table is what was asked for; whoever reads it may have gone.
    drop(table.print(&wanted.systems, wanted.rate));
    if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything for a moment: each script runs and gives every number that its goals name. Nothing is asked of the numbers.
fn smoke(wanted: &Wanted) -> ExitCode {
    let scenarios = wanted.scenarios();
    for some in scenarios.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            for scenario in some {
                scope.spawn(|| smoke_of(scenario));
            }
        });
    }
    // The peers start, answer, and meet a fault.
    std::thread::scope(|scope| {
        for kind in [Kind::Haproxy, Kind::Nginx] {
            scope.spawn(move || (faults::SCENARIOS[0].play)(Stage::new(kind, SMOKE_RATE, SMOKE, 1)));
        }
    });
    eprintln!("{} scenarios played for a moment; the whole: cargo test --release --test scenarios -- full", scenarios.len());
    ExitCode::SUCCESS
}

fn smoke_of(scenario: &Scenario) {
    let facts = (scenario.play)(Stage::new(Kind::Pulsegate, SMOKE_RATE, SMOKE, 1));
    for goal in scenario.goals {
        assert!(facts.iter().any(|(key, _)| *key == goal.key), "{}: no {}: {facts:?}", scenario.name, goal.key);
    }
}

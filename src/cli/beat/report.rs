//! What the report command says: run once for every beat, beside them, so that one that hangs does not hold them up.

use std::cell::RefCell;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Notify;

use crate::runtime::task;

/// Longest run of the command.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest report, in bytes.
const MAX_REPORT: usize = 32 * 1024;

/// The command and what it last said. It runs as long as this lives.
#[derive(Debug)]
pub(super) struct Reporter {
    said: Rc<Said>,
    _running: task::Owned,
}

#[derive(Debug, Default)]
struct Said {
    /// The state, and the report if there is one; none before the first run has ended.
    last: RefCell<Option<(&'static str, Option<Value>)>>,
    first: Notify,
    again: Notify,
}

impl Reporter {
    /// Runs the command now, and then whenever it is wanted.
    pub(super) fn start(command: String) -> Self {
        let said = Rc::<Said>::default();
        let theirs = Rc::clone(&said);
        let running = async move {
            loop {
                let found = run(&command).await;
                theirs.last.replace(Some(found));
                theirs.first.notify_waiters();
                theirs.again.notified().await;
            }
        };
        Self { said, _running: task::Owned::spawn(running) }
    }

    /// Waits until the first run has ended.
    pub(super) async fn first(&self) {
        while self.said.last.borrow().is_none() {
            self.said.first.notified().await;
        }
    }

    /// Wants another run: now, or right after the one that is under way, whose end may be told by the next beat only.
    pub(super) fn again(&self) {
        self.said.again.notify_one();
    }

    /// The state and the report of the last run.
    pub(super) fn said(&self) -> (&'static str, Option<Value>) {
        self.said.last.borrow().clone().unwrap_or(("failing", None))
    }
}

async fn run(command: &str) -> (&'static str, Option<Value>) {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    match tokio::time::timeout(TIMEOUT, shell.output()).await {
        Ok(Ok(output)) if output.status.success() => ("ready", read(&output.stdout)),
        _ => ("failing", None),
    }
}

fn read(printed: &[u8]) -> Option<Value> {
    let fits = printed.len() <= MAX_REPORT;
    serde_json::from_slice(printed).ok().filter(|report: &Value| fits && report.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn a_command_reports_or_fails() {
        block_on(async {
            assert_eq!(run("echo '{\"cpu\":0.5}'").await, ("ready", Some(serde_json::json!({ "cpu": 0.5 }))));
            assert_eq!(run("echo all is well").await, ("ready", None));
            assert_eq!(run("echo '[1]'").await, ("ready", None));
            assert_eq!(run("echo '{}'; exit 3").await, ("failing", None));
        })
        .unwrap();
    }

    #[test]
    fn the_command_runs_once_for_every_beat() {
        block_on(async {
            let file = std::env::temp_dir().join(format!("pulsegate-report-{}", std::process::id()));
            let command = format!("echo run >> {0}; echo \"{{\\\"runs\\\": $(wc -l < {0})}}\"", file.display());
            let reporter = Reporter::start(command);
            reporter.first().await;
            for runs in 1..4 {
                let wanted = serde_json::json!({ "runs": runs });
                while reporter.said() != ("ready", Some(wanted.clone())) {
                    tokio::task::yield_now().await;
                }
                reporter.again();
            }
            while std::fs::read_to_string(&file).unwrap().lines().count() < 4 {
                tokio::task::yield_now().await;
            }
            assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 4);
            std::fs::remove_file(&file).unwrap();
        })
        .unwrap();
    }
}

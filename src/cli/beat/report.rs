//! What the report command says: run once for every beat, beside them, so that one that hangs does not hold them up.

use std::cell::RefCell;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::cli::output::plain;
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
    /// None before the first run has ended.
    last: RefCell<Option<Run>>,
    first: Notify,
    again: Notify,
}

/// What came of one run.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    state: &'static str,
    report: Option<Value>,
    /// What is wrong with it, in words.
    wrong: Option<String>,
}

impl Reporter {
    /// Runs the command now, and then whenever it is wanted. What is wrong with it is told when it changes.
    pub(super) fn start(command: String) -> Self {
        let said = Rc::<Said>::default();
        let theirs = Rc::clone(&said);
        let running = async move {
            let mut told = None;
            loop {
                let run = run(&command, TIMEOUT).await;
                if run.wrong != told {
                    let news = run.wrong.as_deref().unwrap_or("it reports as it should again");
                    eprintln!("the report command: {}", plain(news));
                    told.clone_from(&run.wrong);
                }
                theirs.last.replace(Some(run));
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
        self.said.last.borrow().as_ref().map_or(("failing", None), |run| (run.state, run.report.clone()))
    }
}

async fn run(command: &str, timeout: Duration) -> Run {
    let failing = |wrong: String| Run { state: "failing", report: None, wrong: Some(wrong) };
    match tokio::time::timeout(timeout, listen(command)).await {
        Ok(Ok((status, printed))) if status.success() => read(&printed),
        Ok(Ok((status, _))) => failing(format!("it ended with {status}")),
        Ok(Err(error)) => failing(format!("it cannot be run: {error}")),
        Err(_) => failing(format!("it did not end within {timeout:?}")),
    }
}

/// Runs the command to its end. Of what it prints as much is kept as a report may have, and one byte more, so that a longer one is known
/// as such.
async fn listen(command: &str) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut shell = shell.process_group(0).kill_on_drop(true).spawn()?;
    let mut group = Group::of(&shell);
    let mut printed = Vec::new();
    if let Some(mut output) = shell.stdout.take() {
        (&mut output).take(MAX_REPORT as u64 + 1).read_to_end(&mut printed).await?;
        tokio::io::copy(&mut output, &mut tokio::io::sink()).await?;
    }
    let status = shell.wait().await?;
    group.0 = None;
    Ok((status, printed))
}

/// The shell with all that it has started: given up together, or each run that hangs would leave something behind.
struct Group(Option<Pid>);

impl Group {
    fn of(shell: &Child) -> Self {
        Self(shell.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Whoever is gone already need not be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn read(printed: &[u8]) -> Run {
    let ready = |report, wrong: Option<&str>| Run { state: "ready", report, wrong: wrong.map(str::to_owned) };
    if printed.trim_ascii().is_empty() {
        return ready(None, None);
    }
    if printed.len() > MAX_REPORT {
        return ready(None, Some("it prints more than 32 KiB, so nothing is reported"));
    }
    match serde_json::from_slice(printed) {
        // Written anew, numbers may be longer than they were.
        Ok(report @ Value::Object(_)) if report.to_string().len() <= MAX_REPORT => ready(Some(report), None),
        Ok(Value::Object(_)) => ready(None, Some("it prints more than 32 KiB, so nothing is reported")),
        _ => ready(None, Some("it prints no JSON object, so nothing is reported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::thread::block_on;

    /// A file of this test's own.
    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("pulsegate-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_command_reports_or_fails() {
        block_on(async {
            for (command, state, report, wrong) in [
                ("echo '{\"cpu\":0.5}'", "ready", Some(serde_json::json!({ "cpu": 0.5 })), None),
                ("true", "ready", None, None),
                ("echo all is well", "ready", None, Some("no JSON object")),
                ("echo '[1]'", "ready", None, Some("no JSON object")),
                ("head -c 1000000 /dev/zero", "ready", None, Some("more than 32 KiB")),
                (
                    "printf '{\"a\":[1e5'; yes ,1e5 | head -n 6000 | tr -d '\\n'; echo ']}'",
                    "ready",
                    None,
                    Some("more than 32 KiB"),
                ),
                ("echo '{}'; exit 3", "failing", None, Some("exit status: 3")),
                ("kill -9 $$", "failing", None, Some("signal: 9")),
                ("/no/such/program 2>/dev/null", "failing", None, Some("exit status: 127")),
            ] {
                let run = run(command, TIMEOUT).await;
                assert_eq!((run.state, &run.report), (state, &report), "{command}");
                let told = run.wrong.as_deref();
                assert!(
                    told.is_some() == wrong.is_some() && told.unwrap_or("").contains(wrong.unwrap_or("")),
                    "{command}: {told:?}"
                );
            }
        })
        .unwrap();
    }

    #[test]
    fn a_command_that_hangs_is_given_up_with_all_that_it_has_started() {
        block_on(async {
            let file = scratch("hanging");
            let command = format!("sleep 60 & echo $! > {}; wait", file.display());
            let run = run(&command, Duration::from_secs(1)).await;
            assert_eq!((run.state, run.wrong.as_deref()), ("failing", Some("it did not end within 1s")));
            let child = std::fs::read_to_string(&file).unwrap();
            let stat = format!("/proc/{}/stat", child.trim());
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
            std::fs::remove_file(&file).unwrap();
        })
        .unwrap();
    }

    #[test]
    fn the_command_runs_once_for_every_beat() {
        block_on(async {
            let file = scratch("report");
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

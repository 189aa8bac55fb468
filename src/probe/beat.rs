//! A run of a file probe: has the file changed lately?
//!
//! The disk may be another machine's, whose clock is not ours. So a file's own time is believed only at the first look, where there
//! is nothing else; from then on a change of it is a beat, timed by our clock, however wrong the time in it is.
//!
//! Asking for a file may hang for as long as a network disk does. It happens on a thread of the runtime's pool, at most one
//! for each probe: as long as one hangs, nobody asks again.

use std::fs::Metadata;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::check::FileCheck;
use crate::health::signal::{Failure, ProbeResult};
use crate::runtime::clock;

/// What tells one state of a file from another.
type Mark = (Option<SystemTime>, u64);

/// A file, and what is remembered of it between runs.
#[derive(Debug)]
pub(super) struct File {
    path: String,
    /// The state it was last found in, when that was found first, and how old it was then.
    seen: Option<(Mark, Timestamp, Duration)>,
    asking: Option<JoinHandle<io::Result<Mark>>>,
}

impl File {
    /// The file of an endpoint.
    pub(super) fn new(check: &FileCheck, host: &str, port: u16) -> Self {
        let address = if port == 0 {
            host.to_owned()
        } else if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let path = check.path.replace("{host}", host).replace("{port}", &port.to_string()).replace("{address}", &address);
        Self { path, seen: None, asking: None }
    }

    /// Looks at the file. What is dropped while it hangs goes on with the next run.
    pub(super) async fn look(&mut self, check: &FileCheck) -> ProbeResult {
        let path = self.path.clone();
        let asking = self
            .asking
            .get_or_insert_with(|| tokio::task::spawn_blocking(move || std::fs::metadata(path).map(|file| mark(&file))));
        let found = asking.await;
        self.asking = None;
        match found {
            Ok(Ok(mark)) => self.judge(mark, check.max_age, clock::now()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                ProbeResult::Fail(Failure::Error(format!("there is no file {}", self.path)))
            }
            Ok(Err(error)) => ProbeResult::Void(format!("the file {} cannot be looked at: {error}", self.path)),
            Err(error) => ProbeResult::Void(format!("the file {} could not be looked at: {error}", self.path)),
        }
    }

    fn judge(&mut self, mark: Mark, max_age: Duration, now: Timestamp) -> ProbeResult {
        let (at, old) = match &self.seen {
            Some((same, at, old)) if *same == mark => (*at, *old),
            Some(_) => (now, Duration::ZERO),
            None => (now, age(mark.0)),
        };
        self.seen = Some((mark, at, old));
        if old + now.since(at) <= max_age { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Stale(max_age)) }
    }
}

/// How old a file says that it is; one from the future is new.
fn age(modified: Option<SystemTime>) -> Duration {
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Duration::from_millis(clock::wall().unix_millis()).saturating_sub(modified)
}

fn mark(file: &Metadata) -> Mark {
    (file.modified().ok(), file.len())
}

/// The result of a run in which the disk did not answer: that is the disk's fault.
pub(super) fn hangs(timeout: Duration) -> ProbeResult {
    ProbeResult::Void(format!("the disk of the file did not answer within {}", format_duration(timeout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(100_000 + seconds)
    }

    fn modified(before: u64) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::from_millis(clock::wall().unix_millis()) - Duration::from_secs(before))
    }

    fn file() -> File {
        File::new(&FileCheck { path: "/beats/{host}/{port}/{address}".into(), max_age: Duration::ZERO }, "10.0.0.1", 80)
    }

    #[test]
    fn the_endpoint_is_named_in_the_path() {
        assert_eq!(file().path, "/beats/10.0.0.1/80/10.0.0.1:80");
        let check = FileCheck { path: "{address}.beat".into(), max_age: Duration::ZERO };
        assert_eq!(File::new(&check, "::1", 80).path, "[::1]:80.beat");
    }

    #[test]
    fn a_change_is_a_beat_whatever_time_the_file_has() {
        let max_age = Duration::from_secs(10);
        let mut file = file();
        let mut check = |mark: Mark, now: u64, passes: bool| {
            let wanted = if passes { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Stale(max_age)) };
            assert_eq!(file.judge(mark, max_age, at(now)), wanted, "at {now}");
        };
        let (old, older, future) = ((modified(3600), 1), (modified(7200), 1), (modified(0).map(|t| t + max_age * 100), 1));
        check(old, 0, false);
        check(older, 1, true);
        check(older, 11, true);
        check(older, 12, false);
        check(future, 20, true);
        check(future, 31, false);
        check((future.0, 2), 32, true);
    }

    #[test]
    fn the_first_look_believes_the_file() {
        let judge = |before| file().judge((modified(before), 1), Duration::from_secs(10), at(0));
        assert_eq!(judge(5), ProbeResult::Pass);
        assert!(matches!(judge(20), ProbeResult::Fail(_)));
        assert_eq!(
            file().judge((Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), 1), Duration::from_secs(10), at(0)),
            ProbeResult::Pass
        );
    }
}

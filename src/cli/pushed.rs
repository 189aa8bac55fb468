//! Owns how the heartbeats of an endpoint look to people.

use crate::admin::shape::{BeatPath, Heartbeat};
use crate::base::time::WallTime;
use crate::cli::output::plain;
use crate::cli::{age, reason, table};

/// What is known of the heartbeats, a line for each thing; nothing if none has come.
pub(super) fn rows(heartbeat: &Heartbeat, now: WallTime) -> String {
    let Some(at) = &heartbeat.at else {
        return heartbeat.deadline.as_deref().map_or_else(String::new, |deadline| {
            table::columns(2, &[vec!["deadline".to_owned(), format!("{}, for the first one", until(deadline, now))]])
        });
    };
    let number = heartbeat.seq.map(|seq| format!(", number {seq}")).unwrap_or_default();
    let mut rows = vec![
        [
            "last".to_owned(),
            format!("{} ago{number}, taken for {}, says {}", age::ago(at, now), heartbeat.result, heartbeat.state),
        ],
        ["deadline".to_owned(), heartbeat.deadline.as_deref().map_or_else(|| "none".to_owned(), |at| until(at, now))],
    ];
    rows.extend(heartbeat.boot_id.iter().map(|id| ["boot id".to_owned(), id.clone()]));
    rows.push(["delay".to_owned(), format!("{}{}", age::latency(heartbeat.delay_seconds), clock(heartbeat))]);
    rows.push(["lost".to_owned(), format!("{:.2} %", heartbeat.loss_ratio * 100.0)]);
    rows.extend(heartbeat.phi.map(|phi| ["suspicion".to_owned(), format!("phi {phi:.1}")]));
    rows.extend(heartbeat.reason.iter().map(|why| ["silence".to_owned(), reason::line(why)]));
    rows.extend(heartbeat.paths.iter().map(|path| by(path, now)));
    let rows: Vec<_> = rows.into_iter().map(|cells| cells.map(|cell| plain(&cell).into_owned()).to_vec()).collect();
    table::columns(2, &rows)
}

fn until(deadline: &str, now: WallTime) -> String {
    age::moment(deadline).map_or_else(|| deadline.to_owned(), |at| format!("in {}", age::span(age::between(now, at))))
}

fn clock(heartbeat: &Heartbeat) -> String {
    let offset = heartbeat.clock_offset_seconds.map(|seconds| format!(", its clock is {seconds:.3}s behind ours"));
    let drift = heartbeat.clock_drift_ppm.map(|ppm| format!(", {ppm} ppm slow"));
    format!("{}{}", offset.unwrap_or_default(), drift.unwrap_or_default())
}

fn by(path: &BeatPath, now: WallTime) -> [String; 2] {
    let why = path.reason.as_ref().map(|why| format!("; {}", reason::line(why))).unwrap_or_default();
    [format!("by {}", path.address), format!("{} ago{why}", age::ago(&path.at, now))]
}

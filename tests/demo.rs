//! The demo, as the README has it: the main job end to end, with every fault found and no request lost.

use std::process::{Command, Stdio};

#[test]
fn the_demo_finds_every_fault_and_loses_no_request() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    let output = demo.args(["demo", "--for", "20s"]).stdin(Stdio::null()).output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{failed}");
    for found in [": refused", ": probe_status", ": report_cpu", ": probe_timeout"] {
        assert!(said.lines().any(|line| line.contains(" is out after ") && line.contains(found)), "{found}: {said}");
    }
    let last = said.lines().last().unwrap_or_default();
    let requests: u64 = last.split([' ', ',']).nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    assert!(requests > 1000, "{last}");
    assert!(last.contains(", failed 0, ejections "), "{last}");
}

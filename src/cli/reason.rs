//! Owns how a reason is said in one line, the same in every command.

use crate::admin::shape::Reason;
use crate::cli::output::plain;

/// The code, and the probe if it comes from one.
pub(super) fn title(reason: &Reason) -> String {
    let probe = reason.probe.as_ref().map(|probe| format!(" ({probe})")).unwrap_or_default();
    plain(&format!("{}{probe}", reason.code)).into_owned()
}

/// The code, the probe and the figures.
pub(super) fn line(reason: &Reason) -> String {
    let title = title(reason);
    if reason.detail.is_empty() { title } else { format!("{title}: {}", plain(&reason.detail)) }
}

/// Several reasons, most important first.
pub(super) fn lines(reasons: &[Reason]) -> String {
    reasons.iter().map(line).collect::<Vec<_>>().join("; ")
}

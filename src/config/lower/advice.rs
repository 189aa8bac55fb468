//! Owns the warnings about settings that defeat themselves: each is allowed, each does the opposite of what it is set for.
//!
//! A time-out is shortened to find faults sooner, and then takes every lost packet for one. Such settings are right in some
//! place, so none is a problem; but nobody should find out at night. Only what is written is warned of.

use std::time::Duration;

use crate::base::address::EndpointAddress;
use crate::base::units::{Ratio, format_duration};
use crate::config::lower::At;
use crate::config::model::Endpoint;
use crate::config::raw;
use crate::health::check::{Check, ProbeSpec};
use crate::health::policy::{Panic, Policy, Require};
use crate::traffic::policy::RetryPolicy;

/// TCP sends a lost packet again after 200 ms at the least; a little longer than that is the least that bears one loss.
const BEARS_A_LOSS: Duration = Duration::from_millis(250);

/// What a machine's own pauses reach every now and then.
const PAUSE: Duration = Duration::from_millis(50);

/// A process that is not warm after this will not be.
const LONG_RETURN: Duration = Duration::from_secs(600);

/// What a health block does against itself.
pub(super) fn health(at: &At<'_>, raw: &raw::Health, timeout: Duration, policy: &Policy, probes: &[ProbeSpec]) {
    let listed = raw.probes.as_deref().unwrap_or_default();
    let used = listed.is_empty() || listed.iter().flatten().any(|probe| probe.timeout.is_none());
    if raw.timeout.is_some() && used {
        short_timeout(&at.key("timeout"), timeout);
    }
    if raw.fall == Some(1) {
        at.key("fall").warn(
            "at least 2",
            "with 1, a single lost packet or one collection of garbage takes an endpoint out; a shorter fast_interval finds faults \
             sooner without that"
                .to_owned(),
        );
    }
    let deaf = probes.iter().any(|probe| probe.check == Check::Tcp) && probes.iter().any(|probe| probe.check != Check::Tcp);
    if policy.require == Require::Any && deaf {
        let hint = "a process that hangs or answers wrongly still accepts connections, so it passes its tcp probe".to_owned();
        at.key("require").warn("all, or no tcp probe beside the others", hint);
    }
    panic(at, policy);
    slow_start(at, policy);
    if let Some(silence) = policy.silence.filter(|silence| silence.enforce && silence.min < PAUSE) {
        let hint = format!("every pause of {} makes its endpoint suspect", format_duration(silence.min));
        at.key("silence").key("min").warn(format!("at least {}", format_duration(PAUSE)), hint);
    }
    if policy.outlier.is_some_and(|outlier| outlier.enforce && outlier.consecutive.get() == 1) {
        let hint = "with 1, a single connection that was reset or a single 503 ejects; error_ratio judges shares".to_owned();
        at.key("outlier").key("consecutive").warn("at least 2", hint);
    }
    if raw.max_ejected.is_some() && policy.max_ejected.get() <= 0.0 {
        let hint = "one of several may be ejected all the same; enforce: false in a rule ejects nobody".to_owned();
        at.key("max_ejected").warn("more than 0%", hint);
    }
}

/// A panic that begins before all are out that may be ejected.
fn panic(at: &At<'_>, policy: &Policy) {
    let Panic::Below(threshold) = policy.panic else { return };
    let left = 1.0 - policy.max_ejected.get();
    if threshold == Ratio::ONE {
        at.key("panic").warn("less than 100%", "as it is, one endpoint that is out lets sick ones in".to_owned());
    } else if threshold.get() > left + 1e-9 {
        let hint = format!("max_ejected lets {} be ejected, and so many out let them all in again", policy.max_ejected);
        at.key("panic").warn(format!("at most {}, what max_ejected leaves", Ratio::try_new(left).unwrap_or_default()), hint);
    }
}

/// A return that begins at its end, or has none.
fn slow_start(at: &At<'_>, policy: &Policy) {
    let Some(slow_start) = policy.slow_start else { return };
    let at = at.key("slow_start");
    if slow_start.floor == Ratio::ONE {
        let hint = "it begins with all of its weight; slow_start: off says that it shall".to_owned();
        at.key("floor").warn("less than 100%", hint);
    }
    if slow_start.window > LONG_RETURN {
        let hint = "for so long the others bear what it does not get: endpoints that are restarted in turn are never all back"
            .to_owned();
        at.key("window").warn(format!("at most {}", format_duration(LONG_RETURN)), hint);
    }
}

/// References that tell nothing: an endpoint is down together with itself.
pub(super) fn references(at: &At<'_>, references: &[EndpointAddress], endpoints: &[Endpoint]) {
    if let Some(same) = references.iter().find(|reference| endpoints.iter().any(|endpoint| endpoint.address == **reference)) {
        let hint = format!("{same} is one of the endpoints: when it is down, so is the reference, and its lost probes are void");
        at.warn("an address that is no endpoint of this cluster", hint);
    }
}

/// A probe's own time-out.
pub(super) fn probe(at: &At<'_>, raw: &raw::Probe, timeout: Duration) {
    if raw.timeout.is_some() {
        short_timeout(&at.key("timeout"), timeout);
    }
}

fn short_timeout(at: &At<'_>, timeout: Duration) {
    if timeout < BEARS_A_LOSS {
        let hint =
            "where the network loses packets, each loss fails a probe: TCP sends again after 200 ms at the least, and the first \
                    packet of a fresh connection after 1 s; `pulsegate plan --loss 1%` tells how often that ejects"
                .to_owned();
        at.warn(format!("at least {}", format_duration(BEARS_A_LOSS)), hint);
    }
}

/// What a block of retries does against itself.
pub(super) fn retries(at: &At<'_>, raw: &raw::Retries, policy: &RetryPolicy) {
    if raw.budget.is_some() && policy.budget.get() <= 0.0 {
        let hint = "as it is, no more than 10 requests a second are tried again; retries: off says that none shall be".to_owned();
        at.key("budget").warn("more than 0%", hint);
    }
    if raw.attempts == Some(1) && (raw.when.is_some() || raw.budget.is_some()) {
        at.key("attempts").warn("at least 2", "attempts counts the first try too, so nothing is tried again".to_owned());
    }
}

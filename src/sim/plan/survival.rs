//! How many endpoints may fail before somebody notices.

use crate::base::units::Ratio;
use crate::config::model::Cluster;
use crate::health::policy::Panic;
use crate::health::soft_cap;
use crate::sim::plan::Assumptions;
use crate::sim::plan::detection::Detection;
use crate::traffic::budget::WINDOW_SECONDS;
use crate::traffic::policy::RetryPolicy;

/// How many failures are borne, each counted in endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survival {
    /// Primaries and backups together.
    pub endpoints: usize,
    /// May fail their probes with one left to answer.
    pub failures: usize,
    /// May fail their probes before sicker ones are let in; `None` with `panic: off`.
    pub before_panic: Option<usize>,
    /// May be ejected for what they report or how they answer; a further one is only degraded.
    pub ejected: usize,
    /// May die at once without a client noticing: the tries and their budget last until they are out. `None` without routes.
    pub retries_cover: Option<usize>,
    /// May fail before the others have more to do than they can; `None` if nobody said how full they are.
    pub capacity: Option<usize>,
}

pub(super) fn survival(
    cluster: &Cluster,
    retries: Option<&RetryPolicy>,
    detection: &Detection,
    assumed: &Assumptions,
) -> Survival {
    let endpoints = cluster.endpoints.len();
    let primaries = cluster.endpoints.iter().filter(|endpoint| !endpoint.backup).count();
    Survival {
        endpoints,
        failures: endpoints.saturating_sub(1),
        before_panic: match cluster.health.panic {
            Panic::Off => None,
            Panic::Below(share) => Some(before_panic(primaries, share)),
        },
        ejected: soft_cap(endpoints, cluster.health.max_ejected).min(endpoints.saturating_sub(1)),
        retries_cover: retries.map(|retries| covered(endpoints, retries, detection)),
        capacity: assumed.load.map(|load| spare(load).floor_of(primaries)),
    }
}

fn spare(load: Ratio) -> Ratio {
    Ratio::try_new(1.0 - load.get()).unwrap_or_default()
}

/// The most that may be out before the share that is left falls below the threshold; with 0 %, before none is left.
fn before_panic(primaries: usize, threshold: Ratio) -> usize {
    spare(threshold).floor_of(primaries).min(primaries.saturating_sub(1))
}

/// `f` of `n` endpoints fail `f/n` of the requests until they are out; the budget has what ten seconds allow.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of endpoints")]
fn covered(endpoints: usize, retries: &RetryPolicy, detection: &Detection) -> usize {
    let tries = usize::try_from(retries.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let most = tries.min(endpoints.saturating_sub(1));
    let Some(found) = detection.refused.filter(|_| retries.on.connect) else { return 0 };
    let window = WINDOW_SECONDS as f64;
    let time = found.time.worst.as_secs_f64().clamp(0.001, window);
    most.min((window * retries.budget.get() / time * endpoints as f64) as usize)
}

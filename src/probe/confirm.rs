//! Confirmations of a suspicion: several runs of a probe at once, each on a connection of its own, with a short deadline.
//!
//! Runs one after the other would take a time-out each. When an endpoint has fallen silent there is a question to be settled at
//! once, so all runs that can settle it go out together, and none waits longer than three times what this probe usually takes.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cluster::Endpoint;
use crate::health::check::ProbeSpec;
use crate::health::signal::{Observation, ProbeRun, Signal};
use crate::probe::run::Probe;
use crate::probe::target::{Approach, Target};
use crate::probe::vigil;
use crate::runtime::clock;
use crate::runtime::task::Owned;

/// How many latencies are remembered at least, and at most twice as many; the longest of so many is about their p99.
const REMEMBERED: u8 = 50;
/// The shortest deadline.
const LEAST: Duration = Duration::from_millis(50);
/// A deadline is so many times the longest latency.
const TIMES: u32 = 3;

/// How long runs of one probe that passed took. Shared by its rounds and its confirmations.
#[derive(Debug, Default)]
pub(super) struct Usual(Cell<Longest>);

/// The longest of the latest latencies. Thousands of probes have one each, so it does not keep them all.
#[derive(Debug, Clone, Copy, Default)]
struct Longest {
    /// Of those before, in microseconds.
    before: u32,
    /// Of the last so many.
    lately: u32,
    count: u8,
}

impl Usual {
    /// A run has passed.
    pub(super) fn took(&self, latency: Duration) {
        let mut longest = self.0.get();
        if longest.count == REMEMBERED {
            longest = Longest { before: longest.lately, ..Longest::default() };
        }
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        longest.lately = longest.lately.max(micros);
        longest.count += 1;
        self.0.set(longest);
    }

    /// How long a confirmation may take, at most `timeout`.
    fn deadline(&self, timeout: Duration) -> Duration {
        let Longest { before, lately, count } = self.0.get();
        let usual = Duration::from_micros(before.max(lately).into());
        if count == 0 { timeout } else { timeout.min(LEAST.max(usual * TIMES)) }
    }
}

/// Confirms what is suspected of an endpoint by one of its probes.
#[derive(Debug)]
pub(super) struct Confirmer<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) spec: &'a ProbeSpec,
    /// Its position among the cluster's probes.
    pub(super) position: usize,
    pub(super) usual: &'a Usual,
    pub(super) approach: &'a Approach,
}

impl Confirmer<'_> {
    /// Starts so many runs; none of a probe that does not ask the endpoint itself for an answer.
    pub(super) fn start(&self, runs: u32, signals: &mpsc::Sender<Signal>) -> impl Iterator<Item = Owned> {
        let runs = if self.spec.asks() { runs } else { 0 };
        (0..runs).map(|_| Owned::spawn(run(Arc::clone(self.endpoint), self.probe(), self.position, signals.clone())))
    }

    fn probe(&self) -> Probe {
        let mut spec = ProbeSpec::clone(self.spec);
        spec.timing.timeout = self.usual.deadline(spec.timing.timeout);
        let address = &self.endpoint.address;
        let target = Target::of(&spec, self.endpoint).approached(&spec, self.approach, address.port());
        Probe::new(spec, address, target, None)
    }
}

async fn run(endpoint: Arc<Endpoint>, mut probe: Probe, position: usize, signals: mpsc::Sender<Signal>) {
    let state = endpoint.state().as_str();
    let outcome = probe.run(state, true, &mut vigil::timer()).await;
    let excerpt = outcome.excerpt(&Arc::default());
    let run = ProbeRun {
        probe: position,
        started: outcome.started,
        latency: outcome.latency,
        result: outcome.result,
        excerpt,
        stamps: outcome.stamps,
    };
    let observation = Observation::Probe(run);
    // Nobody listens any more when the endpoint has left.
    drop(signals.send(Signal { cluster: endpoint.cluster_id, endpoint: endpoint.id, at: clock::now(), observation }).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_follows_what_the_probe_usually_takes() {
        let ms = Duration::from_millis;
        let usual = Usual::default();
        assert_eq!(usual.deadline(ms(1000)), ms(1000), "nothing is known yet");
        usual.took(ms(2));
        assert_eq!(usual.deadline(ms(1000)), ms(50));
        usual.took(ms(40));
        assert_eq!((usual.deadline(ms(1000)), usual.deadline(ms(100))), (ms(120), ms(100)));
        (0..REMEMBERED).for_each(|_| usual.took(ms(1)));
        assert_eq!(usual.deadline(ms(1000)), ms(120), "the last hundred count");
        (0..REMEMBERED).for_each(|_| usual.took(ms(1)));
        assert_eq!(usual.deadline(ms(1000)), ms(50), "what is long ago is forgotten");
    }
}

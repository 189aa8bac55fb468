//! The promises of the health engine, kept in a few hundred seeded worlds.
//!
//! Every seed makes another cluster with other settings and other troubles; after every step each promise is checked
//! against what the world knows to be true, with a small model of its own beside the engine. A failure names its seed,
//! and `SEED=n cargo test --test sim` runs that one alone, `SEED=1000..1300` those.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use pulsegate::base::ids::EndpointId;
use pulsegate::base::time::Timestamp;
use pulsegate::base::units::Ratio;
use pulsegate::health::policy::{For, Level, Panic, Policy, Require, Rule, Start, Thresholds, Timing, When};
use pulsegate::health::signal::{Observation, OperatorState, ProbeResult};
use pulsegate::health::verdict::{Code, EndpointView, State};
use pulsegate::health::{Admission, HISTORY, Member};
use pulsegate::sim::{Behaviour, Setting, Step, What, World};

const SEEDS: u64 = 256;
const LENGTH: Duration = Duration::from_secs(30);

#[test]
fn promises_hold_in_every_world() {
    let number = |text: &str| text.parse::<u64>().expect("SEED is a number, or two with .. between them");
    let seeds = match std::env::var("SEED").as_deref().map(|asked| asked.split_once("..").ok_or(asked)) {
        Ok(Ok((from, to))) => number(from)..number(to),
        Ok(Err(seed)) => number(seed)..number(seed) + 1,
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        let named = Named(seed);
        live(seed);
        drop(named);
    }
}

#[test]
fn a_seed_replays_the_same_life() {
    let life = |seed: u64| {
        let mut world = World::new(setting(&mut fastrand::Rng::with_seed(seed)), seed);
        trouble(&mut world, &mut fastrand::Rng::with_seed(seed));
        (0..2000).map(|_| format!("{:?}", world.step())).collect::<Vec<String>>()
    };
    assert!(life(11) == life(11), "two lives from one seed differ");
    assert!(life(11) != life(12), "two seeds make the same life");
}

/// The mean over many lives agrees with I(1+j²/3)/2 + (k-1)·max(F, T) + T.
#[test]
fn a_hang_is_found_when_the_formula_says() {
    for (timeout, fast) in [(200, 500), (800, 300)] {
        let (interval, fall, jitter) = (2000, 3_u32, 0.1);
        let timing = Timing {
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(timeout),
            fast_interval: Duration::from_millis(fast),
            down_interval: Duration::from_millis(interval),
            jitter: Ratio::try_new(jitter).unwrap(),
        };
        let times: Vec<f64> = (0..400).map(|seed| time_to_detect(timing, fall, seed).as_secs_f64()).collect();
        let mean = times.iter().sum::<f64>() / 400.0;
        let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
        let first = seconds(interval) * (1.0 + jitter * jitter / 3.0) / 2.0;
        let expected = first + f64::from(fall - 1) * seconds(fast.max(timeout)) + seconds(timeout);
        // Three standard errors of a mean of 400 draws from an interval.
        let error = 3.0 * seconds(interval) / 12_f64.sqrt() / 400_f64.sqrt();
        assert!((mean - expected).abs() < error, "found after {mean} s on average, not {expected}");
    }
}

fn time_to_detect(timing: Timing, fall: u32, seed: u64) -> Duration {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut policy = policy(&mut rng);
    policy.probes.truncate(1);
    policy.require = Require::All;
    policy.thresholds.fall = count(fall);
    let member = Member { id: EndpointId(0), address: Arc::from("10.0.0.1:80"), weight: 1, backup: false };
    let setting = Setting { policy, timing, members: vec![member], request_gap: Duration::from_secs(1) };
    let mut world = World::new(setting, seed);
    let dies = Timestamp::from_millis(20_000) + millis(&mut rng, 0, 10_000);
    world.behave(dies, 0, Behaviour::Hangs);
    loop {
        let step = world.step();
        if step.changes.transitions.iter().any(|transition| transition.to == State::Unhealthy) {
            return step.at.since(dies);
        }
    }
}

/// Names the seed if the test dies while it is at work.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SEED={}", self.0);
        }
    }
}

fn live(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let setting = setting(&mut rng);
    let mut world = World::new(setting.clone(), seed);
    trouble(&mut world, &mut rng);
    let mut promises = Promises::new(setting, &world);
    while world.now() < Timestamp::ZERO + LENGTH {
        let step = world.step();
        promises.check(&world, &step);
        if rng.u32(..4000) == 0 {
            promises.toggle_freeze(&mut world);
        }
    }
    promises.check_rates();
}

fn setting(rng: &mut fastrand::Rng) -> Setting {
    let interval = millis(rng, 200, 2000);
    let timing = Timing {
        interval,
        timeout: millis(rng, 50, 1000),
        fast_interval: (interval / 2).min(Duration::from_millis(500)),
        down_interval: millis(rng, 200, 3000),
        jitter: Ratio::try_new(rng.f64() * 0.2).unwrap(),
    };
    let members = (0..rng.u32(1..=8)).map(|id| Member {
        id: EndpointId(id),
        address: Arc::from(format!("10.0.0.{id}:80")),
        weight: rng.u32(1..=3),
        backup: rng.u32(..5) == 0,
    });
    let members = members.collect();
    Setting { policy: policy(rng), timing, members, request_gap: millis(rng, 20, 200) }
}

fn policy(rng: &mut fastrand::Rng) -> Policy {
    let probes: Vec<Arc<str>> = ["ready", "port", "deep"][..rng.usize(1..=3)].iter().map(|name| Arc::from(*name)).collect();
    let two = if probes.len() < 2 { count(1) } else { count(2) };
    Policy {
        advisers: Vec::new(),
        elsewhere: Vec::new(),
        require: [Require::All, Require::Any, Require::AtLeast(two)][rng.usize(..3)],
        asking: vec![true; probes.len()],
        probes,
        thresholds: Thresholds { fall: count(rng.u32(1..=5)), rise: count(rng.u32(1..=4)) },
        start: if rng.u32(..4) == 0 { Start::Healthy } else { Start::Unknown },
        heartbeat: None,
        rules: vec![Rule {
            metric: Arc::from("cpu"),
            when: When::Above,
            degrade: rng.bool().then_some(Level { level: 0.8, recover: 0.72 }),
            eject: Some(Level { level: 0.95, recover: 0.7 }),
            hold: if rng.bool() { For::Reports(count(rng.u32(1..=4))) } else { For::Span(millis(rng, 100, 6000)) },
            enforce: rng.u32(..5) > 0,
        }],
        report_max_age: millis(rng, 3000, 10_000),
        weight_by: rng.bool().then(|| Arc::from("cpu")),
        silence: None,
        outlier: None,
        slow_start: None,
        damping: None,
        interval: Duration::from_secs(2),
        references: false,
        max_ejected: tenths(rng),
        panic: if rng.bool() { Panic::Off } else { Panic::Below(tenths(rng)) },
        quorum: false,
        leader: None,
    }
}

fn millis(rng: &mut fastrand::Rng, low: u64, high: u64) -> Duration {
    Duration::from_millis(rng.u64(low..=high))
}

fn tenths(rng: &mut fastrand::Rng) -> Ratio {
    Ratio::try_new(f64::from(rng.u32(0..=10)) / 10.0).unwrap()
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Has each endpoint change its behaviour a few times, and the operator speak up now and then.
fn trouble(world: &mut World, rng: &mut fastrand::Rng) {
    for host in 0..world.hosts().len() {
        for _ in 0..rng.usize(..8) {
            let behaviour = match rng.u32(..10) {
                0 => Behaviour::Refuses,
                1 => Behaviour::Hangs,
                2 => Behaviour::Resets,
                3 => Behaviour::Answers(503),
                4 => Behaviour::Unclear,
                5 => Behaviour::Warns,
                6 | 7 => Behaviour::Well { cpu: 0.97 },
                _ => Behaviour::Well { cpu: rng.f64() * 0.9 },
            };
            world.behave(Timestamp::ZERO + millis(rng, 0, 30_000), host, behaviour);
        }
        if rng.u32(..4) == 0 {
            let state = [OperatorState::Draining, OperatorState::Maintenance, OperatorState::Ready][rng.usize(..3)];
            let at = Timestamp::ZERO + millis(rng, 0, 30_000);
            let until = rng.bool().then(|| at + millis(rng, 1, 5000));
            let id = world.hosts()[host].id;
            world.observe(at, id, Observation::Operator { state, until, reason: None });
        }
    }
}

/// What has been promised, with all that is needed to tell whether it is kept.
struct Promises {
    setting: Setting,
    evidence: HashMap<EndpointId, Evidence>,
    views: HashMap<EndpointId, EndpointView>,
    admission: Admission,
    /// When the cluster was last frozen or thawed.
    turned: Timestamp,
}

/// A model of the evidence against one endpoint, simpler than the engine's.
#[derive(Default)]
struct Evidence {
    /// Failures in a row, per probe.
    fails: [u32; 3],
    /// Refused connects since traffic was last answered.
    refusals: u32,
    /// Whether a failure or refusal was seen that nothing has made up for when it was last in another state than unhealthy.
    any: bool,
    starts: u32,
    running: [bool; 3],
}

impl Promises {
    fn new(setting: Setting, world: &World) -> Self {
        let ids: Vec<EndpointId> = setting.members.iter().map(|member| member.id).collect();
        Self {
            setting,
            evidence: ids.iter().map(|id| (*id, Evidence::default())).collect(),
            views: ids.iter().map(|id| (*id, world.cluster().view(*id).unwrap())).collect(),
            admission: world.cluster().admission(),
            turned: Timestamp::ZERO,
        }
    }

    fn check(&mut self, world: &World, step: &Step) {
        self.collect(step);
        self.check_transitions(step);
        self.check_untouched(world, step);
        self.check_reasons();
        self.check_admission(world);
        self.check_soft_cap(world);
        self.check_detection(world);
        self.check_recovery(world);
        if let What::Sent { endpoint } = step.what {
            let nobody = self.admission.admitted.is_empty();
            assert_eq!(endpoint.is_none(), nobody, "a request finds nobody if and only if nobody is admitted");
        }
        if matches!(step.what, What::Ticked) {
            assert!(world.cluster().next_change().is_none_or(|at| at > world.now()), "a tick leaves nothing due");
        }
    }

    fn collect(&mut self, step: &Step) {
        match &step.what {
            What::Started { endpoint, probe } => {
                let evidence = self.evidence.get_mut(endpoint).unwrap();
                assert!(!evidence.running[*probe], "at most one run of a probe is under way");
                evidence.running[*probe] = true;
                evidence.starts += 1;
            }
            What::Observed { endpoint, observation } => self.evidence.get_mut(endpoint).unwrap().take(observation),
            What::Sent { .. } | What::Behaves { .. } | What::Ticked => {}
        }
    }

    /// Nobody becomes unhealthy without the evidence for it.
    fn check_transitions(&mut self, step: &Step) {
        let fall = self.setting.policy.thresholds.fall.get();
        for transition in &step.changes.transitions {
            let id = transition.endpoint;
            let evidence = self.evidence.get_mut(&id).unwrap();
            assert_ne!(transition.from, transition.to);
            if transition.to == State::Unhealthy {
                assert!(evidence.any, "{id:?} became unhealthy without any evidence: {transition:?}");
            } else {
                evidence.any = evidence.refusals > 0 || evidence.fails.iter().any(|fails| *fails > 0);
            }
            if transition.from == State::Healthy && transition.to == State::Unhealthy && self.turned != step.at {
                let enough = evidence.refusals >= fall || evidence.fails.iter().any(|fails| *fails >= fall);
                assert!(enough, "{id:?} fell too early: {transition:?}");
            }
        }
    }

    /// What is not named as changed has not changed.
    fn check_untouched(&mut self, world: &World, step: &Step) {
        for (id, before) in &mut self.views {
            let view = world.cluster().view(*id).unwrap();
            let told = step.changes.touched.contains(id);
            if let Some(probed) = step.changes.probed.filter(|probed| probed.endpoint == *id) {
                // What its probe found is named by itself.
                before.probes[probed.probe] = view.probes[probed.probe].clone();
            }
            assert!(told || *before == view, "{id:?} changed silently at {:?}:\n{before:?}\n{view:?}", step.at);
            let moved = step.changes.transitions.iter().rfind(|transition| transition.endpoint == *id);
            assert_eq!(view.state, moved.map_or(before.state, |transition| transition.to), "{id:?} at {:?}", step.at);
            assert!(world.cluster().history(*id).len() <= HISTORY);
            *before = view;
        }
        let admission = world.cluster().admission();
        assert!(step.changes.admission_changed || admission == self.admission, "admission changed silently");
        self.admission = admission;
    }

    /// Every exclusion has a reason, of the kind that its state is for.
    fn check_reasons(&self) {
        for (id, view) in &self.views {
            let first = view.reasons.first().map(|reason| &reason.code);
            let fits = view.state == State::Healthy || first.is_some_and(|code| fits(view.state, code));
            assert!(fits, "{id:?} is {:?} because of {first:?}", view.state);
        }
    }

    /// Nobody sick gets traffic while somebody well could, and views agree with it.
    fn check_admission(&self, world: &World) {
        let admission = &self.admission;
        let available = self.views.values().filter(|view| view.available).count();
        assert_eq!(admission.available, available);
        assert!(available == 0 || !admission.admitted.is_empty(), "somebody is available and gets nothing");
        for (id, weight) in &admission.admitted {
            let view = &self.views[id];
            assert!(view.admitted && (view.weight - weight).abs() < 1e-9 && *weight > 0.0);
            let suspect = view.state == State::Suspect && self.setting.policy.panic != Panic::Off;
            assert!(view.available || admission.panic || suspect, "{id:?} is {:?} and gets traffic", view.state);
            assert!(!matches!(view.state, State::Maintenance | State::Draining));
        }
        assert_eq!(admission.admitted.len(), self.views.values().filter(|view| view.admitted).count());
        if self.setting.policy.panic == Panic::Off {
            let backup = |id: &EndpointId| self.setting.members.iter().any(|member| member.id == *id && member.backup);
            let primary_available = self.views.iter().any(|(id, view)| view.available && !backup(id));
            let backup_admitted = self.views.iter().any(|(id, view)| view.admitted && backup(id));
            assert!(!admission.panic);
            assert!(!(primary_available && backup_admitted), "a backup gets traffic while a primary is available");
        }
        assert!(world.cluster().settled() || self.setting.policy.start == Start::Unknown);
    }

    /// Soft ejections stay within their budget and leave somebody.
    fn check_soft_cap(&self, world: &World) {
        let n = self.views.len();
        let ejected: Vec<&EndpointView> = self.views.values().filter(|view| view.state == State::Ejected).collect();
        let cap = self.setting.policy.max_ejected.floor_of(n).max(usize::from(n >= 2));
        assert!(ejected.len() <= cap, "{} of {n} are ejected, at most {cap} may be", ejected.len());
        let known = |view: &&&EndpointView| {
            !view.reasons.iter().any(|reason| matches!(reason.code, Code::NotProbedYet | Code::ProbeError))
        };
        if ejected.iter().any(|view| known(&view)) && !world.cluster().is_frozen() {
            assert!(self.admission.available > 0, "the last available endpoint was ejected");
        }
    }

    /// An endpoint that is dead is found out in time, whatever it was before.
    fn check_detection(&self, world: &World) {
        if world.cluster().is_frozen() {
            return;
        }
        let bound = self.detection_bound();
        for host in world.hosts().iter().filter(|host| host.behaviour.is_dead()) {
            let since = host.since.max(self.turned);
            let state = self.views[&host.id].state;
            let found = matches!(state, State::Unhealthy | State::Maintenance | State::Draining);
            assert!(found || world.now() <= since + bound, "{:?} is {state:?} at {:?}: {host:?}", host.id, world.now());
        }
    }

    /// I(1+j) + (k-1)·max(F(1+j), T) + T, and the latency of a last good answer that is under way. Of three endpoints and more
    /// several may run out of time at once, which k more failures must confirm.
    fn detection_bound(&self) -> Duration {
        let Timing { interval, timeout, fast_interval, jitter, .. } = self.setting.timing;
        let late = 1.0 + jitter.get();
        let fall = self.setting.policy.thresholds.fall.get();
        let more = if self.setting.members.len() < 3 { fall - 1 } else { 2 * fall - 1 };
        interval.mul_f64(late) + fast_interval.mul_f64(late).max(timeout) * more + timeout + Duration::from_millis(6)
    }

    /// An endpoint that is well gets its full share in time, whatever was before.
    fn check_recovery(&self, world: &World) {
        if world.cluster().is_frozen() {
            return;
        }
        let bound = self.recovery_bound();
        for host in world.hosts() {
            let view = &self.views[&host.id];
            let well = matches!(host.behaviour, Behaviour::Well { cpu } if cpu < 0.7);
            let back = matches!(view.state, State::Healthy | State::Maintenance | State::Draining);
            let overdue = world.now() > host.since.max(self.turned) + bound;
            assert!(!well || back || !overdue, "{:?} at {:?}: {view:?}, {host:?}", host.id, world.now());
        }
    }

    /// A last probe that hangs, the longest interval, and `rise` passes at the fast pace.
    fn recovery_bound(&self) -> Duration {
        let Timing { interval, timeout, fast_interval, down_interval, jitter } = self.setting.timing;
        let late = 1.0 + jitter.get();
        let rise = self.setting.policy.thresholds.rise.get();
        timeout + interval.max(down_interval).mul_f64(late) + (fast_interval.mul_f64(late) + Duration::from_millis(5)) * rise
    }

    /// Probes come no oftener than the fastest interval.
    fn check_rates(&self) {
        let Timing { interval, fast_interval, down_interval, jitter, .. } = self.setting.timing;
        let least = interval.min(fast_interval).min(down_interval).mul_f64(1.0 - jitter.get());
        let probes = u32::try_from(self.setting.policy.probes.len()).unwrap();
        let most = (LENGTH.as_secs_f64() / least.as_secs_f64() + 2.0) * f64::from(probes);
        for (id, evidence) in &self.evidence {
            assert!(f64::from(evidence.starts) <= most, "{id:?} was probed {} times, at most {most}", evidence.starts);
            assert!(evidence.starts > 5, "{id:?} was hardly probed");
        }
    }

    fn toggle_freeze(&mut self, world: &mut World) {
        let now = world.now();
        let frozen = world.cluster().is_frozen();
        let changes = if frozen { world.cluster_mut().thaw(now) } else { world.cluster_mut().freeze(now) };
        world.take(&changes);
        self.turned = now;
        assert!(frozen || changes.transitions.is_empty(), "freezing changes no verdict");
        let step = Step { at: now, what: What::Ticked, changes };
        self.check_transitions(&step);
        self.check_untouched(world, &step);
    }
}

fn fits(state: State, code: &Code) -> bool {
    use Code::{ProbeBody, ProbeError, ProbeRefused, ProbeStatus, ProbeTimeout, Refused, ReportStatus};
    match state {
        State::Maintenance => *code == Code::Maintenance,
        State::Draining => *code == Code::Draining,
        State::Unhealthy => {
            matches!(code, ProbeRefused | ProbeTimeout | ProbeStatus | ProbeBody | ProbeError | Refused | ReportStatus)
        }
        State::Ejected => matches!(code, Code::Report(_)),
        State::Unknown => matches!(code, Code::NotProbedYet | ProbeError),
        State::Degraded => matches!(code, Code::Report(_) | ReportStatus | Refused),
        State::Suspect | State::Healthy => true,
    }
}

impl Evidence {
    fn take(&mut self, observation: &Observation) {
        match observation {
            Observation::Probe(run) => {
                self.running[run.probe] = false;
                match run.result {
                    ProbeResult::Pass => self.fails[run.probe] = 0,
                    ProbeResult::Fail(_) => {
                        self.fails[run.probe] += 1;
                        self.any = true;
                    }
                    ProbeResult::Void(_) => {}
                }
            }
            Observation::Refused => {
                self.refusals += 1;
                self.any = true;
            }
            Observation::Answered => self.refusals = 0,
            Observation::Report(_)
            | Observation::Beat(_)
            | Observation::Load(_)
            | Observation::Asks(_)
            | Observation::Reset
            | Observation::Fleet(_)
            | Observation::Operator { .. } => {}
        }
    }
}

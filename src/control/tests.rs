//! Control without its loop: signals and drafts by hand, at moments by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::address::EndpointAddress;
use crate::base::time::Timestamp;
use crate::cluster::{Dropped, Endpoint, Live, Recall, RecallReceiver, World};
use crate::config::{self, Config};
use crate::control::announcer::Announcer;
use crate::control::beats;
use crate::control::draft::{Bench, Draft, Identities};
use crate::control::events::{EventLog, EventStream, What};
use crate::control::handle::Shared;
use crate::control::joins::{self, Joins, MOST_JOINED};
use crate::control::moves::Moves;
use crate::control::tallies::Tallies;
use crate::control::wards::Wards;
use crate::control::watched::Watcher;
use crate::control::world::world;
use crate::health::signal::{
    Beat, BeatResult, BeatState, Failure, Observation, OperatorState, ProbeResult, ProbeRun, Signal, Stamps,
};
use crate::health::verdict::State;
use crate::heartbeat::{FirstBeat, Joined, Pushed};
use crate::runtime::thread::block_on;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn parse(text: &str) -> Config {
    let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    config::from_text(text, "test", Path::new(""), &|_| None, &no_file).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A listener and these clusters, each `name: endpoint endpoint`.
fn configured(clusters: &[&str]) -> Config {
    let mut text = "listeners:\n  - { name: web, address: 127.0.0.1:8080, cluster: app }\nclusters:\n".to_owned();
    for cluster in clusters {
        let (name, endpoints) = cluster.split_once(": ").unwrap();
        let endpoints = endpoints.split(' ').collect::<Vec<_>>().join(", ");
        text.push_str(&format!("  - {{ name: {name}, endpoints: [{endpoints}], health: {{ path: /health }} }}\n"));
    }
    parse(&text)
}

/// Everything that the loop owns but its queues. Probes are started and never run, since no test here lets them.
struct Bed {
    wards: Wards,
    identities: Identities,
    watcher: Watcher,
    shared: Arc<Shared>,
    events: EventStream,
    recalls: RecallReceiver,
    _queues: (mpsc::Receiver<Signal>, mpsc::Receiver<crate::base::ids::EndpointId>),
}

impl Bed {
    fn new(config: Config) -> Self {
        let shared = Arc::new(Shared {
            live: Arc::new(Live::new()),
            config: ArcSwap::from_pointee(config.clone()),
            tallies: Tallies::new(),
            dropped: Arc::<Dropped>::default(),
            lag: Arc::default(),
            pulse: Arc::default(),
            drain: watch::Sender::new(false),
            fleet: arc_swap::ArcSwapOption::empty(),
        });
        let log = EventLog::new();
        let events = log.stream();
        let recall = Recall::queue();
        let recalls = recall.subscribe();
        let (signals, results) = mpsc::channel(64);
        let (resolved, names) = mpsc::channel(64);
        let mut bed = Self {
            wards: Wards::new(Announcer::new(Arc::clone(&shared), log, recall)),
            identities: Identities::default(),
            watcher: Watcher { signals, resolved, lag: Arc::default(), openings: std::rc::Rc::default() },
            shared,
            events,
            recalls,
            _queues: (results, names),
        };
        let draft = bed.draft(config, at(0));
        bed.commit(draft, at(0));
        bed
    }

    fn draft(&mut self, config: Config, now: Timestamp) -> Draft {
        let bench = Bench { identities: &mut self.identities, watcher: &self.watcher, now };
        Draft::new(config, &self.wards, bench)
    }

    fn commit(&mut self, draft: Draft, now: Timestamp) {
        let generation = self.shared.live.world().load().generation + 1;
        let config = draft.commit(&mut self.wards, &self.watcher, generation, now);
        let next = world(&config, self.wards.clusters(), &self.shared.live.world().load());
        self.shared.live.publish(next);
        self.wards.enter_world();
    }

    fn world(&self) -> Arc<World> {
        self.shared.live.world().load_full()
    }

    fn endpoint(&self, cluster: &str, address: &str) -> Arc<Endpoint> {
        Arc::clone(self.wards.find(cluster).and_then(|ward| ward.find(address)).expect("it is configured"))
    }

    fn tell(&mut self, endpoint: &Endpoint, observation: Observation, now: Timestamp) {
        assert_eq!(self.wards.apply(signal(endpoint, observation, now), now), None);
    }

    /// A probe of every named endpoint passes.
    fn pass(&mut self, endpoints: &[(&str, &str)], now: Timestamp) {
        for (cluster, address) in endpoints {
            let endpoint = self.endpoint(cluster, address);
            self.tell(&endpoint, run(ProbeResult::Pass, now), now);
        }
        self.wards.tick(now + Duration::from_millis(5));
    }

    fn available(&self, cluster: &str) -> Vec<String> {
        let world = self.world();
        let snapshot = world.cluster(cluster).expect("it is configured").snapshot().load();
        snapshot.members.iter().map(|member| snapshot.endpoint(*member).address.to_string()).collect()
    }
}

fn signal(endpoint: &Endpoint, observation: Observation, at: Timestamp) -> Signal {
    Signal { cluster: endpoint.cluster_id, endpoint: endpoint.id, at, observation }
}

fn run(result: ProbeResult, started: Timestamp) -> Observation {
    Observation::Probe(ProbeRun {
        probe: 0,
        started,
        latency: Duration::from_millis(1),
        result,
        excerpt: "".into(),
        stamps: Stamps::default(),
    })
}

fn within(test: impl FnOnce()) {
    block_on(async { test() }).unwrap();
}

#[test]
fn an_endpoint_gets_traffic_from_its_first_pass_on() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1 b:1"]));
        assert!(bed.available("app").is_empty());
        bed.pass(&[("app", "a:1")], at(10));
        assert_eq!(bed.available("app"), ["a:1"]);
        assert_eq!(bed.endpoint("app", "a:1").view().state, State::Healthy);
        assert_eq!(bed.endpoint("app", "a:1").probe_counts()[0].pass, 1);
        let seen = bed.events.since(0).events;
        let wanted = What::Transition { endpoint: "a:1".into(), from: State::Unknown, to: State::Healthy, reasons: Vec::new() };
        assert_eq!((seen.len(), &seen[0].what), (1, &wanted));
    });
}

#[test]
fn changes_close_together_are_published_together_and_none_is_lost() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1 b:1 c:1"]));
        let endpoints = ["a:1", "b:1", "c:1"].map(|address| bed.endpoint("app", address));
        let place = Arc::clone(bed.world().cluster("app").unwrap());
        for (endpoint, millis) in endpoints.iter().zip([10, 11, 12]) {
            bed.tell(endpoint, run(ProbeResult::Pass, at(millis)), at(millis));
        }
        assert_eq!(place.snapshot().load().members.len(), 1, "the first at once, the others later");
        assert_eq!(endpoints[2].view().state, State::Healthy, "what is shown does not wait");
        assert_eq!(bed.wards.wake(), Some(at(15)));
        bed.wards.tick(at(15));
        assert_eq!(place.snapshot().load().members.len(), 3);
    });
}

#[test]
fn a_heartbeat_is_answered_when_what_follows_from_it_is_in_force() {
    within(|| {
        let mut bed = Bed::new(parse(
            "heartbeats: { address: 127.0.0.1:9901 }
listeners: [{ address: 127.0.0.1:8080, cluster: app }]
clusters: [{ name: app, endpoints: [a:1, b:1], health: { heartbeat: { period: 200ms, ttl: 1s } } }]
",
        ));
        let mut beats = beats::Beats::new(crate::heartbeat::Identity::default(), &bed.wards.announcer);
        let endpoints = ["a:1", "b:1"].map(|address| bed.endpoint("app", address));
        let beat = |endpoint: &Arc<Endpoint>| {
            let (taken, answer) = oneshot::channel();
            (Pushed { endpoint: Arc::clone(endpoint), at: at(16), beat: Beat::default(), report: None, taken }, answer)
        };
        for endpoint in &endpoints {
            bed.tell(endpoint, Observation::Beat(Beat::default()), at(10));
        }
        bed.wards.tick(at(15));
        let draining = Beat { state: BeatState::Draining, ..Beat::default() };
        bed.tell(&endpoints[0], Observation::Beat(draining), at(16));
        assert_eq!((endpoints[0].view().state, bed.available("app").len()), (State::Draining, 2), "shown, and not yet in force");
        let (pushed, mut answer) = beat(&endpoints[0]);
        beats.answer(pushed, BeatResult::Ok, &bed.wards);
        bed.wards.tick(at(19));
        beats.answer_published(&bed.wards);
        assert!(answer.try_recv().is_err(), "requests still go to it");
        bed.wards.tick(at(20));
        beats.answer_published(&bed.wards);
        assert_eq!((bed.available("app"), answer.try_recv()), (vec!["b:1".to_owned()], Ok(BeatResult::Ok)));
        let (pushed, mut answer) = beat(&endpoints[1]);
        beats.answer(pushed, BeatResult::Ok, &bed.wards);
        assert_eq!(answer.try_recv(), Ok(BeatResult::Ok), "nothing follows from it, so nothing is waited for");
    });
}

#[test]
fn refusals_without_an_answer_between_take_an_endpoint_out_and_recall_what_waits() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1 b:1"]));
        bed.pass(&[("app", "a:1"), ("app", "b:1")], at(10));
        let endpoint = bed.endpoint("app", "a:1");
        for millis in [100, 110, 120] {
            endpoint.cells(0).answered(200, at(millis + 3), at(millis + 5));
            bed.tell(&endpoint, Observation::Refused, at(millis + 9));
        }
        assert_eq!(bed.available("app").len(), 2, "it answered after each of them");
        for millis in [200, 210, 220] {
            bed.tell(&endpoint, Observation::Refused, at(millis));
        }
        assert_eq!(bed.available("app"), ["b:1"]);
        assert_eq!(bed.recalls.try_recv(), Ok(Recall::all(endpoint.id)));
    });
}

#[test]
fn an_endpoint_without_probes_that_reach_it_comes_back_by_an_answer_in_the_cells() {
    within(|| {
        let text = "listeners: [{ address: 127.0.0.1:8080, cluster: app }]\nclusters: [{ name: app, endpoints: [a:1, b:1]";
        comes_back_by_an_answer(Bed::new(parse(&format!("{text} }}]"))), false);
        let file = "start: healthy, interval: 1h, probes: [{ file: { path: '/nowhere' } }]";
        comes_back_by_an_answer(Bed::new(parse(&format!("{text}, health: {{ {file} }} }}]"))), true);
    });
}

fn comes_back_by_an_answer(mut bed: Bed, probed: bool) {
    assert_eq!(bed.available("app").len(), 2, "it starts healthy");
    let endpoint = bed.endpoint("app", "a:1");
    for millis in [100, 110, 120] {
        bed.tell(&endpoint, Observation::Refused, at(millis));
    }
    assert_eq!(bed.available("app"), ["b:1"]);
    if probed {
        bed.tell(&endpoint, run(ProbeResult::Pass, at(125)), at(125));
    }
    endpoint.cells(0).answered(200, at(130), at(131));
    bed.wards.tick(at(160));
    assert_eq!(endpoint.view().state, State::Healthy);
    bed.wards.tick(at(165));
    assert_eq!(bed.available("app").len(), 2);
}

#[test]
fn an_order_acts_at_once_and_ends_by_itself() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1 b:1"]));
        bed.pass(&[("app", "a:1"), ("app", "b:1")], at(10));
        let order = |until| Observation::Operator { state: OperatorState::Draining, until, reason: None };
        bed.wards.operate("app", Some("a:1"), &order(Some(at(1000))), at(100), at(100)).unwrap();
        assert_eq!(bed.available("app"), ["b:1"]);
        bed.wards.tick(at(1000));
        assert_eq!(bed.available("app").len(), 2);
        assert!(bed.wards.operate("web", Some("a:1"), &order(None), at(2000), at(2000)).is_err());
        assert!(bed.wards.operate("app", Some("c:1"), &order(None), at(2000), at(2000)).is_err());
    });
}

#[test]
fn a_frozen_cluster_says_so_and_changes_nothing() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1"]));
        bed.wards.set_frozen("app", true, at(5)).unwrap();
        assert!(bed.world().cluster("app").unwrap().snapshot().load().frozen);
        bed.pass(&[("app", "a:1")], at(10));
        assert!(bed.available("app").is_empty());
        bed.wards.set_frozen("app", false, at(20)).unwrap();
        bed.wards.tick(at(25));
        assert_eq!(bed.available("app"), ["a:1"]);
    });
}

#[test]
fn what_stays_over_a_reload_keeps_its_state_its_identity_and_its_cells() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1 b:1", "other: a:1"]));
        bed.pass(&[("app", "a:1"), ("app", "b:1"), ("other", "a:1")], at(10));
        let (before, world) = (bed.endpoint("app", "b:1"), bed.world());
        let draft = bed.draft(configured(&["other: a:1", "app: c:1 b:1"]), at(1000));
        assert!(!draft.is_ready(at(1000)), "c:1 has no verdict yet");
        bed.commit(draft, at(11_000));
        let after = bed.world();
        assert_eq!(after.clusters.iter().map(|cluster| &*cluster.name).collect::<Vec<_>>(), ["other", "app"]);
        assert!(Arc::ptr_eq(&before, &bed.endpoint("app", "b:1")));
        assert_eq!((before.view().state, before.view().since), (State::Healthy, at(10)));
        assert!(Arc::ptr_eq(world.cluster("app").unwrap(), after.cluster("app").unwrap()));
        assert!(Arc::ptr_eq(&world.listeners[0].cells, &after.listeners[0].cells));
        let target = |world: &World| {
            let target = &world.listeners[0].routes[0].targets()[0];
            (Arc::clone(&target.cells), target.cluster)
        };
        assert!(Arc::ptr_eq(&target(&world).0, &target(&after).0));
        assert_eq!(target(&after).1, Some(1), "routes follow their cluster to its new position");
        assert_eq!((bed.available("app"), bed.available("other")), (vec!["b:1".to_owned()], vec!["a:1".to_owned()]));
    });
}

#[test]
fn what_joins_is_probed_before_the_reload_takes_effect() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1"]));
        bed.pass(&[("app", "a:1")], at(10));
        let mut draft = bed.draft(configured(&["app: b:1", "new: c:1"]), at(1000));
        let joining = draft.joining_endpoints();
        let [b, c] = joining.as_slice() else { panic!("two join: {joining:?}") };
        for endpoint in [b, c] {
            assert!(!draft.is_ready(at(1010)));
            let stray = bed.wards.apply(signal(endpoint, run(ProbeResult::Pass, at(1005)), at(1010)), at(1010));
            draft.apply(stray.expect("it is not in force yet"), at(1010), &bed.wards.announcer);
        }
        assert!(draft.is_ready(at(1010)));
        assert_eq!(bed.available("app"), ["a:1"], "nothing has changed so far");
        assert!(bed.world().cluster("new").is_none());
        bed.commit(draft, at(1020));
        assert_eq!((bed.available("app"), bed.available("new")), (vec!["b:1".to_owned()], vec!["c:1".to_owned()]));
        assert_eq!(b.probe_counts()[0].pass, 1);
    });
}

#[test]
fn a_reload_waits_ten_seconds_at_most() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1"]));
        let draft = bed.draft(configured(&["app: a:1", "new: c:1"]), at(1000));
        assert!(!draft.is_ready(at(10_999)));
        assert_eq!(draft.wake(), at(11_000));
        assert!(draft.is_ready(at(11_000)));
    });
}

#[test]
fn what_leaves_is_forgotten_whole() {
    within(|| {
        let mut bed = Bed::new(configured(&["app: a:1 b:1", "old: c:1"]));
        bed.pass(&[("app", "a:1"), ("app", "b:1"), ("old", "c:1")], at(10));
        let gone = bed.endpoint("app", "b:1");
        let draft = bed.draft(configured(&["app: a:1"]), at(100));
        assert!(draft.is_ready(at(100)), "nothing joins");
        bed.commit(draft, at(100));
        assert_eq!(bed.available("app"), ["a:1"]);
        let late = signal(&gone, run(ProbeResult::Fail(Failure::Refused), at(90)), at(110));
        assert_eq!(bed.wards.apply(late.clone(), at(110)), Some(late), "a late result finds nobody");
        let series: Vec<String> =
            bed.shared.tallies.collectors().iter().flat_map(|one| one.collect()).map(|f| format!("{f:?}")).collect();
        let page = series.join("\n");
        assert!(page.contains("a:1"));
        assert!(!page.contains("b:1") && !page.contains("c:1") && !page.contains("old"), "{page}");
    });
}

/// A cluster whose endpoints join, with a ttl of a second.
struct Open {
    bed: Bed,
    joins: Joins,
    moves: Moves,
}

impl Open {
    fn new() -> Self {
        Self::with("")
    }

    /// With more in the health block.
    fn with(more: &str) -> Self {
        let bed = Bed::new(parse(&format!(
            "heartbeats: {{ address: 127.0.0.1:9901 }}
listeners:
  - {{ address: 127.0.0.1:8080, cluster: app }}
clusters:
  - {{ name: app, discovery: {{ heartbeat: true }}, health: {{ heartbeat: {{ period: 200ms, ttl: 1s }}{more} }} }}
",
        )));
        Self { bed, joins: Joins::default(), moves: Moves::new(mpsc::channel(1).0) }
    }

    /// A beat of somebody unknown; who is answered if it is refused.
    fn knock(&mut self, address: &str, now: Timestamp) -> oneshot::Receiver<Option<Joined>> {
        let (taken, answer) = oneshot::channel();
        let address = EndpointAddress::parse(address).unwrap();
        let first = FirstBeat { cluster: "app".into(), address, at: now, beat: Beat::default(), report: None, taken };
        self.joins.hear(first, &self.bed.wards);
        answer
    }

    fn pass(&mut self, now: Timestamp) {
        self.bed.wards.tick(now);
        let mut bench = Bench { identities: &mut self.bed.identities, watcher: &self.bed.watcher, now };
        for first in self.joins.gather(&mut self.moves, &self.bed.wards, &mut bench) {
            let (mut beat, _) = joins::join(first, &self.moves, &self.bed.wards).expect("it joins");
            for signal in beats::signals(&mut beat) {
                if let Some(stray) = self.bed.wards.apply(signal, now) {
                    self.moves.apply(stray, now, &self.bed.wards.announcer);
                }
            }
        }
        self.moves.advance(&mut self.bed.wards, &mut bench, &self.bed.watcher);
    }

    fn states(&self) -> Vec<(String, State)> {
        let endpoints = self.bed.wards.find("app").unwrap().endpoints();
        endpoints.iter().map(|endpoint| (endpoint.address.to_string(), endpoint.view().state)).collect()
    }

    fn say(&mut self, address: &str, state: BeatState, now: Timestamp) {
        let endpoint = self.bed.endpoint("app", address);
        self.bed.tell(&endpoint, Observation::Beat(Beat { state, ..Beat::default() }), now);
    }
}

#[test]
fn the_first_beat_lets_in_and_long_silence_lets_go() {
    block_on(async {
        let mut open = Open::new();
        let _answers = ["10.0.0.2:80", "10.0.0.1:80", "10.0.0.3:80"].map(|address| open.knock(address, at(1000)));
        open.pass(at(1000));
        let healthy = |name: &str| (name.to_owned(), State::Healthy);
        assert_eq!(open.states(), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(healthy));
        open.say("10.0.0.1:80", BeatState::Bye, at(1500));
        open.say("10.0.0.2:80", BeatState::Draining, at(1500));
        open.pass(at(2100));
        let left = |name: &str, state| (name.to_owned(), state);
        assert_eq!(open.states(), [left("10.0.0.2:80", State::Draining), left("10.0.0.3:80", State::Unhealthy)]);
        open.pass(at(3200));
        assert_eq!(open.states(), [left("10.0.0.3:80", State::Unhealthy)], "a drained one is not waited for");
        open.pass(at(11_900));
        assert_eq!(open.states().len(), 1, "not before ten more ttls");
        open.pass(at(13_000));
        assert_eq!(open.states(), []);
    })
    .unwrap();
}

#[test]
fn long_silence_lets_go_even_who_is_well_by_its_probes() {
    block_on(async {
        let mut open = Open::with(", path: /health, require: any");
        let _answer = open.knock("10.0.0.1:80", at(1000));
        open.pass(at(1000));
        for now in (1000..11_500).step_by(500).map(at) {
            let endpoint = open.bed.endpoint("app", "10.0.0.1:80");
            open.bed.tell(&endpoint, run(ProbeResult::Pass, now), now);
            open.pass(now);
            if now > at(2500) {
                let view = endpoint.view();
                assert_eq!((view.state, view.reasons.len()), (State::Healthy, 0), "{now:?}: its probe reaches it");
            }
        }
        open.pass(at(12_000));
        open.pass(at(13_000));
        assert_eq!(open.states(), []);
    })
    .unwrap();
}

#[test]
fn no_more_join_than_may() {
    block_on(async {
        let mut open = Open::new();
        let name = |n: usize| format!("10.0.{}.{}:80", n / 250, n % 250);
        let mut answers: Vec<_> = (0..MOST_JOINED).map(|n| open.knock(&name(n), at(1000))).collect();
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "they wait");
        assert!(matches!(open.knock("10.9.9.9:80", at(1000)).try_recv(), Ok(None)));
        open.pass(at(1000));
        assert_eq!(open.states().len(), MOST_JOINED);
        assert!(matches!(open.knock("10.9.9.9:80", at(1001)).try_recv(), Ok(None)));
    })
    .unwrap();
}

#[test]
fn each_beat_of_a_batch_is_answered_with_what_it_was_taken_for() {
    block_on(async {
        let mut bed = Bed::new(parse(
            "heartbeats: { address: 127.0.0.1:9901 }
listeners:
  - { address: 127.0.0.1:8080, cluster: app }
clusters:
  - { name: app, endpoints: [127.0.0.1:9001], health: { heartbeat: { period: 200ms, ttl: 1s } } }
",
        ));
        let endpoint = bed.endpoint("app", "127.0.0.1:9001");
        let results = ["before", "now", "before", "now"].map(|boot_id| {
            let beat = Beat { boot_id: Some(boot_id.into()), ..Beat::default() };
            let (endpoint, (taken, _)) = (Arc::clone(&endpoint), oneshot::channel());
            let mut pushed = Pushed { endpoint, at: at(1000), beat, report: None, taken };
            for signal in beats::signals(&mut pushed) {
                assert_eq!(bed.wards.apply(signal, at(1000)), None);
            }
            beats::count(&pushed, &bed.wards.announcer)
        });
        assert_eq!(results, [BeatResult::Ok, BeatResult::Restarted, BeatResult::Zombie, BeatResult::Ok]);
    })
    .unwrap();
}

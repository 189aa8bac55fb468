//! Faults around endpoints: a network that loses packets or misbehaves, a proxy that stands still, endpoints that come and go.

use std::time::Duration;

use pulsegate::base::time::Timestamp;
use pulsegate::runtime::clock;

use crate::facts::{Facts, arrivals, count, failed, first, number, overload, share, slower, within};
use crate::loss;
use crate::relay::Fault;
use crate::rig::{ENDPOINTS, Rig, Stage, pass};
use crate::scenario::How::{Sum, Worst};
use crate::scenario::{Goal, Scenario};
use crate::system::Event;

/// The one that the fault hits.
const SICK: usize = 1;
/// Requests a second that an endpoint with [`SEATS`] serves while it is cold: a fifth of 7 every 5 ms.
const COLD_CAPACITY: f64 = 280.0;
const SEATS: usize = 7;
const COLD: Duration = Duration::from_secs(3);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "loss",
        title: "5 % packet loss on every path, 50 s",
        runs: 1,
        needs_loss: true,
        goals: &[Goal::new("out", "false ejections", Sum, 0.0, ""), Goal::new("failed", "failed", Sum, 0.0, "")],
        play: loss_everywhere,
    },
    Scenario {
        name: "loss-one",
        title: "20 % packet loss on one path, 20 s",
        runs: 5,
        needs_loss: true,
        goals: &[
            Goal::new("share", "its share", Worst, 4.0, "%"),
            Goal::new("moves", "times taken out or back", Worst, 2.0, ""),
            Goal::new("over 300 ms", "requests over 300 ms", Worst, 50.0, ""),
            Goal::new("failed", "failed", Sum, 0.0, ""),
        ],
        play: loss_on_one,
    },
    Scenario {
        name: "stopped",
        title: "the proxy itself is stopped for 2 s, 20 times",
        runs: 1,
        needs_loss: false,
        goals: &[Goal::new("out", "ejections", Sum, 0.0, "")],
        play: stopped,
    },
    Scenario {
        name: "starved",
        title: "the proxy itself gets 10 % of the CPU for 20 s",
        runs: 1,
        needs_loss: false,
        goals: &[Goal::new("out", "ejections", Sum, 0.0, "")],
        play: starved,
    },
    Scenario {
        name: "flap",
        title: "one endpoint is 2 s up and 2 s down (SIGSTOP), 40 s",
        runs: 1,
        needs_loss: false,
        goals: &[Goal::new("moves", "times taken out or back", Worst, 12.0, ""), Goal::new("failed", "failed", Sum, 0.0, "")],
        play: flap,
    },
    Scenario {
        name: "return",
        title: "an endpoint comes back cold: a fifth of its capacity for 3 s",
        runs: 5,
        needs_loss: false,
        goals: &[
            Goal::new("over", "most load against what it can serve", Worst, 1.2, "times"),
            Goal::new("failed", "failed", Sum, 0.0, ""),
        ],
        play: returns,
    },
    Scenario {
        name: "rolling",
        title: "each endpoint is killed and restarted in turn",
        runs: 5,
        needs_loss: false,
        goals: &[Goal::new("failed", "failed", Sum, 0.0, "")],
        play: rolling,
    },
    Scenario {
        name: "drop-answers",
        title: "one endpoint's answers are lost on the way, one way only",
        runs: 5,
        needs_loss: false,
        goals: NETWORK,
        play: |stage| network(&stage, Fault::DropAnswers),
    },
    Scenario {
        name: "drop-requests",
        title: "what one endpoint is sent is lost on the way",
        runs: 5,
        needs_loss: false,
        goals: NETWORK,
        play: |stage| network(&stage, Fault::DropRequests),
    },
    Scenario {
        name: "stall",
        title: "the network to one endpoint stands still",
        runs: 5,
        needs_loss: false,
        goals: NETWORK,
        play: |stage| network(&stage, Fault::Stall),
    },
    Scenario {
        name: "reset",
        title: "every connection to one endpoint is reset",
        runs: 5,
        needs_loss: false,
        goals: NETWORK,
        play: |stage| network(&stage, Fault::Reset),
    },
    Scenario {
        name: "half-close",
        title: "one endpoint closes its direction instead of answering",
        runs: 5,
        needs_loss: false,
        goals: NETWORK,
        play: |stage| network(&stage, Fault::HalfClose),
    },
    Scenario {
        name: "throttle",
        title: "one endpoint's network moves 2,000 bytes a second per connection",
        runs: 5,
        needs_loss: false,
        goals: SLOW_NETWORK,
        play: |stage| slow_network(&stage, Fault::Throttle(2000)),
    },
    Scenario {
        name: "delay",
        title: "one endpoint's network is 50 ms slower each way",
        runs: 5,
        needs_loss: false,
        goals: SLOW_NETWORK,
        play: |stage| slow_network(&stage, Fault::Delay(Duration::from_millis(50))),
    },
];

/// Load through relays, which all run in this process.
const RELAYED_RATE: f64 = 500.0;
const NETWORK: &[Goal] = &[
    Goal::new("failed", "failed", Sum, 0.0, ""),
    Goal::new("out", "ejected after", Worst, 1000.0, "ms"),
    Goal::new("over 300 ms", "requests over 300 ms", Worst, 20.0, ""),
];
const SLOW_NETWORK: &[Goal] =
    &[Goal::new("failed", "failed", Sum, 0.0, ""), Goal::new("share", "its share from 2 s on", Worst, 5.0, "%")];

fn loss_everywhere(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    rig.go_on(1.0);
    let lossy = loss::on(&rig.endpoints, 0.05);
    let begun = clock::now();
    rig.go_on(50.0);
    let events = rig.events();
    drop(lossy);
    let samples = rig.end_load();
    vec![("out", number(&events, begun, Event::is_out)), ("failed", failed(&samples))]
}

fn loss_on_one(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    rig.go_on(2.0);
    let lossy = loss::on(&rig.endpoints[SICK..=SICK], 0.2);
    let begun = clock::now();
    let end = rig.go_on(20.0);
    let events = rig.events();
    drop(lossy);
    let samples = rig.end_load();
    let lived = within(&samples, begun, end);
    vec![
        ("share", share(&lived, SICK)),
        ("moves", turns(&events, begun)),
        ("over 300 ms", slower(&lived, 300)),
        ("failed", failed(&samples)),
    ]
}

/// How often the sick one has become available, or no longer is.
fn turns(events: &[Event], since: Timestamp) -> f64 {
    let of_it = events.iter().filter(|event| event.endpoint == SICK && event.at >= since);
    let states: Vec<bool> = std::iter::once(true).chain(of_it.map(Event::is_available)).collect();
    count(states.windows(2).filter(|pair| pair[0] != pair[1]).count())
}

fn stopped(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    let begun = rig.go_on(1.0);
    let mut rng = fastrand::Rng::with_seed(stage.seed);
    // A smoke is content with one.
    let times = if stage.scale < 1.0 { 1 } else { 20 };
    for _ in 0..times {
        rig.system.process.signal("STOP");
        pass(stage.time(2.0));
        rig.system.process.signal("CONT");
        pass(stage.time(0.5 + 0.7 * rng.f64()));
    }
    pass(Duration::from_millis(500));
    let out = number(&rig.events(), begun, Event::is_out);
    drop(rig.end_load());
    vec![("out", out)]
}

fn starved(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    let begun = rig.go_on(1.0);
    rig.system.process.starve(stage.time(20.0));
    pass(Duration::from_millis(1000));
    let out = number(&rig.events(), begun, Event::is_out);
    drop(rig.end_load());
    vec![("out", out)]
}

fn flap(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    let begun = rig.go_on(2.0);
    for _ in 0..10 {
        rig.endpoints[SICK].hang();
        rig.go_on(2.0);
        rig.endpoints[SICK].go_on();
        rig.go_on(2.0);
    }
    let moves = turns(&rig.events(), begun);
    vec![("moves", moves), ("failed", failed(&rig.end_load()))]
}

fn returns(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    rig.go_on(1.0);
    pass(stage.phase());
    rig.endpoints[SICK].kill();
    rig.go_on(2.0);
    let known = rig.endpoints[SICK].received().len();
    rig.endpoints[SICK].restart_cold(COLD, SEATS);
    let begun = clock::now();
    rig.go_on(8.0);
    let samples = rig.end_load();
    let starts = arrivals(&rig.endpoints[SICK], &samples);
    let cold = starts.into_iter().skip(known).filter(|start| start.since(begun) < COLD).collect();
    vec![("over", overload(cold, Duration::from_millis(500), COLD_CAPACITY)), ("failed", failed(&samples))]
}

fn rolling(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    rig.go_on(1.0);
    for number in 0..ENDPOINTS {
        rig.endpoints[number].kill();
        rig.go_on(1.0);
        rig.endpoints[number].restart(Duration::ZERO);
        rig.go_on(3.0);
    }
    vec![("failed", failed(&rig.end_load()))]
}

fn network(stage: &Stage, fault: Fault) -> Facts {
    let mut rig = Rig::start(&Stage { relayed: true, rate: stage.rate.min(RELAYED_RATE), ..stage.clone() });
    rig.go_on(2.0);
    pass(stage.phase());
    let begun = clock::now();
    rig.endpoints[SICK].relay().set(fault);
    rig.go_on(3.0);
    let out = first(&rig.events(), SICK, begun, Event::is_out);
    rig.endpoints[SICK].relay().set(Fault::None);
    let samples = rig.end_load();
    vec![("failed", failed(&samples)), ("out", out), ("over 300 ms", slower(&within(&samples, begun, clock::now()), 300))]
}

fn slow_network(stage: &Stage, fault: Fault) -> Facts {
    let mut rig = Rig::start(&Stage { relayed: true, rate: stage.rate.min(RELAYED_RATE), ..stage.clone() });
    rig.go_on(4.0);
    rig.endpoints[SICK].relay().set(fault);
    let steady = rig.go_on(2.0);
    let end = rig.go_on(4.0);
    let samples = rig.end_load();
    vec![("failed", failed(&samples)), ("share", share(&within(&samples, steady, end), SICK))]
}

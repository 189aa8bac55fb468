//! Faults of endpoints: hang, kill, limp, gray answers, a failing deep check, a long tail.

use pulsegate::runtime::clock;

use crate::facts::{Facts, NEVER, arrivals, count, failed, first, millis, number, p99, sent_twice, share, slower, within};
use crate::load::Method;
use crate::rig::{Rig, Stage, pass};
use crate::scenario::How::{P99, Sum, Worst};
use crate::scenario::{Goal, Scenario};
use crate::system::Event;

/// The one that the fault hits.
const SICK: usize = 1;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "hang",
        title: "one endpoint is stopped (SIGSTOP)",
        runs: 20,
        needs_loss: false,
        goals: &[
            Goal::new("failed", "failed", Sum, 0.0, ""),
            Goal::new("over 100 ms", "requests over 100 ms", Worst, 150.0, ""),
            Goal::new("over 300 ms", "requests over 300 ms", Worst, 0.0, ""),
            Goal::new("last new", "last new request to it after", Worst, 150.0, "ms"),
            Goal::new("out", "ejected after (p99)", P99, 300.0, "ms"),
        ],
        play: hang,
    },
    Scenario {
        name: "kill",
        title: "one endpoint is killed (SIGKILL), GET",
        runs: 20,
        needs_loss: false,
        goals: &[
            Goal::new("failed", "failed", Sum, 0.0, ""),
            Goal::new("out", "ejected after (p99)", P99, 20.0, "ms"),
            Goal::new("over 100 ms", "requests over 100 ms", Worst, 0.0, ""),
        ],
        play: kill,
    },
    Scenario {
        name: "kill-post",
        title: "one endpoint is killed, POST with a body",
        runs: 5,
        needs_loss: false,
        goals: &[
            Goal::new("later", "failed that were not in flight", Sum, 0.0, ""),
            Goal::new("twice", "sent twice", Sum, 0.0, ""),
            Goal::new("failed", "failed in flight", Worst, 15.0, ""),
        ],
        play: kill_post,
    },
    Scenario {
        name: "limp",
        title: "one endpoint is 10 times slower",
        runs: 5,
        needs_loss: false,
        goals: &[
            Goal::new("found", "degraded after", Worst, 2000.0, "ms"),
            Goal::new("share", "its share from then on", Worst, 2.0, "%"),
            Goal::new("p99", "overall p99 against healthy", Worst, 2.0, "times"),
            Goal::new("failed", "failed", Sum, 0.0, ""),
        ],
        play: limp,
    },
    Scenario {
        name: "gray-503",
        title: "10 % of one endpoint's answers are 503, its probes pass",
        runs: 5,
        needs_loss: false,
        goals: &[
            Goal::new("failed", "failed", Sum, 0.0, ""),
            Goal::new("found", "found after", Worst, 500.0, "ms"),
            Goal::new("share", "its share from then on", Worst, 3.0, "%"),
        ],
        play: gray_503,
    },
    Scenario {
        name: "gray-slow",
        title: "10 % of one endpoint's answers are 100 times slower",
        runs: 5,
        needs_loss: false,
        goals: &[
            Goal::new("found", "found after", Worst, 2000.0, "ms"),
            Goal::new("share", "its share from then on", Worst, 5.0, "%"),
            Goal::new("failed", "failed", Sum, 0.0, ""),
        ],
        play: gray_slow,
    },
    Scenario {
        name: "deep",
        title: "`panic: 0%`; all fail their health check and still answer",
        runs: 5,
        needs_loss: false,
        goals: &[Goal::new("failed", "failed", Sum, 0.0, "")],
        play: deep,
    },
    Scenario {
        name: "deep-refused",
        title: "`panic: 0%`; one is killed, the other two fail their health check",
        runs: 5,
        needs_loss: false,
        goals: &[Goal::new("failed", "failed", Sum, 0.0, ""), Goal::new("tries", "tries of the dead one", Sum, 0.0, "")],
        play: deep_refused,
    },
    Scenario {
        name: "tail",
        title: "no fault: 1 % of all answers are 200 times slower",
        runs: 5,
        needs_loss: false,
        goals: &[
            Goal::new("twice", "sent twice", Sum, 0.0, ""),
            Goal::new("held", "suspects held over 100 ms", Sum, 0.0, ""),
            Goal::new("out", "ejections", Sum, 0.0, ""),
            Goal::new("failed", "failed", Sum, 0.0, ""),
        ],
        play: tail,
    },
];

fn hang(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    rig.go_on(2.0);
    pass(stage.phase());
    let hung = clock::now();
    rig.endpoints[SICK].hang();
    rig.go_on(2.5);
    let samples = rig.end_load();
    let out = first(&rig.events(), SICK, hung, Event::is_out);
    // What it was sent meanwhile is read when it goes on.
    let known = rig.endpoints[SICK].received().len();
    rig.endpoints[SICK].go_on();
    rig.endpoints[SICK].settle();
    let starts = arrivals(&rig.endpoints[SICK], &samples);
    let last = starts.iter().skip(known).map(|start| millis(start.since(hung))).fold(0.0, f64::max);
    let after = within(&samples, hung, clock::now());
    vec![
        ("failed", failed(&samples)),
        ("over 100 ms", slower(&after, 100)),
        ("over 300 ms", slower(&after, 300)),
        ("last new", last),
        ("out", out),
    ]
}

fn kill(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    rig.go_on(2.0);
    pass(stage.phase());
    let killed = clock::now();
    rig.endpoints[SICK].kill();
    rig.go_on(1.5);
    let samples = rig.end_load();
    let after = within(&samples, killed, clock::now());
    let out = first(&rig.events(), SICK, killed, Event::is_out);
    vec![("failed", failed(&samples)), ("out", out), ("over 100 ms", slower(&after, 100))]
}

fn kill_post(stage: Stage) -> Facts {
    let mut rig = Rig::start(&Stage { method: Method::Post, ..stage.clone() });
    rig.go_on(2.0);
    pass(stage.phase());
    rig.endpoints[SICK].kill();
    let killed = clock::now();
    rig.go_on(1.5);
    let samples = rig.end_load();
    let later = within(&samples, killed, clock::now());
    let twice = sent_twice(&rig.endpoints);
    vec![("later", failed(&later)), ("twice", twice), ("failed", failed(&samples) - failed(&later))]
}

fn limp(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    let warm = rig.go_on(1.0);
    let slow = rig.go_on(3.0);
    rig.endpoints[SICK].order("slower 10");
    let steady = rig.go_on(2.0);
    let end = rig.go_on(5.0);
    let samples = rig.end_load();
    let (healthy, then) = (within(&samples, warm, slow), within(&samples, steady, end));
    let found = first(&rig.events(), SICK, slow, Event::is_bad);
    vec![("found", found), ("share", share(&then, SICK)), ("p99", p99(&then) / p99(&healthy)), ("failed", failed(&samples))]
}

fn gray_503(stage: Stage) -> Facts {
    gray(&stage, "failing 0.1", 0.5)
}

fn gray_slow(stage: Stage) -> Facts {
    gray(&stage, "tailing 0.1 100", 2.0)
}

fn gray(stage: &Stage, order: &str, settled: f64) -> Facts {
    let mut rig = Rig::start(stage);
    let begun = rig.go_on(4.0);
    rig.endpoints[SICK].order(order);
    let steady = rig.go_on(settled);
    let end = rig.go_on(4.0);
    let samples = rig.end_load();
    let found = first(&rig.events(), SICK, begun, Event::is_bad);
    vec![("found", found), ("share", share(&within(&samples, steady, end), SICK)), ("failed", failed(&samples))]
}

fn deep(stage: Stage) -> Facts {
    let mut rig = Rig::start(&Stage { panic: true, ..stage.clone() });
    rig.go_on(1.0);
    pass(stage.phase());
    for endpoint in &mut rig.endpoints {
        endpoint.order("sick");
    }
    rig.go_on(4.0);
    vec![("failed", failed(&rig.end_load()))]
}

fn deep_refused(stage: Stage) -> Facts {
    let mut rig = Rig::start(&Stage { panic: true, ..stage.clone() });
    rig.go_on(1.0);
    pass(stage.phase());
    rig.endpoints[SICK].kill();
    rig.endpoints[0].order("sick");
    rig.endpoints[2].order("sick");
    rig.go_on(2.5);
    let before = rig.system.refused(&rig.endpoints[SICK]);
    rig.go_on(2.0);
    let tries = before.zip(rig.system.refused(&rig.endpoints[SICK])).map(|(before, after)| after - before);
    let mut facts = vec![("failed", failed(&rig.end_load()))];
    facts.extend(tries.map(|tries| ("tries", tries)));
    facts
}

fn tail(stage: Stage) -> Facts {
    let mut rig = Rig::start(&stage);
    for endpoint in &mut rig.endpoints {
        endpoint.order("tailing 0.01 200");
    }
    let begun = clock::now();
    rig.go_on(10.0);
    let samples = rig.end_load();
    let events = rig.events();
    let held = events.iter().enumerate().filter(|(at, event)| event.to == "suspect" && held_long(&events[*at..]));
    vec![
        ("twice", sent_twice(&rig.endpoints)),
        ("held", count(held.count())),
        ("out", number(&events, begun, Event::is_out)),
        ("failed", failed(&samples)),
    ]
}

/// Whether the endpoint of the first event stays as it is for over 100 ms.
fn held_long(events: &[Event]) -> bool {
    let Some((first, rest)) = events.split_first() else { return false };
    let left = rest.iter().find(|event| event.endpoint == first.endpoint);
    left.map_or(NEVER, |left| millis(left.at.since(first.at))) > 100.0
}

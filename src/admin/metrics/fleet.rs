//! What is exported of the fleet: who of it is heard, whether a majority is, and what became of messages.

use prometheus::proto::MetricFamily;

use super::family::family;
use crate::control::FleetView;
use crate::health::electorate::PeerState;
use crate::telemetry::names;

/// Every family of the fleet.
pub(super) fn families(fleet: &FleetView) -> Vec<MetricFamily> {
    let counts = &fleet.counts;
    let messages = [
        ("ok", &counts.ok),
        ("refused", &counts.refused),
        ("stale", &counts.stale),
        ("malformed", &counts.malformed),
        ("dropped", &counts.dropped),
    ];
    vec![
        family(&names::FLEET_PEERS, |family| {
            for state in PeerState::ALL {
                // We come first and are no peer of ourselves.
                let peers = fleet.members.iter().skip(1).filter(|member| member.state == state).count();
                family.push(&[state.as_str()], peers as f64);
            }
        }),
        family(&names::FLEET_QUORUM, |family| family.push(&[], f64::from(u8::from(fleet.quorum)))),
        family(&names::FLEET_MESSAGES, |family| messages.iter().for_each(|(result, n)| family.count(&[result], n.get()))),
    ]
}

//! The live objects that both planes share: endpoints with their cells, immutable snapshots, and the one publish point.
//!
//! Control writes, workers read, and neither waits for the other. A reader sees a cluster as it was published, whole:
//! members, weights and picker belong together and are swapped together.

mod affinity;
mod cells;
mod endpoint;
mod gate;
mod leadership;
mod pulse;
pub mod readiness;
mod recall;
mod route;
mod signals;
mod snapshot;
mod touched;
mod world;

pub use affinity::Affinity;
pub use cells::{ClusterCells, Connect, EndpointCells, ListenerCells, ListenerError, RetryResult, RouteCells};
pub use endpoint::{Addresses, Endpoint, ProbeCounts};
pub use gate::{Count, Gate};
pub use leadership::{Crew, Leadership};
pub use pulse::{BEAT, Pulse};
pub use recall::{Recall, RecallReceiver, RecallSender};
pub use route::{Route, Target, Token};
pub use signals::{Dropped, Reporter, SignalQueue, signals};
pub use snapshot::{Cluster, Member, Snapshot, Upstream};
pub use touched::Touched;
pub use world::{Inlet, Listener, Live, Phase, Terminated, World};

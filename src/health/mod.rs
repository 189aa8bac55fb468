//! What we believe about every endpoint, and why: one file per axis, folded once into a verdict with ordered reasons.
//!
//! Everything here is pure: signals and `now` go in, transitions come out. It never forgets why an endpoint is out,
//! because the reason is the state.
//!
//! | file | decides |
//! |---|---|
//! | `probes` | what each probe thinks, and how the opinions are folded |
//! | `refused` | what refused and reset connections of live traffic mean |
//! | `rules`, `reports` | what an endpoint's own figures and status word mean |
//! | `glance`, `recent` | what live traffic showed lately |
//! | `backlog` | until when a stall of ours excuses what takes long |
//! | `silence` | whether it answers nothing while others answer |
//! | `outliers`, `latency` | whether its requests fail, or take, more than those of its siblings |
//! | `overdue` | who waits at a slow one for longer than others ever take |
//! | `cause` | whether so many turn bad together that it must be confirmed |
//! | `references` | whether it is our own link |
//! | `ramp`, `damping` | how it returns: step by step, and later each time |
//! | `electorate` | who of the fleet said what, and whether a majority is heard |
//! | `quorum` | what the fleet's votes make of one endpoint's own verdict |
//! | `heartbeat` | what pushed heartbeats and their absence mean |
//! | `sequence`, `suspicion`, `lateness` | which beat it is, how improbable silence is, how late beats come |
//! | `ways` | by which sockets beats come |
//! | `incarnation` | which process speaks at an address |
//! | `operator` | what the operator ordered |
//! | `wishes`, `shares` | the state and the share of traffic that an endpoint asks for itself |
//! | `role`, `leader` | what an endpoint says that it is among its siblings, and who of them leads |
//! | `serving` | what a gRPC health service's answer means |
//! | `seldom` | how what few endpoints need takes no room in the others |
//! | `endpoint` | all of these for one endpoint, and what moves them |
//! | `fold` | what they come to: one state with ordered reasons |
//! | `budget` | who of those that should be ejected for soft reasons may be |
//! | `admission` | who gets traffic, panic and backups included |
//! | `ahead` | a look at whom signals are about, before they act |
//! | `weight` | how much of it |
//! | `history` | what is remembered for `explain` |
//! | `memory` | what a process that takes over is told |
//! | `openings`, `schedule` | when a probe runs first, and when next |
//! | `changes` | what a call names as changed |
//! | `watch` | what a look at the cells changes |
//! | `cluster` | the order in which all of this happens |

mod admission;
mod ahead;
mod backlog;
mod budget;
mod cause;
mod changes;
pub mod check;
mod cluster;
mod damping;
pub mod electorate;
mod endpoint;
mod fold;
mod glance;
mod heartbeat;
mod history;
mod incarnation;
mod latency;
mod lateness;
mod leader;
mod memory;
pub mod openings;
mod operator;
mod outliers;
mod overdue;
pub mod policy;
mod probes;
mod quorum;
mod ramp;
mod recent;
mod references;
mod refused;
mod reports;
mod role;
mod rules;
pub mod schedule;
mod seldom;
mod sequence;
pub mod serving;
mod shares;
pub mod signal;
mod silence;
mod suspicion;
pub mod verdict;
mod watch;
mod ways;
mod weight;
mod wishes;

#[cfg(test)]
mod asking;
#[cfg(test)]
mod heartbeats;
#[cfg(test)]
mod leading;
#[cfg(test)]
mod looks;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use backlog::Backlog;
pub use budget::soft_cap;
pub use changes::{Changes, Member, Probed};
pub use cluster::Cluster;
pub use glance::{Glance, Local};
pub use history::{Entry, HISTORY, Kind};
pub use incarnation::MAX_BOOT_ID;
pub use memory::Memory;
pub use rules::figure;
pub use schedule::Pace;
pub use suspicion::Suspicion;

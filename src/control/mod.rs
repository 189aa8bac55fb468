//! The single writer of health: every signal and order comes here, every verdict is published from here.
//!
//! State that several threads may change needs locks on the request path, or is wrong for a moment. Here one task on a
//! thread of its own owns all of it; others read what it publishes and ask for changes through a [`Handle`].
//!
//! | file | owns |
//! |---|---|
//! | `task`, `alarm`, `setup` | the loop: what is heard, what is due; its timer; what it starts with |
//! | `handle` | the way from everybody else to the loop |
//! | `wards`, `ward`, `watched` | all clusters, one cluster, one endpoint under watch |
//! | `doubts` | whether who refused has answered since |
//! | `totals` | what is new in an endpoint's cells |
//! | `local` | whether it is ourselves who stand still |
//! | `beats`, `pulse` | heartbeats on their way through; whether we stood still ourselves |
//! | `pacer`, `announcer` | when a snapshot is published, and how a change is told |
//! | `stirred` | whose cells are read at the next look |
//! | `reload`, `source`, `draft`, `world` | the way of a reload, from the file to the next world |
//! | `orders`, `keeper`, `memory` | what operators ordered, the file it is kept in, and all that another process is told |
//! | `outside` | what a reload changes beyond control |
//! | `moves`, `joins` | endpoints that were discovered, on their way in and out; those that come by heartbeats |
//! | `names` | lookups of endpoints' names |
//! | `fleet` | what goes out to the other proxies, and what theirs does here |
//! | `events`, `tallies` | the last transitions, and what control counts |

mod alarm;
mod announcer;
mod beats;
mod doubts;
mod draft;
mod events;
mod fleet;
mod handle;
mod joins;
mod keeper;
mod local;
mod memory;
mod moves;
mod names;
mod orders;
mod outside;
mod pacer;
mod pulse;
mod reload;
mod setup;
mod source;
mod stirred;
mod tallies;
mod task;
#[cfg(test)]
mod tests;
mod totals;
mod ward;
mod wards;
mod watched;
mod world;

pub use events::{Event, EventStream, KEPT, Unseen, What};
pub use fleet::{FleetView, MemberView};
pub use handle::{Handle, NotFound, ReloadOutcome};
pub use outside::{Nothing, Outside};
pub use setup::Setup;
pub use tallies::Tallies;
pub use task::start;

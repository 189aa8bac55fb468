//! Active probes: they ask endpoints how they are, in slots of their own, and tell control what they found.
//!
//! A checker that blames others for its own troubles takes well endpoints out. So everything here keeps three results
//! apart: pass, fail, and void, when it was ourselves who stood still or had no socket left. It judges single answers only;
//! what they amount to is for `health`, and when a probe is due says `health::schedule`.
//!
//! | file | owns |
//! |---|---|
//! | `probing` | the probes of one endpoint, and the orders they take |
//! | `orders` | what control wants of them |
//! | `rounds` | the task of one probe: wait for the slot, run, tell |
//! | `run` | one run: ask, wait, judge |
//! | `confirm` | several runs at once, when a suspicion is to be settled |
//! | `self_check` | whether we could hear anything at all |
//! | `vigil` | the deadline, and what it is worth when we stood still |
//! | `target`, `request` | where to ask, and what |
//! | `line`, `http2` | the warm connection and the exchange on it |
//! | `agent`, `beat`, `grpc` | the probes that are not HTTP/1: an agent's line, a file, a gRPC health service |
//! | `answer`, `reading`, `trouble` | what came, the report in it, and why nothing came |
//! | `once` | one run outside any schedule |

mod agent;
mod answer;
mod beat;
mod confirm;
mod grpc;
mod http2;
mod lag;
mod line;
mod once;
mod orders;
mod probing;
mod reading;
mod request;
mod rounds;
mod run;
mod self_check;
mod target;
#[cfg(test)]
mod tests;
mod trouble;
mod vigil;

pub use answer::Answer;
pub use lag::ProbeLag;
pub use once::{Finding, UrlError, fetch_report, once, plain};
pub use probing::{Plan, Probing, start};
pub use self_check::SelfCheck;
pub use target::Approach;

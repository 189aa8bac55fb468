//! What is made once of all endpoints of a cluster, so that requests can be tied to them: the ring, and the cookies' marks.
//!
//! Neither changes with health: a snapshot shares them with the one before.

use std::sync::Arc;

use crate::balance::{Algorithm, Picker, Ring};
use crate::cluster::Member;
use crate::traffic::affinity::{Balance, HashOn, Marks, Sticky};

/// How requests find their endpoints. Endpoints are known by their numbers, which are positions in
/// [`crate::cluster::Snapshot::endpoints`].
#[derive(Debug)]
pub struct Affinity {
    spread: Spread,
    /// The marks of sticky cookies, if the cluster has them.
    pub marks: Option<Marks>,
}

#[derive(Debug)]
enum Spread {
    Any(Algorithm),
    Hash(HashOn, Arc<Ring>),
}

impl Default for Affinity {
    fn default() -> Self {
        Self { spread: Spread::Any(Algorithm::default()), marks: None }
    }
}

impl Affinity {
    /// For a cluster of this name with these endpoints, each an address and its configured weight.
    #[must_use]
    pub fn new<'a>(
        balance: &Balance,
        sticky: Option<&Sticky>,
        cluster: &str,
        endpoints: impl Iterator<Item = (&'a str, u32)> + Clone,
    ) -> Self {
        let marks = sticky.map(|sticky| Marks::new(sticky, cluster, endpoints.clone().map(|(address, _)| address)));
        let spread = match balance {
            Balance::Any(algorithm) => Spread::Any(*algorithm),
            Balance::Hash(on) => Spread::Hash(on.clone(), Arc::new(Ring::new(endpoints))),
        };
        Self { spread, marks }
    }

    /// What of a request is its key, if keys count.
    #[must_use]
    pub const fn hash_on(&self) -> Option<&HashOn> {
        match &self.spread {
            Spread::Hash(on, _) => Some(on),
            Spread::Any(_) => None,
        }
    }

    /// Whether it counts how long answers take and whether they are failures.
    #[must_use]
    pub const fn weighs_answers(&self) -> bool {
        matches!(self.spread, Spread::Any(Algorithm::LeastRequest | Algorithm::PeakEwma))
    }

    /// A picker over those that get traffic.
    #[must_use]
    pub fn picker(&self, members: &[Member]) -> Picker {
        match &self.spread {
            Spread::Any(algorithm) => {
                let weights: Vec<f64> = members.iter().map(|member| member.weight).collect();
                Picker::new(*algorithm, &weights)
            }
            Spread::Hash(_, ring) => {
                Picker::consistent(ring, members.iter().map(|member| (member.number as usize, member.weight)))
            }
        }
    }
}

//! Identities that stay what they are while the configuration changes around them.
//!
//! A position in a list moves with every reload; a signal that was under way must still find its endpoint, or none. So
//! an id is given once in the life of a process and never again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What is known of endpoints, by id. Nobody but we chooses ids, so they need no keyed hash.
pub type ByEndpoint<T> = HashMap<EndpointId, T, BuildHasherDefault<IdHasher>>;

/// Spreads ids over the buckets of a map.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        // Fibonacci hashing: neighbours lie in different buckets and differ in the high bits.
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One endpoint of one cluster, unique in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EndpointId(pub u32);

/// One cluster, unique in the life of the process. A cluster that a reload changes keeps its id while its name stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u32);

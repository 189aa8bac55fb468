//! Identities that stay what they are while the configuration changes around them.
//!
//! A position in a list moves with every reload; a signal that was under way must still find its endpoint, or none. So
//! an id is given once in the life of a process and never again.

/// One endpoint of one cluster, unique in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EndpointId(pub u32);

/// One cluster, unique in the life of the process. A cluster that a reload changes keeps its id while its name stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u32);

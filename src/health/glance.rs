//! What the cells of live traffic say of one endpoint since they were last read, and what is known of ourselves meanwhile.
//!
//! Workers count; control reads the counts every few milliseconds and hands over what is new. Which failure that avoids: a
//! signal for each answer would cost more than the answer.

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;

/// News of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glance {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When the oldest request was sent that waits for an answer, and that no newer one has overtaken.
    pub oldest: Option<Timestamp>,
    /// Until when the worker that sent it stood still, or works off what gathered meanwhile.
    pub excused_until: Timestamp,
    /// When an answer last began.
    pub heard: Timestamp,
    /// When the newest request had been sent that was answered with less than 500.
    pub success_sent: Timestamp,
    /// Requests that ended since the last glance, answered or failed.
    pub requests: u32,
    /// Those of them that failed or were answered with 500 or more.
    pub errors: u32,
    /// Those of them without an answer, or with 502 to 504.
    pub gateway_errors: u32,
    /// How many of these came since the last other answer.
    pub streak: u32,
    /// Times to the first byte since the last glance, of what no stall of ours delayed: buckets of [`crate::base::sketch`] and how many fell into each.
    pub latencies: Vec<(u8, u32)>,
    /// Requests on it now.
    pub in_flight: u32,
}

/// What is known of ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Local {
    /// Until when a thread of ours last stood still, or works off what gathered meanwhile: what was waited for before has not
    /// been read for certain.
    pub excused_until: Timestamp,
    /// When the last check of ourselves passed.
    pub alive: Timestamp,
}

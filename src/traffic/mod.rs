//! Decisions about one request: which route, whether it may be tried again, what its headers become.

pub mod added;
pub mod affinity;
pub mod bearer;
pub mod budget;
pub mod forward;
pub mod grpc;
pub mod limits;
pub mod policy;
pub mod retry;
pub mod route;
pub mod split;
pub mod target;

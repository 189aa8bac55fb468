//! Owns the shape of the fleet: the proxies that agree on health.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::raw::List;
use crate::health::electorate::MAX_SIZE;

/// The proxies that agree on health.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Fleet {
    /// The fleet's name, the same on every proxy.
    #[schemars(required, regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) name: Option<String>,
    /// This proxy's own name, another one on every proxy.
    #[serde(rename = "self")]
    #[schemars(required, regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) own: Option<String>,
    /// Where votes of the others come in: ip:port (IPv6 in brackets), or :port for every interface.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// Where the others listen: ip:port or name:port.
    #[schemars(required)]
    pub(in crate::config) peers: Option<List<String>>,
    /// How many proxies there are in all, this one included, whether or not they run; a majority is one of this number. By
    /// default one more than there are peers.
    #[schemars(range(min = 1, max = MAX_SIZE))]
    pub(in crate::config) size: Option<u32>,
    /// A file with a key in each line: the first signs, all are believed. Relative to this file's folder.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) key_file: Option<String>,
}

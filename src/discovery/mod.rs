//! Where a cluster's endpoints are found, if they are not listed: a name in the DNS, or a file.
//!
//! A source that fails, or that has nothing, says nothing: what was found last stays. A name server that is down, or a file
//! that somebody has emptied by mistake, must not take a service with it. What becomes of endpoints that join and leave is
//! control's.
//!
//! | file | owns |
//! |---|---|
//! | `dns` | addresses behind a name, looked up anew when they expire |
//! | `list` | a file with a list of endpoints, read anew when it changes |

mod dns;
mod list;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::model::{Discovery, Endpoint};
use crate::runtime::task::Owned;

/// The most endpoints that one source may bring.
const MOST: usize = 16_384;

/// What a source has brought: the endpoints of a cluster, at least one, each once, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Where they came from; a configuration may have changed that meanwhile.
    pub source: Discovery,
    /// All of them.
    pub endpoints: Vec<Endpoint>,
}

/// Asks a source for as long as what is returned lives, and tells what it brings every time it was asked with success.
#[must_use]
pub fn start(cluster: Arc<str>, source: Discovery, found: mpsc::Sender<Found>) -> Owned {
    Owned::spawn(async move {
        let teller = Teller { cluster, source: source.clone(), found, failing: false };
        match source {
            Discovery::Dns(name) => dns::watch(name, teller).await,
            Discovery::File(file) => list::watch(file, teller).await,
            // Who hears heartbeats finds these.
            Discovery::Heartbeat => {}
        }
    })
}

/// The way of what a source brings.
#[derive(Debug)]
struct Teller {
    cluster: Arc<str>,
    source: Discovery,
    found: mpsc::Sender<Found>,
    failing: bool,
}

impl Teller {
    /// Tells what was found, or why nothing was. Whether it was told.
    async fn tell(&mut self, brought: Result<Vec<Endpoint>, String>) -> bool {
        match brought.and_then(usable) {
            Ok(endpoints) => {
                self.failing = false;
                let found = Found { cluster: Arc::clone(&self.cluster), source: self.source.clone(), endpoints };
                // Control is gone only when everything ends.
                self.found.send(found).await.is_ok()
            }
            Err(why) => {
                // Once in a while is enough: it may fail every second.
                if std::mem::replace(&mut self.failing, true) {
                    tracing::debug!(cluster = &*self.cluster, why, "still no endpoints discovered; the last ones stay");
                } else {
                    tracing::warn!(cluster = &*self.cluster, why, "no endpoints discovered; the last ones stay");
                }
                false
            }
        }
    }
}

/// In order, each once.
fn usable(mut endpoints: Vec<Endpoint>) -> Result<Vec<Endpoint>, String> {
    endpoints.sort_by(|a, b| (a.backup, a.address.as_str()).cmp(&(b.backup, b.address.as_str())));
    let mut seen = std::collections::HashSet::new();
    endpoints.retain(|endpoint| seen.insert(endpoint.address.as_str().to_owned()));
    match endpoints.len() {
        0 => Err("the answer is empty".to_owned()),
        n if n > MOST => Err(format!("{n} endpoints are more than the {MOST} that are taken")),
        _ => Ok(endpoints),
    }
}

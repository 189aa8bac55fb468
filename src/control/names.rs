//! Names of endpoints, looked up at once and every 30 s.
//!
//! An answer replaces the addresses, a failure leaves the last good ones: a name server that is down must not take the
//! endpoints with it. Lookups block a thread of the runtime's own pool, never control itself, and an endpoint's next one
//! starts only when its last has ended, so that a name server that hangs does not pile them up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::address::Host;
use crate::base::ids::EndpointId;
use crate::cluster::Endpoint;
use crate::net::resolve;

/// From the end of one lookup to the next.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same while a name has never resolved: somebody waits for it.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// Looks an endpoint's name up for ever, and says when it leads somewhere for the first time. Ends at once if it has none.
pub(super) async fn look_up(endpoint: Arc<Endpoint>, resolved: mpsc::Sender<EndpointId>) {
    let Host::Name(name) = endpoint.address.host() else { return };
    let mut failing = false;
    loop {
        let unresolved = endpoint.addresses().is_empty();
        match resolve::look_up(&endpoint.address).await {
            Ok(addresses) => {
                endpoint.resolve(addresses);
                failing = false;
            }
            Err(error) if failing => tracing::debug!(%name, %error, "name still does not resolve"),
            Err(error) => {
                tracing::warn!(cluster = &*endpoint.cluster, %name, %error, "name does not resolve");
                failing = true;
            }
        }
        let waiting = endpoint.addresses().is_empty();
        if unresolved && !waiting && resolved.send(endpoint.id).await.is_err() {
            return;
        }
        tokio::time::sleep(if waiting { FIRST_INTERVAL } else { INTERVAL }).await;
    }
}

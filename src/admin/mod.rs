//! The admin interface: health, metrics, status, orders and events over HTTP/1.1.
//!
//! It reads what the two planes publish and asks control for changes; it decides nothing itself. It runs on the thread
//! it is started on, which is neither a worker's nor control's: a scrape of a thousand endpoints delays no request and no
//! probe.
//!
//! | file | owns |
//! |---|---|
//! | `serve` | sockets and the bounds of connections |
//! | `service` | from a request to its answer |
//! | `router` | what a path asks for |
//! | `guard` | who may ask |
//! | `shape` | the JSON |
//! | `events` | the stream of transitions |
//! | `metrics` | the metrics page |
//! | `answer` | how answers look |

mod answer;
mod events;
#[cfg(test)]
mod fixture;
mod guard;
mod metrics;
#[cfg(test)]
mod readiness;
mod router;
mod serve;
mod service;
pub mod shape;

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use crate::config::model::Secret;
use crate::control::Handle;
use crate::runtime::task;
use router::Surface;
use service::Service;

/// What `/` shows.
const INDEX: &str = "\
Pulsegate
  GET  /livez
  GET  /readyz[?cluster=C]
  GET  /metrics
  GET  /api/v1/status
  GET  /api/v1/clusters/C/endpoints/E
  POST /api/v1/clusters/C/endpoints/E/{drain|maintenance|ready}[?for=10m&reason=R]
  POST /api/v1/clusters/C/{freeze|thaw}
  GET  /api/v1/events
  GET  /api/v1/config
  POST /api/v1/reload[?dry_run=true]
  POST /api/v1/drain
";

/// Bound sockets of the interface.
#[derive(Debug)]
pub struct Sockets {
    /// The whole interface.
    pub admin: TcpListener,
    /// `/livez`, `/readyz` and `/metrics` alone, for scrapers and kubelets.
    pub metrics: Option<TcpListener>,
}

/// The running interface; it stops accepting when dropped.
#[derive(Debug)]
#[must_use = "the interface ends when this is dropped"]
pub struct Admin {
    _accepting: Vec<task::Owned>,
}

/// Starts the interface on the calling thread, which must run a local runtime (see [`crate::runtime::thread`]). It answers
/// as long as the returned value and the thread live.
///
/// Where there is a token, everything on the admin socket but `/livez` and `/readyz` wants it. The metrics socket knows
/// neither token nor Host: scrapers reach it by names that nobody configured, and it shows nothing that is secret.
///
/// # Errors
/// If a socket cannot be watched, or two metrics have the same name.
pub fn start(sockets: Sockets, handle: Handle, token: Option<Secret>) -> io::Result<Admin> {
    let service = Rc::new(Service::new(handle, token).map_err(io::Error::other)?);
    let listen = |socket: TcpListener, surface: Surface| {
        let service = Rc::clone(&service);
        serve::serve(socket, move |request| {
            let service = Rc::clone(&service);
            async move { service.answer(surface, request).await }
        })
    };
    let mut accepting = vec![listen(sockets.admin, Surface::Admin)?];
    if let Some(socket) = sockets.metrics {
        accepting.push(listen(socket, Surface::Metrics)?);
    }
    Ok(Admin { _accepting: accepting })
}

#[cfg(test)]
mod tests;

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
use std::rc::Rc;
use std::sync::Arc;

use crate::control::Handle;
use crate::net::listen::ListenSocket;
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
  POST /api/v1/clusters/C/{drain|maintenance|ready}[?for=10m&reason=R]
  POST /api/v1/clusters/C/{freeze|thaw}
  GET  /api/v1/events
  GET  /api/v1/config
  GET  /api/v1/fleet
  POST /api/v1/reload[?dry_run=true]
  POST /api/v1/drain
";

/// Bound sockets of the interface.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// The whole interface.
    pub admin: Arc<ListenSocket>,
    /// `/livez`, `/readyz` and `/metrics` alone, for scrapers and kubelets.
    pub metrics: Option<Arc<ListenSocket>>,
}

/// The running interface; it stops accepting when dropped.
#[derive(Debug)]
#[must_use = "the interface ends when this is dropped"]
pub struct Admin {
    service: Rc<Service>,
    admin: Option<Accepting>,
    metrics: Option<Accepting>,
}

/// A socket, and the task that accepts on it.
#[derive(Debug)]
struct Accepting {
    socket: Arc<ListenSocket>,
    _task: task::Owned,
}

impl Admin {
    /// The interface of a process, which nobody can ask yet.
    ///
    /// Where there is a token, everything on the admin socket but `/livez` and `/readyz` wants it. The metrics socket knows
    /// neither token nor Host: scrapers reach it by names that nobody configured, and it shows nothing that is secret.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new(handle: Handle) -> io::Result<Self> {
        let service = Rc::new(Service::new(handle).map_err(io::Error::other)?);
        Ok(Self { service, admin: None, metrics: None })
    }

    /// Answers on these sockets from now on, and takes nobody in on others, on the calling thread, which must run a local
    /// runtime (see [`crate::runtime::thread`]). Connections that there are stay.
    ///
    /// # Errors
    /// If a socket cannot be watched; then it is as before.
    pub fn listen(&mut self, sockets: &Sockets) -> io::Result<()> {
        let admin = self.accept(self.admin.as_ref(), &sockets.admin, Surface::Admin)?;
        let metrics = sockets.metrics.as_ref().map(|socket| self.accept(self.metrics.as_ref(), socket, Surface::Metrics));
        let metrics = metrics.transpose()?;
        if let Some(admin) = admin {
            self.admin = Some(admin);
        }
        match metrics {
            Some(Some(metrics)) => self.metrics = Some(metrics),
            Some(None) => {}
            None => self.metrics = None,
        }
        Ok(())
    }

    /// Takes nobody in any more. Connections that there are stay.
    pub fn close(&mut self) {
        self.admin = None;
        self.metrics = None;
    }

    /// Accepts on a socket, unless that is so already.
    fn accept(&self, now: Option<&Accepting>, socket: &Arc<ListenSocket>, surface: Surface) -> io::Result<Option<Accepting>> {
        if now.is_some_and(|now| Arc::ptr_eq(&now.socket, socket)) {
            return Ok(None);
        }
        socket.open()?;
        let service = Rc::clone(&self.service);
        let task = serve::serve(socket.handle()?, move |request| {
            let service = Rc::clone(&service);
            async move { service.answer(surface, request).await }
        })?;
        Ok(Some(Accepting { socket: Arc::clone(socket), _task: task }))
    }
}

#[cfg(test)]
mod tests;

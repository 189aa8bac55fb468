//! A stream to an endpoint that counts among the connections for as long as it is open.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::shared::Waiting;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::proxy::upstream::Upstream;
use crate::proxy::view::ClusterView;
use crate::traffic::limits::{Limit, Limits};

/// A stream and its permit.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: Stream,
    permit: Permit,
}

/// Leave to have one connection open; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    cluster: Rc<ClusterView>,
    upstream: Rc<Upstream>,
}

impl Permit {
    /// Leave for a connection to an endpoint, or the limit that forbids it.
    pub(crate) fn take(cluster: &Rc<ClusterView>, upstream: &Rc<Upstream>, limits: &Limits) -> Result<Self, Limit> {
        let gate = cluster.cluster.gate();
        if !gate.connections.enter(limits.connections) {
            return Err(Limit::Connections);
        }
        if !upstream.endpoint.connections.enter(limits.endpoint_connections) {
            gate.connections.leave();
            return Err(Limit::EndpointConnections);
        }
        Ok(Self { cluster: Rc::clone(cluster), upstream: Rc::clone(upstream) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.upstream.endpoint.connections.leave();
        let gate = self.cluster.cluster.gate();
        gate.connections.leave();
        gate.freed();
    }
}

impl Metered {
    pub(crate) const fn new(stream: Stream, permit: Permit) -> Self {
        Self { stream, permit }
    }

    /// The stream, and the permit that must be held as long as it is open.
    pub(crate) fn apart(self) -> (Stream, Permit) {
        (self.stream, self.permit)
    }

    /// The socket, if what comes from it is as the endpoint wrote it.
    pub(crate) const fn plain(&self) -> Option<&Socket> {
        match &self.stream {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(_) => None,
        }
    }

    /// Asks the system what is waiting, without taking it.
    pub(crate) fn waiting(&self) -> Waiting {
        self.stream.waiting()
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

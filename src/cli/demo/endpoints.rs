//! Owns the sample endpoints of the demo, on a thread of their own, so that the proxy's threads cannot hold them up.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::runtime::thread;
use crate::sample::{Endpoint, Mood};

/// How many there are.
pub(super) const COUNT: usize = 3;

/// The running endpoints; they stop when this is dropped.
#[derive(Debug)]
pub(super) struct Endpoints {
    addresses: Vec<SocketAddr>,
    moods: mpsc::Sender<(usize, Mood)>,
    _thread: JoinHandle<()>,
}

type Started = io::Result<Vec<SocketAddr>>;

impl Endpoints {
    /// Starts them on free ports of this machine.
    ///
    /// # Errors
    /// If the system gives no port or no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (tell, told): (SyncSender<Started>, Receiver<Started>) = sync_channel(1);
        let (moods, wanted) = mpsc::channel(COUNT);
        let thread = thread::spawn("endpoints", move || serve(tell, wanted))?;
        let addresses = told.recv().unwrap_or_else(|_| Err(io::Error::other("the endpoints' thread ended")))?;
        Ok(Self { addresses, moods, _thread: thread })
    }

    /// Where they listen, in order.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Changes how one of them behaves.
    pub(super) async fn set_mood(&self, endpoint: usize, mood: Mood) {
        // If the receiver is gone its thread has panicked, which the demo sees as a fault that is not found.
        let _ = self.moods.send((endpoint, mood)).await;
    }
}

async fn serve(tell: SyncSender<Started>, mut wanted: mpsc::Receiver<(usize, Mood)>) {
    let endpoints = match start().await {
        Ok(endpoints) => endpoints,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let addresses = endpoints.iter().map(Endpoint::address).collect();
    if tell.send(Ok(addresses)).is_err() {
        return;
    }
    while let Some((endpoint, mood)) = wanted.recv().await {
        endpoints[endpoint].set_mood(mood);
    }
}

async fn start() -> io::Result<Vec<Endpoint>> {
    let mut endpoints = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        endpoints.push(Endpoint::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?);
    }
    Ok(endpoints)
}

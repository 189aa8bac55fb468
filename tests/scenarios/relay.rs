//! A bad network in user space: one relay in front of each endpoint, which delays, loses one direction, stands still, resets,
//! throttles and closes halves, on order and for all of its connections at once.

use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pulsegate::runtime::{task, thread};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes moved at a time, few enough for a throttle to bite.
const PIECE: usize = 1024;
/// Between two looks at whether a connection has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What it does to what passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Everything comes so much later, each way.
    Delay(Duration),
    /// What endpoints send is lost; what they are sent arrives.
    DropAnswers,
    /// What endpoints are sent is lost.
    DropRequests,
    /// Nothing moves either way; new connections are accepted.
    Stall,
    /// Every connection is reset, and every new one.
    Reset,
    /// So many bytes a second, each way and connection.
    Throttle(u32),
    /// Instead of an answer, the direction towards the proxy is closed.
    HalfClose,
}

/// A relay; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// In front of an endpoint.
    pub(crate) fn start(endpoint: SocketAddr) -> Self {
        let (fault, orders) = watch::channel(Fault::None);
        let bound = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&bound);
        let thread = thread::spawn("relay", move || async move {
            let listener = TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
            *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener.local_addr().unwrap());
            serve(listener, endpoint, orders).await;
        })
        .unwrap();
        let address = crate::rig::until("the relay listens", || *bound.lock().unwrap_or_else(PoisonError::into_inner));
        Self { address, fault, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it does this.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The sender's end is what the thread waits for.
        let (gone, _) = watch::channel(Fault::None);
        drop(std::mem::replace(&mut self.fault, gone));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn serve(listener: TcpListener, endpoint: SocketAddr, mut orders: watch::Receiver<Fault>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let orders = orders.clone();
                    drop(task::spawn(relay(stream, endpoint, orders)));
                }
            }
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}

async fn relay(downstream: TcpStream, endpoint: SocketAddr, mut orders: watch::Receiver<Fault>) {
    // Without a linger time, dropping a connection resets it; an orderly end is told by a shutdown before.
    drop(SockRef::from(&downstream).set_linger(Some(Duration::ZERO)));
    let Ok(upstream) = TcpStream::connect(endpoint).await else { return };
    drop((downstream.set_nodelay(true), upstream.set_nodelay(true)));
    let (downstream, upstream) = (Rc::new(downstream), Rc::new(upstream));
    let there = task::Owned::spawn(pump(Rc::clone(&downstream), Rc::clone(&upstream), orders.clone(), Way::Requests));
    let back = task::Owned::spawn(pump(upstream, downstream, orders.clone(), Way::Answers));
    while *orders.borrow_and_update() != Fault::Reset && !(there.is_finished() && back.is_finished()) {
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Requests,
    Answers,
}

/// Moves bytes one way until that way ends.
async fn pump(from: Rc<TcpStream>, to: Rc<TcpStream>, mut orders: watch::Receiver<Fault>, way: Way) {
    let mut piece = [0; PIECE];
    loop {
        if from.readable().await.is_err() {
            return;
        }
        while *orders.borrow_and_update() == Fault::Stall {
            if orders.changed().await.is_err() {
                return;
            }
        }
        let count = match from.try_read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        let fault = *orders.borrow();
        match (fault, way) {
            (Fault::DropAnswers, Way::Answers) | (Fault::DropRequests, Way::Requests) => continue,
            (Fault::HalfClose, Way::Answers) => break,
            (Fault::Delay(time), _) => tokio::time::sleep(time).await,
            (Fault::Throttle(rate), _) => tokio::time::sleep(Duration::from_secs(count as u64) / rate).await,
            _ => {}
        }
        if write_all(&to, &piece[..count]).await.is_err() {
            return;
        }
    }
    drop(SockRef::from(&*to).shutdown(Shutdown::Write));
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

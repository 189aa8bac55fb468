//! The accept loop of sockets beside the data plane: so many connections at a time, each in a task of its own.
//!
//! Whoever connects without end must find a bound, and a process that has no descriptors left must not burn what it has
//! left in a loop. What is spoken on a connection, and how long a client may take, is left to whoever serves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::runtime::task;

/// Pause after a failed accept: what is lacking then, such as descriptors, does not come back at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts on a bound socket for as long as what it returns lives, `most` connections at a time; more wait to be accepted.
/// `serve` makes the future of each. Connections that are there outlive it. `whose` is the socket's owner, for the log.
///
/// # Errors
/// If the socket cannot be watched.
pub fn accept<S, F>(listener: std::net::TcpListener, whose: &'static str, most: usize, serve: S) -> io::Result<task::Owned>
where
    S: Fn(TcpStream, SocketAddr) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(task::Owned::spawn(accept_all(listener, whose, most, serve)))
}

async fn accept_all<S, F>(listener: TcpListener, whose: &'static str, most: usize, serve: S)
where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + 'static,
{
    let slots = Arc::new(Semaphore::new(most));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, from)) => {
                let serving = serve(stream, from);
                drop(task::spawn(async move {
                    serving.await;
                    drop(slot);
                }));
            }
            Err(error) => {
                tracing::warn!(whose, %error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::runtime::thread;

    #[test]
    fn no_more_are_served_at_a_time_than_may_and_nobody_is_turned_away() {
        let served = thread::block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (counted, peak) = (Rc::clone(&now), Rc::clone(&most));
            let _loop = accept(listener, "a test", 2, move |mut stream, _| {
                let (now, most) = (Rc::clone(&counted), Rc::clone(&peak));
                async move {
                    now.set(now.get() + 1);
                    most.set(most.get().max(now.get()));
                    stream.read_exact(&mut [0]).await.unwrap();
                    stream.write_all(b"x").await.unwrap();
                    now.set(now.get() - 1);
                }
            })
            .unwrap();
            let mut clients = Vec::new();
            for _ in 0..5 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            let mut served = 0;
            for mut client in clients {
                client.write_all(b"x").await.unwrap();
                served += client.read(&mut [0]).await.unwrap();
            }
            (served, most.get())
        })
        .unwrap();
        assert_eq!(served, (5, 2));
    }
}

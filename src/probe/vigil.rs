//! Waits for a run until its deadline, and notices when it was ourselves who stood still meanwhile.
//!
//! A process that was stopped, or a thread that was kept from running, wakes to deadlines long past and to answers that have
//! been waiting in the socket. Judged by the clock alone, every endpoint would be sick. So what has come is read before
//! the deadline is judged, and the time for which this thread did not run is measured: it wakes several times within a
//! run, and how late each waking is says how long it stood still.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// A stall shorter than this excuses nothing.
const MIN_STALL: Duration = Duration::from_millis(20);
/// How often what has come is read again after the deadline. Each look may need another: connected, written, head, body.
const LAST_LOOKS: usize = 4;

/// How a wait ended.
#[derive(Debug)]
pub(super) struct Ended<T> {
    /// What came of it; `None` if the time ran out.
    pub(super) output: Option<T>,
    /// When.
    pub(super) at: Timestamp,
    /// For how long this thread stood still meanwhile.
    stalled: Duration,
    timeout: Duration,
}

impl<T> Ended<T> {
    /// For how long we stood still, if that was long enough to be why nothing came.
    pub(super) fn stall(&self) -> Option<Duration> {
        (self.stalled > MIN_STALL.max(self.timeout / 4)).then_some(self.stalled)
    }
}

/// The timer of somebody who waits again and again; to make it anew each time would cost more than the waiting.
pub(super) type Timer = Pin<Box<Sleep>>;

/// A timer that is not set.
pub(super) fn timer() -> Timer {
    Box::pin(tokio::time::sleep(Duration::ZERO))
}

/// Sets a timer to a later moment. One that is merely moved on wakes the thread at its old moment all the same.
pub(super) fn put_off(timer: &mut Timer, at: Timestamp) {
    timer.set(tokio::time::sleep_until(clock::instant(at)));
}

/// Runs `work` for at most `timeout`.
pub(super) async fn within<F: Future>(timeout: Duration, timer: &mut Timer, work: F) -> Ended<F::Output> {
    let mut work = pin!(work);
    let mut now = clock::now();
    let deadline = now + timeout;
    let mut stalled = Duration::ZERO;
    let mut output = None;
    while output.is_none() && now < deadline {
        let due = deadline.min(now + MIN_STALL.max(timeout / 8));
        output = until(due, timer, work.as_mut()).await;
        now = clock::now();
        stalled += now.since(due);
    }
    for _ in 0..LAST_LOOKS {
        if output.is_none() {
            output = look(work.as_mut()).await;
            now = clock::now();
        }
    }
    Ended { output, at: now, stalled, timeout }
}

async fn until<F: Future>(due: Timestamp, timer: &mut Timer, mut work: Pin<&mut F>) -> Option<F::Output> {
    timer.as_mut().reset(clock::instant(due));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Lets the system tell what has come, and the work read it.
async fn look<F: Future>(work: Pin<&mut F>) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = work => Some(output),
        () = tokio::task::yield_now() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{task, thread::block_on};

    const TIMEOUT: Duration = Duration::from_millis(100);

    /// Keeps the thread from running, as a stopped process is kept.
    fn stand_still(span: Duration) {
        std::thread::sleep(span);
    }

    #[test]
    fn work_that_ends_in_time_is_told_and_excuses_nothing() {
        block_on(async {
            let ended = within(Duration::from_secs(60), &mut timer(), async { 7 }).await;
            assert_eq!((ended.output, ended.stall()), (Some(7), None));
        })
        .unwrap();
    }

    #[test]
    fn time_runs_out_at_the_deadline_and_not_before() {
        block_on(async {
            let start = clock::now();
            let ended = within(TIMEOUT, &mut timer(), std::future::pending::<()>()).await;
            assert!(ended.output.is_none());
            assert!(clock::now().since(start) >= TIMEOUT);
        })
        .unwrap();
    }

    #[test]
    fn a_stall_is_an_excuse_from_a_quarter_of_the_timeout_on() {
        let check = |timeout: u64, stalled: u64, excused: bool| {
            let [timeout, stalled] = [timeout, stalled].map(Duration::from_millis);
            let ended = Ended::<()> { output: None, at: Timestamp::ZERO, stalled, timeout };
            assert_eq!(ended.stall(), excused.then_some(stalled), "{stalled:?} of {timeout:?}");
        };
        check(1000, 250, false);
        check(1000, 251, true);
        check(40, 11, false);
        check(40, 20, false);
        check(40, 21, true);
    }

    #[test]
    fn standing_still_past_the_deadline_is_measured() {
        block_on(async {
            let stop = task::spawn(async { stand_still(5 * TIMEOUT) });
            let ended = within(TIMEOUT, &mut timer(), std::future::pending::<()>()).await;
            stop.await.unwrap();
            assert!(ended.stall().is_some_and(|stall| stall > 3 * TIMEOUT), "{ended:?}");
        })
        .unwrap();
    }

    #[test]
    fn standing_still_within_the_deadline_is_measured() {
        block_on(async {
            let stop = task::spawn(async { stand_still(TIMEOUT) });
            let ended = within(2 * TIMEOUT, &mut timer(), std::future::pending::<()>()).await;
            stop.await.unwrap();
            assert!(ended.stall().is_some(), "{ended:?}");
        })
        .unwrap();
    }

    #[test]
    fn what_came_while_we_stood_still_is_read_first() {
        block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut other, _) = listener.accept().await.unwrap();
            let stop = task::spawn(async move {
                use std::io::Write;
                let mut other = other_std(&mut other);
                stand_still(5 * TIMEOUT);
                other.write_all(b"late but there").unwrap();
            });
            let work = async {
                use tokio::io::AsyncReadExt;
                let mut bytes = [0; 14];
                stream.read_exact(&mut bytes).await.map(|_| bytes)
            };
            let ended = within(TIMEOUT, &mut timer(), work).await;
            assert_eq!(&ended.output.unwrap().unwrap(), b"late but there");
            stop.await.unwrap();
        })
        .unwrap();
    }

    /// The same socket for writing without the runtime, which stands still.
    fn other_std(stream: &mut tokio::net::TcpStream) -> std::net::TcpStream {
        socket2::SockRef::from(&*stream).try_clone().unwrap().into()
    }
}

//! What an HTTP/2 connection is doing: how many exchanges are on it, what its frames cost, and until when it may rest.
//!
//! Over HTTP/2 a client can make work without asking for anything: frames that must be read and answered, requests that are
//! taken back at once. Every such frame is charged to the connection's account.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::config::model::ListenerLimits;
use crate::proxy::account::Account;
use crate::proxy::frames::{Event, Frames};
use crate::runtime::clock;
use crate::runtime::timer::Deadline;

/// What an account holds at most, and at first, in frames.
const CREDIT: u32 = 2000;
/// What a second adds: so many control frames a second cost us nothing worth mentioning.
const CREDIT_PER_SECOND: u32 = 200;
/// What an exchange that was answered adds.
const CREDIT_PER_EXCHANGE: u32 = 20;
/// What a piece of an answer adds: whoever takes it may make the windows of its stream and of the connection wider, and measure by
/// a ping how soon that is heard.
const CREDIT_PER_PIECE: u32 = 4;
/// What a request costs that its client takes back at once. It has cost a head, a pick and perhaps a connection.
const HASTE: u32 = 10;
/// How long an exchange must have lasted for its end by the client to be free.
const HASTY: Duration = Duration::from_millis(100);

/// An HTTP/2 connection's doings.
#[derive(Debug)]
pub(crate) struct Streams {
    active: Cell<usize>,
    /// Until when a head, or the connection's first frames, must be there.
    pub(crate) head: Deadline,
    /// Until when there must be an exchange.
    pub(crate) idle: Deadline,
    frames: Cell<Frames>,
    account: Account,
    head_timeout: Duration,
    keepalive_timeout: Duration,
}

impl Streams {
    /// A connection whose first bytes are waited for.
    pub(crate) fn new(limits: &ListenerLimits) -> Rc<Self> {
        let now = clock::now();
        let streams = Self {
            active: Cell::new(0),
            head: Deadline::unset(),
            idle: Deadline::unset(),
            frames: Cell::new(Frames::before_preface()),
            account: Account::new(CREDIT, CREDIT_PER_SECOND, now),
            head_timeout: limits.head_timeout,
            keepalive_timeout: limits.keepalive_timeout,
        };
        streams.head.set(now + limits.head_timeout);
        Rc::new(streams)
    }

    /// Whether any exchange is going on.
    pub(crate) fn is_active(&self) -> bool {
        self.active.get() > 0
    }

    /// Whether several exchanges are going on.
    pub(crate) fn are_several(&self) -> bool {
        self.active.get() > 1
    }

    /// Whether the client sends what costs more than it is worth.
    pub(crate) fn is_flooded(&self) -> bool {
        self.account.is_overdrawn()
    }

    /// An exchange begins.
    pub(crate) fn begin(&self) {
        self.active.set(self.active.get() + 1);
        self.idle.set(Timestamp::NEVER);
    }

    /// An exchange has ended; `left` if the client took it back, with how long it had lasted.
    pub(crate) fn end(&self, now: Timestamp, left: Option<Duration>) {
        self.active.set(self.active.get().saturating_sub(1));
        if !self.is_active() {
            self.idle.set(now + self.keepalive_timeout);
        }
        match left {
            None => self.account.refund(CREDIT_PER_EXCHANGE),
            Some(lasted) if lasted < HASTY => self.account.charge(HASTE),
            Some(_) => {}
        }
    }

    /// A piece of an answer goes out.
    pub(crate) fn give(&self) {
        self.account.advance(CREDIT_PER_PIECE);
    }

    /// The connection is to be closed. While no exchange is going on, it stays only so long.
    pub(crate) fn leave(&self, idle_grace: Duration) {
        if !self.is_active() {
            self.idle.set(clock::now() + idle_grace);
        }
    }

    /// Bytes have come.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut frames = self.frames.get();
        frames.read(bytes, |event| self.note(event));
        self.frames.set(frames);
    }

    /// Bytes have gone.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.account.wrote(bytes);
    }

    fn note(&self, event: Event) {
        match event {
            Event::Started => {
                self.head.set(Timestamp::NEVER);
                if !self.is_active() {
                    self.idle.set(clock::now() + self.keepalive_timeout);
                }
            }
            Event::HeadBegun => self.head.set(clock::now() + self.head_timeout),
            Event::HeadEnded => self.head.set(Timestamp::NEVER),
            Event::Overhead => self.account.charge(1),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::proxy::account::BYTES_PER_FRAME;
    use crate::runtime::thread::block_on;

    /// Of a listener that nobody tries out.
    pub(crate) fn limits() -> ListenerLimits {
        ListenerLimits {
            connections: 1,
            handshakes: 1,
            streams: 1,
            head_bytes: 1,
            head_count: 1,
            head_timeout: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(75),
        }
    }

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn overhead_alone_empties_the_account_and_useful_traffic_fills_it() {
        block_on(async {
            let streams = Streams::new(&limits());
            streams.read(PREFACE);
            for _ in 0..CREDIT {
                streams.read(&PING);
            }
            assert!(!streams.is_flooded());
            streams.wrote(CREDIT as usize * BYTES_PER_FRAME);
            for _ in 0..CREDIT {
                streams.read(&PING);
            }
            assert!(!streams.is_flooded());
            for _ in 0..CREDIT {
                streams.read(&PING);
            }
            assert!(streams.is_flooded());
        })
        .unwrap();
    }

    #[test]
    fn requests_taken_back_at_once_are_charged_and_patient_ones_are_not() {
        block_on(async {
            let lives = |left: Option<Duration>| {
                let streams = Streams::new(&limits());
                for _ in 0..10_000 {
                    streams.begin();
                    streams.end(clock::now(), left);
                }
                !streams.is_flooded()
            };
            assert!(lives(None));
            assert!(lives(Some(HASTY)));
            assert!(!lives(Some(Duration::ZERO)));
        })
        .unwrap();
    }
}

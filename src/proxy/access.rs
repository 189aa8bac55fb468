//! The access log as the request path sees it: a line's worth of facts, and a bounded queue that is never waited for.
//!
//! A log that is written by whoever serves stops serving when its disk or its reader stops. Here a worker lays lines out in
//! memory and hands over many at a time, without waking a thread; what finds no place is dropped and counted.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

use crate::base::time::WallTime;
use crate::cluster::Reporter;
use crate::config::model::AccessFormat;
use crate::proxy::access_line;
use crate::traffic::added::{Added, REQUEST_ID, TRACEPARENT};

/// A worker hands its lines over when there are so many bytes of them, and takes no more on beyond the second number.
const ENOUGH: usize = 64 * 1024;
const MOST: usize = 128 * 1024;
/// So many pieces may wait to be written.
const PIECES: usize = 128;

/// What a line says of one exchange.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at: WallTime,
    /// Its address, if it has one.
    pub(crate) client: Option<HeaderValue>,
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) listener: Arc<str>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) cluster: Option<Arc<str>>,
    /// Whose answer was passed on.
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) status: u16,
    /// The Proxy-Status error, if the answer is ours.
    pub(crate) error: Option<&'static str>,
    /// Of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
    pub(crate) attempts: usize,
}

impl Record {
    /// What the head of a request says.
    pub(crate) fn begin(request: &Parts, client: Option<HeaderValue>, listener: &Arc<str>, at: WallTime) -> Box<Self> {
        let header = |name: HeaderName| request.headers.get(name).cloned();
        Box::new(Self {
            at,
            client,
            method: request.method.clone(),
            target: request.uri.clone(),
            version: request.version,
            host: header(header::HOST),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            request_id: None,
            traceparent: None,
            listener: Arc::clone(listener),
            route: None,
            cluster: None,
            endpoint: None,
            status: 0,
            error: None,
            bytes: 0,
            duration: Duration::ZERO,
            attempts: 0,
        })
    }

    /// The request goes to an endpoint with these headers; the ids in them, or beside them, were kept or made.
    pub(crate) fn sent(&mut self, headers: &HeaderMap, added: Option<&Added>) {
        let header = |name| headers.get(name).cloned();
        self.request_id = added.map_or_else(|| header(&REQUEST_ID), |added| Some(added.ids.request_id()));
        self.traceparent = added.map_or_else(|| header(&TRACEPARENT), |added| Some(added.ids.traceparent()));
    }
}

/// The workers' end of the queue.
#[derive(Debug)]
pub struct AccessLog {
    /// How lines look, and for which page they are; 0 for none.
    turn: AtomicU32,
    queue: SyncSender<Lines>,
}

/// Some lines, all of them for one page.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) turn: Turn,
    pub(super) bytes: Vec<u8>,
    pub(super) count: u64,
}

/// Which page lines are for and how they look, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn(u32);

impl Turn {
    /// The one after this, for lines that look like that.
    pub(super) const fn next(self, format: AccessFormat) -> Self {
        let number = (self.0 >> 2).wrapping_add(1) << 2;
        match format {
            AccessFormat::Json => Self(number + 1),
            AccessFormat::Combined => Self(number + 2),
        }
    }

    const fn format(self) -> Option<AccessFormat> {
        match self.0 & 3 {
            1 => Some(AccessFormat::Json),
            2 => Some(AccessFormat::Combined),
            _ => None,
        }
    }
}

/// The other end.
pub(super) type Waiting = Receiver<Lines>;

impl AccessLog {
    /// A log that nobody writes as yet, and what would be written.
    pub(super) fn queue() -> (Self, Waiting) {
        let (queue, waiting) = sync_channel(PIECES);
        (Self { turn: AtomicU32::new(0), queue }, waiting)
    }

    /// A log that is never written.
    #[must_use]
    pub fn off() -> Self {
        Self::queue().0
    }

    pub(super) fn turn(&self, turn: Turn) {
        self.turn.store(turn.0, Relaxed);
    }

    fn current(&self) -> Turn {
        Turn(self.turn.load(Relaxed))
    }
}

/// Where one worker writes its lines, until there are enough of them to hand over.
#[derive(Debug)]
pub(crate) struct Sheet {
    log: Arc<AccessLog>,
    lines: RefCell<Lines>,
    reporter: Reporter,
}

impl Sheet {
    pub(crate) fn new(log: Arc<AccessLog>, reporter: Reporter) -> Self {
        Self { log, lines: RefCell::default(), reporter }
    }

    /// Whether anybody wants lines.
    pub(crate) fn is_wanted(&self) -> bool {
        self.log.current().format().is_some()
    }

    /// Adds a line, if anybody still wants it. One for which there is no room is counted.
    pub(crate) fn write(&self, record: &Record) {
        let mut lines = self.lines.borrow_mut();
        let turn = self.log.current();
        let Some(format) = turn.format() else { return };
        if lines.count > 0 && (lines.turn != turn || lines.bytes.len() >= ENOUGH) {
            self.hand_over(&mut lines);
        }
        if lines.count > 0 && (lines.turn != turn || lines.bytes.len() >= MOST) {
            return self.reporter.missed_lines(1);
        }
        lines.turn = turn;
        lines.count += 1;
        access_line::write(record, format, &mut lines.bytes);
    }

    /// Hands over what there is, as is done some fifty times a second. What finds no place waits for the next time.
    pub(crate) fn send(&self) {
        let mut lines = self.lines.borrow_mut();
        if lines.count > 0 {
            self.hand_over(&mut lines);
        }
    }

    /// Whether any line waits to be handed over.
    pub(crate) fn has_lines(&self) -> bool {
        self.lines.borrow().count > 0
    }

    fn hand_over(&self, lines: &mut Lines) {
        let room = Vec::with_capacity(lines.bytes.len().next_power_of_two().min(ENOUGH * 2));
        let full = std::mem::replace(lines, Lines { bytes: room, ..Lines::default() });
        if let Err(TrySendError::Full(full) | TrySendError::Disconnected(full)) = self.log.queue.try_send(full) {
            *lines = full;
        }
    }
}

impl Drop for Sheet {
    fn drop(&mut self) {
        self.send();
        self.reporter.missed_lines(self.lines.get_mut().count);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::cluster::{Dropped, signals};

    fn record(target: &str) -> Box<Record> {
        let head = Request::builder().uri(target).body(()).unwrap().into_parts().0;
        Record::begin(&head, None, &"web".into(), WallTime::from_unix_millis(0))
    }

    fn sheet() -> (Sheet, Waiting, Arc<Dropped>) {
        let dropped = Arc::<Dropped>::default();
        let (log, waiting) = AccessLog::queue();
        (Sheet::new(Arc::new(log), signals(Arc::clone(&dropped)).0), waiting, dropped)
    }

    #[test]
    fn lines_go_out_by_pages_and_look_as_their_page_wants() {
        let (sheet, waiting, dropped) = sheet();
        assert!(!sheet.is_wanted());
        let json = Turn::default().next(AccessFormat::Json);
        let combined = json.next(AccessFormat::Combined);
        sheet.log.turn(json);
        assert!(sheet.is_wanted());
        sheet.write(&record("/1"));
        sheet.write(&record("/2"));
        sheet.log.turn(combined);
        sheet.write(&record("/3"));
        sheet.send();
        sheet.send();
        let text = |lines: Lines| (lines.turn, lines.count, String::from_utf8(lines.bytes).unwrap());
        let (turn, count, first) = text(waiting.try_recv().unwrap());
        assert_eq!((turn, count, first.lines().count()), (json, 2, 2));
        assert!(first.starts_with('{') && first.contains("\"/1\"") && first.contains("\"/2\""), "{first}");
        let (turn, count, second) = text(waiting.try_recv().unwrap());
        assert_eq!((turn, count), (combined, 1));
        assert!(second.contains("\"GET /3 HTTP/1.1\""), "{second}");
        assert!(waiting.try_recv().is_err());
        sheet.log.turn(Turn::default());
        sheet.write(&record("/4"));
        sheet.send();
        assert!(waiting.try_recv().is_err(), "it was begun while there was a log, and ended when nobody wanted it");
        assert_eq!(dropped.access_log.load(Relaxed), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_grows() {
        let (sheet, waiting, dropped) = sheet();
        sheet.log.turn(Turn::default().next(AccessFormat::Json));
        let long = record(&format!("/{}", "x".repeat(ENOUGH / 2)));
        for _ in 0..PIECES * 2 + 100 {
            sheet.write(&long);
        }
        assert!(sheet.lines.borrow().bytes.len() <= MOST + ENOUGH);
        let kept = sheet.lines.borrow().count;
        drop(sheet);
        let handed: u64 = waiting.try_iter().map(|lines| lines.count).sum();
        assert!(dropped.access_log.load(Relaxed) > 50);
        assert_eq!(handed + dropped.access_log.load(Relaxed), (PIECES * 2 + 100) as u64, "{kept}");
    }
}

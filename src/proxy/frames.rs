//! The frames of an HTTP/2 connection as they come, by their heads alone (RFC 9113, section 4.1).
//!
//! hyper reads them; this only counts along, since hyper tells neither how long a head has been on its way nor how many
//! frames carried nothing.

/// The client's first bytes, before any frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What is worth knowing about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The preface and the first frame are there.
    Started,
    /// A head has begun and is not all there.
    HeadBegun,
    /// It is all there.
    HeadEnded,
    /// A frame that carries no head and no part of a body.
    Overhead,
}

/// Where a connection is between frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: usize,
    started: bool,
    /// Whether the frame that is on its way is part of a head, and its last.
    in_head: bool,
    ends_head: bool,
    /// Whether a head has begun and is not all there.
    open_head: bool,
}

impl Frames {
    /// A connection on which nothing has come.
    pub(crate) const fn before_preface() -> Self {
        Self {
            preface: PREFACE.len(),
            head: [0; HEAD],
            have: 0,
            payload: 0,
            started: false,
            in_head: false,
            ends_head: false,
            open_head: false,
        }
    }

    /// A connection of our own making, on which nothing has come: who answers has no preface.
    pub(crate) const fn of_answers() -> Self {
        Self { preface: 0, ..Self::before_preface() }
    }

    /// Whether a head has begun and is not all there. Nothing else may come before its end.
    pub(crate) const fn is_within_head(&self) -> bool {
        self.open_head
    }

    /// Takes in what has come next.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Event)) {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = self.payload.min(bytes.len());
                self.payload -= passed;
                bytes = &bytes[passed..];
            } else {
                let taken = (HEAD - self.have).min(bytes.len());
                self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < HEAD {
                    return;
                }
                self.have = 0;
                self.begin(&mut tell);
            }
            if self.payload == 0 {
                self.end(&mut tell);
            }
        }
    }

    fn begin(&mut self, tell: &mut impl FnMut(Event)) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let empty = self.payload == 0;
        let overhead = match kind {
            DATA => empty && flags & END_STREAM == 0,
            HEADERS => false,
            _ => true,
        };
        if overhead {
            tell(Event::Overhead);
        }
        if kind == HEADERS {
            self.open_head = true;
            tell(Event::HeadBegun);
        }
        self.in_head = kind == HEADERS || kind == CONTINUATION;
        self.ends_head = self.in_head && flags & END_HEADERS != 0;
    }

    fn end(&mut self, tell: &mut impl FnMut(Event)) {
        if !self.started {
            self.started = true;
            tell(Event::Started);
        }
        if std::mem::take(&mut self.ends_head) {
            self.open_head = false;
            tell(Event::HeadEnded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![7; payload]].concat()
    }

    fn told(bytes: &[u8], piece: usize) -> Vec<Event> {
        let mut frames = Frames::before_preface();
        let mut events = Vec::new();
        for piece in bytes.chunks(piece) {
            frames.read(piece, |event| events.push(event));
        }
        events
    }

    #[test]
    fn frames_are_told_alike_however_they_come() {
        use Event::{HeadBegun, HeadEnded, Overhead, Started};
        let check = |frames: &[Vec<u8>], wanted: &[Event]| {
            let bytes = [PREFACE, &frames.concat()].concat();
            for piece in [1, 2, 9, 10, 1000] {
                assert_eq!(told(&bytes, piece), wanted, "in pieces of {piece}");
            }
        };
        let settings = || frame(4, 0, 12);
        check(&[], &[]);
        check(&[settings()], &[Overhead, Started]);
        check(&[settings(), frame(HEADERS, END_HEADERS, 20)], &[Overhead, Started, HeadBegun, HeadEnded]);
        check(
            &[settings(), frame(HEADERS, 0, 5), frame(CONTINUATION, 0, 0), frame(CONTINUATION, END_HEADERS, 3)],
            &[Overhead, Started, HeadBegun, Overhead, Overhead, HeadEnded],
        );
        check(&[settings(), frame(DATA, 0, 70_000)], &[Overhead, Started]);
        check(&[settings(), frame(DATA, 0, 0), frame(DATA, END_STREAM, 0)], &[Overhead, Started, Overhead]);
    }
}

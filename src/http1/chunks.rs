//! The chunked coding (RFC 9112, section 7.1), read strictly: hexadecimal digits, an extension that is passed over, CR LF,
//! the data, CR LF. Who takes a size or a line end more generously finds the end of a body elsewhere than others do.

use bytes::{Buf, Bytes};
use http::HeaderMap;

use crate::http1::fault::Fault;
use crate::http1::trailers;

/// Digits that a size may have, leading zeros included.
const MAX_DIGITS: u8 = 16;
/// Bound of all extensions of a body, with the spaces before them, in bytes.
const MAX_EXTENSIONS: u32 = 16 * 1024;

/// How far a chunked body has been read.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// The size that is being read, or what is left of the chunk.
    left: u64,
    digits: u8,
    extensions: u32,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// Spaces after a size.
    Space,
    Extension,
    /// The LF of a size's line.
    SizeLf,
    Data,
    /// The CR after the data.
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// What comes next of a body.
#[derive(Debug)]
pub(super) enum Step {
    /// Data, not empty.
    Data(Bytes),
    /// Trailers, not empty. The body has ended.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// All that was there has been read.
    More,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { state: State::Size, left: 0, digits: 0, extensions: 0, trailers: Vec::new() }
    }

    pub(super) fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Takes from `input` what belongs to the next step. Whatever is left after the end is not the body's.
    pub(super) fn step(&mut self, input: &mut Bytes) -> Result<Step, Fault> {
        loop {
            match self.state {
                State::End => return Ok(Step::End),
                _ if input.is_empty() => return Ok(Step::More),
                State::Data => return Ok(Step::Data(self.data(input))),
                State::Trailers => return self.trailers(input),
                _ => {
                    let byte = input.get_u8();
                    self.state = self.framing(byte)?;
                }
            }
        }
    }

    fn data(&mut self, input: &mut Bytes) -> Bytes {
        let length = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        self.left -= length as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        input.split_to(length)
    }

    /// The state after a byte that is no data.
    fn framing(&mut self, byte: u8) -> Result<State, Fault> {
        const SIZE: Fault = Fault::Malformed("a chunk's size is malformed");
        let extension = Fault::Malformed("a chunk's extension is malformed");
        Ok(match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte).ok_or(SIZE)?,
            (State::Size, _) if self.digits == 0 => return Err(SIZE),
            (State::Size | State::Space | State::Extension, b'\r') => State::SizeLf,
            (State::Size | State::Space, b';') => State::Extension,
            (State::Size | State::Space, b' ' | b'\t') => self.pass_over(State::Space)?,
            (State::Extension, b'\t' | 0x20..=0x7e | 0x80..) => self.pass_over(State::Extension)?,
            (State::Extension, _) => return Err(extension),
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Size
            }
            (State::DataCr | State::DataLf, _) => return Err(Fault::Malformed("a chunk is longer than its size")),
            _ => return Err(SIZE),
        })
    }

    fn digit(&mut self, byte: u8) -> Option<State> {
        let value = char::from(byte).to_digit(16)?;
        self.digits += 1;
        self.left = self.left << 4 | u64::from(value);
        (self.digits <= MAX_DIGITS).then_some(State::Size)
    }

    fn pass_over(&mut self, state: State) -> Result<State, Fault> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Fault::Malformed("the chunks' extensions are too long")) } else { Ok(state) }
    }

    fn trailers(&mut self, input: &mut Bytes) -> Result<Step, Fault> {
        if self.trailers.is_empty() && input.starts_with(b"\r\n") {
            input.advance(2);
            self.state = State::End;
            return Ok(Step::End);
        }
        let before = self.trailers.len();
        let room = trailers::MAX_BYTES - before;
        self.trailers.extend_from_slice(&input[..input.len().min(room)]);
        let grown = &self.trailers[before..];
        let found = if grown.contains(&b'\n') { trailers::read(&self.trailers)? } else { None };
        let Some((fields, length)) = found else {
            return if input.len() < room {
                input.clear();
                Ok(Step::More)
            } else {
                Err(Fault::Malformed("the trailers are too long"))
            };
        };
        input.advance(length - before);
        self.trailers = Vec::new();
        self.state = State::End;
        Ok(if fields.is_empty() { Step::End } else { Step::Trailers(fields) })
    }
}

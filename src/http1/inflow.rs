//! An answer's body: from the bytes on the connection to data and trailers, by the framing that its head gives.

use bytes::Bytes;
use http_body::SizeHint;

use crate::http1::chunks::{Chunks, Step};
use crate::http1::fault::Fault;

/// How an answer's body ends, and how far it has been read.
#[derive(Debug)]
pub(super) enum Inflow {
    /// After so many more bytes; at once without a body.
    Length(u64),
    /// With its last chunk.
    Chunked(Chunks),
    /// With the connection.
    ToEnd,
    /// It has ended with the connection.
    Ended,
}

impl Inflow {
    /// Whether all of it has been read.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_end(),
            Self::ToEnd => false,
            Self::Ended => true,
        }
    }

    /// How many bytes are left, if that is known and they are nothing but the body.
    pub(super) const fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::ToEnd | Self::Ended => None,
        }
    }

    /// So many of them have been taken by somebody else.
    pub(super) const fn pass(&mut self, length: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(length);
        }
    }

    /// Takes from `input` what comes next. What is left after the end is not the body's.
    pub(super) fn step(&mut self, input: &mut Bytes) -> Result<Step, Fault> {
        match self {
            Self::Length(0) | Self::Ended => Ok(Step::End),
            Self::Chunked(chunks) => chunks.step(input),
            _ if input.is_empty() => Ok(Step::More),
            Self::Length(left) => {
                let length = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= length as u64;
                Ok(Step::Data(input.split_to(length)))
            }
            Self::ToEnd => Ok(Step::Data(std::mem::take(input))),
        }
    }

    /// The connection has ended. False if the body has not.
    pub(super) fn end(&mut self) -> bool {
        if matches!(self, Self::ToEnd) {
            *self = Self::Ended;
        }
        self.is_end()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::ToEnd => SizeHint::default(),
            Self::Ended => SizeHint::with_exact(0),
        }
    }
}

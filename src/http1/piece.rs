//! What one read brings, as bytes that can be handed on.
//!
//! All connections of a thread read into one buffer. Little is copied out of it, so that a small piece holds on to no more
//! memory than it needs while a slow client keeps it; much is handed on as it is, and the next read gets a new buffer.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once, in bytes: a body of 64 KiB with its head, as many services answer in pieces of that size.
const PIECE: usize = 72 * 1024;
/// From this size on a piece is handed on instead of copied. What a piece holds on to is at most four times its size.
const WORTH_KEEPING: usize = PIECE / 4;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// Reads what is there, at most 72 KiB, and looks at it in its place. Gives it away only if `look` makes nothing of it: all of it,
/// or nothing at the end.
pub(super) fn poll_look<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    cx: &mut Context<'_>,
    look: impl FnOnce(&[u8]) -> Option<T>,
) -> Poll<io::Result<Result<T, Bytes>>> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = ready!(poll_fill(stream, buffer, cx))?;
        Poll::Ready(Ok(match look(buffer) {
            Some(found) => {
                buffer.clear();
                Ok(found)
            }
            None => Err(taken(buffer, length)),
        }))
    })
}

/// Reads what is there, at most 72 KiB; nothing at the end.
pub(super) fn poll_read<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = ready!(poll_fill(stream, buffer, cx))?;
        Poll::Ready(Ok(taken(buffer, length)))
    })
}

fn poll_fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if buffer.capacity() < PIECE {
        buffer.reserve(PIECE);
    }
    pin!(stream.read_buf(buffer)).poll(cx)
}

fn taken(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length < WORTH_KEEPING {
        let piece = Bytes::copy_from_slice(buffer);
        buffer.clear();
        piece
    } else {
        buffer.split().freeze()
    }
}

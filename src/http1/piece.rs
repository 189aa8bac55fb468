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

/// How much is read at once, in bytes.
const PIECE: usize = 64 * 1024;
/// From this size on a piece is handed on instead of copied. What a piece holds on to is at most four times its size.
const WORTH_KEEPING: usize = PIECE / 4;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// Reads what is there, at most 64 KiB; nothing at the end.
pub(super) fn poll_read<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.capacity() < PIECE {
            buffer.reserve(PIECE);
        }
        let read = pin!(stream.read_buf(buffer)).poll(cx);
        let length = ready!(read)?;
        Poll::Ready(Ok(if length < WORTH_KEEPING {
            let piece = Bytes::copy_from_slice(buffer);
            buffer.clear();
            piece
        } else {
            buffer.split().freeze()
        }))
    })
}

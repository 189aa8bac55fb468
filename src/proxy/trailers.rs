//! Trailers that come with a body as it passes, in either direction: what may not stand there is taken out.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// A frame of a body, with its trailers put right by `clean` if that is what it holds.
pub(super) fn passable(frame: Frame<Bytes>, clean: fn(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

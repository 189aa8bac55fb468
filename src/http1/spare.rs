//! Header maps that have done their service, for the next answer: the map of a request becomes that of an answer, which
//! hyper takes over and fills with the next request, so that a busy thread makes none.

use std::cell::RefCell;

use http::HeaderMap;

/// How many are kept on a thread.
const MAX_KEPT: usize = 16;
/// One that has grown larger is not kept; in header lines.
const MAX_LINES: usize = 96;
/// Room of a new one: for an ordinary answer, and an ordinary request with what is added to it.
const LINES: usize = 12;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map with room for so many lines.
pub(super) fn take(lines: usize) -> HeaderMap {
    let kept = SPARE.with_borrow_mut(Vec::pop).filter(|map| map.capacity() >= lines);
    kept.unwrap_or_else(|| HeaderMap::with_capacity(lines.max(LINES)))
}

/// Hands over a map that is no longer needed.
pub fn recycle(mut headers: HeaderMap) {
    if headers.capacity() > MAX_LINES || headers.capacity() < LINES {
        return;
    }
    headers.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MAX_KEPT {
            spare.push(headers);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_map_that_is_handed_over_comes_back_empty() {
        let mut map = HeaderMap::with_capacity(20);
        map.insert("x", HeaderValue::from_static("1"));
        let room = map.capacity();
        recycle(map);
        let again = take(5);
        assert_eq!((again.len(), again.capacity()), (0, room));
        assert!(take(5).capacity() >= 5);
        recycle(HeaderMap::with_capacity(1000));
        assert!(take(5).capacity() < 1000);
    }
}

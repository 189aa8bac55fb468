//! Waiting for something that another process must do: looked at again and again, for so long and no longer.

use std::time::Duration;

use pulsegate::runtime::clock;

/// Between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Long enough for anything that must happen at all, even on a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is something to see, and gives it with the time it took. Fails if that is over `limit`.
#[track_caller]
pub(crate) fn until<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> (T, Duration) {
    let began = clock::now();
    loop {
        let seen = look();
        let took = clock::now().since(began);
        match seen {
            Some(seen) => return (seen, took),
            None => assert!(took < limit, "not within {limit:?}: {what}"),
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

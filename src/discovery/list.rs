//! A file with a list of endpoints in YAML or JSON, as a cluster's `endpoints` would have it.
//!
//! It is looked at a few times a second rather than watched: that works on every file system, follows a link that is swapped,
//! and costs a system call. A file may be seen while it is being written, and half a list is a list too, so a change counts
//! once the file has stayed as it is from one look to the next.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::config::model::Endpoint;
use crate::discovery::Teller;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(250);

/// What tells one state of a file from another: device, inode, size, and the times of its last changes.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// Looks for ever.
pub(super) async fn watch(file: Arc<Path>, mut teller: Teller) {
    let (mut seen, mut told) = (None, None);
    loop {
        let now = stamp(Arc::clone(&file)).await;
        let stays = seen.as_ref() == Some(&now) || seen.is_none();
        if stays && told.as_ref() != Some(&now) {
            teller.tell(read(Arc::clone(&file)).await).await;
            told = Some(now.clone());
        }
        seen = Some(now);
        tokio::time::sleep(LOOK).await;
    }
}

/// How the file is now, or why that cannot be told.
async fn stamp(file: Arc<Path>) -> Result<Stamp, String> {
    let look = tokio::task::spawn_blocking(move || std::fs::metadata(&file)).await;
    let found = look.map_err(io::Error::other).and_then(|found| found).map_err(|error| error.to_string())?;
    let (changed, made) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Ok((found.dev(), found.ino(), found.size(), changed, made))
}

async fn read(file: Arc<Path>) -> Result<Vec<Endpoint>, String> {
    let read = tokio::task::spawn_blocking(move || config::load_endpoints(&file).map_err(|problems| problems.to_string()));
    read.await.map_err(|error| error.to_string())?
}

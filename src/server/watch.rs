//! Notices that the configuration file has changed, for `watch: true`.
//!
//! Editors rename a new file over the old one, and container platforms swap a symbolic link somewhere on the way to it. So
//! it is the folders on that way that are watched, and whatever happens in them, it is the text that says whether anything
//! has changed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};

use crate::control::Handle;
use crate::runtime::thread;

/// How long a file is left alone after something happened, so that who writes it piece by piece comes to an end.
const SETTLE: Duration = Duration::from_millis(100);
/// As many links as the system follows.
const LINKS: usize = 40;
/// Largest text that is compared; a configuration that may be loaded is smaller.
const MAX_TEXT: u64 = 16 << 20;

/// The watch; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct FileWatch {
    file: PathBuf,
    _end: oneshot::Sender<()>,
}

impl FileWatch {
    /// Watches a file from now on; a change is a reload.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(file: &Path, handle: Handle) -> io::Result<Self> {
        let file = std::path::absolute(file)?;
        let (end, ended) = oneshot::channel();
        let watched = file.clone();
        // It ends by itself when it is told to; nobody waits for it.
        drop(thread::spawn("watch", move || async move {
            tokio::select! {
                result = watch(&watched, &handle) => {
                    if let Err(error) = result {
                        tracing::error!(%error, file = %watched.display(), "the configuration file is not watched any more");
                    }
                }
                _ = ended => {}
            }
        })?);
        Ok(Self { file, _end: end })
    }

    /// Whether it is this file that is watched.
    pub(super) fn is_of(&self, file: &Path) -> bool {
        std::path::absolute(file).is_ok_and(|file| file == self.file)
    }
}

async fn watch(file: &Path, handle: &Handle) -> notify::Result<()> {
    // One word is enough: whoever hears it looks at everything.
    let (happened, mut happenings) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that it is said already.
            let _ = happened.try_send(());
        }
    })?;
    let mut watched = BTreeSet::new();
    rewatch(&mut watcher, file, &mut watched)?;
    let mut known = read(file);
    loop {
        if happenings.recv().await.is_none() {
            return Ok(());
        }
        tokio::time::sleep(SETTLE).await;
        // What happens from here on is heard again.
        let _ = happenings.try_recv();
        rewatch(&mut watcher, file, &mut watched)?;
        let now = read(file);
        // A file that cannot be read is being swapped, or will be missed by whoever removed it.
        if now.is_some() && now != known {
            known = now;
            tracing::info!(file = %file.display(), "the configuration file has changed");
            // Control logs what came of it.
            drop(handle.reload().await);
        }
    }
}

/// Watches the folders on the way to the file as it is now. A folder that was replaced by another of its name is watched anew.
fn rewatch(watcher: &mut RecommendedWatcher, file: &Path, watched: &mut BTreeSet<PathBuf>) -> notify::Result<()> {
    for folder in std::mem::take(watched) {
        // One that is gone is not watched any more.
        drop(watcher.unwatch(&folder));
    }
    for folder in folders(file) {
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => drop(watched.insert(folder)),
            // It may come back: then something happens in the folder above.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The folders whose entries decide which text the path leads to: those of every link on the way, and of the file.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut file = file.to_owned();
    for _ in 0..LINKS {
        found.extend(file.parent().map(Path::to_owned));
        let Some(next) = without_first_link(&file, &mut found) else { break };
        file = next;
    }
    found
}

/// The path with its first link replaced by what that leads to, whose folder is noted; `None` if there is no link in it.
fn without_first_link(path: &Path, found: &mut BTreeSet<PathBuf>) -> Option<PathBuf> {
    let mut way = PathBuf::new();
    let mut rest = path.components();
    while let Some(component) = rest.next() {
        if component == Component::ParentDir {
            way.pop();
            continue;
        }
        let folder = way.clone();
        way.push(component);
        if let Ok(target) = std::fs::read_link(&way) {
            found.insert(folder.clone());
            return Some(folder.join(target).join(rest.as_path()));
        }
    }
    None
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(file).ok()?;
    io::Read::read_to_end(&mut io::Read::take(file, MAX_TEXT), &mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_folder_on_the_way_is_found() {
        let top = std::env::temp_dir().join(format!("pulsegate-watch-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/first")).unwrap();
        std::fs::create_dir_all(top.join("b")).unwrap();
        std::fs::write(top.join("a/first/file"), "x").unwrap();
        symlink("first", top.join("a/current")).unwrap();
        symlink("../a/current/file", top.join("b/file")).unwrap();
        let top = top.canonicalize().unwrap();
        let found = folders(&top.join("b/file"));
        for wanted in ["b", "a", "a/first"] {
            assert!(found.contains(&top.join(wanted)), "{wanted}: {found:?}");
        }
        // Links that lead round in circles end.
        symlink("round", top.join("round")).unwrap();
        assert!(folders(&top.join("round")).contains(&top));
        std::fs::remove_dir_all(top).unwrap();
    }
}

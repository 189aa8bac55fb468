//! The thread that writes the access log: many lines at a time, to where it is told, and anew when a file was renamed.
//!
//! While there is anything to write to, it looks for lines by itself, some fifty times a second, so that no worker has to wake it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::model::{self, AccessFormat, AccessTarget};
use crate::proxy::access::{AccessLog, Records};
use crate::proxy::access_line;

/// Between two looks for lines.
const PAUSE: Duration = Duration::from_millis(20);
/// So many looks between two at the file itself, which somebody may have renamed.
const LOOKS: u32 = 25;
/// Written at once, in bytes.
const PIECE: usize = 256 * 1024;
/// Words that may wait for the thread.
const WORDS: usize = 16;
/// How long the end waits for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The way to the thread; it ends with this.
#[derive(Debug)]
pub struct Scribe {
    log: Arc<AccessLog>,
    words: SyncSender<Word>,
    ended: Mutex<Receiver<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Word {
    Write(Page),
    Reopen,
    Stop,
    End,
}

/// Where lines go, and how they look.
#[derive(Debug)]
pub struct Page {
    target: AccessTarget,
    format: AccessFormat,
    out: Out,
}

#[derive(Debug)]
enum Out {
    Stdout,
    Stderr,
    File(File),
}

impl Page {
    /// Opens what is configured.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(settings: &model::AccessLog) -> io::Result<Self> {
        let out = match &settings.target {
            AccessTarget::Stdout => Out::Stdout,
            AccessTarget::Stderr => Out::Stderr,
            AccessTarget::File(file) => Out::File(open(file)?),
        };
        Ok(Self { target: settings.target.clone(), format: settings.format, out })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Out::Stderr => io::stderr().write_all(bytes),
            Out::File(file) => file.write_all(bytes),
        }
    }

    /// Opens the file anew if it is not the one of that name any more, or in any case.
    fn follow(&mut self, anyway: bool) {
        let (AccessTarget::File(name), Out::File(file)) = (&self.target, &mut self.out) else { return };
        let known = file.metadata().map(|known| (known.dev(), known.ino()));
        let named = std::fs::metadata(name).map(|named| (named.dev(), named.ino()));
        if !anyway && matches!((&known, &named), (Ok(known), Ok(named)) if known == named) {
            return;
        }
        match open(name) {
            Ok(new) => *file = new,
            Err(error) => tracing::warn!(%error, file = %name.display(), "the access log cannot be opened anew"),
        }
    }
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(file)
}

impl Scribe {
    /// Starts the thread, which writes nothing as yet.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start() -> io::Result<Self> {
        let (log, records) = AccessLog::queue();
        let (words, told) = sync_channel(WORDS);
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            work(&records, &told);
            // Nobody waits if the process ended otherwise.
            let _ = end.try_send(());
        })?;
        Ok(Self { log: Arc::new(log), words, ended: Mutex::new(ended) })
    }

    /// The workers' end.
    #[must_use]
    pub fn log(&self) -> Arc<AccessLog> {
        Arc::clone(&self.log)
    }

    /// Writes there from now on, or nowhere.
    pub fn write(&self, page: Option<Page>) {
        self.log.turn(page.is_some());
        self.say(page.map_or(Word::Stop, Word::Write));
    }

    /// Opens the file anew: it has been renamed.
    pub fn reopen(&self) {
        self.say(Word::Reopen);
    }

    /// Writes what there is and ends; not if nobody takes it.
    pub fn end(&self) {
        self.log.turn(false);
        self.say(Word::End);
        // Late is too late.
        let _ = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LAST_LINES);
    }

    fn say(&self, word: Word) {
        if let Err(TrySendError::Full(word)) = self.words.try_send(word) {
            tracing::warn!(?word, "the access log is stuck");
        }
    }
}

fn work(records: &Records, told: &Receiver<Word>) {
    let mut page: Option<Page> = None;
    let mut looks = 0;
    loop {
        // While nothing is to be written nobody looks: a thread that wakes fifty times a second for nothing is not free.
        let word = match &page {
            Some(_) => told.recv_timeout(PAUSE),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        drain(records, page.as_mut());
        match word {
            Ok(Word::Write(new)) => page = Some(new),
            Ok(Word::Reopen) => page.iter_mut().for_each(|page| page.follow(true)),
            Ok(Word::Stop) => page = None,
            Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => looks += 1,
        }
        if looks >= LOOKS {
            looks = 0;
            if let Some(page) = &mut page {
                page.follow(false);
            }
        }
    }
}

/// Writes every line that waits.
fn drain(records: &Records, mut page: Option<&mut Page>) {
    let mut piece = Vec::new();
    loop {
        let record = records.try_recv();
        if let (Ok(record), Some(page)) = (&record, &page) {
            access_line::write(record, page.format, &mut piece);
        }
        let over = matches!(record, Err(TryRecvError::Empty | TryRecvError::Disconnected));
        if piece.len() >= PIECE || over {
            if let Some(page) = page.as_mut().filter(|_| !piece.is_empty())
                && let Err(error) = page.write(&piece)
            {
                tracing::warn!(%error, "lines of the access log are lost");
            }
            piece.clear();
        }
        if over {
            return;
        }
    }
}

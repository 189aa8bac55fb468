//! The thread that writes the access log: many lines at a time, to where it is told, and anew when a file was renamed.
//!
//! While there is anything to write to, it looks for lines by itself, some fifty times a second, so that no worker has to wake it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::Reporter;
use crate::config::model::{self, AccessFormat, AccessTarget};
use crate::proxy::access::{AccessLog, Turn, Waiting};

/// Between two looks for lines.
const PAUSE: Duration = Duration::from_millis(20);
/// So many looks between two at the file itself, which somebody may have renamed.
const LOOKS: u32 = 25;
/// Words that may wait for the thread.
const WORDS: usize = 16;
/// How long the end waits for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The way to the thread; it ends with this.
#[derive(Debug)]
pub struct Scribe {
    log: Arc<AccessLog>,
    /// Of the latest page.
    turn: Mutex<Turn>,
    words: SyncSender<Word>,
    ended: Mutex<Receiver<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Word {
    Write(Turn, Page),
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

/// The page that is written, and the one before it: some lines that were laid out for that may still come.
#[derive(Debug, Default)]
struct Book {
    now: Option<(Turn, Page)>,
    before: Option<(Turn, Page)>,
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
    /// Starts the thread, which writes nothing as yet. Lines that are lost are told to `reporter`.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start(reporter: Reporter) -> io::Result<Self> {
        let (log, waiting) = AccessLog::queue();
        let (words, told) = sync_channel(WORDS);
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            work(&waiting, &told, &reporter);
            // Nobody waits if the process ended otherwise.
            let _ = end.try_send(());
        })?;
        Ok(Self { log: Arc::new(log), turn: Mutex::default(), words, ended: Mutex::new(ended) })
    }

    /// The workers' end.
    #[must_use]
    pub fn log(&self) -> Arc<AccessLog> {
        Arc::clone(&self.log)
    }

    /// Writes there from now on, or nowhere.
    pub fn write(&self, page: Option<Page>) {
        let Some(page) = page else {
            self.log.turn(Turn::default());
            return self.say(Word::Stop);
        };
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        *turn = turn.next(page.format);
        let next = *turn;
        // The page is there before the first line for it.
        self.say(Word::Write(next, page));
        self.log.turn(next);
    }

    /// Opens the file anew: it has been renamed.
    pub fn reopen(&self) {
        self.say(Word::Reopen);
    }

    /// Writes what there is and ends; not if nobody takes it.
    pub fn end(&self) {
        self.log.turn(Turn::default());
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

impl Book {
    fn turn(&mut self, page: Option<(Turn, Page)>) {
        self.before = std::mem::replace(&mut self.now, page).or_else(|| self.before.take());
    }

    fn page(&mut self, turn: Turn) -> Option<&mut Page> {
        [&mut self.now, &mut self.before].into_iter().flatten().find(|(of, _)| *of == turn).map(|(_, page)| page)
    }

    fn follow(&mut self, anyway: bool) {
        if let Some((_, page)) = &mut self.now {
            page.follow(anyway);
        }
    }
}

fn work(waiting: &Waiting, told: &Receiver<Word>, reporter: &Reporter) {
    let mut book = Book::default();
    let mut looks = 0;
    loop {
        // While nothing is to be written nobody looks: a thread that wakes fifty times a second for nothing is not free.
        let word = match &book.now {
            Some(_) => told.recv_timeout(PAUSE),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        drain(waiting, &mut book, reporter);
        match word {
            Ok(Word::Write(turn, page)) => book.turn(Some((turn, page))),
            Ok(Word::Reopen) => book.follow(true),
            Ok(Word::Stop) => book.turn(None),
            Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => looks += 1,
        }
        if looks >= LOOKS {
            looks = 0;
            book.follow(false);
        }
    }
}

/// Writes every line that waits.
fn drain(waiting: &Waiting, book: &mut Book, reporter: &Reporter) {
    for lines in waiting.try_iter() {
        let Some(page) = book.page(lines.turn) else {
            // Of a log that has been switched off nobody misses any.
            reporter.missed_lines(if book.now.is_some() { lines.count } else { 0 });
            continue;
        };
        if let Err(error) = page.write(&lines.bytes) {
            reporter.missed_lines(lines.count);
            tracing::warn!(%error, lines = lines.count, "lines of the access log are lost");
        }
    }
}

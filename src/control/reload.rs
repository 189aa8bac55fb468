//! The way of a reload: read, compared, drafted, in force; one at a time, and one that waits.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::config::{Config, diff};
use crate::control::draft::Draft;
use crate::control::handle::ReloadOutcome;
use crate::control::source::{Read, Source};

/// How many reloads may wait for the one under way. What waits reads the file when its turn comes, so one is enough.
const WAITING: usize = 1;

/// Who asked, and what for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) dry_run: bool,
    pub(super) answer: oneshot::Sender<ReloadOutcome>,
}

impl Request {
    /// Says what came of it. Who asked may have left.
    pub(super) fn end(self, outcome: ReloadOutcome) {
        drop(self.answer.send(outcome));
    }
}

/// The reload under way, and those that wait.
#[derive(Debug)]
pub(super) struct Reloads {
    source: Source,
    stage: Stage,
    waiting: VecDeque<Request>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Reading(Request, oneshot::Receiver<Read>),
    Drafted(Request, Vec<String>, Box<Draft>),
}

/// What a comparison of two configurations allows.
#[derive(Debug, PartialEq)]
pub(super) enum Comparison {
    /// It may be made, with these changes.
    Changes(Box<Config>, Vec<String>),
    /// It may not.
    Problems(Vec<String>),
}

impl Reloads {
    pub(super) const fn new(source: Source) -> Self {
        Self { source, stage: Stage::Idle, waiting: VecDeque::new() }
    }

    /// Takes in a request. One too many is refused at once.
    pub(super) fn ask(&mut self, request: Request) {
        if matches!(self.stage, Stage::Idle) {
            self.begin(request);
        } else if self.waiting.len() < WAITING {
            self.waiting.push_back(request);
        } else {
            let problem = "a reload is under way and another one waits for it; try again when it is done".to_owned();
            request.end(ReloadOutcome::Refused { problems: vec![problem] });
        }
    }

    fn begin(&mut self, request: Request) {
        self.stage = Stage::Reading(request, self.source.read());
    }

    /// Waits until the configuration has been read; for ever if none is being read. Nothing is lost if it is dropped.
    pub(super) async fn read(&mut self) -> Read {
        match &mut self.stage {
            Stage::Reading(_, read) => {
                read.await.unwrap_or_else(|_| Err(vec!["the configuration could not be read; the log says why".to_owned()]))
            }
            Stage::Idle | Stage::Drafted(..) => std::future::pending().await,
        }
    }

    /// The request whose configuration has been read.
    pub(super) fn take_request(&mut self) -> Option<Request> {
        match std::mem::take(&mut self.stage) {
            Stage::Reading(request, _) => Some(request),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Notes that a draft is on its way.
    pub(super) fn drafted(&mut self, request: Request, changes: Vec<String>, draft: Draft) {
        self.stage = Stage::Drafted(request, changes, Box::new(draft));
    }

    /// The draft that is on its way.
    pub(super) fn draft(&mut self) -> Option<&mut Draft> {
        match &mut self.stage {
            Stage::Drafted(_, _, draft) => Some(draft),
            Stage::Idle | Stage::Reading(..) => None,
        }
    }

    /// Takes the draft out, to bring it into force.
    pub(super) fn take_draft(&mut self) -> Option<(Request, Vec<String>, Draft)> {
        match std::mem::take(&mut self.stage) {
            Stage::Drafted(request, changes, draft) => Some((request, changes, *draft)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// The reload under way has ended: the one that waits begins.
    pub(super) fn next(&mut self) {
        if let Some(request) = self.waiting.pop_front() {
            self.begin(request);
        }
    }
}

/// Compares what was read with what is in force.
pub(super) fn compare(old: &Config, read: Read) -> Comparison {
    let new = match read {
        Ok(new) => new,
        Err(problems) => return Comparison::Problems(problems),
    };
    let changes = diff::changes(old, &new);
    Comparison::Changes(Box::new(new), changes)
}

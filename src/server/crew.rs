//! The workers of the process: as many as wanted, each with its sockets, and told one by one what to do.
//!
//! A worker that retires finishes what it has before its thread ends, while its sockets go to others. One that a bug ends
//! begins anew on its thread: with half of the workers gone, half of the connections would wait for nobody.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::cluster::{Live, RecallSender, Reporter};
use crate::proxy::{self, AccessLog, Doors, Leave, Stage};
use crate::runtime::thread;
use crate::server::sockets::Sockets;

/// What every worker needs.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) live: Arc<Live>,
    pub(super) reporter: Reporter,
    pub(super) recalls: RecallSender,
    pub(super) access: Arc<AccessLog>,
}

/// The workers.
#[derive(Debug)]
pub(super) struct Crew {
    tools: Tools,
    serving: Vec<Member>,
    retired: Vec<Member>,
    /// Nothing is ever sent: whoever listens learns from the last sender's end that no worker is left.
    working: Option<mpsc::Sender<()>>,
}

/// One worker, from outside.
#[derive(Debug)]
struct Member {
    /// Its number, which is also that of its cells: no two that run have the same.
    number: usize,
    doors: watch::Sender<Doors>,
    stage: watch::Sender<Stage>,
    thread: JoinHandle<()>,
}

impl Crew {
    /// No worker yet, and what tells of the end of the last one.
    pub(super) fn new(tools: Tools) -> (Self, mpsc::Receiver<()>) {
        let (working, ended) = mpsc::channel(1);
        (Self { tools, serving: Vec::new(), retired: Vec::new(), working: Some(working) }, ended)
    }

    /// Has so many workers serve on these sockets. Those that are too many finish what they have, within `leave`.
    ///
    /// # Errors
    /// If the system gives no thread; then there are fewer workers.
    pub(super) fn serve(&mut self, sockets: &Sockets, workers: usize, leave: Leave) -> io::Result<()> {
        self.retired.retain(|member| !member.thread.is_finished());
        let grown = self.grow(workers);
        let leaving = self.serving.split_off(workers.min(self.serving.len()));
        let count = self.serving.len();
        for (place, member) in self.serving.iter().enumerate() {
            member.doors.send_replace(Doors { openings: sockets.share(place, count), leave });
        }
        for member in leaving {
            member.close(leave);
            self.retired.push(member);
        }
        grown
    }

    fn grow(&mut self, workers: usize) -> io::Result<()> {
        while self.serving.len() < workers {
            let Some(working) = &self.working else { return Err(io::Error::other("the process is draining")) };
            let used = |number: &usize| self.serving.iter().chain(&self.retired).any(|member| member.number == *number);
            let number = (0..).find(|number| !used(number)).unwrap_or_default();
            self.serving.push(Member::start(number, &self.tools, working.clone())?);
        }
        Ok(())
    }

    /// Has every worker stop accepting and finish what it has.
    pub(super) fn close(&mut self, idle_grace: Duration) {
        // Whoever orders the drain says when it is over.
        let leave = Leave { idle_grace, timeout: Duration::MAX };
        self.working = None;
        self.serving.iter().for_each(|member| member.close(leave));
    }

    /// Has every worker end at once.
    pub(super) fn end(&mut self) -> Vec<JoinHandle<()>> {
        self.working = None;
        let all = self.serving.drain(..).chain(self.retired.drain(..));
        all.map(|member| {
            member.stage.send_replace(Stage::Ended);
            member.thread
        })
        .collect()
    }
}

impl Member {
    fn start(number: usize, tools: &Tools, working: mpsc::Sender<()>) -> io::Result<Self> {
        let (doors, stage) = (watch::Sender::default(), watch::Sender::new(Stage::Serving));
        let (orders, stages, tools) = (doors.subscribe(), stage.subscribe(), tools.clone());
        let thread = thread::spawn_lasting(&format!("worker-{number}"), move || {
            let _working = &working;
            let Tools { live, reporter, recalls, access } = tools.clone();
            let recall = recalls.subscribe();
            proxy::worker(proxy::Setup {
                index: number,
                live,
                reporter,
                recall,
                access,
                doors: orders.clone(),
                stage: stages.clone(),
            })
        })?;
        Ok(Self { number, doors, stage, thread })
    }

    /// First the sockets are let go, so that each is closed by the worker that has emptied it.
    fn close(&self, leave: Leave) {
        self.doors.send_replace(Doors { openings: Vec::new(), leave });
        self.stage.send_replace(Stage::Closing(leave));
    }
}

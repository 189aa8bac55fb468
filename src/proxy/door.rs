//! One listening socket of one worker, and the listener that it leads to.
//!
//! A reload may take a listener away while its connections still have exchanges, and a request may be on its way on any of
//! them. So a door remembers the last world that had its listener: its connections are served by that until they have
//! ended, and nobody who was let in meets a 404 at the end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::Listener;
use crate::net::listen::ListenSocket;
use crate::proxy::view::View;
use crate::proxy::worker::Stage;
use crate::runtime::timer;

/// A socket that a worker is to accept on.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Tells it from every other one of the process.
    pub id: u32,
    /// The name of its listener.
    pub listener: Arc<str>,
    /// The socket. It is closed when nobody holds it any more.
    pub socket: Arc<ListenSocket>,
}

/// Everything that a worker is to accept on.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    /// The sockets.
    pub openings: Vec<Opening>,
    /// What holds for the connections of those that are no longer among them.
    pub leave: Leave,
}

/// How long connections may stay that came in by a door which is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leave {
    /// Those without an exchange, in case a request is on its way.
    pub idle_grace: Duration,
    /// All others.
    pub timeout: Duration,
}

/// A door.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    stage: watch::Sender<Stage>,
    /// Whether the stage is the first one; connections look at this whenever they are polled.
    serving: Cell<bool>,
    /// Whether connections are to be closed; a copy of the stage that every answer can look at for nothing.
    closing: Cell<bool>,
    sight: RefCell<Sight>,
}

/// A listener, in a world that has it.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) view: Rc<View>,
    position: usize,
}

impl Sight {
    /// The listener of this name, if the world has it.
    pub(crate) fn of(view: &Rc<View>, name: &str) -> Option<Self> {
        let position = view.position(name)?;
        Some(Self { view: Rc::clone(view), position })
    }

    /// The listener.
    pub(crate) fn listener(&self) -> &Listener {
        self.view.listener(self.position)
    }
}

impl Door {
    pub(crate) fn new(opening: &Opening, sight: Sight) -> Self {
        Self {
            id: opening.id,
            name: Arc::clone(&opening.listener),
            stage: watch::Sender::new(Stage::Serving),
            serving: Cell::new(true),
            closing: Cell::new(false),
            sight: RefCell::new(sight),
        }
    }

    /// Whether it is that one.
    pub(crate) fn is(&self, opening: &Opening) -> bool {
        self.id == opening.id && self.name == opening.listener
    }

    /// A new world is in force.
    pub(crate) fn look(&self, view: &Rc<View>) {
        if let Some(sight) = Sight::of(view, &self.name) {
            self.sight.replace(sight);
        }
    }

    /// The listener, as it was last configured.
    pub(crate) fn sight(&self) -> Sight {
        self.sight.borrow().clone()
    }

    /// Tells the connections what to do.
    pub(crate) fn enter(&self, stage: Stage) {
        self.serving.set(stage == Stage::Serving);
        self.stage.send_replace(stage);
    }

    /// Whether a connection that waits for a stage has to look: at first, so that it will be woken, and once the stage has
    /// changed. It is polled with every byte, and looking costs more than asking here.
    pub(crate) fn is_worth_a_look(&self, looked: &Cell<bool>) -> bool {
        !looked.replace(true) || !self.serving.get()
    }

    /// What its connections are to do.
    pub(crate) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Waits until its connections are to be closed; gives how long those without an exchange may stay.
    pub(crate) async fn leaving(&self) -> Duration {
        let mut stage = self.stage();
        let stage = stage.wait_for(|stage| *stage != Stage::Serving).await.map(|stage| *stage);
        match stage {
            Ok(Stage::Closing(leave)) => leave.idle_grace,
            // Everything is cut off, or who could say so is gone.
            Ok(Stage::Serving | Stage::Ended) | Err(_) => Duration::ZERO,
        }
    }

    /// Waits until its connections without an exchange are to be closed.
    pub(crate) async fn left(&self) {
        timer::sleep(self.leaving().await).await;
    }

    /// Waits until its connections are to be cut off.
    pub(crate) async fn ended(&self) {
        // The sender is this door's.
        drop(self.stage().wait_for(|stage| *stage == Stage::Ended).await);
    }

    /// From now on every answer is the last one on its connection.
    pub(crate) fn close(&self) {
        self.closing.set(true);
    }

    /// Whether every answer is the last one on its connection.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }
}

//! Lets operations begin, or holds them up and waits for those that are under way.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::time::sleep;

use super::command::until;

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longer than any operation takes.
const ENDED_WITHIN: Duration = Duration::from_secs(40);

/// Shared by all clients.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    stopped: AtomicBool,
    under_way: AtomicUsize,
}

/// An operation is under way while this lives.
pub struct Pass<'a>(&'a Gate);

impl Gate {
    /// Waits until an operation may begin; `None` when none may any more.
    pub async fn pass(&self) -> Option<Pass<'_>> {
        loop {
            if self.stopped.load(Ordering::SeqCst) {
                return None;
            }
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let pass = Pass(self);
            if !self.closed.load(Ordering::SeqCst) {
                return Some(pass);
            }
            drop(pass);
            sleep(LOOK_EVERY).await;
        }
    }

    /// No operation is under way when this returns, and none begins before [`Gate::open`].
    ///
    /// # Errors
    /// Operations do not end.
    pub async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let ended = async || self.under_way.load(Ordering::SeqCst) == 0;
        until("all operations have ended", ENDED_WITHIN, ended).await?;
        Ok(())
    }

    /// Operations may begin again.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// No operation begins any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

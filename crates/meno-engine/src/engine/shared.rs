//! The state that the handles and the thread of an engine share.

use super::stats::EngineStats;
use super::submission::Submission;
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// State shared between the handles and the engine's thread.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) wake: Condvar,
    /// Wakes those who wait for the end of the thread.
    pub(super) ended: Condvar,
    pub(super) stats: Mutex<EngineStats>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct Inbox {
    pub(super) arrived: VecDeque<Arrival>,
    /// Samples that were accepted and are not complete.
    pub(super) open: usize,
    pub(super) stopping: bool,
    /// True if the thread has ended.
    pub(super) ended: bool,
}

/// An accepted submission.
pub(super) struct Arrival {
    pub(super) id: u64,
    pub(super) submission: Submission,
    /// True once the ticket was dropped.
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) at: Instant,
}

/// Locks a mutex and ignores poisoning: a panic cannot leave the data half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Asks the thread to stop once the accepted requests are complete.
    pub(super) fn stop(&self) {
        lock(&self.inbox).stopping = true;
        self.wake.notify_all();
    }
}

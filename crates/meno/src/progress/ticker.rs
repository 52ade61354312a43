//! Calls a function repeatedly while the work runs.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that calls a function periodically; it ends when this is dropped.
pub(crate) struct Ticker {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `f` every `period`. `None` if the system cannot start a thread; the work then continues silently.
    pub(crate) fn every(period: Duration, mut f: impl FnMut() + Send + 'static) -> Option<Ticker> {
        let (end, ended) = channel();
        let run = move || {
            while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                f();
            }
        };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(run).ok()?;
        Some(Ticker { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn it_ticks_until_it_is_dropped() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let ticker = Ticker::every(Duration::from_millis(1), move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        while count.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        drop(ticker);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}

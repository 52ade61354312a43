//! A long-running model that answers many concurrent requests on a dedicated thread.
//!
//! [`Engine`] is a cheap handle; clone it freely. Events of a request are delivered by calling [`Submission::on_event`]
//! on the engine's thread. The engine only handles tokens. Text, grammars and budgets belong to the caller, who
//! restricts an answer with a [`Constraint`].

mod stats;
mod work;

pub use stats::{EngineStats, Histogram};

use crate::constraint::Constraint;
use crate::error::Error;
use crate::generator::{Capacity, Event, Flow, Generator, Observe, Options, Request, Speculative, check};
use meno_model::{Config, Model};
use meno_tensor::precision::Precision;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Settings of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Number of sequences, their maximum length, and rows per step.
    pub capacity: Capacity,
    /// Cache size, prompt chunks, kept prefixes.
    pub options: Options,
    /// Input type of the matrix products.
    pub precision: Precision,
    /// Number of threads; `None` means all cores.
    pub threads: Option<usize>,
    /// Maximum number of samples that may wait for a slot; further requests are refused.
    pub queue: usize,
    /// A file that kept prefixes are loaded from at start and saved to at shutdown. A file that cannot be read is
    /// renamed, and a file that cannot be written is skipped, both with a warning.
    pub prefix_file: Option<PathBuf>,
}

/// A request with its constraints and its event callback.
pub struct Submission {
    /// Prompt, number of samples, sampling, key of the random numbers.
    pub request: Request,
    /// The owner of the request. Prefixes of prompts are shared and kept only among requests with the same salt.
    /// Otherwise a client could recover another client's prompt, token by token, from what it finds in the cache.
    pub salt: u64,
    /// What to report about the prompt, in addition to the answer.
    pub observe: Observe,
    /// One constraint per sample, or none.
    pub constraints: Vec<Box<dyn Constraint>>,
    /// Receives all events in order, on the engine's thread. The engine waits for it, so it should hand the event over
    /// and return. The last event of every sample is [`Event::Finish`], unless the ticket was dropped. [`Flow::Stop`]
    /// after a token completes the sample; [`Flow::Cancel`] cancels the whole request.
    pub on_event: Box<dyn FnMut(Event) -> Flow + Send>,
}

/// Why a submission was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Too many samples are waiting.
    #[error("{waiting} requests are waiting already; try again later")]
    Busy {
        /// Number of waiting samples.
        waiting: usize,
    },
    /// The engine is shutting down, or has failed.
    #[error("the engine is shutting down")]
    Stopping,
    /// The request is invalid.
    #[error(transparent)]
    Invalid(#[from] Error),
}

/// A submission in progress. Dropping it cancels the remaining samples and frees their slots before the next step.
#[derive(Debug)]
#[must_use = "dropping the ticket cancels the request"]
pub struct Ticket {
    gone: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
    }
}

/// A handle to a running model; clones share the model. When the last handle is dropped, the engine finishes the
/// running requests and stops.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
    config: Config,
    options: EngineOptions,
    next: AtomicU64,
}

/// State shared between the handles and the engine's thread.
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    stats: Mutex<EngineStats>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Arrival>,
    /// Samples that were accepted and are not complete.
    open: usize,
    stopping: bool,
    /// True if the thread has ended.
    ended: bool,
}

/// An accepted submission.
struct Arrival {
    id: u64,
    submission: Submission,
    gone: Arc<AtomicBool>,
    at: Instant,
}

/// Locks a mutex and ignores poisoning: a panic cannot leave the data half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Starts `model` on a new thread.
    pub fn start(mut model: Model, options: EngineOptions) -> Result<Engine, Error> {
        let mut generator = Generator::with_options(&model, options.capacity, options.options)?;
        if let Some(path) = &options.prefix_file {
            load_or_set_aside(&mut generator, &mut model, options.precision, path)?;
        }
        let config = model.config.clone();
        let shared = Arc::new(Shared { inbox: Mutex::default(), wake: Condvar::new(), stats: Mutex::default() });
        let worker = work::Worker::new(model, generator, &options, shared.clone());
        let threads = options.threads;
        let run = move || match threads {
            Some(n) => meno_tensor::pool::with_threads(n, || worker.run()),
            None => worker.run(),
        };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(run)
            .map_err(|e| Error::Capacity(format!("cannot start a thread for the engine: {e}")))?;
        let thread = Mutex::new(Some(thread));
        Ok(Engine { inner: Arc::new(Inner { shared, thread, config, options, next: AtomicU64::new(0) }) })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The settings of the engine.
    pub fn options(&self) -> &EngineOptions {
        &self.inner.options
    }

    /// Queues a request. Its events arrive through [`Submission::on_event`] as long as the ticket exists.
    pub fn submit(&self, submission: Submission) -> Result<Ticket, Refused> {
        let Inner { shared, config, options, next, .. } = &*self.inner;
        check(&submission.request, config.vocab_size, options.capacity.max_len)?;
        let tells_hidden = options.options.hidden || options.options.speculative == Speculative::Mtp;
        if matches!(submission.observe, Observe::Hidden(_)) && !tells_hidden {
            let message = "the engine was started without hidden states and cannot return them".to_owned();
            return Err(Error::Request { request: 0, message }.into());
        }
        let (n, constraints) = (submission.request.n, submission.constraints.len());
        if constraints != 0 && constraints != n {
            let message = format!("{constraints} constraints for {n} samples; expected one for each sample, or none");
            return Err(Error::Request { request: 0, message }.into());
        }
        let mut inbox = lock(&shared.inbox);
        if inbox.stopping || inbox.ended {
            return Err(Refused::Stopping);
        }
        if inbox.open >= options.capacity.slots + options.queue {
            lock(&shared.stats).refused += 1;
            return Err(Refused::Busy { waiting: inbox.open - options.capacity.slots });
        }
        inbox.open += n;
        let gone = Arc::new(AtomicBool::new(false));
        let id = next.fetch_add(1, Ordering::Relaxed);
        inbox.arrived.push_back(Arrival { id, submission, gone: gone.clone(), at: Instant::now() });
        drop(inbox);
        shared.wake.notify_all();
        Ok(Ticket { gone, shared: shared.clone() })
    }

    /// Returns counters since the start and the current state.
    pub fn stats(&self) -> EngineStats {
        lock(&self.inner.shared.stats).clone()
    }

    /// Refuses new requests, waits until the accepted ones are complete, saves the kept prefixes if configured, and
    /// stops the engine.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.inner.shared.stop();
        let thread = lock(&self.inner.thread).take();
        // The panic itself has already printed its message.
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
    }
}

/// Loads kept prefixes. A file that cannot be read is renamed, so that its data is preserved and the engine can start.
fn load_or_set_aside(
    generator: &mut Generator,
    model: &mut Model,
    precision: Precision,
    path: &Path,
) -> Result<(), Error> {
    let error = match generator.load_prefixes(&mut *model.weights, precision, path) {
        Ok(_) => return Ok(()),
        Err(error @ Error::File { .. }) => error,
        Err(error) => return Err(error),
    };
    let aside = free_name(path)?;
    std::fs::rename(path, &aside).map_err(Error::io(path))?;
    eprintln!("warning: {error}; the file was renamed to {}, and the prefix cache starts empty", aside.display());
    Ok(())
}

/// Returns an unused file name next to `path`.
fn free_name(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().unwrap_or_default().display();
    let names = (1..=99).map(|i| path.with_file_name(format!("{name}.unread-{i}")));
    let free = names.into_iter().find(|p| p.symlink_metadata().is_err());
    free.ok_or_else(|| {
        Error::file(
            path,
            "it cannot be read, and 99 renamed copies (.unread-1 to .unread-99) are in its directory already; remove \
             them"
                .to_owned(),
        )
    })
}

impl Shared {
    fn stop(&self) {
        lock(&self.inbox).stopping = true;
        self.wake.notify_all();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

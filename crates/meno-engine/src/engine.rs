//! A model that answers many requests for as long as it lives, on a thread of its own.
//!
//! Anybody may hold the [`Engine`] and submit; what happens to a request is told to the submission's own function, on
//! the engine's thread. The engine knows tokens only: text, grammars and budgets are the caller's, who puts what
//! restricts an answer into a [`Constraint`].

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

/// How an engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Sequences at once, their length, rows of a step.
    pub capacity: Capacity,
    /// Cache, chunks of prompts, kept prefixes.
    pub options: Options,
    /// Input type of the matrix products.
    pub precision: Precision,
    /// Threads; `None`: all cores.
    pub threads: Option<usize>,
    /// Most samples that may wait for a place; more are refused.
    pub queue: usize,
    /// A file from which kept prefixes are read at the start, and to which they are written at the end. A file that
    /// cannot be read is set aside, one that cannot be written is left out; both with a warning.
    pub prefix_file: Option<PathBuf>,
}

/// A request with those who watch over it.
pub struct Submission {
    /// Prompt, number of samples, sampling, key of the random numbers.
    pub request: Request,
    /// Whose it is: beginnings of prompts are shared, and kept, only among requests of the same salt. Otherwise a client
    /// could read another's prompt, token by token, from what was found in the cache.
    pub salt: u64,
    /// What is reported about the prompt, besides the answer.
    pub observe: Observe,
    /// One for every sample, or none at all.
    pub constraints: Vec<Box<dyn Constraint>>,
    /// Told everything that happens, in order, on the engine's thread, which waits for it: it should hand the event
    /// on and return. Every sample's last event is [`Event::Finish`], unless the ticket was dropped.
    /// [`Flow::Stop`] after a token completes its sample, [`Flow::Cancel`] the whole request.
    pub on_event: Box<dyn FnMut(Event) -> Flow + Send>,
}

/// Why a submission was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Too many wait already.
    #[error("{waiting} requests are waiting already; try again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The engine is shutting down, or has failed.
    #[error("the engine is shutting down")]
    Stopping,
    /// The request makes no sense.
    #[error(transparent)]
    Invalid(#[from] Error),
}

/// A submission on its way. Dropping it cancels what is left: its places are free before the next step.
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

/// A handle to a running model; clones are handles to the same. When the last is dropped the engine finishes what
/// runs and ends.
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

/// What handles and the engine's thread share.
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
    /// Samples taken and not complete.
    open: usize,
    stopping: bool,
    /// The thread is gone.
    ended: bool,
}

/// A submission taken.
struct Arrival {
    id: u64,
    submission: Submission,
    gone: Arc<AtomicBool>,
    at: Instant,
}

/// The data of a lock, whatever happened to who held it: none of it can be left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Starts `model` on a thread of its own.
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
            .map_err(|e| Error::Capacity(format!("the system gives no thread for the engine: {e}")))?;
        let thread = Mutex::new(Some(thread));
        Ok(Engine { inner: Arc::new(Inner { shared, thread, config, options, next: AtomicU64::new(0) }) })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// How it runs.
    pub fn options(&self) -> &EngineOptions {
        &self.inner.options
    }

    /// Puts a request in the queue. The answer comes through [`Submission::on_event`] for as long as the ticket lives.
    pub fn submit(&self, submission: Submission) -> Result<Ticket, Refused> {
        let Inner { shared, config, options, next, .. } = &*self.inner;
        check(&submission.request, config.vocab_size, options.capacity.max_len)?;
        let tells_hidden = options.options.hidden || options.options.speculative == Speculative::Mtp;
        if matches!(submission.observe, Observe::Hidden(_)) && !tells_hidden {
            let message = "hidden states are not told by an engine that was started without them".to_owned();
            return Err(Error::Request { request: 0, message }.into());
        }
        let (n, constraints) = (submission.request.n, submission.constraints.len());
        if constraints != 0 && constraints != n {
            let message = format!("{constraints} constraints for {n} samples; one for each is needed, or none");
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

    /// What was done so far and is being done now.
    pub fn stats(&self) -> EngineStats {
        lock(&self.inner.shared.stats).clone()
    }

    /// Refuses new requests, waits until those that were taken are answered, writes the kept prefixes if asked to, and
    /// ends the engine.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.inner.shared.stop();
        let thread = lock(&self.inner.thread).take();
        // A panic of the thread was told by the panic itself.
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
    }
}

/// Reads kept prefixes. What cannot be read is moved away, so that nothing of it is lost and the engine starts.
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
    eprintln!("warning: {error}; it is now {}, and no prefixes are kept from before", aside.display());
    Ok(())
}

/// A name beside `path` that no file has.
fn free_name(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().unwrap_or_default().display();
    let names = (1..=99).map(|i| path.with_file_name(format!("{name}.unread-{i}")));
    let free = names.into_iter().find(|p| p.symlink_metadata().is_err());
    free.ok_or_else(|| Error::file(path, "it cannot be read, and 99 such files lie beside it; remove them".to_owned()))
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

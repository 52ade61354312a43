//! A long-running model that answers many concurrent requests on a dedicated thread.
//!
//! [`Engine`] is a cheap handle; clone it freely. Events of a request are delivered by calling [`Submission::on_event`]
//! on the engine's thread. The engine only handles tokens. Text, grammars and budgets belong to the caller, who
//! restricts an answer with a [`Constraint`](crate::constraint::Constraint).

mod shared;
mod stats;
mod submission;
mod worker;

pub use stats::{EngineStats, Finished, Histogram};
pub use submission::{Submission, SubmitError};

use crate::error::Error;
use crate::generator::{Generator, GeneratorConfig, Observe, check};
use meno_model::{Config, Model};
use shared::{Arrival, Shared, lock};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;
use worker::Worker;

/// Settings of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Number of sequences, their maximum length, cache size, kept prefixes.
    pub generator: GeneratorConfig,
    /// Number of threads; `None` means all cores.
    pub threads: Option<usize>,
    /// Maximum number of samples that may wait for a slot; further requests are rejected.
    pub queue: usize,
    /// A file that kept prefixes are loaded from at start and saved to at shutdown. A file that cannot be read is
    /// renamed, and a file that cannot be written is skipped, both with a warning.
    pub prefix_file: Option<PathBuf>,
}

/// A submission in progress. Dropping it cancels the remaining samples and frees their slots before the next step.
#[derive(Debug)]
#[must_use = "dropping the ticket cancels the request"]
pub struct Ticket {
    cancelled: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
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

impl Engine {
    /// Starts `model` on a new thread.
    pub fn start(mut model: Model, options: EngineOptions) -> Result<Engine, Error> {
        let mut generator = Generator::new(&model, options.generator)?;
        if let Some(path) = &options.prefix_file {
            load_or_set_aside(&mut generator, &mut model, path)?;
        }
        let config = model.config.clone();
        let shared = Arc::new(Shared::default());
        let worker = Worker::new(model, generator, options.prefix_file.clone(), shared.clone());
        let threads = options.threads;
        let run = move || match threads {
            Some(n) => meno_tensor::pool::with_threads(n, || worker.run()),
            None => worker.run(),
        };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(run).map_err(Error::Thread)?;
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
    pub fn submit(&self, submission: Submission) -> Result<Ticket, SubmitError> {
        let Inner { shared, config, options, next, .. } = &*self.inner;
        check(&submission.request, config.vocab_size, options.generator.max_len)?;
        if matches!(submission.observe, Observe::Hidden(_)) && !options.generator.has_hidden() {
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
            return Err(SubmitError::Stopping);
        }
        if inbox.open >= options.generator.slots + options.queue {
            lock(&shared.stats).refused += 1;
            return Err(SubmitError::Busy { waiting: inbox.open - options.generator.slots });
        }
        inbox.open += n;
        let cancelled = Arc::new(AtomicBool::new(false));
        let id = next.fetch_add(1, Ordering::Relaxed);
        inbox.arrived.push_back(Arrival { id, submission, cancelled: cancelled.clone(), at: Instant::now() });
        drop(inbox);
        shared.wake.notify_all();
        Ok(Ticket { cancelled, shared: shared.clone() })
    }

    /// Returns counters since the start and the current state.
    pub fn stats(&self) -> EngineStats {
        lock(&self.inner.shared.stats).clone()
    }

    /// Waits until the engine has ended: after [`Engine::shutdown`], or because of an error, which that method returns.
    pub fn wait(&self) {
        let shared = &self.inner.shared;
        let mut inbox = lock(&shared.inbox);
        while !inbox.ended {
            inbox = shared.ended.wait(inbox).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Rejects new requests, waits until the accepted ones are complete, saves the kept prefixes if configured, and
    /// stops the engine.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.inner.shared.stop();
        let thread = lock(&self.inner.thread).take();
        // The panic itself has already printed its message.
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
    }
}

/// Loads kept prefixes. A file that cannot be read is renamed, so that its data is preserved and the engine can start.
fn load_or_set_aside(generator: &mut Generator, model: &mut Model, path: &Path) -> Result<(), Error> {
    let error = match generator.load_prefixes(&mut *model.weights, path) {
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

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

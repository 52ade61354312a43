//! Continuous batching: many sequences over one executor and one KV cache.
//!
//! Every step runs one row for each decoding sequence, and prompts in chunks. A finished sequence frees its slot for
//! the next. The prompt of a group of samples is computed and stored once, and so is a common prefix of different
//! prompts. None of this changes a bit of the result: see the contract in `docs/numerics.md`, which the tests of this
//! crate check.

mod answers;
mod config;
mod event;
mod observe;
mod prefix;
mod prefix_file;
mod prompt_rows;
mod request;
mod scheduler;
mod sequence;
mod speculative;
mod stats;

pub use answers::More;
pub use config::{GeneratorConfig, Speculative};
pub(crate) use event::Sink;
pub use event::{Event, Finish, Stop, TokenEvent};
pub use observe::{Observe, Pooling, TokenLogprob};
pub use request::{Completion, Request, StreamKey};
pub(crate) use request::{Job, check};
pub use stats::{CachePages, Stats};

use crate::error::Error;
use crate::sampler::Scratch;
use meno_model::{InferOptions, Model, input};
use meno_tensor::backend::{Backend, Executor, Pass, Weights};
use meno_tensor::kv_cache::{KvCache, LayerSpec};
use meno_tensor::tape::{Batch, Outputs, PAGE, pages};
use prefix_file::{Checksum, private_file};
use rayon::prelude::*;
use scheduler::Scheduler;
use sequence::Sequence;
use speculative::Mtp;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Generates tokens with a planned network and a KV cache.
pub struct Generator {
    backend: Arc<dyn Backend>,
    executor: Box<dyn Executor>,
    cache: KvCache,
    vocab: usize,
    config: GeneratorConfig,
    batch: Batch,
    scratches: Vec<Scratch>,
    scheduler: Scheduler,
    mtp: Option<Mtp>,
    cancel: Arc<AtomicBool>,
    stats: Stats,
}

impl Generator {
    /// Creates a generator for `model`. Executor and cache are allocated here; a step allocates nothing.
    ///
    /// # Errors
    /// Fails if the context is longer than the model's ([`Error::ContextTooLong`]), if the KV cache cannot hold one
    /// sequence ([`Error::CacheTooSmall`]), if another setting is invalid ([`Error::GeneratorConfig`]), if the model
    /// has no MTP module for the drafts ([`Error::NoMtpModule`]), or if the device lacks memory.
    pub fn new(model: &Model, config: GeneratorConfig) -> Result<Generator, Error> {
        let config = config.on(model.backend().device());
        let (max_len, supported) = (config.max_len, model.config.max_position_embeddings);
        if max_len > supported {
            return Err(Error::ContextTooLong { max_len, supported });
        }
        let infer = InferOptions { absorbed: config.absorbed };
        let (rows, vocab, mut specs) = (config.rows(), model.config.vocab_size, model.cache_specs(infer));
        let mut mtp = None;
        if config.speculative == Speculative::Mtp {
            mtp = Some(Mtp::new(model, rows + config.slots, infer)?);
            specs.extend(model.mtp_cache_spec(infer));
        }
        let executor = match config.has_hidden() {
            true => model.infer_executor_with_hidden(rows, infer)?,
            false => model.infer_executor(rows, infer)?,
        };
        let generator = Generator::from_executor(model.backend(), executor, &specs, vocab, config)?;
        Ok(Generator { mtp, ..generator })
    }

    /// Creates a generator for a network given as executor and cache sizes.
    pub fn from_executor(
        backend: &Arc<dyn Backend>,
        executor: Box<dyn Executor>,
        specs: &[LayerSpec],
        vocab: usize,
        config: GeneratorConfig,
    ) -> Result<Generator, Error> {
        let (slots, max_len, rows) = (config.slots, config.max_len, config.rows());
        let error = |message: String| Err(Error::GeneratorConfig(message));
        if slots == 0 || max_len < 2 {
            return error(format!("{slots} sequences of {max_len} tokens: expected at least 1 sequence of 2 tokens"));
        }
        let planned = executor.program().mode().rows;
        if planned < rows {
            return error(format!("steps of {rows} rows for {slots} slots, on an executor of {planned} rows"));
        }
        if config.prefill_rows == 0 {
            return error("0 prompt rows in a step: expected at least 1".into());
        }
        let (pages, least) = (config.pages(), pages(max_len) + 1);
        if pages < least {
            return Err(Error::CacheTooSmall { tokens: pages * PAGE, max_len, needed: least * PAGE });
        }
        Ok(Generator {
            cache: backend.kv_cache(specs, config.kv_type, pages)?,
            backend: backend.clone(),
            executor,
            vocab,
            config,
            batch: Batch::default(),
            scratches: Vec::new(),
            scheduler: Scheduler::new(config, vocab, backend.samples_rows()),
            mtp: None,
            cancel: Arc::default(),
            stats: Stats::default(),
        })
    }

    /// Returns size and settings.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// Returns the bytes of cache and activations.
    pub fn bytes(&self) -> usize {
        self.cache.bytes()
            + self.executor.planned_bytes(self.config.precision)
            + self.mtp.as_ref().map_or(0, Mtp::bytes)
    }

    /// Returns a flag that stops the running call at its next step when set. The caller clears it.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Keeps the cache contents of finished sequences, so that a later prompt with the same prefix does not recompute
    /// it (a conversation). Valid only while the weights do not change: call [`Generator::forget`] after a change.
    pub fn set_reuse_prefixes(&mut self, reuse: bool) {
        self.scheduler.reuse = reuse;
        self.forget();
    }

    /// Drops all kept prefixes.
    pub fn forget(&mut self) {
        self.scheduler.forget(self.cache.table_mut());
    }

    /// Returns the pages of the cache.
    pub fn cache_pages(&self) -> CachePages {
        let total = self.cache.table().pages();
        CachePages { used: total - self.cache.table().free_pages(), total }
    }

    /// Returns the number of waiting and of running sequences.
    pub fn counts(&self) -> (usize, usize) {
        self.scheduler.counts()
    }

    /// Returns the counters of the last call of [`Generator::generate`].
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the executor, for profiling.
    pub fn executor_mut(&mut self) -> &mut dyn Executor {
        &mut *self.executor
    }

    /// Identifies the model that kept prefixes belong to: a hash of the logits of a fixed prompt. Its bits depend on
    /// all weights, the precision, the type of the cache and the kernels of this processor.
    fn fingerprint(&mut self, weights: &mut dyn Weights) -> Result<u64, Error> {
        let tokens: Vec<u32> = (0..self.config.rows().min(8)).map(|i| (i % self.vocab) as u32).collect();
        let table = self.cache.table_mut();
        let slot = table.open();
        while table.free_pages() == 0 && self.scheduler.prefixes.evict(table) {}
        self.batch.clear();
        let rows = self.batch.push(&tokens, 0, Some(slot));
        self.batch.logit_rows.extend(rows);
        let out =
            self.executor.forward(weights, Pass::new(self.config.precision, &self.batch), Some(&mut self.cache))?;
        let mut sum = Checksum::new();
        out.logits.iter().for_each(|x| sum.add(x.to_bits()));
        self.cache.table_mut().close(slot);
        Ok(sum.get())
    }

    /// Writes the kept prefixes to a file that only its owner can read, and returns their number. It writes to a
    /// temporary file first, and leaves nothing behind on failure.
    pub fn save_prefixes(&mut self, weights: &mut dyn Weights, path: &Path) -> Result<usize, Error> {
        let fingerprint = self.fingerprint(weights)?;
        let part = path.with_file_name(format!("{}.part", path.file_name().unwrap_or_default().display()));
        let mut write = || {
            let count = self.scheduler.prefixes.save(&mut self.cache, fingerprint, private_file(&part)?)?;
            std::fs::rename(&part, path)?;
            Ok(count)
        };
        write().map_err(|e| {
            let _ = std::fs::remove_file(&part);
            Error::io(path)(e)
        })
    }

    /// Reads a file of [`Generator::save_prefixes`], written for the same model and settings, as far as the cache has
    /// room. Returns how many prefixes are kept now. A missing file counts as empty.
    pub fn load_prefixes(&mut self, weights: &mut dyn Weights, path: &Path) -> Result<usize, Error> {
        let file = match input::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            result => result.map_err(Error::io(path))?,
        };
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let names = (self.fingerprint(weights)?, self.vocab, self.config.max_len);
        let room = self.cache.table().free_pages().saturating_sub(pages(self.config.max_len) + 1);
        let result = self.scheduler.prefixes.load(&mut self.cache, names, (file, bytes), room);
        result.map_err(|message| Error::file(path, format!("cached prefixes: {message}")))
    }

    /// Queues a request that has passed [`Generator::check`].
    pub(crate) fn add(&mut self, job: Job, sink: Sink<'_>) {
        self.scheduler.add(job, sink);
    }

    /// Ends the remaining samples of the jobs for which `which` is true.
    pub(crate) fn cancel_jobs(&mut self, which: impl Fn(u64) -> bool, sink: Sink<'_>) {
        self.scheduler.cancel(which, self.cache.table_mut(), sink);
    }

    /// Returns true if no sequence waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    /// Runs one step: a token for every decoding sequence, and chunks of the prompts.
    pub(crate) fn step(&mut self, weights: &mut dyn Weights, sink: Sink<'_>) -> Result<(), Error> {
        self.batch.clear();
        self.scheduler.admit(self.cache.table_mut(), &mut self.stats);
        self.scheduler.fill(&mut self.batch, self.cache.table_mut(), &mut self.stats);
        if !self.batch.is_empty() {
            self.executor.forward(weights, Pass::new(self.config.precision, &self.batch), Some(&mut self.cache))?;
            self.stats.steps += 1;
        }
        let out = self.executor.outputs();
        self.scheduler.observe(&*self.backend, out, self.vocab, self.batch.len());
        self.scheduler.ran(self.cache.table_mut());
        choose_all(&*self.backend, &mut self.scheduler.active, &mut self.scratches, out, self.vocab);
        self.scheduler.accept(self.cache.table_mut(), &mut self.stats, sink);
        if let Some(mtp) = self.mtp.as_mut().filter(|_| !self.batch.is_empty()) {
            let hidden = (&out.hidden[..], out.hidden.len() / self.batch.len());
            mtp.draft(&*self.backend, weights, self.config.precision, &mut self.scheduler, &mut self.cache, hidden)?;
        }
        Ok(())
    }

    /// Checks that a request can be answered.
    pub(crate) fn check(&self, r: &Request) -> Result<(), Error> {
        check(r, self.vocab, self.config.max_len)
    }
}

/// Chooses the tokens of all sequences that have results, in parallel.
fn choose_all(
    backend: &dyn Backend,
    active: &mut [Sequence],
    scratches: &mut Vec<Scratch>,
    out: &Outputs,
    vocab: usize,
) {
    let rows = out.logits.len() / vocab.max(1) + out.sampled.len();
    if rows == 0 || active.is_empty() {
        return;
    }
    // A row of a small vocabulary costs less than waking a thread.
    let worth = out.logits.len().div_ceil(1 << 13).max(1);
    let tasks = meno_tensor::pool::threads().min(active.len()).min(worth);
    if scratches.len() < tasks {
        scratches.resize_with(tasks, Scratch::default);
    }
    let chunk = active.len().div_ceil(tasks);
    let run = |(active, scratch): (&mut [Sequence], &mut Scratch)| {
        active.iter_mut().for_each(|s| s.choose(backend, out, vocab, scratch));
    };
    if tasks == 1 {
        run((active, &mut scratches[0]));
    } else {
        active.par_chunks_mut(chunk).zip(scratches.par_iter_mut()).for_each(run);
    }
}

//! Continuous batching: many sequences over one executor and one KV cache.
//!
//! Every step runs one row for each decoding sequence, and prompts in chunks. A finished sequence frees its slot for
//! the next. The prompt of a group of samples is computed and stored once, and so is a common prefix of different
//! prompts. None of this changes a bit of the result: see the contract in `docs/numerics.md`, which the tests of this
//! crate check.

mod event;
mod observe;
mod prefix;
mod prefix_file;
mod schedule;
mod sequence;
mod speculative;

pub(crate) use event::Sink;
pub use event::{Event, Finish, Flow, TokenEvent};
pub use observe::{Observe, Pooling, TokenLogprob};
pub use speculative::Speculative;

use crate::constraint::Constraint;
use crate::error::Error;
use crate::sampler::{Sampling, Scratch};
use meno_model::{InferOptions, Model, input};
use meno_tensor::backend::{Backend, Executor, Pass, Weights};
use meno_tensor::kv_cache::{KvCache, KvType, LayerSpec};
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, PAGE, pages};
use prefix_file::Checksum;
use rayon::prelude::*;
use schedule::Schedule;
use sequence::Sequence;
use speculative::Mtp;
use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Size limits of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Maximum number of sequences in the KV cache.
    pub slots: usize,
    /// Maximum length of a sequence in tokens, prompt and answer together.
    pub max_len: usize,
    /// Maximum rows per step: prompts run in chunks that fit. At least `slots`.
    pub rows: usize,
    /// Decode MLA from the latent cache. This uses less memory, and results are equal up to rounding instead of bit for
    /// bit.
    pub absorbed: bool,
}

/// Options of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Capacity of the KV cache in tokens, for all sequences and kept prefixes together; `None` means `slots` ×
    /// `max_len`. When the cache is full, the most recent sequence waits and is recomputed later.
    pub cache_tokens: Option<usize>,
    /// Maximum prompt rows per step while answers are being decoded. It bounds how long a prompt delays the next token.
    pub prefill_rows: usize,
    /// Keeps the cache contents of finished sequences for prompts with the same prefix. Valid only while the weights do
    /// not change.
    pub reuse_prefixes: bool,
    /// The type of keys and values in the cache. Any type other than f32 breaks the bit-exact contract with training.
    pub kv_type: KvType,
    /// The draft method of speculative decoding. Answers are the same, only faster.
    pub speculative: Speculative,
    /// Allow requests for hidden states ([`Observe::Hidden`]). Answers are the same.
    pub hidden: bool,
}

impl Default for Options {
    /// Options for a fixed set of requests.
    fn default() -> Self {
        Options {
            cache_tokens: None,
            prefill_rows: usize::MAX,
            reuse_prefixes: false,
            kv_type: KvType::F32,
            speculative: Speculative::Off,
            hidden: false,
        }
    }
}

impl Options {
    /// Options for a server: short chunks of prompts, kept prefixes, hidden states.
    pub fn serving() -> Options {
        Options { prefill_rows: 64, reuse_prefixes: true, hidden: true, ..Options::default() }
    }
}

/// A prompt and how to continue it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Number of answers.
    pub n: usize,
    /// How tokens are chosen and when to stop.
    pub sampling: Sampling,
    /// The key of the random numbers: seed, step, sequence. Sample j draws its token at position p from `[seed, step,
    /// sequence * n + j, p]`.
    pub key: [u64; 3],
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The index of the request.
    pub request: usize,
    /// The index of the sample among the request's `n`.
    pub sample: usize,
    /// The tokens, including a stop token.
    pub tokens: Vec<u32>,
    /// For every token, its log-probability in the full distribution at the sampling temperature (at 1 for greedy).
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// A queued or running request.
pub(crate) struct Job {
    /// Identifies the job in events.
    pub(crate) id: u64,
    /// Prefixes are shared only among jobs with the same salt.
    pub(crate) salt: u64,
    pub(crate) request: Request,
    /// What to report about the prompt.
    pub(crate) observe: Observe,
    /// One constraint per sample, or none.
    pub(crate) constraints: Vec<Box<dyn Constraint>>,
}

/// Work counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Forward passes of the network.
    pub steps: usize,
    /// Prompt tokens that were computed (shared and reused ones are not).
    pub prompt_tokens: usize,
    /// Prompt tokens that were found in the cache when their sequence got its slot.
    pub cached_tokens: usize,
    /// Tokens generated.
    pub tokens: usize,
    /// Draft tokens proposed.
    pub drafted: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
}

/// Generates tokens with a planned network and a KV cache.
pub struct Generator {
    backend: Arc<dyn Backend>,
    executor: Box<dyn Executor>,
    cache: KvCache,
    vocab: usize,
    capacity: Capacity,
    batch: Batch,
    scratches: Vec<Scratch>,
    schedule: Schedule,
    mtp: Option<Mtp>,
    cancel: Arc<AtomicBool>,
    stats: Stats,
}

impl Generator {
    /// Creates a generator for a fixed set of requests.
    pub fn new(model: &Model, capacity: Capacity) -> Result<Generator, Error> {
        Generator::with_options(model, capacity, Options::default())
    }

    /// Creates a generator for `model`. Executor and cache are allocated here; a step allocates nothing.
    pub fn with_options(model: &Model, capacity: Capacity, o: Options) -> Result<Generator, Error> {
        let own = model.config.max_position_embeddings;
        if capacity.max_len > own {
            let message = format!("{} tokens requested, but the model supports at most {own}", capacity.max_len);
            return Err(Error::Capacity(message));
        }
        let infer = InferOptions { absorbed: capacity.absorbed };
        let (rows, vocab, mut specs) = (capacity.rows, model.config.vocab_size, model.cache_specs(infer));
        if o.speculative != Speculative::Mtp {
            let executor = match o.hidden {
                true => model.infer_executor_with_hidden(rows, infer)?,
                false => model.infer_executor(rows, infer)?,
            };
            return Generator::from_executor(model.backend(), executor, &specs, vocab, capacity, o);
        }
        let mtp = Mtp::new(model, rows + capacity.slots, infer)?;
        specs.extend(model.mtp_cache_spec(infer));
        let executor = model.infer_executor_with_hidden(rows, infer)?;
        let generator = Generator::from_executor(model.backend(), executor, &specs, vocab, capacity, o)?;
        Ok(Generator { mtp: Some(mtp), ..generator })
    }

    /// Answers all requests with the current weights of `model`, which must be the model that this generator was
    /// created for. `on_token` receives every token as it is chosen. Completions are in the order of requests and
    /// samples; cancelled ones are included, with the tokens so far.
    ///
    /// # Errors
    /// Fails if a request is invalid or if logits are not finite.
    pub fn generate(
        &mut self,
        model: &mut Model,
        precision: Precision,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> Flow,
    ) -> Result<Vec<Completion>, Error> {
        self.generate_with(&mut *model.weights, precision, requests, on_token)
    }

    /// Creates a generator for a network given as executor and cache sizes.
    pub fn from_executor(
        backend: &Arc<dyn Backend>,
        executor: Box<dyn Executor>,
        specs: &[LayerSpec],
        vocab: usize,
        capacity: Capacity,
        options: Options,
    ) -> Result<Generator, Error> {
        let Capacity { slots, max_len, rows, .. } = capacity;
        let error = |message: String| Err(Error::Capacity(message));
        if slots == 0 || max_len < 2 {
            return error(format!("{slots} sequences of {max_len} tokens: expected at least 1 sequence of 2 tokens"));
        }
        if rows < slots || executor.program().mode().rows < rows {
            return error(format!(
                "{rows} rows for {slots} slots on an executor of {} rows; each slot needs a row",
                executor.program().mode().rows
            ));
        }
        if options.prefill_rows == 0 {
            return error("0 prompt rows in a step: expected at least 1".into());
        }
        // One page more than the longest sequence: writing to a shared page copies it first.
        let least = pages(max_len) + 1;
        let pages = options.cache_tokens.map_or(slots * pages(max_len) + 1, pages);
        if pages < least {
            let (given, wanted) = (pages * PAGE, least * PAGE);
            return error(format!(
                "a KV cache of {given} tokens is too small: sequences of {max_len} need at least {wanted}"
            ));
        }
        Ok(Generator {
            cache: KvCache::new(&**backend, specs, options.kv_type, pages)?,
            backend: backend.clone(),
            executor,
            vocab,
            capacity,
            batch: Batch::default(),
            scratches: Vec::new(),
            schedule: Schedule::new(capacity, options, vocab),
            mtp: None,
            cancel: Arc::default(),
            stats: Stats::default(),
        })
    }

    /// Returns the size limits.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Returns the bytes of cache and activations.
    pub fn bytes(&self) -> usize {
        self.cache.bytes() + self.executor.bytes() + self.mtp.as_ref().map_or(0, Mtp::bytes)
    }

    /// Returns a flag that stops the running call at its next step when set. The caller clears it.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Keeps the cache contents of finished sequences, so that a later prompt with the same prefix does not recompute
    /// it (a conversation). Valid only while the weights do not change: call [`Generator::forget`] after a change.
    pub fn set_reuse_prefixes(&mut self, reuse: bool) {
        self.schedule.reuse = reuse;
        self.forget();
    }

    /// Drops all kept prefixes.
    pub fn forget(&mut self) {
        self.schedule.forget(self.cache.table_mut());
    }

    /// Returns the pages of the cache: in use (by sequences and kept prefixes), and in total.
    pub fn cache_pages(&self) -> (usize, usize) {
        (self.cache.table().pages() - self.cache.table().free_pages(), self.cache.table().pages())
    }

    /// Returns the number of waiting and of running sequences.
    pub fn counts(&self) -> (usize, usize) {
        self.schedule.counts()
    }

    /// Returns the counters of the last call of [`Generator::generate`].
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the executor, for profiling.
    pub fn executor_mut(&mut self) -> &mut dyn Executor {
        &mut *self.executor
    }

    /// Like [`Generator::generate`], with the weights of a network.
    pub fn generate_with(
        &mut self,
        weights: &mut dyn Weights,
        precision: Precision,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> Flow,
    ) -> Result<Vec<Completion>, Error> {
        for (i, r) in requests.iter().enumerate() {
            self.check(r).map_err(|e| e.of_request(i))?;
        }
        self.stats = Stats::default();
        if !self.schedule.reuse {
            self.forget();
        }
        let (mut completions, mut first) = (Vec::new(), Vec::new());
        for (request, r) in requests.iter().enumerate() {
            first.push(completions.len());
            let finish = Finish::Cancelled; // until it finishes
            // Allocate for the longest answer now, so that a step allocates nothing.
            let longest = r.sampling.max_tokens.min(self.capacity.max_len);
            let empty = |sample| {
                let (tokens, logprobs) = (Vec::with_capacity(longest), Vec::with_capacity(longest));
                Completion { request, sample, tokens, logprobs, finish }
            };
            completions.extend((0..r.n).map(empty));
        }
        let cancelled = Cell::new(false);
        let mut sink = |job: u64, event: Event| {
            let request = job as usize;
            match event {
                _ if cancelled.get() => return Flow::Cancel,
                Event::Prompt { .. } | Event::PromptLogprobs { .. } | Event::Hidden { .. } => {}
                Event::Finish { sample, finish } => {
                    completions[first[request] + sample].finish = finish;
                    cancelled.set(finish == Finish::NotFinite);
                }
                Event::Token { sample, index, token, logprob, finish, .. } => {
                    let c = &mut completions[first[request] + sample];
                    c.tokens.push(token);
                    c.logprobs.push(logprob);
                    let flow = on_token(TokenEvent { request, sample, index, token, logprob, finish });
                    cancelled.set(flow == Flow::Cancel);
                    return flow;
                }
            }
            Flow::Continue
        };
        for (id, request) in requests.iter().enumerate() {
            let (id, request, constraints) = (id as u64, request.clone(), Vec::new());
            self.schedule.add(Job { id, salt: 0, request, observe: Observe::Nothing, constraints }, &mut sink);
        }
        while !self.schedule.is_idle() && !self.cancel.load(Ordering::Relaxed) && !cancelled.get() {
            self.step(weights, precision, &mut sink)?;
        }
        self.schedule.cancel(|_| true, self.cache.table_mut(), &mut |_, _| Flow::Continue);
        if let Some(c) = completions.iter().find(|c| c.finish == Finish::NotFinite) {
            let position = requests[c.request].prompt.len() + c.tokens.len();
            return Err(Error::NotFinite { request: c.request, position });
        }
        Ok(completions)
    }

    /// Identifies the model that kept prefixes belong to: a hash of the logits of a fixed prompt. Its bits depend on
    /// all weights, the precision, the type of the cache and the kernels of this processor.
    fn fingerprint(&mut self, weights: &mut dyn Weights, precision: Precision) -> Result<u64, Error> {
        let tokens: Vec<u32> = (0..self.capacity.rows.min(8)).map(|i| (i % self.vocab) as u32).collect();
        let table = self.cache.table_mut();
        let place = table.open();
        while table.free_pages() == 0 && self.schedule.prefixes.evict(table) {}
        self.batch.clear();
        let rows = self.batch.push(&tokens, 0, Some(place));
        self.batch.logit_rows.extend(rows);
        let out = self.executor.forward(weights, Pass::new(precision, &self.batch), Some(&mut self.cache))?;
        let mut sum = Checksum::new();
        out.logits.iter().for_each(|x| sum.add(x.to_bits()));
        self.cache.table_mut().close(place);
        Ok(sum.get())
    }

    /// Writes the kept prefixes to a file that only its owner can read, and returns their number. It writes to a
    /// temporary file first, and leaves nothing behind on failure.
    pub fn save_prefixes(
        &mut self,
        weights: &mut dyn Weights,
        precision: Precision,
        path: &Path,
    ) -> Result<usize, Error> {
        let fingerprint = self.fingerprint(weights, precision)?;
        let part = path.with_file_name(format!("{}.part", path.file_name().unwrap_or_default().display()));
        let mut write = || {
            let count = self.schedule.prefixes.save(&mut self.cache, fingerprint, private_file(&part)?)?;
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
    pub fn load_prefixes(
        &mut self,
        weights: &mut dyn Weights,
        precision: Precision,
        path: &Path,
    ) -> Result<usize, Error> {
        let file = match input::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            result => result.map_err(Error::io(path))?,
        };
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let names = (self.fingerprint(weights, precision)?, self.vocab, self.capacity.max_len);
        let room = self.cache.table().free_pages().saturating_sub(pages(self.capacity.max_len) + 1);
        let result = self.schedule.prefixes.load(&mut self.cache, names, (file, bytes), room);
        result.map_err(|message| Error::file(path, format!("cached prefixes: {message}")))
    }

    /// Queues a request that has passed [`Generator::check`].
    pub(crate) fn add(&mut self, job: Job, sink: Sink<'_>) {
        self.schedule.add(job, sink);
    }

    /// Ends the remaining samples of the jobs for which `which` is true.
    pub(crate) fn cancel_jobs(&mut self, which: impl Fn(u64) -> bool, sink: Sink<'_>) {
        self.schedule.cancel(which, self.cache.table_mut(), sink);
    }

    /// Returns true if no sequence waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.schedule.is_idle()
    }

    /// Runs one step: a token for every decoding sequence, and chunks of the prompts.
    pub(crate) fn step(
        &mut self,
        weights: &mut dyn Weights,
        precision: Precision,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        self.batch.clear();
        self.schedule.admit(self.cache.table_mut(), &mut self.stats);
        self.schedule.fill(&mut self.batch, self.cache.table_mut(), &mut self.stats);
        if !self.batch.is_empty() {
            self.executor.forward(weights, Pass::new(precision, &self.batch), Some(&mut self.cache))?;
            self.stats.steps += 1;
        }
        let out = self.executor.outputs();
        self.schedule.observe(&*self.backend, out, self.vocab, self.batch.len());
        self.schedule.ran(self.cache.table_mut());
        choose_all(&*self.backend, &mut self.schedule.active, &mut self.scratches, &out.logits, self.vocab);
        self.schedule.accept(self.cache.table_mut(), &mut self.stats, sink);
        if let Some(mtp) = self.mtp.as_mut().filter(|_| !self.batch.is_empty()) {
            let hidden = (&out.hidden[..], out.hidden.len() / self.batch.len());
            mtp.draft(&*self.backend, weights, precision, &mut self.schedule, &mut self.cache, hidden)?;
        }
        Ok(())
    }

    /// Checks that a request can be answered.
    pub(crate) fn check(&self, r: &Request) -> Result<(), Error> {
        check(r, self.vocab, self.capacity.max_len)
    }
}

/// Creates a file that only its owner can read: it contains prompts and answers.
fn private_file(path: &Path) -> std::io::Result<File> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Checks that a request can be answered with this vocabulary and context length.
pub(crate) fn check(r: &Request, vocab: usize, max_len: usize) -> Result<(), Error> {
    let error = |message: String| Error::Request { request: 0, message };
    if r.prompt.is_empty() {
        return Err(error("the prompt is empty; it needs at least one token".into()));
    }
    if r.prompt.len() >= max_len {
        return Err(Error::PromptTooLong { prompt: r.prompt.len(), context: max_len });
    }
    if let Some(token) = r.prompt.iter().find(|&&t| t as usize >= vocab) {
        return Err(error(format!("token {token} of the prompt is outside the vocabulary of {vocab}")));
    }
    r.sampling.check().map_err(error)
}

/// Chooses the tokens of all sequences that have logits, in parallel.
fn choose_all(
    backend: &dyn Backend,
    active: &mut [Sequence],
    scratches: &mut Vec<Scratch>,
    logits: &[f32],
    vocab: usize,
) {
    let rows: usize = active.iter().filter(|s| s.row.is_some()).map(|s| 1 + s.draft.len()).sum();
    if rows == 0 {
        return;
    }
    // A row of a small vocabulary costs less than waking a thread.
    let worth = (rows * vocab).div_ceil(1 << 13);
    let tasks = meno_tensor::pool::threads().min(active.len()).min(worth);
    if scratches.len() < tasks {
        scratches.resize_with(tasks, Scratch::default);
    }
    let chunk = active.len().div_ceil(tasks);
    let run = |(active, scratch): (&mut [Sequence], &mut Scratch)| {
        active.iter_mut().for_each(|s| s.choose(backend, logits, vocab, scratch));
    };
    if tasks == 1 {
        run((active, &mut scratches[0]));
    } else {
        active.par_chunks_mut(chunk).zip(scratches.par_iter_mut()).for_each(run);
    }
}

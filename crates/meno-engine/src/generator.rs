//! Continuous batching: many sequences at once over one executor and one KV cache.
//!
//! Every step runs one row for each sequence that is being written, and prompts in chunks. A finished sequence frees
//! its place for the next. The prompt of a group of samples is run once and stored once, and so is the beginning that
//! different prompts share. None of this changes a bit of the result: see the contract in `docs/numerics.md`, and the
//! tests of this crate, which hold it to that.

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

/// How much is generated at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sequences in the KV cache at once.
    pub slots: usize,
    /// Most tokens of a sequence, prompt and answer together.
    pub max_len: usize,
    /// Most rows of one step: prompts are run in chunks that fit. At least `slots`.
    pub rows: usize,
    /// MLA decodes from the latent cache: less memory, equal up to rounding instead of bit for bit.
    pub absorbed: bool,
}

/// How it is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tokens that the KV cache holds, of all sequences and kept prefixes together; `None`: `slots` of `max_len`.
    /// When it runs full, the sequence that came last waits and is run again later.
    pub cache_tokens: Option<usize>,
    /// Most rows of prompts in a step while answers are being written: a long prompt delays a token by no more.
    pub prefill_rows: usize,
    /// Whether what finished sequences leave in the cache is kept for prompts with the same beginning; only while the
    /// weights stay the same.
    pub reuse_prefixes: bool,
    /// How the cache stores keys and values; anything but f32 costs the contract with training its bits.
    pub kv_type: KvType,
    /// Who guesses tokens ahead. The answers are the same, only sooner.
    pub speculative: Speculative,
    /// Whether hidden states can be asked for ([`Observe::Hidden`]). The answers are the same.
    pub hidden: bool,
}

impl Default for Options {
    /// For a fixed set of requests.
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
    /// For a server: short chunks of prompts, kept prefixes, hidden states.
    pub fn serving() -> Options {
        Options { prefill_rows: 64, reuse_prefixes: true, hidden: true, ..Options::default() }
    }
}

/// A prompt and how to continue it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// How many answers.
    pub n: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Names the random numbers: seed, step, sequence. Sample j draws its token at position p from
    /// `[seed, step, sequence * n + j, p]`.
    pub key: [u64; 3],
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The index of its request.
    pub request: usize,
    /// Its index among the request's `n`.
    pub sample: usize,
    /// Its tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// Of every token, the log-probability in the full distribution at the sampling temperature (at 1 for greedy).
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// A request on its way.
pub(crate) struct Job {
    /// Names it in events.
    pub(crate) id: u64,
    /// Beginnings are shared among jobs of the same salt only.
    pub(crate) salt: u64,
    pub(crate) request: Request,
    /// What is reported about its prompt.
    pub(crate) observe: Observe,
    /// One for every sample, or none.
    pub(crate) constraints: Vec<Box<dyn Constraint>>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Passes over the network.
    pub steps: usize,
    /// Prompt tokens that were run (shared and reused ones were not).
    pub prompt_tokens: usize,
    /// Prompt tokens that were found in the cache when their sequence got its place.
    pub cached_tokens: usize,
    /// Tokens generated.
    pub tokens: usize,
    /// Tokens guessed.
    pub drafted: usize,
    /// Guesses that were right.
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
    /// A generator for a fixed set of requests.
    pub fn new(model: &Model, capacity: Capacity) -> Result<Generator, Error> {
        Generator::with_options(model, capacity, Options::default())
    }

    /// A generator for `model`; executor and cache are allocated here, a step allocates nothing.
    pub fn with_options(model: &Model, capacity: Capacity, o: Options) -> Result<Generator, Error> {
        let own = model.config.max_position_embeddings;
        if capacity.max_len > own {
            let message = format!("{} tokens asked for, but the model was made for at most {own}", capacity.max_len);
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

    /// Answers all requests with the current weights of `model`, which must be the one this generator was made for.
    /// `on_token` sees every token as it is chosen. Completions come in the order of requests and samples, all of
    /// them, cancelled ones with what they have.
    ///
    /// # Errors
    /// If a request makes no sense, or if logits are not finite.
    pub fn generate(
        &mut self,
        model: &mut Model,
        precision: Precision,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> Flow,
    ) -> Result<Vec<Completion>, Error> {
        self.generate_with(&mut *model.weights, precision, requests, on_token)
    }

    /// A generator for a network given as executor and cache sizes.
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
            return error(format!("{slots} sequences of {max_len} tokens: at least 1 of 2 tokens is needed"));
        }
        if rows < slots || executor.program().mode().rows < rows {
            return error(format!(
                "{rows} rows for {slots} slots, on an executor of {}; a slot needs a row",
                executor.program().mode().rows
            ));
        }
        if options.prefill_rows == 0 {
            return error("a step takes 0 rows of prompts: at least 1 is needed".into());
        }
        // One page more than the longest sequence: whoever writes to a shared page takes a copy.
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

    /// How much is generated at once.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Bytes of cache and activations.
    pub fn bytes(&self) -> usize {
        self.cache.bytes() + self.executor.bytes() + self.mtp.as_ref().map_or(0, Mtp::bytes)
    }

    /// Setting this stops the running call at its next step; whoever sets it clears it.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Keeps what finished sequences leave in the cache, so that a later prompt with the same beginning does not run
    /// it again (a conversation). Only while the weights stay the same: [`Generator::forget`] after a change.
    pub fn set_reuse_prefixes(&mut self, reuse: bool) {
        self.schedule.reuse = reuse;
        self.forget();
    }

    /// Forgets kept prefixes.
    pub fn forget(&mut self) {
        self.schedule.forget(self.cache.table_mut());
    }

    /// Pages of the cache: in use (by sequences and kept prefixes), and all.
    pub fn cache_pages(&self) -> (usize, usize) {
        (self.cache.table().pages() - self.cache.table().free_pages(), self.cache.table().pages())
    }

    /// Sequences that wait, and that run.
    pub fn counts(&self) -> (usize, usize) {
        self.schedule.counts()
    }

    /// What the last call of [`Generator::generate`] did.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The executor, to profile it.
    pub fn executor_mut(&mut self) -> &mut dyn Executor {
        &mut *self.executor
    }

    /// [`Generator::generate`] with the weights of a network.
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
            let finish = Finish::Cancelled; // so far
            // All their room at once: writing an answer allocates nothing.
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

    /// Names what kept prefixes belong to: a hash of the logits of a fixed prompt, whose bits come from all weights, the
    /// precision, the type of the cache and the kernels of this processor.
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

    /// Writes the kept prefixes to a file that only its owner can read, under a temporary name first; returns how many.
    /// If that fails nothing is left behind.
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

    /// Reads what [`Generator::save_prefixes`] wrote for the same model run in the same way, as much as there is room
    /// for; returns how many prefixes are kept now. A file that is not there holds none.
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
        result.map_err(|message| Error::file(path, format!("kept prefixes: {message}")))
    }

    /// Puts a request in the queue; [`Generator::check`] has passed it.
    pub(crate) fn add(&mut self, job: Job, sink: Sink<'_>) {
        self.schedule.add(job, sink);
    }

    /// Ends what is left of the jobs that `which` names.
    pub(crate) fn cancel_jobs(&mut self, which: impl Fn(u64) -> bool, sink: Sink<'_>) {
        self.schedule.cancel(which, self.cache.table_mut(), sink);
    }

    /// Whether nothing waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.schedule.is_idle()
    }

    /// One pass: a token for every sequence being written, a part of the prompts.
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

    /// Whether a request can be answered.
    pub(crate) fn check(&self, r: &Request) -> Result<(), Error> {
        check(r, self.vocab, self.capacity.max_len)
    }
}

/// A new file for its owner alone: it holds what was asked and answered.
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

/// Whether a request can be answered with this vocabulary and context.
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

/// Chooses the tokens of all sequences that have logits, spread over the threads.
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

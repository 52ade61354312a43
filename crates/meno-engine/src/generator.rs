//! Continuous batching: many sequences at once over one tape and one KV cache.
//!
//! Every step runs one row for each sequence that is being written and fills the remaining rows with prompts, in
//! chunks. A finished sequence frees its place in the cache for the next. The prompt of a group of samples is run
//! once and its keys and values are copied to the others. None of this changes a bit of the result: see the contract
//! in `docs/numerics.md`, and the tests of this crate, which hold it to that.

mod schedule;

use crate::error::Error;
use crate::sampler::{Sampling, Scratch, sample};
use meno_model::{InferOptions, Model};
use meno_tensor::batch::Batch;
use meno_tensor::gemm::Precision;
use meno_tensor::kv_cache::{KvCache, LayerSpec};
use meno_tensor::params::Params;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{CrossEntropy, Tape};
use rayon::prelude::*;
use schedule::{Draw, Schedule};
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

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// A stop token (the last of the tokens), or the caller said so.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// The caller cancelled everything.
    Cancelled,
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

/// A token just chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenEvent {
    /// The index of the request.
    pub request: usize,
    /// The index among the request's `n`.
    pub sample: usize,
    /// The index of the token in the answer.
    pub index: usize,
    /// The token.
    pub token: u32,
    /// Its log-probability, see [`Completion::logprobs`].
    pub logprob: f32,
    /// Set with the last token of the answer.
    pub finish: Option<Finish>,
}

/// What the caller wants after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// This answer is complete.
    Stop,
    /// Stop everything.
    Cancel,
}

/// What the last call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps of the tape.
    pub steps: usize,
    /// Prompt tokens that were run (shared and reused ones were not).
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub tokens: usize,
}

/// Generates tokens with a planned network and a KV cache.
pub struct Generator {
    tape: Tape,
    cache: KvCache,
    vocab: usize,
    capacity: Capacity,
    batch: Batch,
    draws: Vec<Draw>,
    scratches: Vec<Scratch>,
    resident: Vec<Vec<u32>>,
    reuse_prefixes: bool,
    cancel: Arc<AtomicBool>,
    stats: Stats,
}

impl Generator {
    /// A generator for `model`; the tape and the cache are allocated here, a step allocates nothing.
    pub fn new(model: &Model, capacity: Capacity) -> Result<Generator, Error> {
        let own = model.config.max_position_embeddings;
        if capacity.max_len > own {
            let message = format!("{} tokens asked for, but the model was made for at most {own}", capacity.max_len);
            return Err(Error::Capacity(message));
        }
        let options = InferOptions { absorbed: capacity.absorbed };
        let tape = model.infer_tape(capacity.rows, options);
        Generator::from_tape(tape, &model.cache_specs(options), model.config.vocab_size, capacity)
    }

    /// Answers all requests with the current weights of `model`, which must be the one this generator was made for.
    /// `on_token` sees every token as it is chosen. Completions come in the order of requests and samples, all of
    /// them, cancelled ones with what they have.
    pub fn generate(
        &mut self,
        model: &mut Model,
        precision: Precision,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> Flow,
    ) -> Result<Vec<Completion>, Error> {
        self.generate_with(&mut model.params, precision, requests, on_token)
    }

    /// A generator for a network given as inference tape and cache sizes.
    pub fn from_tape(tape: Tape, specs: &[LayerSpec], vocab: usize, capacity: Capacity) -> Result<Generator, Error> {
        let Capacity { slots, max_len, rows, .. } = capacity;
        if slots == 0 || max_len < 2 {
            return Err(Error::Capacity(format!("{slots} slots of {max_len} tokens; at least 1 slot of 2 is needed")));
        }
        if rows < slots || tape.mode().rows < rows {
            let message =
                format!("{rows} rows for {slots} slots, on a tape of {}; a slot needs a row", tape.mode().rows);
            return Err(Error::Capacity(message));
        }
        Ok(Generator {
            tape,
            cache: KvCache::new(specs, slots, max_len),
            vocab,
            capacity,
            batch: Batch::default(),
            draws: Vec::new(),
            scratches: Vec::new(),
            resident: vec![Vec::new(); slots],
            reuse_prefixes: false,
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
        let cache: usize = self.cache.layers.iter().map(|l| (l.keys.len() + l.values.len()) * 4).sum();
        cache + self.tape.bytes()
    }

    /// Setting this stops the running call at its next step; whoever sets it clears it.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Keeps what a finished sequence left in the cache, so that a later prompt with the same beginning does not run
    /// it again (a conversation). Only while the weights stay the same: [`Generator::forget`] after a change.
    pub fn set_reuse_prefixes(&mut self, reuse: bool) {
        self.reuse_prefixes = reuse;
        self.forget();
    }

    /// Forgets kept prefixes.
    pub fn forget(&mut self) {
        self.resident.iter_mut().for_each(Vec::clear);
    }

    /// What the last call did.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The tape, to profile it.
    pub fn tape_mut(&mut self) -> &mut Tape {
        &mut self.tape
    }

    /// [`Generator::generate`] with the parameters of a network.
    pub fn generate_with(
        &mut self,
        params: &mut Params,
        precision: Precision,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> Flow,
    ) -> Result<Vec<Completion>, Error> {
        self.check(requests)?;
        self.stats = Stats::default();
        if !self.reuse_prefixes {
            self.forget();
        }
        let mut schedule = Schedule::new(requests, self.capacity, std::mem::take(&mut self.resident), on_token);
        while !schedule.is_done() {
            if self.cancel.load(Ordering::Relaxed) {
                schedule.cancel();
                break;
            }
            self.batch.clear();
            self.draws.clear();
            schedule.fill(&mut self.batch, &mut self.draws);
            if !self.batch.is_empty() {
                let objective = CrossEntropy { head_scale: [1.0; 2] };
                self.tape.forward(params, precision, &self.batch, &objective, Some(&mut self.cache));
                self.stats.steps += 1;
            }
            let logits = &self.tape.out().logits;
            draw_all(&mut self.draws, &mut self.scratches, logits, self.vocab, requests);
            schedule.accept(&self.draws, logits, self.vocab, &mut self.cache);
        }
        let (completions, resident, prompt_tokens) = schedule.finish();
        self.resident = resident;
        self.stats.prompt_tokens = prompt_tokens;
        self.stats.tokens = completions.iter().map(|c| c.tokens.len()).sum();
        Ok(completions)
    }

    fn check(&self, requests: &[Request]) -> Result<(), Error> {
        for (i, r) in requests.iter().enumerate() {
            let error = |message: String| Error::Request { request: i, message };
            if r.prompt.is_empty() {
                return Err(error("the prompt is empty; it needs at least one token".into()));
            }
            if r.prompt.len() >= self.capacity.max_len {
                return Err(Error::PromptTooLong { prompt: r.prompt.len(), context: self.capacity.max_len });
            }
            if let Some(token) = r.prompt.iter().find(|&&t| t as usize >= self.vocab) {
                return Err(error(format!("token {token} of the prompt is outside the vocabulary of {}", self.vocab)));
            }
            r.sampling.check().map_err(error)?;
        }
        Ok(())
    }
}

/// Chooses the tokens of all draws, spread over the threads.
fn draw_all(draws: &mut [Draw], scratches: &mut Vec<Scratch>, logits: &[f32], vocab: usize, requests: &[Request]) {
    if draws.is_empty() {
        return;
    }
    // A row of a small vocabulary costs less than waking a thread.
    let worth = (draws.len() * vocab).div_ceil(1 << 13);
    let tasks = meno_tensor::pool::threads().min(draws.len()).min(worth);
    if scratches.len() < tasks {
        scratches.resize_with(tasks, Scratch::default);
    }
    let chunk = draws.len().div_ceil(tasks);
    let run = |(draws, scratch): (&mut [Draw], &mut Scratch)| {
        for d in draws {
            d.choose(&logits[d.row * vocab..][..vocab], &requests[d.request], scratch);
        }
    };
    if tasks == 1 {
        run((draws, &mut scratches[0]));
    } else {
        draws.par_chunks_mut(chunk).zip(scratches.par_iter_mut()).for_each(run);
    }
}

impl Draw {
    fn choose(&mut self, logits: &[f32], request: &Request, scratch: &mut Scratch) {
        let [seed, step, sequence] = request.key;
        let sequence = sequence.wrapping_mul(request.n as u64).wrapping_add(self.sample as u64);
        let u = Rng::new(&[seed, step, sequence, self.position as u64]).uniform_f64();
        (self.token, self.logprob) = sample(logits, &request.sampling, u, scratch);
    }
}

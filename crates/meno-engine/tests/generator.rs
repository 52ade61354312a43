//! The generator over a toy network whose logits depend on every token in the cache. Whatever the slots, rows and other
//! sequences are, every sequence gets the tokens of a plain loop without caches and batches.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::sampler::{Sampling, Scratch, logprob, sample};
use meno_engine::{Completion, Finish, Generator, GeneratorConfig, Request, Speculative, Stop, StreamKey, TokenEvent};
use meno_tensor::backend::{Backend, Buffer, Error, Executor, KvStore, Optimizer, Pass, Profile, Weights};
use meno_tensor::cpu::Cpu;
use meno_tensor::device::Device;
use meno_tensor::kv_cache::{KvCache, KvType, LayerSpec};
use meno_tensor::log_softmax::LogSoftmax;
use meno_tensor::ops::{Builder, Program};
use meno_tensor::optim::OptimizerConfig;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{Activation, Mode, Outputs, PAGE, ParamLayout};
use std::any::Any;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const VOCAB: usize = 11;
const SPEC: LayerSpec = LayerSpec { kv_heads: 2, qk_dim: 1, v_dim: 1 };

/// Computes the logits of a history.
fn logits(history: impl Iterator<Item = f32>) -> [f32; VOCAB] {
    let h = history.fold(1.0f32, |h, token| (h * 31.0 + token) % 9973.0);
    std::array::from_fn(|j| 2.0 * (h * (j + 1) as f32).sin())
}

/// A backend whose only executor computes [`logits`] from the tokens in its KV store.
#[derive(Debug)]
struct History;

impl Backend for History {
    fn device(&self) -> Device {
        Device::Cpu
    }
    fn kv_store(&self, layers: &[LayerSpec], _: KvType, pages: usize) -> Result<Box<dyn KvStore>, Error> {
        Ok(Box::new(Tokens { layers: layers.to_vec(), tokens: vec![[f32::NAN; PAGE]; pages] }))
    }
    fn executor(&self, program: Program) -> Result<Box<dyn Executor>, Error> {
        Ok(Box::new(Reader { program, out: Outputs::default() }))
    }
    fn weights(&self, layout: Arc<ParamLayout>) -> Result<Box<dyn Weights>, Error> {
        Cpu.weights(layout)
    }
    fn buffer(&self, len: usize) -> Result<Box<dyn Buffer>, Error> {
        Cpu.buffer(len)
    }
    fn optimizer(
        &self,
        config: OptimizerConfig,
        layout: &ParamLayout,
        owned: &[Range<usize>],
    ) -> Result<Box<dyn Optimizer>, Error> {
        Cpu.optimizer(config, layout, owned)
    }
    fn gradient_squares(
        &self,
        layout: &ParamLayout,
        grads: &dyn Buffer,
        range: Range<usize>,
        squares: &mut Vec<f64>,
    ) -> Result<(), Error> {
        Cpu.gradient_squares(layout, grads, range, squares)
    }
    fn log_softmax(&self, logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
        Cpu.log_softmax(logits, inv_temperature)
    }
}

/// A store with the token of every position.
struct Tokens {
    layers: Vec<LayerSpec>,
    tokens: Vec<[f32; PAGE]>,
}

impl KvStore for Tokens {
    fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }
    fn kv_type(&self) -> KvType {
        KvType::F32
    }
    fn page_format(&self) -> &'static str {
        "tokens"
    }
    fn page_words(&self) -> usize {
        PAGE
    }
    fn read_page(&self, page: u32, f: &mut dyn FnMut(&[u32])) -> Result<(), Error> {
        f(&self.tokens[page as usize].map(f32::to_bits));
        Ok(())
    }
    fn write_page(&mut self, page: u32, words: &[u32]) -> Result<(), Error> {
        self.tokens[page as usize].iter_mut().zip(words).for_each(|(token, &word)| *token = f32::from_bits(word));
        Ok(())
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error> {
        self.tokens[to as usize] = self.tokens[from as usize];
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.tokens.len() * PAGE * 4
    }
}

/// Writes every token to the store, and reads the history of every requested row from it.
struct Reader {
    program: Program,
    out: Outputs,
}

impl Executor for Reader {
    fn program(&self) -> &Program {
        &self.program
    }
    fn forward(&mut self, _: &mut dyn Weights, pass: Pass, cache: Option<&mut KvCache>) -> Result<&Outputs, Error> {
        let (table, store) = cache.expect("a cache").for_batch(pass.batch)?;
        let store: &mut dyn Any = store;
        let tokens = &mut store.downcast_mut::<Tokens>().expect("our store").tokens;
        self.out.logits.clear();
        for s in &pass.batch.segments {
            let pages = table.table(s.slot.expect("a slot"));
            for (i, row) in s.rows.clone().enumerate() {
                let at = s.past + i;
                assert_eq!(pass.batch.positions[row] as usize, at);
                tokens[pages[at / PAGE] as usize][at % PAGE] = pass.batch.tokens[row] as f32;
                if pass.batch.logit_rows.contains(&row) {
                    let history = (0..=at).map(|p| tokens[pages[p / PAGE] as usize][p % PAGE]);
                    self.out.logits.extend(logits(history));
                }
            }
        }
        assert_eq!(self.out.logits.len(), pass.batch.logit_rows.len() * VOCAB);
        Ok(&self.out)
    }
    fn step(&mut self, _: &mut dyn Weights, _: Pass, _: &mut dyn Buffer) -> Result<&Outputs, Error> {
        unreachable!("a generator does not train")
    }
    fn outputs(&self) -> &Outputs {
        &self.out
    }
    fn bytes(&self) -> usize {
        0
    }
    fn start_profile(&mut self) {}
    fn profile(&self) -> Option<&Profile> {
        None
    }
    fn values(&self, _: Activation, _: usize) -> Result<Vec<f32>, Error> {
        unreachable!("the program has no activations")
    }
}

fn from_executor(rows: usize, config: GeneratorConfig) -> Result<Generator, meno_engine::Error> {
    let backend: Arc<dyn Backend> = Arc::new(History);
    let program = Builder::new(Mode { rows, train: false, recompute: false }).finish();
    let executor = backend.executor(program).unwrap();
    Generator::from_executor(&backend, executor, &[SPEC], VOCAB, config)
}

fn no_weights() -> Box<dyn Weights> {
    Cpu.weights(Arc::default()).unwrap()
}

fn generator(slots: usize, rows: usize) -> Generator {
    from_executor(rows, config(slots, rows)).unwrap()
}

fn config(slots: usize, rows: usize) -> GeneratorConfig {
    GeneratorConfig { step_rows: rows, ..GeneratorConfig::new(slots, 40) }
}

fn generate(g: &mut Generator, requests: &[Request]) -> Vec<Completion> {
    g.generate_with(&mut *no_weights(), requests, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn requests() -> Vec<Request> {
    let mut rng = Rng::new(&[5]);
    (0..9)
        .map(|i| Request {
            prompt: (0..1 + rng.below(12)).map(|_| rng.below(VOCAB) as u32).collect(),
            n: [1, 4, 0, 7, 2, 1, 3, 5, 1][i],
            sampling: Sampling {
                temperature: [1.0, 0.0, 0.7][i % 3],
                top_p: if i % 2 == 0 { 1.0 } else { 0.9 },
                max_tokens: [30, 5, 1, 50, 9, 0, 20, 50, 3][i],
                stop_tokens: vec![3, 4],
                ..Default::default()
            },
            key: StreamKey { seed: 1, step: 2, sequence: i as u64 },
        })
        .collect()
}

/// Generates one token after the other.
fn plain(requests: &[Request], max_len: usize) -> Vec<Completion> {
    let mut completions = Vec::new();
    for (request, r) in requests.iter().enumerate() {
        for sample_index in 0..r.n {
            let mut history = r.prompt.clone();
            let mut c =
                Completion { request, sample: sample_index, tokens: vec![], logprobs: vec![], finish: Finish::Length };
            while c.tokens.len() < r.sampling.max_tokens && history.len() < max_len {
                let StreamKey { seed, step, sequence } = r.key;
                let name = [seed, step, sequence * r.n as u64 + sample_index as u64, history.len() as u64];
                let mut row = logits(history.iter().map(|&t| t as f32));
                let raw = row;
                r.sampling.logit_bias.iter().for_each(|&(token, bias)| row[token as usize] += bias);
                let u = Rng::new(&name).uniform_f64();
                let (token, _) = sample(&Cpu, &row, &r.sampling, u, &mut Scratch::default());
                let logprob = logprob(&Cpu, &raw, &r.sampling, token);
                history.push(token);
                c.tokens.push(token);
                c.logprobs.push(logprob);
                if r.sampling.stop_tokens.contains(&token) {
                    c.finish = Finish::Stop;
                    break;
                }
            }
            completions.push(c);
        }
    }
    completions
}

#[test]
fn alone_in_a_crowd_and_one_after_the_other_are_the_same() {
    let requests = requests();
    let expected = plain(&requests, 40);
    assert!(expected.iter().any(|c| c.finish == Finish::Stop) && expected.iter().any(|c| c.finish == Finish::Length));
    for (slots, rows) in [(1, 1), (1, 5), (2, 2), (3, 4), (5, 64), (24, 24), (40, 100)] {
        let mut g = generator(slots, rows);
        assert_eq!(generate(&mut g, &requests), expected, "{slots} slots, {rows} rows");
        assert_eq!(generate(&mut g, &requests), expected, "again");
    }
}

#[test]
fn guesses_change_nothing_but_the_steps() {
    let mut requests = requests();
    // Repetitive prompts and repetitive answers.
    for r in &mut requests {
        r.prompt = r.prompt.iter().chain(&r.prompt).copied().collect();
        r.sampling.stop_tokens.clear();
        r.sampling.logit_bias = vec![(1, 3.0), (2, 3.0)];
    }
    let expected = plain(&requests, 40);
    for (slots, rows) in [(1, 1), (1, 12), (3, 7), (24, 64)] {
        let mut off = generator(slots, rows);
        assert_eq!(generate(&mut off, &requests), expected);
        let config = GeneratorConfig { speculative: Speculative::Ngram, ..config(slots, rows) };
        let mut on = from_executor(rows, config).unwrap();
        assert_eq!(generate(&mut on, &requests), expected, "{slots} slots, {rows} rows");
        let (on, off) = (on.stats(), off.stats());
        assert_eq!((on.tokens, on.prompt_tokens), (off.tokens, off.prompt_tokens));
        assert!(rows == 1 || on.accepted > 0 && on.accepted < on.drafted && on.steps < off.steps, "{on:?} {off:?}");
    }
}

#[test]
fn a_prompt_is_run_once_for_its_samples_and_kept_prefixes_not_again() {
    let mut g = generator(3, 8);
    let sampling = Sampling { max_tokens: 6, ..Default::default() };
    let request = Request { prompt: (0..10).collect(), n: 7, sampling, key: StreamKey::default() };
    generate(&mut g, std::slice::from_ref(&request));
    // The prompt once, and its last token again for each of the two rounds of samples that waited for a slot.
    assert_eq!(g.stats().prompt_tokens, 10 + 2);
    // A conversation continues: the prompt, part of the answer, new tokens.
    g.set_reuse_prefixes(true);
    let first = generate(&mut g, &[Request { n: 1, ..request.clone() }]);
    let mut longer = request.prompt.clone();
    longer.extend(&first[0].tokens[..4]);
    longer.extend([(first[0].tokens[4] + 1) % VOCAB as u32, 9, 9]);
    let next = Request { prompt: longer, n: 2, ..request };
    let answers = generate(&mut g, std::slice::from_ref(&next));
    assert_eq!(g.stats().prompt_tokens, 3);
    assert_eq!(answers, plain(std::slice::from_ref(&next), 40));
    g.forget();
    generate(&mut g, &[next]);
    assert_eq!(g.stats().prompt_tokens, 17);
}

/// With a cache too small for all running sequences, some release their pages, wait, and end up with the same tokens.
#[test]
fn a_full_cache_makes_sequences_wait_and_changes_nothing() {
    let mut rng = Rng::new(&[6]);
    let requests: Vec<Request> = (0..6)
        .map(|i| Request {
            prompt: (0..[100, 3, 150, 3, 64, 63][i]).map(|_| rng.below(VOCAB) as u32).collect(),
            n: [2, 3, 1, 1, 2, 2][i],
            sampling: Sampling { max_tokens: [90, 200, 70, 300, 128, 129][i], ..Default::default() },
            key: StreamKey { seed: 1, step: 2, sequence: i as u64 },
        })
        .collect();
    let expected = plain(&requests, 300);
    for (slots, rows, cache_tokens) in [(6, 64, 384), (11, 200, 384), (11, 200, 640), (3, 5, 450)] {
        for prefill_rows in [1, 20, usize::MAX] {
            let config =
                GeneratorConfig { max_len: 300, cache_tokens: Some(cache_tokens), prefill_rows, ..config(slots, rows) };
            let mut g = from_executor(rows, config).unwrap();
            assert_eq!(generate(&mut g, &requests), expected, "{slots} slots, {rows} rows, {cache_tokens} tokens");
            g.forget();
            assert_eq!(g.cache_pages().used, 0, "all pages are free again");
        }
    }
}

#[test]
fn prompts_with_the_same_beginning_share_it() {
    let mut g = generator(4, 64);
    let sampling = Sampling { max_tokens: 4, ..Default::default() };
    let key = |sequence| StreamKey { sequence, ..StreamKey::default() };
    let request = |prompt: Vec<u32>, i| Request { prompt, n: 1, sampling: sampling.clone(), key: key(i) };
    let system: Vec<u32> = (0..30).map(|i| i % VOCAB as u32).collect();
    let with = |end: &[u32]| system.iter().chain(end).copied().collect::<Vec<u32>>();
    g.set_reuse_prefixes(true);
    let first = [request(with(&[1, 2]), 0)];
    assert_eq!(generate(&mut g, &first), plain(&first, 40));
    let both = [request(with(&[3, 4, 5]), 1), request(with(&[1, 2, 9]), 2), request(with(&[]), 3)];
    assert_eq!(generate(&mut g, &both), plain(&both, 40));
    assert_eq!((g.stats().prompt_tokens, g.stats().cached_tokens), (3 + 1 + 1, 30 + 32 + 29));
}

#[test]
fn events_tell_every_token_and_the_caller_can_end_one_answer_or_all() {
    let requests = requests();
    let mut seen: Vec<TokenEvent> = Vec::new();
    let mut g = generator(4, 16);
    let mut run = |on_token: &mut dyn FnMut(TokenEvent) -> ControlFlow<Stop>| {
        g.generate_with(&mut *no_weights(), &requests, on_token).unwrap()
    };
    let all = run(&mut |e| {
        seen.push(e);
        ControlFlow::Continue(())
    });
    for c in &all {
        let events: Vec<_> = seen.iter().filter(|e| (e.request, e.sample) == (c.request, c.sample)).collect();
        assert_eq!(events.iter().map(|e| e.token).collect::<Vec<_>>(), c.tokens);
        assert!(events.iter().enumerate().all(|(i, e)| e.index == i));
        assert!(events.iter().rev().skip(1).all(|e| e.finish.is_none()));
        assert_eq!(events.last().and_then(|e| e.finish), (!c.tokens.is_empty()).then_some(c.finish));
    }
    // Ending one answer after its second token leaves the others as they are.
    let one = run(&mut |e| {
        if (e.request, e.sample, e.index) == (3, 2, 1) {
            ControlFlow::Break(Stop::Answer)
        } else {
            ControlFlow::Continue(())
        }
    });
    for (a, b) in one.iter().zip(&all) {
        if (a.request, a.sample) == (3, 2) {
            assert_eq!((a.tokens.as_slice(), a.finish), (&b.tokens[..2], Finish::Stop));
        } else {
            assert_eq!(a, b);
        }
    }
    // Cancelling keeps the tokens so far.
    let mut count = 0;
    let cancelled = run(&mut |_| {
        count += 1;
        if count == 20 { ControlFlow::Break(Stop::All) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(cancelled.iter().map(|c| c.tokens.len()).sum::<usize>(), 20);
    for (a, b) in cancelled.iter().zip(&all) {
        assert!(b.tokens.starts_with(&a.tokens));
        assert!(a.finish == Finish::Cancelled || a == b);
    }
    assert!(cancelled.iter().any(|c| c.finish == Finish::Cancelled));
}

#[test]
fn the_cancel_flag_stops_before_the_next_step() {
    let mut g = generator(4, 16);
    g.cancel_flag().store(true, Ordering::Relaxed);
    let stopped = generate(&mut g, &requests());
    assert!(stopped.iter().all(|c| c.tokens.is_empty()));
    g.cancel_flag().store(false, Ordering::Relaxed);
    assert_eq!(generate(&mut g, &requests()), plain(&requests(), 40));
}

#[test]
fn what_cannot_be_answered_is_named() {
    let mut g = generator(2, 2);
    let mut error = |change: &dyn Fn(&mut Request)| {
        let mut requests = requests();
        change(&mut requests[1]);
        g.generate_with(&mut *no_weights(), &requests, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    assert!(error(&|r| r.prompt = vec![1; 40]).contains("40 tokens, but the context holds 40"));
    assert!(error(&|r| r.prompt = vec![]).contains("request 1: the prompt is empty"));
    assert!(error(&|r| r.prompt = vec![11]).contains("token 11 of the prompt is outside the vocabulary of 11"));
    assert!(error(&|r| r.sampling.top_p = 2.0).contains("request 1: top_p 2"));
    let refused = |slots, rows| from_executor(4, config(slots, rows)).err().expect("refused").to_string();
    assert!(refused(0, 4).contains("0 sequences of 40 tokens"));
    assert!(refused(2, 8).contains("8 rows for 2 slots, on an executor of 4"));
    // Every slot has a row, whatever was asked for.
    assert!(refused(5, 2).contains("5 rows for 5 slots, on an executor of 4"));
    let small = GeneratorConfig { cache_tokens: Some(1), ..config(2, 4) };
    let error = from_executor(4, small).err().expect("refused");
    let cause = matches!(error, meno_engine::Error::CacheTooSmall { tokens: 64, max_len: 40, needed: 128 });
    assert!(cause, "{error}");
}

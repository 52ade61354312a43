//! The engine as a server uses it: many submissions from many threads, constraints, penalties, cancellation, rejection.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::constraint::{Choice, Constraint, TokenMask};
use meno_engine::engine::{Engine, EngineOptions, Finished, Submission, SubmitError, Ticket};
use meno_engine::sampler::Sampling;
use meno_engine::{Event, Finish, Generator, GeneratorConfig, Observe, Request, Stop, StreamKey};
use meno_model::{Config, Model};
use meno_tensor::kv_cache::KvType;
use meno_tensor::precision::Precision;
use serde_json::json;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const VOCAB: usize = 67;
const WAIT: Duration = Duration::from_secs(120);

fn model() -> Model {
    let config = json!({
        "model_type": "qwen2", "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 100,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.2,
        "hidden_act": "silu"
    });
    Model::random(Config::from_value("config.json", config).unwrap(), 3).unwrap()
}

fn options(slots: usize, queue: usize) -> EngineOptions {
    EngineOptions { generator: GeneratorConfig::new(slots, 2400).serving(), threads: Some(1), queue, prefix_file: None }
}

fn request(prompt: &[u32], max_tokens: usize, seed: u64) -> Request {
    let sampling = Sampling { max_tokens, ..Default::default() };
    Request { prompt: prompt.to_vec(), n: 1, sampling, key: StreamKey::seeded(seed) }
}

fn submit(engine: &Engine, request: Request, constraints: Vec<Box<dyn Constraint>>) -> (Ticket, Receiver<Event>) {
    let (sender, events) = channel();
    let on_event =
        Box::new(
            move |event| {
                if sender.send(event).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(Stop::Answer) }
            },
        );
    (engine.submit(Submission { request, salt: 0, observe: Observe::Nothing, constraints, on_event }).unwrap(), events)
}

/// Returns the tokens of sample 0 and why it ended.
fn answer(events: &Receiver<Event>) -> (Vec<u32>, Finish) {
    let mut tokens = Vec::new();
    loop {
        match events.recv_timeout(WAIT).unwrap() {
            Event::Token { sample: 0, token, index, .. } => {
                assert_eq!(index, tokens.len());
                tokens.push(token);
            }
            Event::Finish { sample: 0, finish } => return (tokens, finish),
            _ => {}
        }
    }
}

fn alone(request: &Request) -> Vec<u32> {
    let mut model = model();
    let config = GeneratorConfig { step_rows: 64, ..GeneratorConfig::new(1, 2400) };
    let mut generator = Generator::new(&model, config).unwrap();
    let requests = std::slice::from_ref(request);
    generator.generate(&mut model, requests, &mut |_| ControlFlow::Continue(())).unwrap().remove(0).tokens
}

#[test]
fn many_clients_get_what_each_gets_alone() {
    let engine = Engine::start(model(), options(5, 100)).unwrap();
    let requests: Vec<Request> = (0..12)
        .map(|i| {
            let prompt: Vec<u32> = (0..1 + i * 17 % 90).map(|t| (t * t + i / 3) % VOCAB as u32).collect();
            let mut r = request(&prompt, 10 + i as usize * 3, i as u64);
            r.sampling.temperature = [1.0, 0.0, 0.6][i as usize % 3];
            r
        })
        .collect();
    std::thread::scope(|scope| {
        for r in &requests {
            let engine = engine.clone();
            scope.spawn(move || {
                let (_ticket, events) = submit(&engine, r.clone(), vec![]);
                assert_eq!(answer(&events), (alone(r), Finish::Length));
            });
        }
    });
    let stats = engine.stats();
    let tokens: usize = requests.iter().map(|r| r.sampling.max_tokens).sum();
    assert_eq!(
        (stats.requests, stats.finished, stats.totals.tokens),
        (12, Finished { length: 12, ..Finished::default() }, tokens)
    );
    assert_eq!(stats.time_to_first_token.count(), 12);
    assert_eq!(stats.time_between_tokens.count() as usize, tokens - 12);
    assert!(stats.cache_pages.used > 0 && stats.cache_pages.used <= stats.cache_pages.total);
    engine.shutdown().unwrap();
    let (sender, _events) = channel();
    let on_event =
        Box::new(move |e| sender.send(e).map_or(ControlFlow::Break(Stop::Answer), |()| ControlFlow::Continue(())));
    let late = engine.submit(Submission {
        request: requests[0].clone(),
        salt: 0,
        observe: Observe::Nothing,
        constraints: vec![],
        on_event,
    });
    assert!(matches!(late, Err(SubmitError::Stopping)));
}

#[test]
fn a_second_turn_runs_only_what_is_new() {
    let engine = Engine::start(model(), options(4, 100)).unwrap();
    let prompt: Vec<u32> = (0..200).map(|t| t * t % VOCAB as u32).collect();
    let (_t, events) = submit(&engine, request(&prompt, 20, 1), vec![]);
    let (tokens, _) = answer(&events);
    let run = engine.stats().totals.prompt_tokens;
    let turn: Vec<u32> = prompt.iter().chain(&tokens).copied().chain([1, 2, 3]).collect();
    let (_t, events) = submit(&engine, request(&turn, 5, 1), vec![]);
    assert!(matches!(events.recv_timeout(WAIT).unwrap(), Event::Prompt { sample: 0, cached: 219 }));
    assert_eq!(answer(&events).0, alone(&request(&turn, 5, 1)));
    engine.shutdown().unwrap();
    assert_eq!(engine.stats().totals.prompt_tokens - run, 4); // the last token of the answer had not run
}

#[test]
fn prefixes_outlive_the_engine_and_a_bad_file_is_read_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefixes");
    let with_file = || EngineOptions { prefix_file: Some(path.clone()), ..options(4, 100) };
    let prompt: Vec<u32> = (0..200).map(|t| t * t % VOCAB as u32).collect();
    let first = Engine::start(model(), with_file()).unwrap();
    let (_t, events) = submit(&first, request(&prompt, 20, 1), vec![]);
    let (tokens, _) = answer(&events);
    let (_u, events) = submit(&first, request(&[&prompt[..70], &[9, 9]].concat(), 5, 1), vec![]);
    answer(&events);
    first.shutdown().unwrap();
    let good = std::fs::read(&path).unwrap();
    let turn: Vec<u32> = prompt.iter().chain(&tokens).copied().chain([1, 2, 3]).collect();
    let second = Engine::start(model(), with_file()).unwrap();
    let (_t, events) = submit(&second, request(&turn, 5, 1), vec![]);
    assert!(matches!(events.recv_timeout(WAIT).unwrap(), Event::Prompt { sample: 0, cached: 219 }));
    assert_eq!(answer(&events).0, alone(&request(&turn, 5, 1)));
    second.shutdown().unwrap();

    // A cache too small for both keeps the most recently used.
    std::fs::write(&path, &good).unwrap();
    let mut small = with_file();
    small.generator.cache_tokens = Some((2400usize.div_ceil(64) + 1 + 2) * 64);
    let engine = Engine::start(model(), small).unwrap();
    let (_t, events) = submit(&engine, request(&[&prompt[..70], &[9, 9, 8]].concat(), 5, 1), vec![]);
    assert!(matches!(events.recv_timeout(WAIT).unwrap(), Event::Prompt { cached: 72, .. }));
    answer(&events);
    engine.shutdown().unwrap();

    let error = |bytes: &[u8], o: EngineOptions| {
        std::fs::write(&path, bytes).unwrap();
        let mut model = model();
        let mut generator = Generator::new(&model, o.generator).unwrap();
        let error = generator.load_prefixes(&mut *model.weights, &path).unwrap_err().to_string();
        assert!(error.contains("prefixes: cached prefixes:"), "{error}");
        error
    };
    let mut other = with_file();
    other.generator.precision = Precision::Bf16;
    assert!(error(&good, other).contains("another precision"));
    let mut other = with_file();
    other.generator.kv_type = KvType::Q8_0;
    assert!(error(&good, other).contains("cache type"));
    assert!(error(b"hello, world", with_file()).contains("not a file of cached prefixes"));
    for len in (0..good.len()).step_by(good.len() / 97) {
        error(&good[..len], with_file());
    }
    // Damage one word after the other, mostly in the part that describes the pages.
    for at in (0..1200).chain((1200..good.len()).step_by(9973)) {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        error(&bad, with_file());
    }
}

#[test]
fn what_cannot_be_read_is_set_aside_and_what_cannot_be_saved_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefixes");
    let with_file = || EngineOptions { prefix_file: Some(path.clone()), ..options(4, 100) };
    for (i, bytes) in [b"".as_slice(), b"hello, world", &[0; 5000]].into_iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let engine = Engine::start(model(), with_file()).unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read(dir.path().join(format!("prefixes.unread-{}", i + 1))).unwrap(), bytes);
        let (_t, events) = submit(&engine, request(&[1, 2, 3], 5, 1), vec![]);
        answer(&events);
        engine.shutdown().unwrap();
        std::fs::remove_file(&path).expect("a new file is written");
    }
    // A directory is not renamed.
    std::fs::create_dir(&path).unwrap();
    assert!(Engine::start(model(), with_file()).is_err());
    std::fs::remove_dir(&path).unwrap();
    // The file cannot replace the directory: nothing is left behind, and the engine still ends without an error.
    let engine = Engine::start(model(), with_file()).unwrap();
    std::fs::create_dir_all(path.join("in the way")).unwrap();
    engine.shutdown().unwrap();
    assert!(!dir.path().join("prefixes.part").exists());
}

#[test]
fn beginnings_are_found_under_their_own_salt_only() {
    let engine = Engine::start(model(), options(4, 100)).unwrap();
    let prompt: Vec<u32> = (0..200).map(|t| t * t % VOCAB as u32).collect();
    let cached = |salt: u64| {
        let (sender, events) = channel();
        let on_event = Box::new(move |event| {
            sender.send(event).map_or(ControlFlow::Break(Stop::All), |()| ControlFlow::Continue(()))
        });
        let submission = Submission {
            request: request(&prompt, 5, 1),
            salt,
            observe: Observe::Nothing,
            constraints: vec![],
            on_event,
        };
        let _ticket = engine.submit(submission).unwrap();
        let Event::Prompt { cached, .. } = events.recv_timeout(WAIT).unwrap() else {
            panic!("expected the prompt event first")
        };
        answer(&events);
        cached
    };
    assert_eq!(cached(1), 0);
    assert_eq!(cached(2), 0);
    assert_eq!(cached(1), 199);
    assert_eq!(cached(2), 199);
    engine.shutdown().unwrap();
}

/// Reports the number of tokens of another answer when the first token of this one is chosen.
struct Tell(Arc<AtomicUsize>, Sender<usize>);

impl Constraint for Tell {
    fn choose(&mut self, _: &mut TokenMask) -> Choice {
        let _ = self.1.send(self.0.load(Ordering::Relaxed));
        Choice::Any
    }
    fn accept(&mut self, _: u32) {}
}

/// A decoding sequence gets one token per step, and a step runs at most 64 rows of the long prompt.
#[test]
fn a_long_prompt_does_not_stall_the_others() {
    let engine = Engine::start(model(), options(4, 100)).unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let ((reached, at_four), (go, submitted)) = (channel(), channel::<()>());
    let count = written.clone();
    // The engine waits after the fourth token until the long prompt is queued.
    let on_event = Box::new(move |event| {
        if matches!(event, Event::Token { .. }) && count.fetch_add(1, Ordering::Relaxed) == 3 {
            reached.send(()).unwrap();
            submitted.recv().unwrap();
        }
        ControlFlow::Continue(())
    });
    let short = engine.submit(Submission {
        request: request(&[1, 2, 3], 300, 1),
        salt: 0,
        observe: Observe::Nothing,
        constraints: vec![],
        on_event,
    });
    at_four.recv_timeout(WAIT).unwrap();
    let long: Vec<u32> = (0..2000).map(|t| t * t % VOCAB as u32).collect();
    let (sender, seen) = channel();
    let (_long, first) = submit(&engine, request(&long, 1, 2), vec![Box::new(Tell(written, sender))]);
    go.send(()).unwrap();
    // 32 steps; the token of the last step is reported after it.
    assert_eq!(seen.recv_timeout(WAIT).unwrap(), 4 + 2000usize.div_ceil(64) - 1);
    assert_eq!(answer(&first).0, alone(&request(&long, 1, 2)));
    drop(short);
}

#[test]
fn who_goes_away_frees_its_place() {
    let engine = Engine::start(model(), options(1, 100)).unwrap();
    let (long, events) = submit(&engine, request(&[5, 6], 2300, 1), vec![]);
    events.recv_timeout(WAIT).unwrap();
    let (_next, waiting) = submit(&engine, request(&[7], 3, 1), vec![]);
    drop(long);
    assert_eq!(answer(&waiting).0, alone(&request(&[7], 3, 1)));
    let heard: Vec<Event> = events.iter().collect(); // ends because the sender is gone
    assert!(heard.len() < 2300, "{}", heard.len());
    assert_eq!(engine.stats().finished.cancelled, 1);
}

#[test]
fn a_full_queue_refuses_and_nonsense_is_named() {
    let engine = Engine::start(model(), options(1, 2)).unwrap();
    let first = submit(&engine, request(&[5, 6], 2300, 1), vec![]);
    first.1.recv_timeout(WAIT).unwrap();
    let _more: Vec<_> = (0..2).map(|_| submit(&engine, request(&[7], 3, 1), vec![])).collect();
    let refused = |request, constraints| {
        engine
            .submit(Submission {
                request,
                salt: 0,
                observe: Observe::Nothing,
                constraints,
                on_event: Box::new(|_| ControlFlow::Continue(())),
            })
            .err()
            .unwrap()
    };
    assert!(matches!(refused(request(&[7], 3, 1), vec![]), SubmitError::Busy { waiting: 2 }));
    assert_eq!(engine.stats().refused, 1);
    assert!(refused(request(&[], 3, 1), vec![]).to_string().contains("empty"));
    assert!(refused(request(&[900], 3, 1), vec![]).to_string().contains("token 900"));
    let two: Vec<Box<dyn Constraint>> = vec![Box::new(Script(vec![], 0)), Box::new(Script(vec![], 0))];
    assert!(refused(request(&[1], 3, 1), two).to_string().contains("2 constraints for 1 samples"));
}

/// A script of constraints, one per token.
struct Script(Vec<Step>, usize);

#[derive(Clone)]
enum Step {
    Any,
    Only(Vec<u32>),
    Force(u32),
}

impl Constraint for Script {
    fn choose(&mut self, mask: &mut TokenMask) -> Choice {
        match self.0.get(self.1) {
            None => Choice::End,
            Some(Step::Any) => Choice::Any,
            Some(&Step::Force(token)) => Choice::Token(token),
            Some(Step::Only(tokens)) => {
                mask.forbid_all();
                tokens.iter().for_each(|&t| mask.allow(t));
                Choice::Masked
            }
        }
    }
    fn accept(&mut self, token: u32) {
        match &self.0[self.1] {
            Step::Any => {}
            Step::Force(t) => assert_eq!(*t, token),
            Step::Only(tokens) => assert!(tokens.contains(&token)),
        }
        self.1 += 1;
    }
}

#[test]
fn constraints_mask_force_and_end() {
    let engine = Engine::start(model(), options(4, 100)).unwrap();
    let plan =
        vec![Step::Any, Step::Only(vec![3, 9]), Step::Force(12), Step::Force(13), Step::Any, Step::Only(vec![8])];
    let mut r = request(&[1, 2, 3], 100, 4);
    r.n = 2;
    let scripts = || -> Vec<Box<dyn Constraint>> {
        (0..2).map(|_| Box::new(Script(plan.clone(), 0)) as Box<dyn Constraint>).collect()
    };
    let (_t, events) = submit(&engine, r.clone(), scripts());
    let (tokens, finish) = answer(&events);
    assert_eq!((tokens.len(), finish), (6, Finish::Stop));
    assert!([3, 9].contains(&tokens[1]) && tokens[2..4] == [12, 13] && tokens[5] == 8);
    // Unconstrained tokens equal the model's own choice.
    let free = alone(&Request { n: 1, key: StreamKey::seeded(4), ..r });
    assert_eq!(tokens[0], free[0]);
}

#[test]
fn biases_penalties_and_alternatives() {
    let engine = Engine::start(model(), options(4, 100)).unwrap();
    /// Token, log-probability, alternatives.
    type Seen = (u32, f32, Vec<(u32, f32)>);
    let greedy = |change: &dyn Fn(&mut Sampling)| {
        let mut r = request(&[1, 2, 3], 12, 4);
        r.sampling.temperature = 0.0;
        change(&mut r.sampling);
        let (_t, events) = submit(&engine, r, vec![]);
        let mut seen = Vec::new();
        for event in events.iter() {
            if let Event::Token { token, logprob, top_logprobs, .. } = event {
                seen.push((token, logprob, top_logprobs));
            }
        }
        seen
    };
    let tokens = |seen: &[Seen]| seen.iter().map(|s| s.0).collect::<Vec<_>>();
    let plain = greedy(&|_| {});
    let biased = greedy(&|s| s.logit_bias = vec![(40, 100.0)]);
    assert_eq!(tokens(&biased), [40; 12]);
    let once = greedy(&|s| s.presence_penalty = 1e6);
    let mut distinct = tokens(&once);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((distinct.len(), once[0].0), (12, plain[0].0));
    let told = greedy(&|s| s.top_logprobs = Some(3));
    assert_eq!(tokens(&told), tokens(&plain));
    for (token, logprob, top) in told {
        assert_eq!((top.len(), top[0]), (3, (token, logprob)));
        assert!(top[0].1 >= top[1].1 && top[1].1 >= top[2].1);
    }
}

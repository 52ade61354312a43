//! Reports about a prompt, compared with transformers and with scoring by the answer, for every way to split the
//! prompt.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::engine::{Engine, EngineOptions, Submission};
use meno_engine::{Event, Finish, GeneratorConfig, Observe, Pooling, Request, Sampling, Speculative, Stop, StreamKey};
use meno_model::Model;
use meno_model::safetensors::Safetensors;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const T: usize = 21;
const VOCAB: usize = 96;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden").join(name)
}

fn read(path: &Path, name: &str) -> Vec<f32> {
    let file = Safetensors::open(path).unwrap();
    let mut values = vec![0.0; file.shape(name).unwrap().iter().product()];
    file.read_f32(name, &mut values).unwrap();
    values
}

/// Returns two sequences.
fn tokens(name: &str) -> Vec<Vec<u32>> {
    let bytes = std::fs::read(golden(name).join("expected.safetensors")).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let [from, to] = [0, 1].map(|i| start + header["tokens"]["data_offsets"][i].as_u64().unwrap() as usize);
    let ids = bytes[from..to].chunks_exact(4);
    let ids: Vec<u32> = ids.map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    ids.chunks(T).map(<[u32]>::to_vec).collect()
}

fn serving() -> GeneratorConfig {
    GeneratorConfig::new(3, 64).serving()
}

fn engine(name: &str, rows: usize, prefill_rows: usize, config: GeneratorConfig) -> Engine {
    let options = EngineOptions {
        generator: GeneratorConfig { step_rows: rows, prefill_rows, ..config },
        threads: Some(1),
        queue: 100,
        prefix_file: None,
    };
    Engine::start(Model::load(&golden(name)).unwrap(), options).unwrap()
}

fn ask(engine: &Engine, prompt: &[u32], max_tokens: usize, n: usize, observe: Observe) -> Vec<Event> {
    let events = start(engine, prompt, max_tokens, n, observe);
    let mut all: Vec<Event> = Vec::new();
    while all.iter().filter(|e| matches!(e, Event::Finish { .. })).count() < n {
        all.push(events.1.recv_timeout(Duration::from_secs(60)).unwrap());
    }
    all
}

fn start(
    engine: &Engine,
    prompt: &[u32],
    max_tokens: usize,
    n: usize,
    observe: Observe,
) -> (meno_engine::engine::Ticket, Receiver<Event>) {
    let (sender, events) = channel();
    let sampling = Sampling { max_tokens, temperature: 0.0, top_logprobs: Some(2), ..Default::default() };
    let request = Request { prompt: prompt.to_vec(), n, sampling, key: StreamKey::seeded(1) };
    let on_event =
        Box::new(move |event| sender.send(event).map_or(ControlFlow::Break(Stop::All), |()| ControlFlow::Continue(())));
    (engine.submit(Submission { request, salt: 0, observe, constraints: vec![], on_event }).unwrap(), events)
}

/// A token, its log-probability and the most likely tokens at its position.
type Told = (u32, f32, Vec<(u32, f32)>);

/// Returns the reports of every token after the first.
fn logprobs(events: &[Event]) -> Vec<Told> {
    let lists = events
        .iter()
        .filter_map(|e| if let Event::PromptLogprobs { logprobs, .. } = e { Some(logprobs) } else { None });
    lists.flatten().map(|t| (t.token, t.logprob, t.top.clone())).collect()
}

fn vector(events: &[Event]) -> Vec<f32> {
    let mut vectors =
        events.iter().filter_map(|e| if let Event::Hidden { vector, .. } = e { Some(vector) } else { None });
    let vector = vectors.next().unwrap().clone();
    assert!(vectors.next().is_none(), "a vector is reported once");
    vector
}

fn gap(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Computed in double precision from the logits of transformers.
fn log_softmax(logits: &[f32], token: u32) -> f32 {
    let sum: f64 = logits.iter().map(|&x| (x as f64).exp()).sum();
    (logits[token as usize] as f64 - sum.ln()) as f32
}

#[test]
fn log_probabilities_of_prompts_are_those_of_transformers() {
    for name in ["qwen2", "deepseek_v3"] {
        let logits = read(&golden(name).join("expected.safetensors"), "logits");
        for (rows, prefill_rows) in [(64, 64), (8, 3)] {
            let engine = engine(name, rows, prefill_rows, serving());
            for (i, prompt) in tokens(name).iter().enumerate() {
                let events = ask(&engine, prompt, 0, 1, Observe::Logprobs);
                let told = logprobs(&events);
                assert_eq!(told.iter().map(|t| t.0).collect::<Vec<_>>(), prompt[1..]);
                for (p, (token, logprob, top)) in told.iter().enumerate() {
                    let row = &logits[(i * T + p) * VOCAB..][..VOCAB];
                    assert!((logprob - log_softmax(row, *token)).abs() < 5e-5, "{name}: position {p}");
                    let best = (0..VOCAB as u32).max_by(|&a, &b| row[a as usize].total_cmp(&row[b as usize])).unwrap();
                    assert_eq!((top.len(), top[0].0), (2, best));
                }
                assert!(matches!(events.last(), Some(Event::Finish { finish: Finish::Length, .. })));
                assert!(!events.iter().any(|e| matches!(e, Event::Token { .. })), "no token was asked for");
            }
        }
    }
}

#[test]
fn hidden_states_are_those_of_transformers() {
    for name in ["qwen2", "deepseek_v3"] {
        let hidden = read(&golden("hidden.safetensors"), name);
        let width = hidden.len() / (2 * T);
        for (rows, prefill_rows) in [(64, 64), (8, 3)] {
            let engine = engine(name, rows, prefill_rows, serving());
            for (prompt, states) in tokens(name).iter().zip(hidden.chunks(T * width)) {
                let last = vector(&ask(&engine, prompt, 0, 1, Observe::Hidden(Pooling::Last)));
                assert!(gap(&last, &states[(T - 1) * width..]) < 5e-5, "{name}");
                let mean: Vec<f32> =
                    (0..width).map(|j| states.iter().skip(j).step_by(width).sum::<f32>() / T as f32).collect();
                // Also after a prompt whose prefix is in the cache.
                let told = vector(&ask(&engine, prompt, 0, 1, Observe::Hidden(Pooling::Mean)));
                assert!(gap(&told, &mean) < 5e-5, "{name}");
            }
        }
    }
}

/// The bits do not depend on other sequences, chunks, drafts, or released pages.
#[test]
fn what_is_told_does_not_depend_on_how_the_prompt_is_run() {
    let prompt: Vec<u32> = (0..40).map(|t| (t * t + t / 3) % VOCAB as u32).collect();
    let alone = engine("qwen2", 64, 64, serving());
    let expected = ask(&alone, &prompt, 12, 1, Observe::Logprobs);
    let answer = |events: &[Event], sample: usize| -> Vec<(u32, u32)> {
        let of = |e: &Event| match e {
            Event::Token { sample: s, token, logprob, .. } if *s == sample => Some((*token, logprob.to_bits())),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    };
    let mean = vector(&ask(&alone, &prompt, 0, 1, Observe::Hidden(Pooling::Mean)));
    // Answers are the same without a report.
    let plain = engine("qwen2", 64, 64, GeneratorConfig { hidden: false, ..serving() });
    assert_eq!(answer(&ask(&plain, &prompt, 12, 1, Observe::Nothing), 0), answer(&expected, 0));

    for speculative in [Speculative::Off, Speculative::Ngram] {
        for cache_tokens in [None, Some(128)] {
            let options = GeneratorConfig { speculative, cache_tokens, ..serving() };
            let engine = engine("qwen2", 8, 3, options);
            let others: Vec<_> = (0..4).map(|i| start(&engine, &prompt[i..30], 20, 1, Observe::Nothing)).collect();
            let events = ask(&engine, &prompt, 12, 2, Observe::Logprobs);
            assert_eq!(logprobs(&events), logprobs(&expected), "{speculative:?} {cache_tokens:?}");
            for sample in 0..2 {
                assert_eq!(answer(&events, sample), answer(&expected, 0));
            }
            assert_eq!(vector(&ask(&engine, &prompt, 0, 1, Observe::Hidden(Pooling::Mean))), mean);
            drop(others);
        }
    }
}

#[test]
fn prompts_of_one_token_and_engines_without_hidden_states() {
    let engine = engine("qwen2", 8, 8, GeneratorConfig { speculative: Speculative::Ngram, ..serving() });
    let events = ask(&engine, &[5], 0, 2, Observe::Logprobs);
    assert!(logprobs(&events).is_empty());
    assert!(matches!(events[0], Event::Prompt { .. }));
    assert_eq!(vector(&ask(&engine, &[5], 0, 1, Observe::Hidden(Pooling::Last))).len(), 32);
    let without = self::engine("qwen2", 8, 8, GeneratorConfig::new(3, 64));
    let request = Request { prompt: vec![1], n: 1, sampling: Sampling::default(), key: StreamKey::default() };
    let observe = Observe::Hidden(Pooling::Mean);
    let on_event = Box::new(|_| ControlFlow::Continue(()));
    let refused = without.submit(Submission { request, salt: 0, observe, constraints: vec![], on_event });
    assert!(refused.err().unwrap().to_string().contains("hidden states"));
}

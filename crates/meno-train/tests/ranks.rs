//! Training on several ranks has the bits of one: weights, metrics and checkpoints, also after a resume on another
//! number of ranks. The ranks are threads here; `crates/meno/tests/mpi.rs` starts processes.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/repeat.rs"]
mod repeat;
#[path = "common/tiny.rs"]
mod tiny;

use meno_comm::Comm;
use meno_comm::threads::ranks;
use meno_model::Model;
use meno_model::expert_parallel::ExpertRank;
use meno_tensor::device::Device;
use meno_tensor::pool;
use meno_train::checkpoint::Checkpoints;
use meno_train::data::{Example, InMemory};
use meno_train::evaluation::{Evaluate, Evaluation};
use meno_train::grpo::objective::LossType;
use meno_train::train::{Optim, Reduce};
use meno_train::{Error, Grpo, Metrics, NoopObserver, Observer, Pretrain, Run, Sft, Summary, Train};
use repeat::{Repeat, moe, moe_config, rewards};
use std::collections::BTreeMap;
use std::path::Path;
use tiny::{VOCAB, dense};

fn train(max_steps: usize) -> Train {
    Train { max_steps, learning_rate: 5e-3, max_tokens: 64, gradient_shards: 4, ..Train::default() }
}

/// A stage, run on one rank with its checkpoints.
type Stage<'a> = dyn Fn(&Train, &mut Model, &mut Run) -> Result<Summary, Error> + Sync + 'a;

fn pretrain(train: &Train, model: &mut Model, run: &mut Run) -> Result<Summary, Error> {
    let document = |i: u32| (0..5 + i % 23).map(|t| 1 + (t * (i + 3) + i) % (VOCAB as u32 - 1)).collect();
    let documents = InMemory { documents: (0..40).map(document).collect(), seed: 3 };
    let pretrain = Pretrain { tokens_per_step: 150, bias_update_speed: 0.01, ..Pretrain::default() };
    pretrain.run(train, model, &documents, run)
}

fn examples() -> Vec<Example> {
    let example = |i: u32| {
        let tokens = (0..4 + i % 9).map(|t| 1 + (t * i + 2) % (VOCAB as u32 - 1)).collect();
        Example { tokens, prompt: 2 }
    };
    (0..30).map(example).collect()
}

fn sft(train: &Train, model: &mut Model, run: &mut Run) -> Result<Summary, Error> {
    let (all, settings) = (examples(), Evaluate { eval_steps: 2, ..Evaluate::default() });
    let (held_out, taught) = all.split_at(7);
    let evaluation = Some(Evaluation::new(&settings, held_out)?);
    let mut run = Run {
        observer: &mut *run.observer,
        checkpoints: run.checkpoints.clone(),
        metrics: run.metrics.clone(),
        budget: run.budget,
        evaluation,
        comm: run.comm.clone(),
    };
    Sft { train_batch_size: 9, ..Sft::default() }.run(train, model, &taught.to_vec(), &mut run)
}

fn grpo_settings() -> Grpo {
    Grpo {
        num_questions: 5,
        num_generations: 4,
        max_completion_length: 6,
        max_prompt_length: 8,
        max_sequences: 6,
        dynamic_sampling: true,
        beta: 0.01,
        ..Grpo::default()
    }
}

fn grpo(train: &Train, model: &mut Model, run: &mut Run) -> Result<Summary, Error> {
    grpo_settings().run(train, model, &Repeat, &rewards(), run)
}

/// Scores of all tokens are needed in advance, and one rollout is used for two updates.
fn gspo(train: &Train, model: &mut Model, run: &mut Run) -> Result<Summary, Error> {
    let grpo = Grpo {
        loss_type: LossType::Grpo,
        steps_per_generation: 2,
        top_entropy_quantile: 0.8,
        num_questions: 6,
        ..grpo_settings()
    };
    grpo.run(train, model, &Repeat, &rewards(), run)
}

const STAGES: [(&str, &Stage); 4] = [("pretrain", &pretrain), ("sft", &sft), ("grpo", &grpo), ("gspo", &gspo)];

/// Step, name and bits of metrics.
type Figures = Vec<(usize, String, u64)>;

/// The metrics that depend neither on time nor on the number of ranks.
fn figures(summary: &Summary) -> Figures {
    let timed = ["step_time", "tokens_per_second", "comm/bytes_sent"];
    let of = |m: &Metrics| {
        let values = m.values.iter().filter(|(name, _)| !timed.contains(&name.as_ref()));
        values.map(|(name, value)| (m.step, name.to_string(), value.to_bits())).collect::<Vec<_>>()
    };
    summary.history.iter().flat_map(of).collect()
}

fn bits(model: &Model) -> Vec<u32> {
    model.weights.read_all().unwrap().iter().map(|w| w.to_bits()).collect()
}

/// The files of a run's directory and their contents; a training state without the recorded inputs of the run.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(files(&entry.path()).into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes))),
            false => _ = all.insert(name, std::fs::read(entry.path()).unwrap()),
        }
    }
    all
}

/// Runs a stage on `size` ranks that share the directory `dir`. Returns the metrics and weights of every rank.
fn run_on(size: usize, stage: &Stage, train: &Train, dir: &Path, resume: bool) -> Vec<(Figures, Vec<u32>)> {
    ranks(size, |comm: Comm| {
        pool::with_threads(1, || {
            let own = ExpertRank { rank: comm.rank(), ranks: size };
            let experts = (train.expert_parallel && size > 1).then_some(own);
            let mut model = Model::random_with(Device::Cpu, moe_config(), 3, experts).unwrap();
            let checkpoints =
                Checkpoints { resume, save_total_limit: 0, comm: comm.clone(), ..Checkpoints::new(dir, 2) };
            let mut observer = NoopObserver;
            let mut run = Run { checkpoints: Some(checkpoints), comm, ..Run::new(&mut observer) };
            let summary = stage(train, &mut model, &mut run).unwrap();
            (figures(&summary), bits(&model))
        })
    })
}

#[test]
fn any_number_of_ranks_has_the_bits_of_one() {
    for (name, stage) in STAGES {
        for optim in [Optim::Adamw, Optim::Muon] {
            let train = Train { optim, ..train(4) };
            let mut expected = None;
            for size in [1, 2, 4] {
                let dir = tempfile::tempdir().unwrap();
                let results = run_on(size, stage, &train, dir.path(), false);
                for result in &results[1..] {
                    assert!(*result == results[0], "{name}, {optim:?}: the ranks agree");
                }
                let all = (results.into_iter().next().unwrap(), files(dir.path()));
                let expected = expected.get_or_insert_with(|| all.clone());
                assert_eq!(all.0.0, expected.0.0, "{name}, {optim:?}, {size} ranks: metrics");
                assert!(all.0.1 == expected.0.1, "{name}, {optim:?}, {size} ranks: weights");
                assert!(all.1.keys().eq(expected.1.keys()), "{:?} {:?}", all.1.keys(), expected.1.keys());
                for (file, bytes) in &all.1 {
                    assert!(*bytes == expected.1[file], "{name}, {optim:?}, {size} ranks: {file}");
                }
            }
        }
    }
}

#[test]
fn a_run_resumes_on_another_number_of_ranks() {
    for (name, stage) in STAGES {
        let whole = tempfile::tempdir().unwrap();
        let expected = run_on(1, stage, &train(4), whole.path(), false).remove(0).1;
        for (before, after) in [(1, 2), (2, 1), (2, 4), (4, 2)] {
            let dir = tempfile::tempdir().unwrap();
            run_on(before, stage, &train(4), dir.path(), false);
            // The state that a run killed after step 2 leaves behind.
            let path = dir.path().join("checkpoint-4");
            std::fs::remove_dir_all(path).unwrap();
            let resumed = run_on(after, stage, &train(4), dir.path(), true);
            assert!(resumed.iter().all(|r| r.1 == expected), "{name}: {before} ranks, then {after}");
        }
    }
}

/// Stops at its `at`-th call.
struct StopAt {
    calls: usize,
    at: usize,
}

impl Observer for StopAt {
    fn should_stop(&mut self) -> bool {
        self.calls += 1;
        self.calls >= self.at
    }
}

#[test]
fn one_rank_stops_all_and_the_run_continues_with_the_same_bits() {
    for (name, stage) in STAGES {
        let whole = tempfile::tempdir().unwrap();
        let expected = run_on(1, stage, &train(4), whole.path(), false).remove(0).1;
        for at in [1, 4, 9, 14] {
            let dir = tempfile::tempdir().unwrap();
            let steps = ranks(2, |comm| {
                pool::with_threads(1, || {
                    let mut model = moe();
                    let checkpoints = Checkpoints { comm: comm.clone(), ..Checkpoints::new(dir.path(), 0) };
                    let mut observer = StopAt { calls: 0, at: if comm.rank() == 1 { at } else { usize::MAX } };
                    let mut run = Run { checkpoints: Some(checkpoints), comm, ..Run::new(&mut observer) };
                    let summary = stage(&train(4), &mut model, &mut run).unwrap();
                    (summary.steps, summary.stopped)
                })
            });
            assert_eq!(steps[0], steps[1], "{name}: the ranks agree when to stop");
            assert!(steps[0].1 || steps[0].0 == 4);
            let resumed = run_on(2, stage, &train(4), dir.path(), true);
            assert!(resumed.iter().all(|r| r.1 == expected), "{name}: stopped at call {at}, in step {}", steps[0].0);
        }
    }
}

/// Experts on other ranks: the same bits, also in checkpoints, on fewer ranks and without dealing them out.
#[test]
fn dealt_out_experts_have_the_bits_of_one_rank() {
    let moe_metrics =
        |(step, name, _): &(usize, String, u64)| *step > 0 && name.starts_with("moe/") && name != VIOLATION;
    for (name, stage) in [("pretrain", STAGES[0].1), ("sft", STAGES[1].1)] {
        for gradient_checkpointing in [false, true] {
            let train = Train { gradient_checkpointing, ..train(4) };
            let whole = tempfile::tempdir().unwrap();
            let (expected, _) = run_on(1, stage, &train, whole.path(), false).remove(0);
            let train = Train { expert_parallel: true, ..train };
            for size in [1, 2, 4] {
                let dir = tempfile::tempdir().unwrap();
                let results = run_on(size, stage, &train, dir.path(), false);
                for (figures, _) in results {
                    let (traffic, figures): (Vec<_>, Vec<_>) = figures.into_iter().partition(moe_metrics);
                    assert_eq!(figures, expected, "{name}, {size} ranks");
                    assert_eq!(traffic.is_empty(), size == 1);
                }
                assert!(files(dir.path()) == files(whole.path()), "{name}, {size} ranks: files");
                // The rest of the run on another number of ranks, with all experts everywhere.
                std::fs::remove_dir_all(dir.path().join("checkpoint-4")).unwrap();
                let all = Train { expert_parallel: false, ..train.clone() };
                run_on(4 / size, stage, if size == 2 { &train } else { &all }, dir.path(), true);
                assert!(files(dir.path()) == files(whole.path()), "{name}, {size} ranks, resumed");
            }
        }
    }
}

/// A metric of routing, not of traffic.
const VIOLATION: &str = "moe/max_violation";

#[test]
fn experts_that_cannot_be_dealt_out_are_refused() {
    let error = |train: Train, model: fn() -> Model| {
        let errors = ranks(2, |comm| {
            let mut observer = NoopObserver;
            let mut run = Run { comm, ..Run::new(&mut observer) };
            pretrain(&train, &mut model(), &mut run).unwrap_err().to_string()
        });
        errors.into_iter().next().unwrap()
    };
    let dealt = Train { expert_parallel: true, ..train(1) };
    assert!(error(dealt.clone(), dense).contains("`train.expert_parallel` = true: the model has no experts"));
    assert!(error(Train { reduce: Reduce::Fast, ..dealt.clone() }, moe).contains("added in order"));
    assert!(error(dealt, moe).contains("has the experts of all processes"));
}

#[test]
fn a_fast_reduction_is_close() {
    let weights = |reduce| {
        let dir = tempfile::tempdir().unwrap();
        run_on(2, &pretrain, &Train { reduce, ..train(3) }, dir.path(), false).remove(0).1
    };
    let (ordered, fast) = (weights(Reduce::Ordered), weights(Reduce::Fast));
    assert_ne!(ordered, fast, "the order of the sum differs");
    let far = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs() > 2e-3;
    assert!(!ordered.iter().zip(&fast).any(far));
}

#[test]
fn a_number_of_ranks_that_does_not_divide_the_shards_is_refused() {
    let errors = ranks(2, |comm| {
        let mut observer = NoopObserver;
        let mut run = Run { comm, ..Run::new(&mut observer) };
        pretrain(&Train { gradient_shards: 1, ..train(1) }, &mut dense(), &mut run).unwrap_err().to_string()
    });
    assert!(errors[0].contains("`train.gradient_shards` = 1: expected a multiple of 2"), "{}", errors[0]);
}

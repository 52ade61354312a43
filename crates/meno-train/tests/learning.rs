//! The stages learn: losses fall, rewards rise, the gate passes, and every setting that changes the loss has an effect.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/repeat.rs"]
mod repeat;
#[path = "common/tiny.rs"]
mod tiny;

use meno_model::{Config, Model};
use meno_tensor::backend::Pass;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy, Losses, Objective};
use meno_train::data::{Example, InMemory, Question, Questions, Verdict};
use meno_train::grpo::advantages::ScaleRewards;
use meno_train::grpo::objective::{GrpoObjective, LossType, ObjectiveConfig, TokenContext};
use meno_train::rewards::{Input, Reward, Weighted};
use meno_train::trainer::{Optim, Trainer};
use meno_train::{Distill, Error, Grpo, NoopObserver, Pretrain, RejectionSampling, Run, Sft, Summary, Train};
use repeat::{Repeat, moe, rewards};
use tiny::{STOP, VOCAB, dense};

fn train(max_steps: usize, learning_rate: f32) -> Train {
    Train { max_steps, learning_rate, weight_decay: 0.0, max_tokens: 64, ..Train::default() }
}

fn grpo() -> Grpo {
    Grpo {
        num_questions: 8,
        num_generations: 8,
        max_completion_length: 6,
        max_prompt_length: 8,
        max_sequences: 16,
        ..Grpo::default()
    }
}

fn run_grpo(model: &mut Model, train: &Train, grpo: &Grpo) -> Result<Summary, Error> {
    grpo.run(train, model, &Repeat, &rewards(), &mut Run::new(&mut NoopObserver))
}

fn mean(s: &Summary, name: &str, range: std::ops::Range<usize>) -> f64 {
    let n = range.len() as f64;
    s.history[range].iter().filter_map(|m| m.get(name)).sum::<f64>() / n
}

#[test]
fn twenty_steps_of_grpo_raise_the_reward_with_the_gate_at_zero() {
    for mut model in [dense(), moe()] {
        let s = run_grpo(&mut model, &train(20, 1e-2), &grpo()).unwrap();
        let (first, last) = (mean(&s, "reward", 0..3), mean(&s, "reward", 17..20));
        assert!(last > first + 0.25, "reward {first} -> {last}");
        assert_eq!(s.max("sampling/logprob_gap"), Some(0.0));
    }
}

#[test]
fn the_gate_is_zero_in_bf16_too() {
    let train = Train { precision: Precision::Bf16, ..train(3, 1e-2) };
    let s = run_grpo(&mut dense(), &train, &grpo()).unwrap();
    assert_eq!(s.max("sampling/logprob_gap"), Some(0.0));
}

#[test]
fn every_variant_learns() {
    let base = grpo();
    let variants = [
        Grpo { loss_type: LossType::Grpo, ..base.clone() },
        Grpo { loss_type: LossType::DrGrpo, scale_rewards: ScaleRewards::None, ..base.clone() },
        Grpo { epsilon_high: Some(0.28), dynamic_sampling: true, mask_truncated_completions: false, ..base.clone() },
        Grpo { loss_type: LossType::Cispo, scale_rewards: ScaleRewards::Batch, ..base.clone() },
        Grpo { steps_per_generation: 2, num_iterations: 2, ..base.clone() },
        Grpo { beta: 0.01, sync_ref_model: true, ref_model_sync_steps: 4, ..base.clone() },
        Grpo { loss_type: LossType::Gspo, steps_per_generation: 2, num_iterations: 2, ..base.clone() },
        Grpo { loss_type: LossType::Sapo, off_policy_mask_threshold: Some(0.1), num_iterations: 2, ..base.clone() },
        Grpo { loss_type: LossType::Bnpo, delta: Some(2.0), entropy_coef: 0.001, ..base.clone() },
        Grpo { top_entropy_quantile: 0.8, entropy_coef: 0.001, steps_per_generation: 2, ..base.clone() },
        Grpo {
            beta: 0.01,
            use_bias_correction_kl: true,
            sync_ref_model: true,
            ref_model_sync_steps: 3,
            ref_model_mixup_alpha: 0.6,
            steps_per_generation: 2,
            ..base.clone()
        },
    ];
    for g in variants {
        let steps = 16 * g.steps_per_generation * g.num_iterations;
        let s = run_grpo(&mut dense(), &train(steps, 1e-2), &g).unwrap();
        let sampled: Vec<f64> = s.history.iter().filter_map(|m| m.get("reward")).collect();
        let (first, last) = (sampled[..2].iter().sum::<f64>() / 2.0, sampled[14..].iter().sum::<f64>() / 2.0);
        assert!(last > first + 0.15, "{g:?}: {first} -> {last}");
        assert_eq!(s.max("sampling/logprob_gap"), Some(0.0));
        // Every mini-batch has a gap at its first use, measured before the rollout's first update.
        let gated: Vec<bool> = s.history.iter().map(|m| m.get("sampling/logprob_gap").is_some()).collect();
        let per_rollout = g.steps_per_generation * g.num_iterations;
        assert!(gated.chunks(per_rollout).all(|r| r.iter().filter(|g| **g).count() == g.steps_per_generation));
        assert_eq!(s.max("kl").is_some(), g.beta > 0.0);
    }
}

#[test]
fn the_entropy_bonus_keeps_entropy_up() {
    let entropy = |entropy_coef| {
        let s = run_grpo(&mut dense(), &train(16, 1e-2), &Grpo { entropy_coef, ..grpo() }).unwrap();
        assert_eq!(s.last("policy_loss").is_some(), entropy_coef > 0.0);
        mean(&s, "entropy", 12..16)
    };
    let (without, with) = (entropy(0.0), entropy(0.5));
    assert!(with > without + 0.2, "{without} {with}");
}

#[test]
fn what_looks_ahead_changes_nothing_where_every_ratio_is_one() {
    // With one update per rollout, GSPO's ratio is 1, nothing is off-policy, and the full quantile contains every
    // token.
    let grpo = Grpo { loss_type: LossType::Grpo, ..grpo() };
    let train = train(4, 1e-2);
    let mut plain = dense();
    run_grpo(&mut plain, &train, &grpo).unwrap();
    for settings in [
        Grpo { loss_type: LossType::Gspo, ..grpo.clone() },
        Grpo { loss_type: LossType::Gspo, logprob_gap_tolerance: 1e-3, ..grpo.clone() },
        Grpo { off_policy_mask_threshold: Some(0.0), logprob_gap_tolerance: 1e-3, ..grpo.clone() },
    ] {
        let mut model = dense();
        run_grpo(&mut model, &train, &settings).unwrap();
        assert!(plain.weights.read_all().unwrap() == model.weights.read_all().unwrap(), "{settings:?}");
    }
}

#[test]
fn the_kl_term_holds_the_policy_back() {
    let free = run_grpo(&mut dense(), &train(12, 1e-2), &grpo()).unwrap();
    let held = run_grpo(&mut dense(), &train(12, 1e-2), &Grpo { beta: 5.0, ..grpo() }).unwrap();
    assert_eq!(held.history[0].get("kl"), Some(0.0), "the reference is the first policy");
    assert!(held.last("kl").unwrap() > 0.0);
    assert!(mean(&held, "reward", 9..12) < mean(&free, "reward", 9..12));
}

#[test]
fn packing_and_threads_change_no_reward_and_no_gap() {
    let with = |max_tokens: usize, threads: usize| {
        meno_tensor::pool::with_threads(threads, || {
            let train = Train { max_tokens, ..train(3, 1e-2) };
            let mut model = dense();
            let s = run_grpo(&mut model, &train, &grpo()).unwrap();
            (
                s.history.iter().map(|m| m.get("reward")).collect::<Vec<_>>(),
                model.weights.read_all().unwrap().into_owned(),
            )
        })
    };
    let (reference, weights) = with(64, 1);
    let (threaded, same) = with(64, 3);
    assert_eq!(reference, threaded);
    assert!(weights == same, "the same bits on three threads");
    assert_eq!(reference[0], with(512, 1).0[0], "what is sampled does not depend on the passes");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let error = |g: Grpo| run_grpo(&mut dense(), &train(1, 1e-2), &g).unwrap_err().to_string();
    assert!(error(Grpo { num_generations: 1, ..grpo() }).contains("`grpo.num_generations` = 1"));
    assert!(error(Grpo { temperature: 0.0, ..grpo() }).contains("`grpo.temperature` = 0"));
    assert!(error(Grpo { max_completion_length: 64, ..grpo() }).contains("train.max_tokens"));
    assert!(error(Grpo { max_prompt_length: 2, ..grpo() }).contains("a question has 3 tokens"));
}

fn counting() -> Vec<Vec<u32>> {
    (0..64u32).map(|i| (0..10).map(|j| 4 + (i + j) % 16).chain([STOP]).collect()).collect()
}

#[test]
fn pretraining_lowers_the_loss_with_both_optimizers_and_mtp() {
    for optim in [Optim::Adamw, Optim::Muon] {
        for mut model in [dense(), moe()] {
            let train = Train { optim, ..train(30, 1e-2) };
            let documents = InMemory { documents: counting(), seed: 1 };
            let settings = Pretrain { tokens_per_step: 256, ..Pretrain::default() };
            let s = settings.run(&train, &mut model, &documents, &mut Run::new(&mut NoopObserver)).unwrap();
            let (first, last) = (s.history[0].get("loss").unwrap(), s.last("loss").unwrap());
            assert!((first - (VOCAB as f64).ln()).abs() < 1.0, "{first}");
            assert!(last < 0.7 * first, "{optim:?}: {first} -> {last}");
            if let Some(mtp) = s.last("mtp_loss") {
                assert!(mtp < s.history[0].get("mtp_loss").unwrap());
            }
        }
    }
}

fn examples() -> Vec<Example> {
    let example = |i: u32| Example { tokens: vec![2, 4 + i % 4, 3, 4 + i % 4, 4 + i % 4, STOP], prompt: 3 };
    (0..16).map(example).collect()
}

#[test]
fn a_short_sft_lowers_the_loss_and_sees_the_answer_only() {
    let settings = Sft { train_batch_size: 8, ..Sft::default() };
    let run = |examples: &[Example]| {
        let mut model = dense();
        let s = settings.run(&train(25, 1e-2), &mut model, examples, &mut Run::new(&mut NoopObserver)).unwrap();
        (s.history[0].get("loss").unwrap(), s.last("loss").unwrap())
    };
    let (first, last) = run(&examples());
    assert!(last < 0.3 * first, "{first} -> {last}");
}

#[test]
fn the_loss_of_sft_is_the_mean_over_answer_tokens() {
    let mut model = moe();
    let examples =
        [Example { tokens: vec![2, 20, 21, 22, 9, STOP], prompt: 4 }, Example { tokens: vec![2, 5, 6, 7], prompt: 1 }];
    let mut trainer = Trainer::new(&train(1, 1e-3), &model, false, &meno_comm::solo()).unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for e in &examples {
        let mut batch = Batch::default();
        batch.push_training(&e.tokens, |_| 1.0);
        let out = trainer.score(&mut model, &batch, &CrossEntropy::default()).unwrap();
        let answer = &out.logprobs[e.prompt - 1..e.tokens.len() - 1];
        sum -= answer.iter().map(|l| *l as f64).sum::<f64>();
        count += answer.len();
    }
    assert_eq!(count, 2 + 3);
    let settings = Sft { train_batch_size: 2, ..Sft::default() };
    let s = settings.run(&train(1, 1e-3), &mut model, &examples, &mut Run::new(&mut NoopObserver)).unwrap();
    assert!((s.last("loss").unwrap() - sum / count as f64).abs() < 1e-5);
}

#[test]
fn the_gradient_of_grpo_is_that_of_its_loss() {
    let mut model = dense();
    let mut batch = Batch::default();
    for sequence in [[2u32, 4, 3, 9, 10, 1], [2, 5, 3, 5, 5, 1]] {
        batch.push_training(&sequence, |at| if at >= 3 { 0.2 } else { 0.0 });
    }
    let mut executor = model.train_executor(16, meno_model::TrainOptions::default()).unwrap();
    let mut grads = model.backend().buffer(model.layout().total()).unwrap();
    let pass = Pass::new(Precision::F32, &batch);
    let now = executor.forward(&mut *model.weights, pass, None).unwrap().logprobs.clone();
    // Ratios inside and beyond the clip on both sides, never at its kink; both signs of the advantage; a reference.
    let old: Vec<f32> = now.iter().enumerate().map(|(i, l)| l - [-0.5, -0.1, 0.0, 0.12, 0.6][i % 5]).collect();
    let reference: Vec<f32> = now.iter().enumerate().map(|(i, l)| l + 0.3 * (i % 3) as f32 - 0.2).collect();
    let tokens: Vec<TokenContext> = (0..batch.len())
        .map(|i| TokenContext {
            old_logprob: old[i],
            ref_logprob: reference[i],
            advantage: if i < 6 { 1.3 } else { -0.8 },
            entropy_weight: 0.1,
            ..TokenContext::default()
        })
        .collect();
    for loss_type in [LossType::Grpo, LossType::Sapo] {
        let config = ObjectiveConfig { loss_type, epsilon_high: 0.28, beta: 0.1, ..ObjectiveConfig::default() };
        let policy = GrpoObjective { config, tokens: &tokens, temperature: 0.9, entropy: true };
        let pass = pass.with_objective(&policy);
        grads.update(0..grads.len(), &mut |g| g.fill(0.0)).unwrap();
        executor.step(&mut *model.weights, pass, &mut *grads).unwrap();
        let grads = grads.read(0..grads.len()).unwrap();
        let layout = model.layout().clone();
        for (p, info) in layout.iter() {
            // Along the gradient, the derivative is its squared norm: large compared with the rounding of f32.
            let direction: Vec<f32> = grads[info.range()].to_vec();
            let square: f64 = direction.iter().map(|g| (*g as f64).powi(2)).sum();
            let h = 2e-3 / square.sqrt();
            let mut loss_at = |h: f64| {
                let before = model.weights.read(p).unwrap().into_owned();
                let ascend = &mut |w: &mut [f32]| w.iter_mut().zip(&direction).for_each(|(w, g)| *w += h as f32 * g);
                model.weights.update(p, ascend).unwrap();
                let out = executor.forward(&mut *model.weights, pass, None).unwrap();
                let rows = (0..batch.len()).filter(|r| batch.weights[*r] > 0.0);
                let token = |r: usize| policy.token(&batch, 0, r, out.logprobs[r], out.entropies[r]);
                let loss: f64 = rows.map(|r| token(r).loss as f64).sum();
                model.weights.update(p, &mut |w| w.copy_from_slice(&before)).unwrap();
                loss
            };
            let numeric = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            let name = &info.name;
            assert!((numeric - square).abs() < 0.03 * square + 1e-7, "{name}: {numeric} {square}");
        }
    }
}

#[test]
fn packed_sequences_do_not_leak() {
    let mut model = moe();
    let train = train(1, 1e-3);
    let mut trainer = Trainer::new(&train, &model, true, &meno_comm::solo()).unwrap();
    let sequences: [&[u32]; 3] = [&[4, 5, 6, 7, 8], &[9, 10, 11], &[12, 13, 14, 15, 16, 17, 18]];
    let objective = CrossEntropy { head_scale: [1.0, 0.3] };
    let mut separate = (Losses::default(), Vec::new());
    for s in sequences {
        let mut batch = Batch::default();
        batch.push_training(s, |_| 0.1);
        let out = trainer.score(&mut model, &batch, &objective).unwrap();
        separate.0 += out.losses;
        separate.1.extend_from_slice(&out.logprobs);
    }
    let mut batch = Batch::default();
    for s in sequences {
        batch.push_training(s, |_| 0.1);
    }
    let out = trainer.score(&mut model, &batch, &objective).unwrap();
    assert_eq!(out.logprobs, separate.1, "the same bits packed and alone");
    assert!((out.losses.next_token - separate.0.next_token).abs() < 1e-9);
    assert!((out.losses.mtp - separate.0.mtp).abs() < 1e-9);
}

#[test]
fn rejection_sampling_and_distillation_teach_a_student() {
    let mut teacher = dense();
    run_grpo(&mut teacher, &train(25, 1e-2), &grpo()).unwrap();
    let sample = RejectionSampling {
        num_questions: 32,
        num_generations: 4,
        max_completion_length: 6,
        max_prompt_length: 8,
        require_format: false,
        max_repetition: 1.0,
        keep_per_question: 2,
        ..RejectionSampling::default()
    };
    let (traces, tally) = sample.run(&mut teacher, Precision::F32, &Repeat, &mut NoopObserver).unwrap().unwrap();
    assert_eq!(traces.len(), tally.kept);
    assert!(tally.kept > 0 && tally.sampled == 128);
    assert!(traces.iter().all(|t| t.text.starts_with(&t.question.answer)));
    let distill = Distill { sample, sft: Sft { train_batch_size: 8, ..Sft::default() } };
    let mut student = dense();
    let mut observer = NoopObserver;
    let mut run = Run::new(&mut observer);
    let (s, again) =
        distill.run(&train(20, 1e-2), &mut teacher, &mut student, None, &Repeat, &mut run).unwrap().unwrap();
    assert_eq!(again, tally, "the same seed samples the same");
    assert!(s.last("loss").unwrap() < 0.5 * s.history[0].get("loss").unwrap());
}

//! Histories with one problem, and without any.

use super::*;

/// A healthy rollout of 4 groups of 8 answers.
fn well(step: usize) -> Figures {
    Figures {
        step,
        answers: 32,
        right: 12,
        unparsable: 2,
        truncated: 1,
        unverified: 0,
        repetitive: 1,
        groups: 4,
        equal_groups: 1,
        mean_length: 100.0,
        reward: 0.4,
        entropy: Some(0.8),
    }
}

/// Returns the warnings of a run of `steps` rollouts, with the step of each.
fn run(steps: usize, figures: impl Fn(usize) -> Figures) -> Vec<(usize, Warning)> {
    let mut monitor = Monitor::default();
    let mut all = Vec::new();
    for step in 1..=steps {
        monitor.rollout(figures(step));
        all.extend(monitor.warnings().into_iter().map(|w| (step, w)));
    }
    all
}

#[track_caller]
fn one(warnings: &[(usize, Warning)]) -> (usize, Cause, String) {
    let [(step, warning)] = warnings else { panic!("expected one warning: {warnings:?}") };
    (*step, warning.cause, warning.to_string())
}

#[test]
fn a_run_that_learns_is_left_alone() {
    // The course of R1-Zero: more right answers, longer, with less entropy.
    let zero = |step: usize| Figures {
        right: (8 + step / 4).min(31),
        mean_length: 60.0 + 8.0 * step as f32,
        entropy: Some((1.2 / (1.0 + 0.04 * step as f32)).max(0.05)),
        reward: (8 + step / 4).min(31) as f32 / 32.0,
        ..well(step)
    };
    assert_eq!(run(100, zero), []);
    assert_eq!(run(50, well), []);
}

#[test]
fn answers_without_a_mark() {
    let unmarked =
        |step| Figures { answers: 20, unparsable: 19, right: 0, truncated: 0, equal_groups: 4, ..well(step) };
    let (step, cause, text) = one(&run(10, unmarked));
    assert_eq!((step, cause), (1, Cause::Unparsable));
    assert!(text.starts_with("step 1: 19 of 20 answers have no marked answer. "), "{text}");
    assert!(text.contains("task.template"), "{text}");
    // One rollout has too few answers; the next one makes the evidence sufficient.
    let small = |step| Figures { answers: 8, unparsable: 8, right: 0, truncated: 0, groups: 1, ..well(step) };
    let (step, _, text) = one(&run(10, small));
    assert_eq!(step, 2);
    assert!(text.starts_with("steps 1 to 2: 16 of 16"), "{text}");
}

#[test]
fn answers_without_an_end() {
    let endless = |step| Figures { truncated: 25, unparsable: 5, right: 0, equal_groups: 4, ..well(step) };
    let (step, cause, text) = one(&run(10, endless));
    assert_eq!((step, cause), (1, Cause::Truncated));
    assert!(text.contains("25 of 32 answers ran into the length limit, and 5 have no answer"), "{text}");
    assert!(text.contains("grpo.max_completion_length"), "{text}");
}

#[test]
fn groups_that_agree() {
    for (right, part) in [(0, "too hard"), (32, "nothing left to learn"), (16, "do not distinguish")] {
        let agreed = |step| Figures { right, equal_groups: 4, entropy: None, ..well(step) };
        let (step, cause, text) = one(&run(10, agreed));
        assert_eq!((step, cause), (2, Cause::EqualRewards));
        assert!(text.starts_with("steps 1 to 2: in 8 of 8 groups all answers have the same reward"), "{text}");
        assert!(text.contains(part) && text.contains(&format!("({} of 64 answers are right)", 2 * right)), "{text}");
    }
}

#[test]
fn a_cause_is_reported_again_only_after_it_has_cleared() {
    let bad = |step: usize| Figures { equal_groups: 4, right: 0, ..well(step) };
    // Two rollouts make the evidence. The one in the middle is slightly better, which is not enough to clear.
    let nearly = |step: usize| if step == 10 { Figures { equal_groups: 3, ..bad(step) } } else { bad(step) };
    assert_eq!(run(30, nearly).len(), 1);
    let gone = |step: usize| if (10..12).contains(&step) { well(step) } else { bad(step) };
    let at: Vec<usize> = run(30, gone).iter().map(|w| w.0).collect();
    assert_eq!(at, [2, 13]);
}

#[test]
fn length_without_gain() {
    let growing = |step: usize| Figures { mean_length: 50.0 * 1.1f32.powi(step as i32), ..well(step) };
    let (step, cause, text) = one(&run(30, growing));
    assert_eq!(cause, Cause::LengthExplosion);
    // Five rollouts are compared with five; their means are at least eight apart: 1.1^8 = 2.14.
    assert_eq!(step, 13);
    assert!(text.starts_with("steps 1 to 13: answers grew from ") && text.contains("from 38 % to 38 %"), "{text}");
    assert!(text.contains("cosine_length"), "{text}");
    // The same growth together with more right answers is healthy reasoning.
    let thinking = |step: usize| Figures { right: (4 + step).min(32), ..growing(step) };
    assert_eq!(run(25, thinking), []);
}

#[test]
fn entropy_that_is_gone() {
    let collapsing = |step: usize| Figures { entropy: Some(0.8 * 0.8f32.powi(step as i32)), ..well(step) };
    let (step, cause, text) = one(&run(30, collapsing));
    // The means of five rollouts are 0.8^(n − 5) apart; 0.8^8 = 0.168 is the first below a fifth.
    assert_eq!((step, cause), (13, Cause::EntropyCollapse));
    assert!(
        text.contains("nats a token with 38 % of the answers right") && text.contains("grpo.epsilon_high"),
        "{text}"
    );
    // If everything is right, there is nothing left to explore; without training there is no entropy.
    assert_eq!(run(30, |step| Figures { right: 31, ..collapsing(step) }), []);
    assert_eq!(run(30, |step| Figures { entropy: None, ..well(step) }), []);
}

#[test]
fn text_that_goes_round_in_circles() {
    let circling = |step: usize| Figures { repetitive: if step < 5 { 2 } else { 12 }, ..well(step) };
    let (step, cause, text) = one(&run(30, circling));
    assert_eq!((step, cause), (5, Cause::Repetition));
    assert!(text.starts_with("step 5: 12 of 32 answers repeat more than 50 % of their 3-grams"), "{text}");
    assert!(text.contains("repetition_penalty"), "{text}");
}

#[test]
fn reward_that_helps_nowhere_else() {
    let course = |score: &dyn Fn(usize) -> f64| {
        let mut monitor = Monitor::default();
        let mut all = Vec::new();
        for step in 1..=40 {
            monitor.rollout(Figures { reward: 0.3 + 0.01 * step as f32, ..well(step) });
            if step % 5 == 0 {
                monitor.measure(step, score(step));
            }
            all.extend(monitor.warnings().into_iter().map(|w| (step, w)));
        }
        all
    };
    for score in [&(|_| 0.4) as &dyn Fn(usize) -> f64, &|step| 0.6 - 0.01 * step as f64] {
        let (step, cause, text) = one(&course(score));
        assert_eq!((step, cause), (20, Cause::HeldOutFlat));
        // The means of rollouts 1–5 and 6–10, then 11–15 and 16–20.
        assert!(text.starts_with("steps 5 to 20: the reward rose from 0.355 to 0.455"), "{text}");
    }
    assert_eq!(course(&|step| 0.3 + 0.005 * step as f64), []);
}

#[test]
fn a_monitor_goes_on_from_a_checkpoint_as_it_was() {
    let figures = |step: usize| Figures {
        mean_length: 50.0 * 1.1f32.powi(step as i32),
        entropy: Some(0.8 * 0.83f32.powi(step as i32)),
        reward: 0.1 + 1.0 / 3.0 * step as f32,
        ..well(step)
    };
    let mut whole = Monitor::default();
    let mut resumed = Monitor::default();
    for step in 1..=30 {
        let json = serde_json::to_value(&resumed).unwrap().to_string();
        resumed = serde_json::from_str(&json).unwrap();
        for monitor in [&mut whole, &mut resumed] {
            monitor.rollout(figures(step));
            if step % 4 == 0 {
                monitor.measure(step, 1.0 / step as f64);
            }
        }
        assert_eq!(whole.warnings(), resumed.warnings());
        assert_eq!(whole, resumed);
    }
}

#[test]
fn answers_without_a_verifier_are_judged_by_their_rewards() {
    let unverified = |step| Figures { right: 0, unparsable: 0, truncated: 0, unverified: 32, ..well(step) };
    assert_eq!(run(50, unverified), []);
    // A reward may ask for longer answers.
    assert_eq!(run(30, |step| Figures { mean_length: 50.0 * 1.1f32.powi(step as i32), ..unverified(step) }), []);
    // Equal rewards are reported, and right answers are not mentioned.
    let (_, cause, text) = one(&run(10, |step| Figures { equal_groups: 4, ..unverified(step) }));
    assert_eq!(cause, Cause::EqualRewards);
    assert!(text.contains("same reward. The rewards do not distinguish"), "{text}");
}

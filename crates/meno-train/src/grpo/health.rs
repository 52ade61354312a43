//! Detects runs that learn nothing or learn the wrong thing, and reports the evidence.
//!
//! [`diagnose`] is a pure function of the figures of recent rollouts. [`Monitor`] collects the figures and reports each
//! cause once, until it has cleared. The thresholds are the constants below.

use crate::data::Verdict;
use crate::grpo::advantages::zero_variance;
use crate::rewards::repetition::repeated_share;
use crate::rollout::Rollout;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Number of latest rollouts to remember, in addition to the first [`END`] of the run.
pub const WINDOW: usize = 20;
/// Number of rollouts at each end of the window that are compared.
pub const END: usize = 5;
/// Minimum number of answers to compute a fraction of answers.
pub const MIN_ANSWERS: usize = 16;
/// Minimum number of groups to compute a fraction of groups.
pub const MIN_GROUPS: usize = 8;
/// Warn if this fraction of groups has equal rewards, because nothing can be learned from them.
pub const EQUAL_GROUPS: f64 = 0.95;
/// Warn if the verifier cannot judge this fraction of answers, because nothing can be learned from them.
pub const UNJUDGED: f64 = 0.9;
/// Warn if the mean length grows by this factor within the window …
pub const LENGTH_FACTOR: f64 = 2.0;
/// … unless the fraction of right answers grew by this much.
pub const LENGTH_GAIN: f64 = 0.05;
/// Warn if the entropy is below this fraction of that of the first rollouts …
pub const ENTROPY_FRACTION: f64 = 0.2;
/// … and below this many nats …
pub const ENTROPY_NATS: f64 = 0.2;
/// … unless this fraction of answers is right, because then there is little left to explore.
pub const ENTROPY_RIGHT: f64 = 0.9;
/// An answer is repetitive if more than this fraction of its 3-grams occurred in it before.
pub const REPEATED_NGRAMS: f32 = 0.5;
/// Warn if this fraction of answers is repetitive.
pub const REPETITIVE: f64 = 0.3;
/// Number of held-out scores to compare: the later half with the earlier half.
pub const MEASURES: usize = 4;
/// Growth of the reward in that time that the held-out score should follow.
pub const REWARD_GAIN: f64 = 0.05;
/// Growth of the held-out score that counts as following.
pub const HELD_OUT_GAIN: f64 = 0.01;
/// Factor on the threshold of a reported cause (hysteresis), so that it does not clear and return with each rollout.
pub const SLACK: f64 = 0.8;

/// The figures of one rollout and its first update. The JSON of a checkpoint restores f32 exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The step that sampled it.
    pub step: usize,
    /// Number of answers.
    pub answers: usize,
    /// Number of right answers.
    pub right: usize,
    /// Number of responses without a marked answer.
    pub unparsable: usize,
    /// Number of verified answers that hit the length limit.
    pub truncated: usize,
    /// Number of answers without a verifier ([`Verdict::Unverified`]): only their rewards judge them.
    #[serde(default)]
    pub unverified: usize,
    /// Number of answers that mostly repeat themselves.
    pub repetitive: usize,
    /// Number of groups.
    pub groups: usize,
    /// Number of groups with equal rewards.
    pub equal_groups: usize,
    /// Mean length of an answer in tokens.
    pub mean_length: f32,
    /// Mean reward.
    pub reward: f32,
    /// Mean entropy of the predictions in nats; `None` if no update was made.
    pub entropy: Option<f32>,
}

impl Figures {
    /// Computes the figures of a rollout with groups of `group_size`, without the entropy.
    pub fn of(step: usize, rollouts: &[Rollout], group_size: usize) -> Figures {
        let count = |verdict: Verdict| rollouts.iter().filter(|r| r.verdict == verdict).count();
        let mean = |value: &dyn Fn(&Rollout) -> f32| {
            rollouts.iter().map(|r| value(r) as f64).sum::<f64>() as f32 / rollouts.len().max(1) as f32
        };
        let rewards: Vec<f32> = rollouts.iter().map(|r| r.reward).collect();
        let groups = rewards.chunks(group_size.max(1));
        Figures {
            step,
            answers: rollouts.len(),
            right: count(Verdict::Right),
            unparsable: count(Verdict::Unparsable),
            truncated: rollouts.iter().filter(|r| r.truncated && r.verdict != Verdict::Unverified).count(),
            unverified: count(Verdict::Unverified),
            repetitive: rollouts.iter().filter(|r| repeated_share(&r.text, 3) > REPEATED_NGRAMS).count(),
            groups: groups.len(),
            equal_groups: groups.filter(|group| zero_variance(group)).count(),
            mean_length: mean(&|r| r.tokens.len() as f32),
            reward: mean(&|r| r.reward),
            entropy: None,
        }
    }

    /// Returns the number of answers that a verifier judged.
    fn verified(&self) -> usize {
        self.answers - self.unverified.min(self.answers)
    }
}

/// A held-out score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The step after which it was measured.
    pub step: usize,
    /// The score.
    pub score: f32,
    /// Mean reward of the rollouts since the previous measure.
    pub reward: f32,
}

/// The cause of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The verifier finds no answer in most responses.
    Unparsable,
    /// Most responses are truncated.
    Truncated,
    /// All answers to a question get the same reward.
    EqualRewards,
    /// Answers grow without getting better.
    LengthExplosion,
    /// Sampling has almost no variation any more.
    EntropyCollapse,
    /// Answers repeat themselves.
    Repetition,
    /// The reward grows but the held-out score does not.
    HeldOutFlat,
}

const CAUSES: [Cause; 7] = [
    Cause::Unparsable,
    Cause::Truncated,
    Cause::EqualRewards,
    Cause::LengthExplosion,
    Cause::EntropyCollapse,
    Cause::Repetition,
    Cause::HeldOutFlat,
];

/// A cause with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// The cause.
    pub cause: Cause,
    /// The first and last step of the evidence.
    pub steps: (usize, usize),
    /// The measurements over these steps.
    pub evidence: String,
    /// The usual reason, and the setting to change.
    pub advice: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.steps {
            (first, last) if first == last => write!(f, "step {last}: ")?,
            (first, last) => write!(f, "steps {first} to {last}: ")?,
        }
        write!(f, "{}. {}", self.evidence, self.advice)
    }
}

/// The figures that [`diagnose`] reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The first rollouts of the run, at most [`END`].
    pub first: Vec<Figures>,
    /// The latest rollouts, at most [`WINDOW`].
    pub latest: Vec<Figures>,
    /// The latest held-out scores, at most [`MEASURES`].
    pub measures: Vec<Measure>,
}

/// The smallest number of latest rollouts with enough answers or groups.
struct Recent<'a> {
    rollouts: &'a [Figures],
}

impl<'a> Recent<'a> {
    fn with(latest: &'a [Figures], count: impl Fn(&Figures) -> usize, enough: usize) -> Option<Self> {
        let mut sum = 0;
        let start = latest.iter().rposition(|f| {
            sum += count(f);
            sum >= enough
        })?;
        Some(Recent { rollouts: &latest[start..] })
    }
    fn sum(&self, count: impl Fn(&Figures) -> usize) -> usize {
        self.rollouts.iter().map(count).sum()
    }
    /// Returns the fraction of right answers; `None` if no answer was verified.
    fn right(&self) -> Option<f64> {
        let verified = self.sum(Figures::verified);
        (verified > 0).then(|| self.sum(|f| f.right) as f64 / verified as f64)
    }
    fn steps(&self) -> (usize, usize) {
        (self.rollouts[0].step, self.rollouts[self.rollouts.len() - 1].step)
    }
}

fn mean(rollouts: &[Figures], value: impl Fn(&Figures) -> f32) -> f64 {
    rollouts.iter().map(|f| value(f) as f64).sum::<f64>() / rollouts.len().max(1) as f64
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Returns the evidence for `cause` in `history`, if any. `slack` below 1 lowers the thresholds.
pub fn diagnose(cause: Cause, history: &History, slack: f64) -> Option<Warning> {
    let found = match cause {
        Cause::Unparsable | Cause::Truncated => unjudged(cause, history, slack),
        Cause::EqualRewards => equal_rewards(history, slack),
        Cause::LengthExplosion => length_explosion(history, slack),
        Cause::EntropyCollapse => entropy_collapse(history, slack),
        Cause::Repetition => repetition(history, slack),
        Cause::HeldOutFlat => held_out_flat(history, slack),
    };
    let (steps, evidence, advice) = found?;
    Some(Warning { cause, steps, evidence, advice })
}

type Found = ((usize, usize), String, &'static str);

fn unjudged(cause: Cause, history: &History, slack: f64) -> Option<Found> {
    let recent = Recent::with(&history.latest, Figures::verified, MIN_ANSWERS)?;
    let (answers, unparsable, truncated) =
        (recent.sum(Figures::verified), recent.sum(|f| f.unparsable), recent.sum(|f| f.truncated));
    // Together, both leave nothing to judge; report the more frequent one.
    let larger = if unparsable >= truncated { Cause::Unparsable } else { Cause::Truncated };
    if cause != larger || ((unparsable + truncated) as f64) < slack * UNJUDGED * answers as f64 {
        return None;
    }
    let no_answer = format!("{unparsable} of {answers} answers have no marked answer");
    let cut_off = format!("{truncated} of {answers} answers ran into the length limit");
    Some(match cause {
        Cause::Unparsable => {
            let evidence =
                if truncated == 0 { no_answer } else { format!("{no_answer}, and {truncated} were cut off") };
            let advice = "The verifier finds nothing to judge, so nothing can be learned: ask for a certain form of \
                          the answer (task.template, task.prompt, task.system), or teach that form with `meno sft` \
                          first";
            (recent.steps(), evidence, advice)
        }
        _ => {
            let evidence =
                if unparsable == 0 { cut_off } else { format!("{cut_off}, and {unparsable} have no answer") };
            let advice = "Nothing can be learned from unfinished answers: raise grpo.max_completion_length, ask for \
                          shorter answers (task.template), or make sure that the model writes its end-of-sequence \
                          token";
            (recent.steps(), evidence, advice)
        }
    })
}

fn equal_rewards(history: &History, slack: f64) -> Option<Found> {
    let recent = Recent::with(&history.latest, |f| f.groups, MIN_GROUPS)?;
    let (groups, equal) = (recent.sum(|f| f.groups), recent.sum(|f| f.equal_groups));
    if (equal as f64) < slack * EQUAL_GROUPS * groups as f64 {
        return None;
    }
    // If there is nothing to judge, that is the cause.
    let explained = [Cause::Unparsable, Cause::Truncated];
    if explained.iter().any(|cause| unjudged(*cause, history, 1.0).is_some()) {
        return None;
    }
    let right = recent.right();
    let (n, answers) = (recent.sum(|f| f.right), recent.sum(Figures::verified));
    let mut evidence = format!("in {equal} of {groups} groups all answers have the same reward");
    if right.is_some() {
        evidence += &format!(" ({n} of {answers} answers are right)");
    }
    let advice = if right.is_some_and(|right| right < 0.1) {
        "No answer is better than another: the questions are too hard. Ask easier ones (task.name), explain how to \
         answer (task.template), sample more answers (grpo.num_generations), or teach traces first (`meno sft`)"
    } else if right.is_some_and(|right| right > 0.9) {
        "There is nothing left to learn from these questions: ask harder ones (task.name)"
    } else {
        "The rewards do not distinguish the answers to a question: see grpo.reward_funcs, raise grpo.num_generations \
         or grpo.temperature, or set grpo.dynamic_sampling"
    };
    Some((recent.steps(), evidence, advice))
}

fn length_explosion(history: &History, slack: f64) -> Option<Found> {
    let latest = &history.latest;
    if latest.len() < 2 * END {
        return None;
    }
    let (old, new) = (&latest[..END], &latest[latest.len() - END..]);
    let length = |part: &[Figures]| mean(part, |f| f.mean_length);
    // Without a verifier, longer answers can be what the rewards ask for.
    let right = |part| Recent { rollouts: part }.right();
    let (right_before, right_now) = (right(old)?, right(new)?);
    let factor = 1.0 + slack * (LENGTH_FACTOR - 1.0);
    if length(new) < factor * length(old) || right_now >= right_before + LENGTH_GAIN {
        return None;
    }
    let evidence = format!(
        "answers grew from {:.0} to {:.0} tokens while the share of right ones went from {} to {}",
        length(old),
        length(new),
        percent(right_before),
        percent(right_now)
    );
    let advice = "Answers get longer but not better: add \"cosine_length\", \"soft_overlong\" or \
                  \"repetition_penalty\" to grpo.reward_funcs, lower train.learning_rate, or set grpo.loss_type to \
                  \"dr_grpo\"";
    Some(((old[0].step, new[END - 1].step), evidence, advice))
}

fn entropy_collapse(history: &History, slack: f64) -> Option<Found> {
    let entropies = |part: &[Figures]| -> Vec<(usize, f64)> {
        part.iter().filter_map(|f| Some((f.step, f.entropy? as f64))).collect()
    };
    let mean = |values: &[(usize, f64)]| values.iter().map(|v| v.1).sum::<f64>() / values.len().max(1) as f64;
    let (first, latest) = (entropies(&history.first), entropies(&history.latest));
    if first.is_empty() || latest.len() < 2 * END {
        return None;
    }
    let new = &latest[latest.len() - END..];
    let (before, now) = (mean(&first), mean(new));
    let right = Recent { rollouts: &history.latest[history.latest.len() - END..] }.right();
    let done = right.is_some_and(|right| right >= ENTROPY_RIGHT);
    if now * slack > ENTROPY_FRACTION * before || now * slack > ENTROPY_NATS || done {
        return None;
    }
    let mut evidence = format!("the entropy fell from {before:.3} to {now:.3} nats a token");
    if let Some(right) = right {
        evidence += &format!(" with {} of the answers right", percent(right));
    }
    let advice = "Sampling rarely finds new answers: lower train.learning_rate, set grpo.epsilon_high to 0.28 or \
                  grpo.beta to 0.001, or raise grpo.temperature";
    Some(((first[0].0, new[END - 1].0), evidence, advice))
}

fn repetition(history: &History, slack: f64) -> Option<Found> {
    let recent = Recent::with(&history.latest, |f| f.answers, MIN_ANSWERS)?;
    let (answers, repetitive) = (recent.sum(|f| f.answers), recent.sum(|f| f.repetitive));
    if (repetitive as f64) < slack * REPETITIVE * answers as f64 {
        return None;
    }
    let evidence = format!(
        "{repetitive} of {answers} answers repeat more than {} of their 3-grams",
        percent(REPEATED_NGRAMS as f64)
    );
    let advice = "The answers loop: add \"repetition_penalty\" to grpo.reward_funcs, lower train.learning_rate, or \
                  teach readable traces first (`meno sft`)";
    Some((recent.steps(), evidence, advice))
}

fn held_out_flat(history: &History, slack: f64) -> Option<Found> {
    let measures = &history.measures;
    if measures.len() < MEASURES {
        return None;
    }
    let (old, new) = measures.split_at(MEASURES / 2);
    let mean = |part: &[Measure], value: fn(&Measure) -> f32| {
        part.iter().map(|m| value(m) as f64).sum::<f64>() / part.len() as f64
    };
    let reward = [mean(old, |m| m.reward), mean(new, |m| m.reward)];
    let score = [mean(old, |m| m.score), mean(new, |m| m.score)];
    if reward[1] - reward[0] < slack * REWARD_GAIN || score[1] - score[0] > HELD_OUT_GAIN {
        return None;
    }
    let evidence = format!(
        "the reward rose from {:.3} to {:.3} while the held-out score went from {:.1} % to {:.1} %",
        reward[0],
        reward[1],
        100.0 * score[0],
        100.0 * score[1]
    );
    let advice = "The model improves only on the training rewards: read the answers to find how they exploit the \
                  rewards (grpo.reward_funcs), use more questions (task.name), set grpo.beta to 0.001, or stop and \
                  take the best checkpoint";
    Some(((measures[0].step, measures[MEASURES - 1].step), evidence, advice))
}

/// Collects the figures of a run and reports new warnings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Monitor {
    history: History,
    /// Sum and number of the rewards since the last held-out measure.
    since: (f32, usize),
    /// Causes that were reported and have not cleared.
    active: Vec<Cause>,
}

impl Monitor {
    /// Adds a rollout.
    pub fn rollout(&mut self, figures: Figures) {
        let History { first, latest, .. } = &mut self.history;
        self.since = (self.since.0 + figures.reward, self.since.1 + 1);
        if first.len() < END {
            first.push(figures.clone());
        }
        if latest.len() == WINDOW {
            latest.remove(0);
        }
        latest.push(figures);
    }

    /// Adds a held-out score.
    pub fn measure(&mut self, step: usize, score: f64) {
        let (sum, n) = std::mem::take(&mut self.since);
        let measures = &mut self.history.measures;
        if measures.len() == MEASURES {
            measures.remove(0);
        }
        measures.push(Measure { step, score: score as f32, reward: sum / n.max(1) as f32 });
    }

    /// Returns the new warnings. A reported cause is reported again only after it has cleared.
    pub fn warnings(&mut self) -> Vec<Warning> {
        let mut new = Vec::new();
        for cause in CAUSES {
            let active = self.active.contains(&cause);
            match diagnose(cause, &self.history, if active { SLACK } else { 1.0 }) {
                Some(warning) if !active => {
                    self.active.push(cause);
                    new.push(warning);
                }
                None if active => self.active.retain(|c| *c != cause),
                _ => {}
            }
        }
        new
    }
}

#[cfg(test)]
mod tests;

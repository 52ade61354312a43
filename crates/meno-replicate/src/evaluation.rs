//! Measures the model of a stage on held-out problems.

use crate::context::{Replication, held_out_questions};
use crate::dataset::ArithmeticQuestions;
use crate::measure::Measures;
use crate::observer::Interruptible;
use crate::stage::Stage;
use crate::worked_steps::ReasoningStyle;
use meno_engine::{Generator, Sampling};
use meno_eval::Verdict;
use meno_model::Model;
use meno_train::data::Questions;
use meno_train::rollout::{Rollout, RolloutConfig, generator, rollout};

/// The longest prompt, in tokens: a question, and the beginning of an answer where one is forced.
const MAX_PROMPT: usize = 96;
/// Samples per problem when the reasoning style is forced.
pub(crate) const FORCED_SAMPLES: usize = 2;

impl Replication<'_> {
    fn rollout_config(&self, samples: usize) -> RolloutConfig {
        let e = &self.settings.evaluation;
        let sampling = Sampling {
            temperature: e.temperature,
            max_tokens: e.max_completion_length,
            stop_tokens: self.tokenizer().eos(),
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            ..Sampling::default()
        };
        let (slots, precision) = (e.max_sequences, self.settings.precision);
        RolloutConfig::new(samples, sampling, slots, precision, [u64::MAX, self.seed])
    }

    /// Measures the model of `stage` on the held-out problems.
    pub(crate) fn measure(&mut self, stage: Stage, model: &mut Model) -> Interruptible<Measures> {
        let (e, tokenizer, task) = (self.settings.evaluation.clone(), self.tokenizer(), self.test.clone());
        let questions = held_out_questions(&task, &tokenizer, e.split, None);
        let samples = stage.samples(&e);
        let config = self.rollout_config(samples);
        let mut generator = generator(model, &config, MAX_PROMPT)?;
        let rollouts = self.answers(model, &mut generator, &config, &questions, e.problems)?;
        Ok(rollouts.map(|r| Measures::of(&task, &r, samples, e.shown)))
    }

    /// pass@1 by reasoning style, with each answer forced to begin in the style.
    pub(crate) fn forced_styles(&mut self, model: &mut Model) -> Interruptible<Vec<(String, f64)>> {
        let (e, tokenizer, task) = (self.settings.evaluation.clone(), self.tokenizer(), self.test.clone());
        let config = self.rollout_config(FORCED_SAMPLES);
        let mut generator = generator(model, &config, MAX_PROMPT)?;
        let mut table = Vec::new();
        for style in ReasoningStyle::ALL {
            let questions = held_out_questions(&task, &tokenizer, e.split, Some(style));
            let rollouts = self.answers(model, &mut generator, &config, &questions, e.forced_problems)?;
            let Some(rollouts) = rollouts else { return Ok(None) };
            let right = rollouts.iter().filter(|r| r.verdict == Verdict::Right).count();
            table.push((style.name().to_owned(), right as f64 / rollouts.len().max(1) as f64));
        }
        Ok(Some(table))
    }

    /// Answers the first `problems` questions.
    fn answers(
        &mut self,
        model: &mut Model,
        generator: &mut Generator,
        config: &RolloutConfig,
        questions: &ArithmeticQuestions,
        problems: usize,
    ) -> Interruptible<Vec<Rollout>> {
        let asked = (0..problems as u64).map(|i| questions.question(i)).collect::<Result<Vec<_>, _>>()?;
        rollout(model, generator, config, questions, &[], (0, asked), &mut *self.observer)
    }
}

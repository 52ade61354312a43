//! Estimates the duration of a GRPO run.

use super::Grpo;
use crate::data::Questions;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::time::{Answering, Time, Training};
use crate::train::Train;
use meno_model::Model;
use std::time::Instant;

impl Grpo {
    /// Measures `model` and extrapolates to the whole run. The probe trains the model, so it must not be used
    /// afterwards. The estimate assumes that every group has a gradient and that the length of answers does not change.
    pub fn time(
        &self,
        train: &Train,
        model: &mut Model,
        task: &dyn Questions,
        evaluation: Option<&Evaluation>,
    ) -> Result<Time, Error> {
        let start = Instant::now();
        let questions = (0..self.num_questions as u64).map(|i| task.question(i)).collect::<Result<Vec<_>, _>>()?;
        self.check_prompts(&questions, train)?;
        let answering = Answering::measure(model, &self.rollout_config(train, task.stop_tokens()), task, &questions)?;
        let prompt = questions.iter().map(|q| q.prompt.len()).sum::<usize>() as f64 / questions.len().max(1) as f64;
        let length = prompt + answering.mean();
        let measured = match evaluation {
            Some(evaluation) => evaluation.time(model, train.max_steps)?,
            None => None,
        };
        let training = Training::measure(model, train, false, length as usize)?;

        let (parts, uses) = (self.steps_per_generation as f64, self.steps_per_generation * self.num_iterations);
        let (rollouts, answers) = (train.max_steps.div_ceil(uses.max(1)), self.num_questions * self.num_generations);
        let tokens = answers as f64 * length;
        // Forward only: the log-probability gate of all mini-batches except the first, and the reference.
        let scored = (parts - 1.0) / parts + if self.beta > 0.0 { 1.0 } else { 0.0 };
        let mut time = Time::default();
        let about = answering.about();
        time.push(
            format!("answering: {rollouts} rollouts of {answers} answers, {about}"),
            rollouts as f64 * answering.seconds(answers),
        );
        if scored > 0.0 {
            let seconds = rollouts as f64 * scored * tokens * training.token / 3.0;
            time.push("scoring answers by the gate and the reference", seconds);
        }
        let trained = train.max_steps as f64 * tokens / parts;
        let rate = 1.0 / training.token.max(1e-12);
        time.push(
            format!("training: {} steps, {rate:.0} tokens/s", train.max_steps),
            training.seconds(train.max_steps, trained),
        );
        time.parts.extend(measured);
        time.probe = start.elapsed().as_secs_f64();
        Ok(time)
    }
}

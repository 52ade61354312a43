//! The valid ranges of GRPO's settings.

use super::Grpo;
use crate::error::Error;
use crate::limits::{AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, PROBABILITY, within};

impl Grpo {
    /// Checks the settings that do not depend on the model or the task.
    pub(super) fn check_ranges(&self) -> Result<(), Error> {
        let counts = [
            ("grpo.max_prompt_length", self.max_prompt_length),
            ("grpo.max_sequences", self.max_sequences),
            ("grpo.num_questions", self.num_questions),
            ("grpo.steps_per_generation", self.steps_per_generation),
            ("grpo.num_iterations", self.num_iterations),
            ("grpo.max_completion_length", self.max_completion_length),
        ];
        within(AT_LEAST_ONE, &counts.map(|(key, v)| (key, v as f64)))?;
        let not_negative = [
            ("grpo.epsilon", self.epsilon),
            ("grpo.epsilon_high", self.epsilon_high.unwrap_or(0.0)),
            ("grpo.beta", self.beta),
            ("grpo.bias_update_speed", self.bias_update_speed),
            ("grpo.logprob_gap_tolerance", self.logprob_gap_tolerance),
        ];
        within(NOT_NEGATIVE, &not_negative.map(|(key, v)| (key, v.into())))?;
        within(POSITIVE, &[("grpo.temperature", self.temperature.into())])?;
        within(PROBABILITY, &[("grpo.top_p", self.top_p.into())])?;
        within(FRACTION, &[("grpo.min_p", self.min_p.into())])
    }
}

//! Makes the rewards of a recipe from their settings.

use super::reward_funcs::RewardFunc;
use super::settings::Grpo;
use crate::error::Error;
use crate::rewards::accuracy::Accuracy;
use crate::rewards::format::FormatReward;
use crate::rewards::language_consistency::LanguageConsistency;
use crate::rewards::length::{CosineLength, SoftOverlong};
use crate::rewards::program::Program;
use crate::rewards::repetition::RepetitionPenalty;
use crate::rewards::{BatchReward, Weighted};
use std::path::Path;
use std::time::Duration;

impl Grpo {
    /// Returns the rewards in `reward_funcs` with their `reward_weights`. Starts the programs among them.
    pub fn rewards(&self) -> Result<Vec<Weighted>, Error> {
        self.check_reward_settings()?;
        let weight = |i: usize| self.reward_weights.get(i).copied().unwrap_or(1.0);
        let mut rewards: Vec<Weighted> = Vec::new();
        for (i, f) in self.reward_funcs.iter().enumerate() {
            let reward = self.reward(f)?;
            if matches!(f, RewardFunc::Program(_)) && rewards.iter().any(|r| r.reward.name() == reward.name()) {
                let message = "has the name of another reward, under which metrics show it: rename the program".into();
                return Err(Error::Reward { name: reward.name().to_owned(), message });
            }
            rewards.push(Weighted { weight: weight(i), reward });
        }
        Ok(rewards)
    }

    fn reward(&self, f: &RewardFunc) -> Result<Box<dyn BatchReward>, Error> {
        let max = self.max_completion_length;
        Ok(match f {
            RewardFunc::Accuracy => Box::new(Accuracy::default()),
            RewardFunc::Format if self.answer_tags => Box::new(FormatReward::default()),
            RewardFunc::Format => Box::new(FormatReward { answer: None, ..FormatReward::default() }),
            RewardFunc::LanguageConsistency => Box::new(LanguageConsistency),
            RewardFunc::CosineLength => Box::new(CosineLength {
                max_len: self.cosine_max_len.unwrap_or(max),
                min_value_wrong: self.cosine_min_value_wrong,
                max_value_wrong: self.cosine_max_value_wrong,
                min_value_correct: self.cosine_min_value_correct,
                max_value_correct: self.cosine_max_value_correct,
                exceed_length: self.cosine_exceed_length,
            }),
            RewardFunc::SoftOverlong => Box::new(SoftOverlong { max, cache: self.overlong_cache }),
            RewardFunc::RepetitionPenalty => Box::new(RepetitionPenalty::default()),
            RewardFunc::Program(path) => {
                let timeout = Duration::from_secs_f32(self.reward_timeout);
                Box::new(Program::start(Path::new(path), timeout, self.reward_max_restarts)?)
            }
        })
    }

    /// Checks the settings of rewards.
    pub(super) fn check_reward_settings(&self) -> Result<(), Error> {
        let bad = |key, value: String, expected: &str| Err(Error::Setting { key, value, expected: expected.into() });
        let values = [
            ("grpo.cosine_min_value_wrong", self.cosine_min_value_wrong),
            ("grpo.cosine_max_value_wrong", self.cosine_max_value_wrong),
            ("grpo.cosine_min_value_correct", self.cosine_min_value_correct),
            ("grpo.cosine_max_value_correct", self.cosine_max_value_correct),
            ("grpo.cosine_exceed_length", self.cosine_exceed_length),
        ];
        if let Some((key, value)) = values.into_iter().find(|(_, v)| !v.is_finite()) {
            return bad(key, value.to_string(), "expected a finite number");
        }
        if self.cosine_max_len == Some(0) {
            return bad("grpo.cosine_max_len", "0".into(), "expected a length in tokens, 1 or above");
        }
        // At most one day: longer timeouts are useless, and an infinite one is not a valid `Duration`.
        if !(self.reward_timeout > 0.0 && self.reward_timeout <= 86_400.0) {
            let expected = "expected seconds, above 0 and at most 86400";
            return bad("grpo.reward_timeout", self.reward_timeout.to_string(), expected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let error = |grpo: Grpo| grpo.rewards().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(Grpo { cosine_max_len: Some(0), ..Grpo::default() }).contains("`grpo.cosine_max_len` = 0"));
        let nan = Grpo { cosine_exceed_length: f32::NAN, ..Grpo::default() };
        assert!(error(nan).contains("`grpo.cosine_exceed_length` = NaN"));
        for timeout in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(error(Grpo { reward_timeout: timeout, ..Grpo::default() }).contains("`grpo.reward_timeout`"));
        }
        let absent = Grpo { reward_funcs: vec![RewardFunc::Program("./no/such".into())], ..Grpo::default() };
        assert!(error(absent).contains("`./no/such` does not exist"));
    }
}

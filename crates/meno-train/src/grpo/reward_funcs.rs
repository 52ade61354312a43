//! The rewards of a recipe by their names: `grpo.reward_funcs`.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A reward by its name in a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RewardFunc {
    /// 1 if the verdict is right.
    Accuracy,
    /// 1 if thought and answer are enclosed in their tags.
    Format,
    /// The fraction of words in the language of the question.
    LanguageConsistency,
    /// Rewards short right answers and long wrong answers.
    CosineLength,
    /// Falls to −1 towards the maximum length.
    SoftOverlong,
    /// Falls to −1 for repeated 3-grams.
    RepetitionPenalty,
    /// A program, given by a path that contains a `/`: see [`crate::rewards::program`].
    Program(PathBuf),
}

/// The built-in rewards.
const NAMES: [(&str, RewardFunc); 6] = [
    ("accuracy", RewardFunc::Accuracy),
    ("format", RewardFunc::Format),
    ("language_consistency", RewardFunc::LanguageConsistency),
    ("cosine_length", RewardFunc::CosineLength),
    ("soft_overlong", RewardFunc::SoftOverlong),
    ("repetition_penalty", RewardFunc::RepetitionPenalty),
];

impl TryFrom<String> for RewardFunc {
    type Error = String;

    fn try_from(name: String) -> Result<RewardFunc, String> {
        if name.contains('/') {
            return Ok(RewardFunc::Program(name.into()));
        }
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, f)| f.clone()).ok_or_else(|| {
            let names: Vec<String> = NAMES.iter().map(|(n, _)| format!("`{n}`")).collect();
            // The format of serde's message, for which recipes add near matches.
            format!("unknown variant `{name}`, expected one of {}, `./PROGRAM`", names.join(", "))
        })
    }
}

impl From<RewardFunc> for String {
    fn from(f: RewardFunc) -> String {
        match f {
            RewardFunc::Program(path) => path.display().to_string(),
            f => NAMES.iter().find(|(_, known)| *known == f).map_or_else(String::new, |(name, _)| (*name).to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["accuracy", "format", "language_consistency", "cosine_length", "./my_reward", "/opt/r.py"] {
            let f = RewardFunc::try_from(name.to_owned()).unwrap();
            assert_eq!(String::from(f), name);
        }
        let error = RewardFunc::try_from("acuracy".to_owned()).unwrap_err();
        assert!(error.contains("`acuracy`") && error.contains("`accuracy`") && error.contains("./PROGRAM"), "{error}");
    }
}

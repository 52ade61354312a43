//! The recipe of a replication: one TOML file with a section for every stage. The sections use the same structs as the
//! recipes of the training commands.

use crate::corpus::Corpus;
use meno_eval::Split;
use meno_eval::tasks::arithmetic::Arithmetic;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_train::error::Error;
use meno_train::grpo::Grpo;
use meno_train::pretrain::Pretrain;
use meno_train::rejection_sampling::RejectionSampling;
use meno_train::sft::Sft;
use meno_train::train::Train;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All settings of a replication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The recipe described in one sentence.
    pub description: String,
    /// The input type of all GEMMs.
    pub precision: Precision,
    /// The device that trains and samples.
    #[serde(default)]
    pub device: Device,
    /// The questions.
    pub task: TaskSettings,
    /// The pretraining text.
    #[serde(default)]
    pub corpus: Corpus,
    /// How the models are measured.
    pub evaluation: Evaluation,
    /// config.json of the DeepSeek-V3 network. `vocab_size` is taken from the tokenizer.
    pub network: Value,
    /// config.json of the dense student network.
    pub student_network: Value,
    /// V3 §4: pretraining of the base model.
    pub base: Pretraining,
    /// R1 §2.2: reinforcement learning on the base model.
    pub zero: Reinforcement,
    /// The ablation of R1 §2.3.2: the same with the language reward from the start.
    pub zero_language: Reinforcement,
    /// R1 §2.3.1: fine-tuning of the base model on readable answers of R1-Zero.
    pub cold_start: FromTraces,
    /// R1 §2.3.2: reinforcement learning with language consistency.
    pub reasoning: Reinforcement,
    /// R1 §2.3.3: rejection sampling from that model, fine-tuning of the base model.
    pub rejection: FromTraces,
    /// R1 §2.3.4: the last stage of reinforcement learning.
    pub last: Reinforcement,
    /// Pretraining of the student.
    pub student: Pretraining,
    /// R1 §2.4: fine-tuning of the student on answers of R1.
    pub distill: FromTraces,
    /// R1 §4.1: reinforcement learning of the student, instead of distillation.
    pub student_rl: Reinforcement,
}

/// `[task]`: the questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// The shares of questions with 1, 2, 3, … operations.
    pub operations: Vec<f64>,
    /// The share of questions in Chinese.
    pub chinese: f64,
    /// The number of documents that the tokenizer is trained on.
    pub tokenizer_documents: u64,
}

/// `[evaluation]`: how the models are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// `test` for a report; `validation` while choosing a recipe.
    pub split: Split,
    /// The number of problems.
    pub problems: usize,
    /// Samples per problem by the base, R1-Zero and R1: the k of pass@k and cons@k.
    pub samples: usize,
    /// Samples per problem by the other models.
    pub samples_between: usize,
    /// The longest response, in tokens.
    pub max_completion_length: usize,
    /// The sampling temperature.
    pub temperature: f32,
    /// The number of responses generated at the same time.
    pub max_sequences: usize,
    /// The number of problems answered in each forced style.
    pub forced_problems: usize,
    /// The number of responses kept for the report.
    pub shown: usize,
}

/// A stage of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretraining {
    /// Optimizer and steps.
    pub train: Train,
    /// Tokens per step, MTP, balancing.
    #[serde(default)]
    pub pretrain: Pretrain,
}

/// A stage of reinforcement learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reinforcement {
    /// Optimizer and steps.
    pub train: Train,
    /// Groups, rewards, clipping.
    pub grpo: Grpo,
}

/// A stage that samples answers of one model and fine-tunes another on those it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromTraces {
    /// The largest number of kept answers to train on: the first in the order of the questions. 0 means all.
    #[serde(default)]
    pub max_examples: usize,
    /// Which answers are sampled and kept.
    pub sample: RejectionSampling,
    /// Optimizer.
    pub train: Train,
    /// Epochs and batch.
    pub sft: Sft,
}

/// The presets built into the binary, by name.
const PRESETS: [(&str, &str); 3] = [
    ("tiny", include_str!("../presets/tiny.toml")),
    ("small", include_str!("../presets/small.toml")),
    ("smoke", include_str!("../presets/smoke.toml")),
];

impl Settings {
    /// Loads a preset by name, or the recipe in a `.toml` file.
    ///
    /// # Errors
    /// If there is no such preset or file, or the file is not a valid recipe.
    pub fn load(name: &str) -> Result<Settings, Error> {
        let recipe = |message: String| Error::Recipe { file: name.to_owned(), message };
        let text = match PRESETS.iter().find(|p| p.0 == name) {
            Some((_, text)) => (*text).to_owned(),
            None if name.ends_with(".toml") => meno_model::input::read_text(name.as_ref(), meno_model::input::SMALL)
                .map_err(Error::io(name.as_ref()))?,
            None => {
                let known = PRESETS.map(|p| format!("`{}`", p.0)).join(", ");
                return Err(recipe(format!("there is no such preset; expected {known}, or a path to a .toml file")));
            }
        };
        toml::from_str(&text).map_err(|e| recipe(meno_train::recipe::explain(&e, &text)))
    }

    /// Derives the seed of every random stream from `seed`, and sets the precision of every stage.
    pub fn with_seed(mut self, seed: u64) -> Settings {
        let precision = self.precision;
        let trains: [&mut Train; 10] = [
            &mut self.base.train,
            &mut self.zero.train,
            &mut self.zero_language.train,
            &mut self.cold_start.train,
            &mut self.reasoning.train,
            &mut self.rejection.train,
            &mut self.last.train,
            &mut self.student.train,
            &mut self.distill.train,
            &mut self.student_rl.train,
        ];
        for (i, train) in trains.into_iter().enumerate() {
            train.seed = seed * 100 + i as u64;
            train.precision = precision;
        }
        for (i, sample) in [&mut self.cold_start, &mut self.rejection, &mut self.distill].into_iter().enumerate() {
            sample.sample.seed = seed * 100 + 50 + i as u64;
        }
        // The ablation differs from R1-Zero in its rewards only: it uses the same questions and random numbers.
        self.zero_language.train.seed = self.zero.train.seed;
        self
    }

    /// The training problems of the run with this seed.
    pub fn arithmetic(&self, seed: u64) -> Arithmetic {
        Arithmetic { seed, operations: self.task.operations.clone(), chinese: self.task.chinese }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_an_unknown_key_is_reported() {
        for (name, text) in PRESETS {
            let s = Settings::load(name).unwrap_or_else(|e| panic!("{e}")).with_seed(3);
            assert!(s.evaluation.problems > 0);
            assert_eq!(s.zero.train.seed, s.zero_language.train.seed);
            let broken = text.replacen("[task]", "[task]\nnonsense = 1", 1);
            assert!(toml::from_str::<Settings>(&broken).unwrap_err().to_string().contains("nonsense"));
        }
        assert!(Settings::load("huge").unwrap_err().to_string().contains("`tiny`, `small`, `smoke`"));
        // With fewer problems the intervals of the report would be too wide.
        assert!(Settings::load("tiny").unwrap().evaluation.problems >= 500);
    }

    #[test]
    fn the_cold_start_trains_on_a_few_hundred_thoughts() {
        let cold_start = Settings::load("tiny").unwrap().cold_start;
        assert!((100..=1000).contains(&cold_start.max_examples), "{}", cold_start.max_examples);
        // Eight in ten of R1-Zero's answers are right and readable.
        let sampled = cold_start.sample.num_questions * cold_start.sample.num_generations;
        assert!(sampled * 8 >= cold_start.max_examples * 10, "{sampled}");
    }
}

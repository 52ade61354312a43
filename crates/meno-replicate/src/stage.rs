//! The stages of a replication: their order, names, recipes and dependencies, all in this file.

use crate::settings::{Evaluation, FromTraces, Pretraining, Reinforcement, Settings};
use serde_json::Value;

/// A stage of the replication, declared in the order in which the stages run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Trains the tokenizer on the corpus.
    Tokenizer,
    /// Pretrains the base model.
    Base,
    /// Reinforcement learning on the base model alone.
    R1Zero,
    /// The ablation: R1-Zero with the language reward from the start.
    R1ZeroLanguage,
    /// Fine-tunes the base model on readable answers of R1-Zero.
    ColdStart,
    /// Reinforcement learning with language consistency, after the cold start.
    ReasoningRl,
    /// Fine-tunes the base model on verified answers of the reasoning model.
    RejectionSft,
    /// The last reinforcement learning, which ends in R1.
    R1,
    /// Pretrains the small dense student.
    StudentBase,
    /// Fine-tunes the student on answers of R1.
    Distill,
    /// Reinforcement learning on the student, for comparison with distillation.
    StudentRl,
}

/// How a stage is called on disk, in reports and in the paper.
struct Labels {
    name: &'static str,
    title: &'static str,
    section: &'static str,
    report_key: Option<&'static str>,
}

const fn labels(
    name: &'static str,
    title: &'static str,
    section: &'static str,
    report_key: Option<&'static str>,
) -> Labels {
    Labels { name, title, section, report_key }
}

/// What a stage does: its section of the recipe, and the earlier stages whose models it needs.
#[derive(Clone, Copy, Debug)]
pub enum Work<'s> {
    /// Trains the tokenizer.
    TrainTokenizer,
    /// Pretrains a network with random initial weights.
    Pretrain {
        /// Optimizer and steps.
        recipe: &'s Pretraining,
        /// The network's config.json, without `vocab_size`.
        network: &'s Value,
    },
    /// Trains the model of stage `from` by reinforcement learning.
    Reinforce {
        /// Optimizer, steps and rewards.
        recipe: &'s Reinforcement,
        /// The stage that made the initial model.
        from: Stage,
        /// Which training questions are asked: see [`first_question`].
        block: u64,
    },
    /// Samples answers of one model and fine-tunes another on the ones it keeps.
    FineTune {
        /// What is sampled and kept, optimizer and epochs.
        recipe: &'s FromTraces,
        /// The stage whose model answers.
        teacher: Stage,
        /// The stage that made the initial model.
        from: Stage,
        /// True if answers are edited to be readable before they are trained on.
        edited: bool,
        /// Which training questions are asked: see [`first_question`].
        block: u64,
    },
}

/// The number of the first training question of `block`. Blocks do not overlap, so stages with different blocks ask
/// different questions.
pub fn first_question(block: u64) -> u64 {
    block << 40
}

impl Stage {
    /// All stages, in the order in which they run.
    pub const ALL: [Stage; 11] = [
        Stage::Tokenizer,
        Stage::Base,
        Stage::R1Zero,
        Stage::R1ZeroLanguage,
        Stage::ColdStart,
        Stage::ReasoningRl,
        Stage::RejectionSft,
        Stage::R1,
        Stage::StudentBase,
        Stage::Distill,
        Stage::StudentRl,
    ];

    /// The stages that make a model: all but the tokenizer, in order.
    pub fn models() -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(|s| s.report_key().is_some())
    }

    const fn labels(self) -> Labels {
        match self {
            Stage::Tokenizer => labels("tokenizer", "Tokenizer", "V3 §4.1", None),
            Stage::Base => labels("base", "Base pretraining", "V3 §4.2", Some("base")),
            Stage::R1Zero => labels("r1-zero", "R1-Zero", "R1 §2.2", Some("zero")),
            Stage::R1ZeroLanguage => {
                labels("r1-zero-language", "R1-Zero with language reward", "R1 §2.3.2, ablation", Some("zero_language"))
            }
            Stage::ColdStart => labels("cold-start", "Cold start", "R1 §2.3.1", Some("cold_start")),
            Stage::ReasoningRl => labels("reasoning-rl", "Reasoning RL", "R1 §2.3.2", Some("reasoning")),
            Stage::RejectionSft => labels("rejection-sft", "Rejection sampling, SFT", "R1 §2.3.3", Some("rejection")),
            Stage::R1 => labels("r1", "RL for all scenarios: R1", "R1 §2.3.4", Some("r1")),
            Stage::StudentBase => labels("student-base", "Student pretraining", "R1 §2.4", Some("student")),
            Stage::Distill => labels("distill", "Distillation", "R1 §2.4", Some("distill")),
            Stage::StudentRl => labels("student-rl", "RL on the student", "R1 §4.1", Some("student_rl")),
        }
    }

    /// The recipe of this stage and the stages it depends on.
    pub fn work(self, s: &Settings) -> Work<'_> {
        use Work::{FineTune, Pretrain, Reinforce, TrainTokenizer};
        match self {
            Stage::Tokenizer => TrainTokenizer,
            Stage::Base => Pretrain { recipe: &s.base, network: &s.network },
            Stage::R1Zero => Reinforce { recipe: &s.zero, from: Stage::Base, block: 1 },
            // The ablation asks R1-Zero's questions: only the rewards differ.
            Stage::R1ZeroLanguage => Reinforce { recipe: &s.zero_language, from: Stage::Base, block: 1 },
            Stage::ColdStart => {
                FineTune { recipe: &s.cold_start, teacher: Stage::R1Zero, from: Stage::Base, edited: true, block: 3 }
            }
            Stage::ReasoningRl => Reinforce { recipe: &s.reasoning, from: Stage::ColdStart, block: 4 },
            Stage::RejectionSft => FineTune {
                recipe: &s.rejection,
                teacher: Stage::ReasoningRl,
                from: Stage::Base,
                edited: false,
                block: 5,
            },
            Stage::R1 => Reinforce { recipe: &s.last, from: Stage::RejectionSft, block: 6 },
            Stage::StudentBase => Pretrain { recipe: &s.student, network: &s.student_network },
            Stage::Distill => {
                FineTune { recipe: &s.distill, teacher: Stage::R1, from: Stage::StudentBase, edited: false, block: 7 }
            }
            Stage::StudentRl => Reinforce { recipe: &s.student_rl, from: Stage::StudentBase, block: 8 },
        }
    }

    /// The position in [`Stage::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name of the stage's directory, also used in `stage.json`.
    pub const fn name(self) -> &'static str {
        self.labels().name
    }

    /// The title shown to people.
    pub const fn title(self) -> &'static str {
        self.labels().title
    }

    /// The section of the paper that describes the stage.
    pub const fn section(self) -> &'static str {
        self.labels().section
    }

    /// The key of the stage's model in `report.json`; `None` for the tokenizer.
    pub const fn report_key(self) -> Option<&'static str> {
        self.labels().report_key
    }

    /// Returns true if the stage trains the student's network instead of the teacher's.
    pub fn is_student(self) -> bool {
        matches!(self, Stage::StudentBase | Stage::Distill | Stage::StudentRl)
    }

    /// Samples per problem when the stage's model is measured; the models that vote get more.
    pub fn samples(self, evaluation: &Evaluation) -> usize {
        match self {
            Stage::Base | Stage::R1Zero | Stage::R1 => evaluation.samples,
            _ => evaluation.samples_between,
        }
    }

    /// Returns true if the model is also measured with its answers forced to begin in each reasoning style.
    pub fn measures_forced_styles(self) -> bool {
        matches!(self, Stage::Base | Stage::R1Zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn stages_are_in_order_with_distinct_names() {
        for (i, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage.index(), i);
        }
        let names: HashSet<&str> = Stage::ALL.into_iter().map(Stage::name).collect();
        let keys: HashSet<&str> = Stage::ALL.into_iter().filter_map(Stage::report_key).collect();
        assert_eq!((names.len(), keys.len()), (11, 10));
        assert_eq!(Stage::models().count(), 10);
    }

    #[test]
    fn a_stage_depends_on_earlier_models_only() {
        let settings = Settings::load("tiny").unwrap();
        for stage in Stage::ALL {
            let needs = match stage.work(&settings) {
                Work::TrainTokenizer | Work::Pretrain { .. } => vec![],
                Work::Reinforce { from, .. } => vec![from],
                Work::FineTune { teacher, from, .. } => vec![teacher, from],
            };
            for earlier in needs {
                assert!(Stage::Tokenizer.index() < earlier.index() && earlier.index() < stage.index(), "{stage:?}");
            }
        }
    }

    #[test]
    fn only_the_ablation_repeats_the_questions_of_another_stage() {
        let settings = Settings::load("tiny").unwrap();
        let block = |stage: Stage| match stage.work(&settings) {
            Work::TrainTokenizer | Work::Pretrain { .. } => None,
            Work::Reinforce { block, .. } | Work::FineTune { block, .. } => Some(block),
        };
        assert_eq!(block(Stage::R1Zero), block(Stage::R1ZeroLanguage));
        let others: Vec<u64> =
            Stage::ALL.into_iter().filter(|s| *s != Stage::R1ZeroLanguage).filter_map(block).collect();
        let distinct: HashSet<u64> = others.iter().copied().collect();
        assert_eq!(distinct.len(), others.len());
    }
}

//! The figures that the papers print, each with its place. No figure is read off a curve.

use crate::stage::Stage;
use serde::Serialize;

/// A place in a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The paper, as shown to people.
    pub paper: &'static str,
    /// The table, figure or section.
    pub at: &'static str,
    /// The address of the paper.
    pub link: &'static str,
}

/// DeepSeek-R1, the first edition on arXiv.
pub(super) const fn v1(at: &'static str) -> Place {
    Place { paper: "R1, arXiv v1", at, link: "https://arxiv.org/abs/2501.12948v1" }
}

/// DeepSeek-R1, the second edition on arXiv, with its supplement.
pub(super) const fn v2(at: &'static str) -> Place {
    Place { paper: "R1, arXiv v2", at, link: "https://arxiv.org/abs/2501.12948v2" }
}

/// DeepSeek-R1 as published in Nature.
pub(super) const fn nature(at: &'static str) -> Place {
    Place { paper: "R1, Nature 2025", at, link: "https://www.nature.com/articles/s41586-025-09422-z" }
}

/// DeepSeek-V3.
const fn v3(at: &'static str) -> Place {
    Place { paper: "V3", at, link: "https://arxiv.org/abs/2412.19437" }
}

/// The accuracy of one of the paper's models.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Printed {
    /// The corresponding stage of the replication.
    #[serde(skip)]
    pub(super) stage: Stage,
    /// The name of the paper's model.
    pub(super) model: &'static str,
    /// pass@1 on AIME 2024.
    pub(super) pass1: f64,
    /// Where the paper prints it.
    pub(super) place: Place,
}

const fn printed(stage: Stage, model: &'static str, pass1: f64, place: Place) -> Printed {
    Printed { stage, model, pass1, place }
}

/// pass@1 on AIME 2024, by stage.
pub(super) const AIME: [Printed; 8] = [
    printed(Stage::Base, "DeepSeek-V3-Base", 0.156, v1("§2.2.4")),
    printed(Stage::R1Zero, "R1-Zero", 0.779, nature("Table 2")),
    printed(Stage::ColdStart, "R1 Dev1", 0.590, nature("Table 2")),
    printed(Stage::ReasoningRl, "R1 Dev2", 0.740, nature("Table 2")),
    printed(Stage::RejectionSft, "R1 Dev3", 0.781, nature("Table 2")),
    printed(Stage::R1, "R1", 0.798, nature("Table 2")),
    printed(Stage::Distill, "R1-Distill-Qwen-32B", 0.726, v1("Table 6")),
    printed(Stage::StudentRl, "Qwen2.5-32B with its own RL", 0.470, v1("Table 6")),
];

/// The accuracy that the paper prints for the model of a stage; `None` if it prints none.
pub(super) fn aime(stage: Stage) -> Option<&'static Printed> {
    AIME.iter().find(|p| p.stage == stage)
}

/// A setting of the papers, and the corresponding settings of a run by their paths in [`Settings`].
///
/// [`Settings`]: crate::settings::Settings
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Setting {
    /// What the setting is.
    pub(super) what: &'static str,
    /// The value in the paper.
    pub(super) paper: &'static str,
    /// Where the paper states it.
    pub(super) place: Place,
    /// JSON pointers to the run's settings.
    pub(super) here: &'static [&'static str],
}

const fn setting(what: &'static str, paper: &'static str, place: Place, here: &'static [&'static str]) -> Setting {
    Setting { what, paper, place, here }
}

const METHODS: &str = "Methods, “Training details”";

/// The settings that the papers and a run have in common.
pub(super) const SETTINGS: [Setting; 20] = [
    setting("hidden size, layers", "7168, 61", v3("§4.2"), &["/network/hidden_size", "/network/num_hidden_layers"]),
    setting(
        "routed experts, used per token, shared",
        "256, 8, 1",
        v3("§4.2"),
        &["/network/n_routed_experts", "/network/num_experts_per_tok", "/network/n_shared_experts"],
    ),
    setting("base: optimizer", "AdamW", v3("§4.2"), &["/base/train/optim"]),
    setting("base: peak learning rate", "2.2e-4", v3("§4.2"), &["/base/train/learning_rate"]),
    setting(
        "base: weight of the second prediction (MTP)",
        "0.3, later 0.1",
        v3("§4.2"),
        &["/base/pretrain/mtp_loss_weight"],
    ),
    setting(
        "base: step of the router's bias",
        "0.001, at the end 0",
        v3("§4.2"),
        &["/base/pretrain/bias_update_speed"],
    ),
    setting("base: weight of the balance loss", "0.0001", v3("§4.2"), &["/network/aux_loss_alpha"]),
    setting("R1-Zero: learning rate", "3e-6", nature(METHODS), &["/zero/train/learning_rate"]),
    setting("R1-Zero: steps", "10,400", nature(METHODS), &["/zero/train/max_steps"]),
    setting(
        "R1-Zero: questions a step, answers to each",
        "32, 16",
        nature(METHODS),
        &["/zero/grpo/num_questions", "/zero/grpo/num_generations"],
    ),
    setting("R1-Zero: updates from one round of answers", "16", nature(METHODS), &["/zero/grpo/steps_per_generation"]),
    setting("R1-Zero: temperature", "1", nature(METHODS), &["/zero/grpo/temperature"]),
    setting(
        "R1-Zero: longest answer, tokens",
        "32,768, later 65,536",
        nature(METHODS),
        &["/zero/grpo/max_completion_length"],
    ),
    setting("R1-Zero: weight of the divergence (KL) β", "0.001", nature(METHODS), &["/zero/grpo/beta"]),
    setting("R1-Zero: rewards", "accuracy, format", v1("§2.2.2"), &["/zero/grpo/reward_funcs"]),
    setting(
        "reasoning RL: clip range ε",
        "10",
        nature(METHODS),
        &["/reasoning/grpo/epsilon", "/reasoning/grpo/epsilon_high"],
    ),
    setting("reasoning RL: rewards", "accuracy, format, language", v1("§2.3.2"), &["/reasoning/grpo/reward_funcs"]),
    setting("last RL: steps", "1,700", nature(METHODS), &["/last/train/max_steps"]),
    setting("fine-tuning after rejection: epochs", "2", v1("§2.3.3"), &["/rejection/sft/num_train_epochs"]),
    setting(
        "measuring: temperature, longest answer",
        "0.6, 32,768",
        v1("§3"),
        &["/evaluation/temperature", "/evaluation/max_completion_length"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn every_figure_is_a_share_with_a_place() {
        for p in &AIME {
            assert!((0.0..=1.0).contains(&p.pass1) && !p.place.at.is_empty());
        }
    }

    #[test]
    fn every_setting_exists_in_the_recipe() {
        let settings = serde_json::to_value(Settings::load("tiny").unwrap()).unwrap();
        for s in &SETTINGS {
            for path in s.here {
                assert!(settings.pointer(path).is_some(), "{path}");
            }
        }
    }
}

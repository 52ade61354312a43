//! Recipes: one strict TOML file per stage. An unknown key is an error that names it, its file and similar keys. `--set
//! a.b=c` changes a value. Every default is in the `Default` implementation of its section.

mod conditions;
mod explain;
mod held_out;
mod notes;
mod read;
pub mod resume;
mod sections;
pub mod size;

pub use conditions::Condition;
pub use explain::{explain, near};
pub use notes::notes;
pub use read::{Recipe, load, parse, resolved};
pub use sections::{DataSection, DistillSection, ModelSection, RunSection, TaskSection};

use crate::error::Error;
use crate::evaluation::Evaluate;
use crate::grpo::Grpo;
use crate::limits::{AT_LEAST_ONE, NOT_NEGATIVE, PROBABILITY, refused, within};
use crate::pretrain::Pretrain;
use crate::rejection_sampling::RejectionSampling;
use crate::sft::Sft;
use crate::train::Train;
use conditions::{
    of_eval, of_grpo, of_pretrain, of_questions, of_sample, of_sft, of_steps, of_task, of_traces, of_train,
};
use held_out::{check_eval_of_grpo, check_eval_of_sft, held_out};
use meno_eval::Split;
use meno_model::LoadPrecision;
use meno_tensor::precision::Precision;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[eval]`: how to evaluate a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalSection {
    /// train, validation or test; a file of questions is the same for all splits.
    pub split: Split,
    /// Number of problems; if left out, all of a file, or 200 of a task family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_problems: Option<u64>,
    /// k: samples per problem.
    pub num_samples: usize,
    /// Sampling temperature; 0 for the most probable token.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability.
    pub top_p: f32,
    /// Maximum length of a response, in tokens.
    pub max_completion_length: usize,
    /// Number of concurrent sequences.
    pub max_sequences: usize,
    /// auto, f32 or bf16: the number format of matrix products.
    pub precision: LoadPrecision,
    /// Seed of the sampling.
    pub seed: u64,
    /// File for all responses, one line per problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Number of threads; 0 uses all cores.
    pub threads: usize,
}

impl Default for EvalSection {
    fn default() -> Self {
        EvalSection {
            split: Split::Test,
            num_problems: None,
            num_samples: 4,
            temperature: 0.6,
            top_p: 0.95,
            max_completion_length: 512,
            max_sequences: 32,
            precision: LoadPrecision::Auto,
            seed: 0,
            out: None,
            threads: 0,
        }
    }
}

impl EvalSection {
    fn check(&self) -> Result<(), Error> {
        let counts = [
            ("eval.num_problems", self.num_problems.unwrap_or(1) as f64),
            ("eval.num_samples", self.num_samples as f64),
            ("eval.max_completion_length", self.max_completion_length as f64),
            ("eval.max_sequences", self.max_sequences as f64),
        ];
        within(AT_LEAST_ONE, &counts)?;
        within(NOT_NEGATIVE, &[("eval.temperature", self.temperature.into())])?;
        within(PROBABILITY, &[("eval.top_p", self.top_p.into())])
    }
}

macro_rules! define_recipe {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? }
     checks $checks:expr; reads $reads:expr; conditions $conditions:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }

        impl Recipe for $name {
            fn check(&self) -> Result<(), Error> {
                let checks: fn(&$name) -> Result<(), Error> = $checks;
                checks(self)
            }
            fn conditions(&self) -> Vec<Condition> {
                let conditions: fn(&$name) -> Vec<Condition> = $conditions;
                conditions(self)
            }
            fn data_files(&self) -> Vec<PathBuf> {
                let reads: fn(&$name) -> Vec<PathBuf> = $reads;
                reads(self)
            }
            fn model(&self) -> &ModelSection {
                &self.model
            }
        }
    };
}

define_recipe! {
    /// A recipe of `meno pretrain`.
    PretrainRecipe {
        /// The model to train.
        model: ModelSection,
        /// The training data.
        data: DataSection,
        /// Settings common to all stages.
        train: Train,
        /// Settings of this stage.
        pretrain: Pretrain,
        /// Where to write the results.
        run: RunSection,
    }
    checks |r| {
        r.data.check()?;
        r.train.check()?;
        r.pretrain.check()
    };
    reads |r| r.data.paths();
    conditions |r| [of_train(&r.train), of_pretrain(&r.pretrain)].concat()
}
define_recipe! {
    /// A recipe of `meno sft`.
    SftRecipe {
        /// The model to train.
        model: ModelSection,
        /// The training data.
        data: DataSection,
        /// Settings common to all stages.
        train: Train,
        /// Settings of this stage.
        sft: Sft,
        /// How to ask the questions of `eval.eval_task`.
        task: TaskSection,
        /// Held-out examples and questions, evaluated during training.
        eval: Evaluate,
        /// Where to write the results.
        run: RunSection,
    }
    checks |r| {
        r.data.check()?;
        r.train.check()?;
        r.sft.check()?;
        r.sft.check_length(&r.train)?;
        r.task.check()?;
        check_eval_of_sft(&r.eval, &r.task)
    };
    reads |r| [r.data.paths(), held_out(&r.eval)].concat();
    conditions |r| [of_train(&r.train), of_sft(&r.sft, &r.train), of_eval(&r.eval), of_questions(&r.eval, &r.task)]
        .concat()
}
define_recipe! {
    /// A recipe of `meno grpo`.
    GrpoRecipe {
        /// The model to train.
        model: ModelSection,
        /// The questions.
        task: TaskSection,
        /// Settings common to all stages.
        train: Train,
        /// Settings of this stage.
        grpo: Grpo,
        /// Held-out questions, evaluated during training.
        eval: Evaluate,
        /// Where to write the results.
        run: RunSection,
    }
    checks |r| {
        r.train.check()?;
        r.grpo.check_settings(&r.train)?;
        if r.grpo.reward_funcs.is_empty() {
            return Err(refused("grpo.reward_funcs", "[]", "expected at least one reward"));
        }
        r.task.check()?;
        check_eval_of_grpo(&r.eval, &r.task)
    };
    reads |r| [r.task.paths(), held_out(&r.eval)].concat();
    conditions |r| [of_train(&r.train), of_steps(&r.train), of_grpo(&r.grpo), of_eval(&r.eval), of_task(&r.task)]
        .concat()
}
define_recipe! {
    /// A recipe of `meno sample`.
    SampleRecipe {
        /// The model to sample.
        model: ModelSection,
        /// The questions.
        task: TaskSection,
        /// Input type of the GEMMs.
        precision: Precision,
        /// Which answers to keep.
        sample: RejectionSampling,
        /// Where to write the results.
        run: RunSection,
    }
    checks |r| {
        r.sample.check()?;
        r.task.check()
    };
    reads |r| r.task.paths();
    conditions |r| [of_sample(&r.sample), of_task(&r.task)].concat()
}
define_recipe! {
    /// A recipe of `meno distill`.
    DistillRecipe {
        /// The student.
        model: ModelSection,
        /// The teacher.
        distill: DistillSection,
        /// The questions for the teacher.
        task: TaskSection,
        /// Which of the teacher's answers to keep.
        sample: RejectionSampling,
        /// Settings common to all stages.
        train: Train,
        /// Settings for training the student.
        sft: Sft,
        /// Held-out examples and questions, evaluated during training; `[task]` defines how the questions are asked.
        eval: Evaluate,
        /// Where to write the results.
        run: RunSection,
    }
    checks |r| {
        r.train.check()?;
        r.sft.check()?;
        r.sft.check_length(&r.train)?;
        r.sample.check()?;
        r.task.check()?;
        if r.distill.traces.is_some() == r.distill.teacher.is_some() {
            let value = if r.distill.traces.is_some() { "traces and teacher" } else { "empty" };
            let expected = "expected `traces` (a file or a directory of them) or `teacher` (a local model), one of the \
                            two";
            return Err(refused("distill", value, expected));
        }
        check_eval_of_sft(&r.eval, &r.task)
    };
    reads |r| [r.distill.paths(&r.task), held_out(&r.eval)].concat();
    conditions |r| [of_train(&r.train), of_sft(&r.sft, &r.train), of_eval(&r.eval),
        of_traces(&r.distill, &r.sample, &r.task)].concat()
}

define_recipe! {
    /// A recipe of `meno eval`.
    EvalRecipe {
        /// The model to evaluate.
        model: ModelSection,
        /// The questions.
        task: TaskSection,
        /// Settings of the evaluation.
        eval: EvalSection,
    }
    checks |r| {
        r.eval.check()?;
        r.task.check()
    };
    reads |_| Vec::new();
    conditions |r| of_task(&r.task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grpo(text: &str, sets: &[&str]) -> Result<GrpoRecipe, String> {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        parse("r1-zero.toml", text, &sets).map_err(|e| e.to_string())
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_near_matches() {
        let e = grpo("[train]\nseed = 1\nlerning_rate = 1e-3\n", &[]).unwrap_err();
        assert!(
            e.starts_with("r1-zero.toml: line 3: unknown key `lerning_rate`; did you mean `learning_rate`?"),
            "{e}"
        );
        let e = grpo("[gpro]\n", &[]).unwrap_err();
        assert!(e.contains("unknown key `gpro`; did you mean `grpo`?"), "{e}");
        let e = grpo("[grpo]\nloss_type = \"dapoo\"\n", &[]).unwrap_err();
        assert!(e.contains("line 2") && e.contains("`dapoo`; did you mean `dapo`"), "{e}");
        let e = grpo("[grpo]\nbeta = \"much\"\n", &[]).unwrap_err();
        assert!(e.contains("line 2") && e.contains("much"), "{e}");
    }

    #[test]
    fn set_changes_one_value() {
        let r = grpo("[grpo]\nbeta = 0.1\n", &["grpo.beta=0", "train.seed=7", "run.output_dir=runs/x"]).unwrap();
        assert_eq!((r.grpo.beta, r.train.seed, r.run.output_dir), (0.0, 7, PathBuf::from("runs/x")));
        let r = grpo("", &["grpo.reward_funcs=[\"accuracy\"]", "grpo.loss_type=dr_grpo"]).unwrap();
        assert_eq!(r.grpo.reward_funcs, [crate::grpo::RewardFunc::Accuracy]);
        let e = grpo("", &["grpo.bta=0"]).unwrap_err();
        assert!(e.starts_with("--set grpo.bta=0: unknown key `bta`; did you mean `beta`?"), "{e}");
        assert!(grpo("", &["gpo.beta=0"]).unwrap_err().contains("unknown section `gpo`; did you mean `grpo`?"));
        assert!(grpo("", &["grpo.beta"]).unwrap_err().contains("expected KEY=VALUE"));
    }

    #[test]
    fn a_gpu_runs_in_bf16_unless_the_recipe_names_a_precision() {
        let precision = |text: &str, sets: &[&str]| grpo(text, sets).unwrap().train.precision;
        assert_eq!(precision("", &[]), Precision::F32);
        assert_eq!(precision("[model]\ndevice = \"cuda\"\n", &[]), Precision::Bf16);
        assert_eq!(precision("", &["model.device=\"cuda:1\""]), Precision::Bf16);
        let text = "[model]\ndevice = \"cuda\"\n[train]\nprecision = \"f32\"\n";
        assert_eq!(precision(text, &[]), Precision::F32);
        assert_eq!(precision("", &["model.device=\"cuda\"", "train.precision=f32"]), Precision::F32);
        let sample: SampleRecipe = parse("sample.toml", "", &["model.device=\"cuda\"".into()]).unwrap();
        assert_eq!(sample.precision, Precision::Bf16);
    }

    #[test]
    fn the_resolved_recipe_reads_back() {
        let r = grpo("[grpo]\nepsilon_high = 0.28\n[model]\npath = \"m\"\n", &[]).unwrap();
        assert_eq!(grpo(&resolved(&r), &[]).unwrap(), r);
        let default = GrpoRecipe::default();
        assert_eq!(grpo(&resolved(&default), &[]).unwrap(), default);
    }
}

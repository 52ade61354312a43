//! Recipes: one strict TOML file per stage. An unknown key is an error that names it, its file and similar keys. `--set
//! a.b=c` changes a value. Every default is in the `Default` implementation of its section.

mod explain;
mod held_out;
pub mod resume;
pub mod size;
mod without_effect;

pub use explain::{explain, near};
pub use without_effect::{Condition, notes};

use crate::data::DataFile;
use crate::error::Error;
use crate::evaluation::Evaluate;
use crate::grpo::Grpo;
use crate::limits::{AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, PROBABILITY, refused, within};
use crate::pretrain::Pretrain;
use crate::prompt::PromptStyle;
use crate::rejection_sampling::RejectionSampling;
use crate::sft::Sft;
use crate::trainer::{Dtype, Train};
use explain::with_suggestion;
use held_out::{check_eval_of_grpo, check_eval_of_sft, held_out};
use meno_engine::ChatTemplate;
use meno_eval::tasks::countdown::Countdown;
use meno_eval::tasks::{self, TaskOptions};
use meno_eval::{Problem, Split, Task};
use meno_model::plain::plain;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use without_effect::{
    of_eval, of_grpo, of_pretrain, of_questions, of_sample, of_sft, of_steps, of_task, of_traces, of_train,
};

/// `[model]`: the model to train.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// A Hugging Face directory or a GGUF file to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Alternatively, a config.json to build a network with random weights from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// The path of the tokenizer, if it is not with the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Seed of random weights.
    pub init_seed: u64,
}

/// `[run]`: where to write the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSection {
    /// Directory of checkpoints, metrics.jsonl, the resolved recipe and, at the end, the model.
    pub output_dir: PathBuf,
    /// Optimizer steps between two checkpoints; 0 writes only one at the end.
    pub save_steps: usize,
    /// Number of checkpoints to keep; 0 keeps all.
    pub save_total_limit: usize,
    /// Type of saved weights, f32 or bf16. With bf16, the training state contains the f32 weights.
    pub save_dtype: Dtype,
    /// Number of threads; 0 uses all cores.
    pub threads: usize,
}

impl Default for RunSection {
    fn default() -> Self {
        RunSection {
            output_dir: "runs/run".into(),
            save_steps: 100,
            save_total_limit: 2,
            save_dtype: Dtype::F32,
            threads: 0,
        }
    }
}

/// `[data]` of pretraining and fine-tuning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Files, each a path or `{ path = …, weight = … }`: JSONL, JSON, CSV, TSV or Parquet, plain or compressed with
    /// gzip or zstd; for pretraining also text with documents separated by empty lines.
    pub files: Vec<DataFile>,
}

impl DataSection {
    fn check(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(|f| within(POSITIVE, &[("data.files.weight", f.weight)]))
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| f.path.clone()).collect()
    }
}

/// `[task]`: the questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSection {
    /// A task family (arithmetic, countdown) or a file of questions and answers, as `[data]` reads them.
    pub name: String,
    /// chat (the model's template), r1_zero (R1's plain preamble) or plain (the question alone).
    pub prompt: PromptStyle,
    /// A system prompt, for chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// A text around the question, at `{question}`, e.g. to describe the format of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Seed of the order of a finite task.
    pub seed: u64,
    /// Run the programs in answers in a sandbox, if the task is a file of programming problems.
    pub sandbox: bool,
    /// The settings of `countdown`.
    pub countdown: Countdown,
}

impl Default for TaskSection {
    fn default() -> Self {
        TaskSection {
            name: "countdown".into(),
            prompt: PromptStyle::Chat,
            system: None,
            template: None,
            seed: 0,
            sandbox: false,
            countdown: Countdown::default(),
        }
    }
}

impl TaskSection {
    /// Opens the task.
    pub fn open(&self) -> Result<Box<dyn Task>, Error> {
        self.check()?;
        let options = TaskOptions { countdown: self.countdown.clone(), sandbox: self.sandbox };
        Ok(tasks::open(&self.name, &options)?)
    }

    /// Checks the settings.
    fn check(&self) -> Result<(), Error> {
        match self.template.as_ref().filter(|t| !t.contains("{question}")) {
            Some(template) => Err(refused("task.template", template, "expected a string that contains {question}")),
            None => Ok(()),
        }
    }

    /// Returns the file of questions, if the task is a file.
    fn paths(&self) -> Vec<PathBuf> {
        let path = PathBuf::from(&self.name);
        if tasks::NAMES.contains(&self.name.as_str()) || !path.is_file() { Vec::new() } else { vec![path] }
    }

    /// Builds the prompt of a problem.
    pub fn render(&self, problem: &Problem, template: Option<&ChatTemplate>) -> Result<String, Error> {
        match &self.template {
            None => self.prompt.render(problem, self.system.as_deref(), template),
            Some(text) => {
                let question = text.replace("{question}", &problem.question);
                let problem = Problem { question, ..problem.clone() };
                self.prompt.render(&problem, self.system.as_deref(), template)
            }
        }
    }
}

/// The number format of the matrix products in an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalPrecision {
    /// Quantised matrices of a GGUF file stay quantised; all others use 32-bit floats.
    #[default]
    Auto,
    /// 32-bit floats; quantised matrices are dequantised.
    F32,
    /// bfloat16 inputs with 32-bit sums; quantised matrices are dequantised.
    Bf16,
}

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
    pub precision: EvalPrecision,
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
            precision: EvalPrecision::Auto,
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

/// `[distill]`: the source of the teacher's traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillSection {
    /// A data file of traces or a directory of such files, as written by `meno sample`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<PathBuf>,
    /// Alternatively, a local teacher to sample: a Hugging Face directory or a GGUF file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
}

/// The recipe of one command.
pub trait Recipe: DeserializeOwned + Serialize + Default {
    /// Checks the settings.
    fn check(&self) -> Result<(), Error>;
    /// Returns which settings have an effect, given the others; for [`notes`].
    fn conditions(&self) -> Vec<Condition>;
    /// Returns the data files that determine what is learned.
    fn data_files(&self) -> Vec<PathBuf>;
    /// Returns the model to start from.
    fn model(&self) -> &ModelSection;
}

impl DistillSection {
    fn paths(&self, task: &TaskSection) -> Vec<PathBuf> {
        match &self.traces {
            // Errors of listing files are reported when the files are read.
            Some(traces) => crate::distill::trace_files(traces).unwrap_or_default(),
            None => task.paths(),
        }
    }
}

macro_rules! recipe {
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

recipe! {
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
recipe! {
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
recipe! {
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
recipe! {
    /// A recipe of `meno sample`.
    SampleRecipe {
        /// The model to sample.
        model: ModelSection,
        /// The questions.
        task: TaskSection,
        /// Input type of the GEMMs.
        precision: Dtype,
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
recipe! {
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

recipe! {
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

/// Reads the recipe at `path` and applies `--set` arguments (`a.b=value`, the value as in TOML; bare words are
/// strings).
pub fn load<R: Recipe>(path: &Path, sets: &[String]) -> Result<R, Error> {
    let file = path.display().to_string();
    let text = meno_model::input::read_text(path, meno_model::input::SMALL).map_err(Error::io(path))?;
    parse(&file, &text, sets)
}

/// Like [`load`], from text; `file` is its name in errors.
pub fn parse<R: Recipe>(file: &str, text: &str, sets: &[String]) -> Result<R, Error> {
    let explain = |file: &str, e: toml::de::Error| Error::Recipe { file: file.to_owned(), message: explain(&e, text) };
    let recipe: R = toml::from_str(text).map_err(|e| explain(file, e))?;
    let mut recipe = recipe;
    for set in sets {
        let mut table = toml::Table::try_from(&recipe)
            .map_err(|e| Error::Recipe { file: file.to_owned(), message: e.to_string() })?;
        apply(&mut table, set)?;
        recipe = table.try_into().map_err(|e: toml::de::Error| Error::Recipe {
            file: format!("--set {set}"),
            message: plain(&with_suggestion(e.message())),
        })?;
    }
    finite(file, &recipe)?;
    recipe.check()?;
    Ok(recipe)
}

/// Fails if any number is NaN or infinite.
fn finite<R: Recipe>(file: &str, recipe: &R) -> Result<(), Error> {
    fn first(key: String, value: &toml::Value) -> Option<String> {
        match value {
            toml::Value::Float(v) if !v.is_finite() => Some(format!("`{key}` = {v}: expected a finite number")),
            toml::Value::Array(items) => items.iter().find_map(|v| first(key.clone(), v)),
            toml::Value::Table(table) => {
                let full = |k: &str| if key.is_empty() { k.to_owned() } else { format!("{key}.{k}") };
                table.iter().find_map(|(k, v)| first(full(k), v))
            }
            _ => None,
        }
    }
    let table = toml::Value::try_from(recipe);
    let wrong = table.ok().and_then(|table| first(String::new(), &table));
    wrong.map_or(Ok(()), |message| Err(Error::Recipe { file: file.to_owned(), message }))
}

/// Returns the recipe as TOML with all defaults written out.
pub fn resolved<R: Serialize>(recipe: &R) -> String {
    toml::to_string_pretty(recipe).expect("invariant: a recipe is plain data")
}

fn apply(table: &mut toml::Table, set: &str) -> Result<(), Error> {
    let bad = |message: String| Error::Recipe { file: format!("--set {set}"), message };
    let (key, value) = set.split_once('=').ok_or_else(|| bad("expected KEY=VALUE, e.g. train.seed=1".into()))?;
    let value = value.trim();
    let parsed: Result<toml::Table, _> = toml::from_str(&format!("v = {value}"));
    let value = match parsed {
        Ok(mut t) => t.remove("v").expect("invariant: it was just written"),
        Err(_) => toml::Value::String(value.to_owned()),
    };
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, sections) = parts.split_last().expect("invariant: split gives at least one part");
    let mut place = table;
    for section in sections {
        let known: Vec<String> = place.keys().cloned().collect();
        place = match place.get_mut(*section) {
            Some(toml::Value::Table(t)) => t,
            Some(_) => return Err(bad(format!("`{section}` is a value, not a section"))),
            None => return Err(bad(format!("unknown section `{section}`{}", near(section, &known)))),
        };
    }
    // An integer for a fraction, as on a command line.
    let value = match (place.get(*last), value) {
        (Some(toml::Value::Float(_)), toml::Value::Integer(i)) => toml::Value::Float(i as f64),
        // A size such as 8k.
        (Some(toml::Value::Integer(_)), toml::Value::String(text)) => match size::size(&text) {
            Ok(n) => toml::Value::Integer(n as i64),
            Err(_) => toml::Value::String(text),
        },
        (_, value) => value,
    };
    place.insert((*last).to_owned(), value);
    Ok(())
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
    fn the_resolved_recipe_reads_back() {
        let r = grpo("[grpo]\nepsilon_high = 0.28\n[model]\npath = \"m\"\n", &[]).unwrap();
        assert_eq!(grpo(&resolved(&r), &[]).unwrap(), r);
        let default = GrpoRecipe::default();
        assert_eq!(grpo(&resolved(&default), &[]).unwrap(), default);
    }
}

//! The sections that several recipes share: the model, the data, the questions, where to write.

use crate::data::DataFile;
use crate::distill::trace_files;
use crate::error::Error;
use crate::limits::{POSITIVE, refused, within};
use crate::prompt::PromptStyle;
use meno_engine::ChatTemplate;
use meno_eval::tasks::countdown::Countdown;
use meno_eval::tasks::{self, TaskOptions};
use meno_eval::{Problem, Task};
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// auto, cpu, cuda (or cuda:N) or reference: the device that trains and samples.
    pub device: Device,
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
    pub save_dtype: Precision,
    /// Number of threads; 0 uses all cores.
    pub threads: usize,
}

impl Default for RunSection {
    fn default() -> Self {
        RunSection {
            output_dir: "runs/run".into(),
            save_steps: 100,
            save_total_limit: 2,
            save_dtype: Precision::F32,
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
    /// Checks the settings.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(|f| within(POSITIVE, &[("data.files.weight", f.weight)]))
    }

    /// Returns the paths of the files.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
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
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.template.as_ref().filter(|t| !t.contains("{question}")) {
            Some(template) => Err(refused("task.template", template, "expected a string that contains {question}")),
            None => Ok(()),
        }
    }

    /// Returns the file of questions, if the task is a file.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
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

impl DistillSection {
    /// Returns the files of traces, or of the questions for the teacher.
    pub(super) fn paths(&self, task: &TaskSection) -> Vec<PathBuf> {
        match &self.traces {
            // Errors of listing files are reported when the files are read.
            Some(traces) => trace_files(traces).unwrap_or_default(),
            None => task.paths(),
        }
    }
}

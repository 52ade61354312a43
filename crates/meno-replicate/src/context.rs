//! What the stages of a run in progress share.

use crate::dataset::ArithmeticQuestions;
use crate::observer::StageObserver;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::worked_steps::ReasoningStyle;
use meno_engine::{GenerationConfig, Tokenizer, generation_config};
use meno_eval::Split;
use meno_eval::tasks::arithmetic::Arithmetic;
use meno_model::Model;
use meno_train::Error;
use serde_json::Value;
use std::path::PathBuf;

/// Names the test and validation problems. They are the same for every seed, so that the results of several seeds can
/// be compared. No setting was chosen by looking at these problems.
const HELD_OUT_SEED: u64 = 250_112_948;

/// A run in progress.
pub(crate) struct Replication<'a> {
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    /// The directory of the run.
    pub(crate) out: PathBuf,
    pub(crate) observer: &'a mut dyn StageObserver,
    /// The training problems, which depend on the seed.
    pub(crate) task: Arithmetic,
    /// The held-out problems, which do not.
    pub(crate) test: Arithmetic,
    /// Set once the first stage is done.
    pub(crate) tokenizer: Option<Tokenizer>,
}

/// What a stage made.
pub(crate) struct StageOutput {
    /// The trained model.
    pub(crate) model: Model,
    /// FLOPs: 2 per active parameter and token forward, 6 forward and backward.
    pub(crate) flops: f64,
    /// Figures for the stage's record.
    pub(crate) facts: Value,
}

impl<'a> Replication<'a> {
    pub(crate) fn new(settings: Settings, seed: u64, out: PathBuf, observer: &'a mut dyn StageObserver) -> Self {
        let task = settings.arithmetic(seed);
        let test = Arithmetic { seed: HELD_OUT_SEED, ..task.clone() };
        Replication { settings, seed, out, observer, task, test, tokenizer: None }
    }

    /// A copy of the tokenizer.
    ///
    /// # Panics
    /// If the first stage is not done.
    pub(crate) fn tokenizer(&self) -> Tokenizer {
        self.tokenizer.clone().expect("invariant: the tokenizer is the first stage")
    }

    /// The directory of a stage.
    pub(crate) fn dir(&self, stage: Stage) -> PathBuf {
        self.out.join(stage.name())
    }

    /// The files that are saved with every checkpoint: tokenizer and generation config.
    pub(crate) fn assets(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let file = |name: &str| -> Result<(String, Vec<u8>), Error> {
            let path = self.dir(Stage::Tokenizer).join(name);
            Ok((name.to_owned(), std::fs::read(&path).map_err(Error::io(&path))?))
        };
        let generation = GenerationConfig::default().or_default().to_json(&self.tokenizer());
        let generation = (generation_config::FILE.to_owned(), generation.into_bytes());
        Ok(vec![file("tokenizer.json")?, file("tokenizer_config.json")?, generation])
    }
}

/// The training questions of `task` from number `first` on.
pub(crate) fn training_questions<'a>(
    task: &'a Arithmetic,
    tokenizer: &'a Tokenizer,
    first: u64,
) -> ArithmeticQuestions<'a> {
    ArithmeticQuestions { task, tokenizer, split: Split::Train, first, forced: None }
}

/// The held-out questions of `task`, with answers forced to begin in a style if `forced`.
pub(crate) fn held_out_questions<'a>(
    task: &'a Arithmetic,
    tokenizer: &'a Tokenizer,
    split: Split,
    forced: Option<ReasoningStyle>,
) -> ArithmeticQuestions<'a> {
    ArithmeticQuestions { task, tokenizer, split, first: 0, forced }
}

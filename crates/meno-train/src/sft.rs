//! Supervised fine-tuning: cross-entropy on the answer only, examples packed without seeing each other.
//!
//! R1 §2.3.1 (cold start), §2.3.3 (after rejection sampling), §2.4 (distillation) are this with different data.

use crate::checkpoint::{self, State};
use crate::data::{Example, jsonl, keys, shuffled, string};
use crate::error::Error;
use crate::pretrain::metrics;
use crate::run::{Log, Run, Summary};
use crate::trainer::{Sequence, Train, Trainer};
use meno_engine::{ChatTemplate, Message, Tokenizer};
use meno_model::Model;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Settings of supervised fine-tuning: `[sft]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sft {
    /// Examples of one optimizer step.
    pub train_batch_size: usize,
    /// Passes over the data; sets the number of steps. 0 takes `train.max_steps`.
    pub num_train_epochs: f32,
    /// λ: the weight of the multi-token prediction loss; 0 builds none.
    pub mtp_loss_weight: f32,
    /// γ: by how much a router bias moves after each step; 0 for never.
    pub bias_update_speed: f32,
}

impl Default for Sft {
    fn default() -> Self {
        Sft { train_batch_size: 32, num_train_epochs: 0.0, mtp_loss_weight: 0.0, bias_update_speed: 0.0 }
    }
}

impl Sft {
    /// The settings with the number of steps that the epochs over `examples` examples make.
    pub fn with_epochs(&self, train: &Train, examples: usize) -> Train {
        let mut train = train.clone();
        if self.num_train_epochs > 0.0 {
            let steps = self.num_train_epochs * examples as f32 / self.train_batch_size.max(1) as f32;
            train.max_steps = (steps.ceil() as usize).max(1);
        }
        train
    }

    /// Trains `model` on `examples`.
    pub fn run(&self, train: &Train, model: &mut Model, examples: &[Example], run: &mut Run) -> Result<Summary, Error> {
        let train = &self.with_epochs(train, examples.len());
        self.check(train, examples)?;
        let mtp = self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
        let mut trainer = Trainer::new(train, model, mtp)?;
        let mut state = State { stage: "sft".into(), ..State::default() };
        if let Some((saved, blocks)) = checkpoint::resume(run.checkpoints.as_ref(), model, "sft")? {
            trainer.restore(&saved, &blocks)?;
            state = saved;
        }
        let mut log = Log::start(run, state.step)?;
        while state.step < train.max_steps && log.goes_on(run.observer) {
            let place = |i: u64| &examples[shuffled(train.seed, examples.len() as u64, state.position + i) as usize];
            let batch: Vec<&Example> = (0..self.train_batch_size as u64).map(place).collect();
            let sequences: Vec<Sequence> =
                batch.iter().map(|e| Sequence { tokens: &e.tokens, prompt: e.prompt.max(1) }).collect();
            let scale = [1.0, self.mtp_loss_weight];
            let Some(loss) = trainer.cross_entropy(model, &sequences, scale, run.observer)? else {
                log.summary.stopped = true;
                break;
            };
            let grad_norm = trainer.update(model, state.step)?;
            if self.bias_update_speed > 0.0 {
                model.update_router_bias(&loss.expert_load, self.bias_update_speed);
            }
            state.position += self.train_batch_size as u64;
            state.num_tokens += loss.rows as u64;
            state.step += 1;
            let mut metrics = metrics(train, &state, &loss, grad_norm, scale[1]);
            metrics.push("epoch", state.position as f64 / examples.len() as f64);
            log.step(metrics, loss.rows, train.max_steps, run.observer)?;
            trainer.save(run, model, &state, train.max_steps, Vec::new())?;
        }
        log.finish(run, model, train.max_steps)
    }

    fn check(&self, train: &Train, examples: &[Example]) -> Result<(), Error> {
        if examples.is_empty() {
            return Err(Error::Empty("the examples".into()));
        }
        if self.train_batch_size == 0 {
            let expected = "expected how many examples one step has, 1 or above".into();
            return Err(Error::Setting { key: "sft.train_batch_size", value: "0".into(), expected });
        }
        let tokens = examples.iter().map(|e| e.tokens.len()).max().unwrap_or(0);
        if tokens > train.max_tokens {
            return Err(Error::TooLong { tokens, max_tokens: train.max_tokens, what: "the examples" });
        }
        Ok(())
    }
}

/// Reads examples from JSONL: `messages` (every assistant turn becomes an example, with its history rendered as
/// generation would render it) or `prompt` and `completion`. Examples above `max_tokens` are left out and counted.
pub fn read_examples(
    path: &Path,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    max_tokens: usize,
) -> Result<(Vec<Example>, usize), Error> {
    let (mut examples, mut too_long) = (Vec::new(), 0);
    jsonl(path, |_, value| {
        for example in line_examples(&value, tokenizer, template)? {
            if example.tokens.len() > max_tokens {
                too_long += 1;
            } else {
                examples.push(example);
            }
        }
        Ok(())
    })?;
    if examples.is_empty() {
        return Err(Error::Empty(path.display().to_string()));
    }
    Ok((examples, too_long))
}

/// The examples of one JSONL line.
pub fn line_examples(
    value: &Value,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
) -> Result<Vec<Example>, String> {
    if let Some(messages) = value.get("messages") {
        let template = template.ok_or("has `messages`, but the model has no chat template")?;
        return conversation(messages, tokenizer, template);
    }
    if value.get("prompt").is_none() {
        return Err(format!("expected `messages`, or `prompt` and `completion`; its keys are {}", keys(value)));
    }
    let example = example(tokenizer, string(value, "prompt")?, string(value, "completion")?, true);
    Ok(vec![example.map_err(|e| e.to_string())?])
}

/// A prompt and its answer as tokens. The two are encoded apart, as generation sees them.
pub fn example(tokenizer: &Tokenizer, prompt: &str, completion: &str, add_special: bool) -> Result<Example, Error> {
    let mut tokens = tokenizer.encode(prompt, add_special)?;
    let prompt = tokens.len();
    tokens.extend(tokenizer.encode(completion, false)?);
    if let Some(&eos) = tokenizer.eos().first() {
        // A completion that closes itself is not closed again.
        if tokens.last() != Some(&eos) {
            tokens.push(eos);
        }
    }
    Ok(Example { tokens, prompt })
}

fn conversation(messages: &Value, tokenizer: &Tokenizer, template: &ChatTemplate) -> Result<Vec<Example>, String> {
    let list = messages.as_array().ok_or("`messages` is not an array")?;
    let turns: Vec<Message> = list
        .iter()
        .map(|m| Ok(Message::new(string(m, "role")?, string(m, "content")?)))
        .collect::<Result<_, String>>()?;
    let mut examples = Vec::new();
    for (i, turn) in list.iter().enumerate().filter(|(_, t)| t["role"] == "assistant") {
        let prompt = template.render(&turns[..i], true, &Map::new()).map_err(|e| e.to_string())?;
        // Templates of reasoning models open the thought themselves; the answer must not open it again.
        let mut answer = string(turn, "content")?;
        if prompt.trim_end().ends_with("<think>") {
            answer = answer.trim_start().strip_prefix("<think>").map_or(answer, |a| a.trim_start_matches('\n'));
        }
        examples.push(example(tokenizer, &prompt, answer, false).map_err(|e| e.to_string())?);
    }
    if examples.is_empty() {
        return Err("has no message whose `role` is \"assistant\": there is nothing to learn".into());
    }
    Ok(examples)
}

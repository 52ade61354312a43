//! A model with all that text needs: what `generate`, `chat` and `serve` share.

use crate::arguments::{ModelName, Threads, min_p, size, temperature, token_count, top_p, whole};
use crate::open;
use crate::progress::Work;
use anyhow::{Result, ensure};
use meno_engine::reasoning::{Piece, Split};
use meno_engine::taught::Taught;
use meno_engine::{
    Capacity, ChatTemplate, Completion, Error, Flow, GenerationConfig, Generator, Message, Options, Request, Sampling,
    Speculative, TextStream, Tokenizer,
};
use meno_model::{LoadOptions, Model};
use meno_tensor::kv_cache::KvType;
use meno_tensor::precision::Precision;
use std::path::{Path, PathBuf};

/// Rows of one step: prompts are run in chunks of this.
const ROWS: usize = 256;

/// Which model, and how it is run.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// Which model.
    #[command(flatten)]
    pub name: ModelName,
    /// Number format of the matrix products
    #[arg(long, value_enum, default_value = "auto", value_name = "TYPE")]
    pub precision: PrecisionArg,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Context length: most tokens of prompt and answer together, e.g. 8192 or 8k [default: the model's, at most 8k]
    #[arg(long, value_name = "TOKENS", value_parser = size)]
    pub context: Option<usize>,
    /// Speculative decoding: propose tokens ahead and keep the ones that the model confirms; the answers stay the same
    #[arg(long, value_enum, default_value = "off", value_name = "METHOD")]
    pub speculative: SpeculativeArg,
    /// Number format of the KV cache
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    pub kv_type: KvTypeArg,
}

/// Number format of the KV cache.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvTypeArg {
    /// 32-bit floats
    F32,
    /// bfloat16: half the memory
    Bf16,
    /// 8-bit integers with scales: about a quarter of the memory
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<KvTypeArg> for KvType {
    fn from(t: KvTypeArg) -> KvType {
        match t {
            KvTypeArg::F32 => KvType::F32,
            KvTypeArg::Bf16 => KvType::Bf16,
            KvTypeArg::Q8_0 => KvType::Q8_0,
        }
    }
}

/// How tokens are proposed ahead.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeculativeArg {
    /// No speculative decoding
    Off,
    /// Propose what followed the last occurrence of the same tokens
    Ngram,
    /// Propose with the model's multi-token prediction module
    Mtp,
}

impl From<SpeculativeArg> for Speculative {
    fn from(s: SpeculativeArg) -> Speculative {
        match s {
            SpeculativeArg::Off => Speculative::Off,
            SpeculativeArg::Ngram => Speculative::Ngram,
            SpeculativeArg::Mtp => Speculative::Mtp,
        }
    }
}

/// Number format of the matrix products.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionArg {
    /// Keep the quantised matrices of a GGUF file and multiply them with 8-bit activations; use bf16 (to generate) or
    /// f32 (to measure) for all others
    Auto,
    /// 32-bit floats; quantised matrices are dequantised
    F32,
    /// bfloat16 inputs and 32-bit sums; quantised matrices are dequantised
    Bf16,
}

impl PrecisionArg {
    /// Loads a model to compute so; matrices that are not quantised are multiplied in `others` by default.
    pub fn load(self, path: &Path, others: Precision) -> Result<(Model, Precision)> {
        self.load_watched(path, others, &mut |_, _| {})
    }

    /// As [`PrecisionArg::load`]; `on_read` gets the number of values read so far and of all values.
    pub fn load_watched(
        self,
        path: &Path,
        others: Precision,
        on_read: &mut dyn FnMut(usize, usize),
    ) -> Result<(Model, Precision)> {
        let (keep_quantized, precision) = match self {
            PrecisionArg::Auto => (true, others),
            PrecisionArg::F32 => (false, Precision::F32),
            PrecisionArg::Bf16 => (false, Precision::Bf16),
        };
        let work = Work::loading(path);
        let options = LoadOptions { keep_quantized, ..LoadOptions::default() };
        let model = Model::load_with(path, options, &mut |read, of| {
            work.set(read as u64, of as u64);
            on_read(read, of);
        });
        Ok((model?, precision))
    }
}

/// How tokens are chosen.
#[derive(clap::Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Sampling temperature; 0 always takes the most likely token [default: from the model's generation_config.json,
    /// else 0.6]
    #[arg(long, value_name = "X", value_parser = temperature)]
    pub temperature: Option<f32>,
    /// Sample from the most likely tokens whose probabilities add up to this [default: the model's, else 0.95]
    #[arg(long, value_name = "P", value_parser = top_p)]
    pub top_p: Option<f32>,
    /// Sample from this many of the most likely tokens; 0 for all [default: the model's, else 0]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub top_k: Option<usize>,
    /// Drop tokens less likely than this fraction of the most likely one [default: the model's, else 0]
    #[arg(long, value_name = "P", value_parser = min_p)]
    pub min_p: Option<f32>,
    /// Most tokens of an answer, e.g. 512 or 4k [default: what the context holds]
    #[arg(long, value_name = "TOKENS", value_parser = token_count)]
    pub max_tokens: Option<usize>,
    /// Stop before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// As the engine takes it, with a model's own settings for what is not given.
    pub fn sampling(&self, tokenizer: &Tokenizer, model: &GenerationConfig) -> Sampling {
        let (model, none) = (model.or_default(), Sampling::default());
        Sampling {
            temperature: self.temperature.or(model.temperature).unwrap_or(none.temperature),
            top_p: self.top_p.or(model.top_p).unwrap_or(none.top_p),
            top_k: self.top_k.or(model.top_k).unwrap_or(none.top_k),
            min_p: self.min_p.or(model.min_p).unwrap_or(none.min_p),
            repetition_penalty: model.repetition_penalty.unwrap_or(none.repetition_penalty),
            max_tokens: self.max_tokens.unwrap_or(usize::MAX),
            stop_tokens: tokenizer.eos(),
            vocab_size: tokenizer.id_bound(),
            ..Sampling::default()
        }
    }
}

impl SamplingArgs {
    /// As a server takes it; what is not given is left to the server, which knows its model's settings.
    pub fn request(&self) -> serde_json::Value {
        let mut request = serde_json::json!({});
        for (key, value) in [("temperature", self.temperature), ("top_p", self.top_p), ("min_p", self.min_p)] {
            if let Some(value) = value {
                request[key] = value.into();
            }
        }
        if let Some(top_k) = self.top_k {
            request["top_k"] = top_k.into();
        }
        if let Some(max_tokens) = self.max_tokens {
            request["max_tokens"] = max_tokens.into();
        }
        if !self.stop.is_empty() {
            request["stop"] = self.stop.clone().into();
        }
        request
    }
}

impl ModelArgs {
    /// How the generator runs, apart from its capacity.
    pub fn generation(&self) -> Options {
        Options { kv_type: self.kv_type.into(), speculative: self.speculative.into(), ..Options::default() }
    }
}

/// A model with its text, read from a directory or file.
pub struct Loaded {
    /// What to call it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The network.
    pub model: Model,
    /// Input type of its matrix products.
    pub precision: Precision,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, if it has one.
    pub template: Option<ChatTemplate>,
    /// How its makers want it sampled.
    pub generation: GenerationConfig,
    /// What it was taught, if it is a model of few tasks.
    pub taught: Option<Taught>,
    /// Most tokens of prompt and answer together.
    pub max_len: usize,
}

impl Loaded {
    /// Reads the model at `path`, from the hub if it is a name there.
    pub fn open(path: &Path, args: &ModelArgs) -> Result<Loaded> {
        Loaded::open_watched(path, args, &mut |_, _| {})
    }

    /// As [`Loaded::open`]; `on_read` gets the number of values read so far and of all values.
    pub fn open_watched(path: &Path, args: &ModelArgs, on_read: &mut dyn FnMut(usize, usize)) -> Result<Loaded> {
        let (path, tokenizer) = open::with_tokenizer(path)?;
        let template = ChatTemplate::load(&path, tokenizer.special())?;
        let generation = GenerationConfig::load(&path)?;
        let taught = if path.is_dir() { Taught::load(&path)? } else { None };
        let (model, precision) = args.precision.load_watched(&path, Precision::Bf16, on_read)?;
        let own = model.config.max_position_embeddings;
        let max_len = args.context.unwrap_or(own.min(8192));
        ensure!(
            max_len >= 2,
            "--context {max_len}: at least 2 tokens are needed, one of the prompt and one of the answer"
        );
        ensure!(max_len <= own, "--context {max_len}: the model was made for at most {own} tokens");
        let name = name_of(&path);
        Ok(Loaded { name, model, precision, tokenizer, template, generation, taught, max_len, path })
    }

    /// What it takes to write `slots` answers at once.
    pub fn capacity(&self, slots: usize) -> Capacity {
        Capacity { slots, max_len: self.max_len, rows: ROWS.max(slots), absorbed: false }
    }
}

/// A model ready to answer.
pub struct Session {
    /// What to call it.
    pub name: String,
    /// The network.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, if it has one.
    pub template: Option<ChatTemplate>,
    /// How its makers want it sampled.
    pub generation: GenerationConfig,
    /// What it was taught, if it is a model of few tasks.
    pub taught: Option<Taught>,
    /// Runs it.
    pub generator: Generator,
    precision: Precision,
}

/// One answer, with its text.
pub struct Answer {
    /// Tokens, log-probabilities, why it ended.
    pub completion: Completion,
    /// Thought and answer; text after a stop string cut off.
    pub split: Split,
}

impl Session {
    /// Loads the model at `path` for `slots` answers at once.
    pub fn open(path: &Path, args: &ModelArgs, slots: usize) -> Result<Session> {
        let loaded = Loaded::open(path, args)?;
        let generator = Generator::with_options(&loaded.model, loaded.capacity(slots), args.generation())?;
        let Loaded { name, model, precision, tokenizer, template, generation, taught, .. } = loaded;
        Ok(Session { name, model, tokenizer, template, generation, taught, generator, precision })
    }

    /// The prompt of a conversation: through the template, or, where there is none, the texts one after the other.
    pub fn prompt(&self, messages: &[Message]) -> Result<String> {
        match &self.template {
            Some(template) => Ok(template.render(messages, true, &Default::default())?),
            None => Ok(messages.iter().filter_map(|m| m.content.as_str()).collect()),
        }
    }

    /// The tokens of a prompt. A template writes all special tokens itself.
    pub fn encode(&self, prompt: &str, templated: bool) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(prompt, !templated)?;
        if ids.is_empty() {
            ids.extend(self.tokenizer.bos());
        }
        ensure!(!ids.is_empty(), "the prompt is empty; give at least one character");
        Ok(ids)
    }

    /// Answers one request of `n` samples. `on_piece` sees the text of sample 0 as it comes, with the tokens so far.
    pub fn answer(
        &mut self,
        prompt: &str,
        request: Request,
        stops: &[String],
        on_piece: &mut dyn FnMut(Piece, usize),
    ) -> Result<Vec<Answer>, Error> {
        let new_stream = || TextStream::new(&self.tokenizer, prompt, stops);
        let mut streams: Vec<TextStream<'_>> = (0..request.n).map(|_| new_stream()).collect();
        let completions = self.generator.generate(&mut self.model, self.precision, &[request], &mut |event| {
            let stream = &mut streams[event.sample];
            for piece in stream.push(event.token) {
                if event.sample == 0 {
                    on_piece(piece, event.index + 1);
                }
            }
            if stream.stopped() { Flow::Stop } else { Flow::Continue }
        })?;
        let mut answers = Vec::new();
        for (completion, stream) in completions.into_iter().zip(streams) {
            let (pieces, split) = stream.finish();
            for piece in pieces {
                if completion.sample == 0 {
                    on_piece(piece, completion.tokens.len());
                }
            }
            answers.push(Answer { completion, split });
        }
        Ok(answers)
    }
}

fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = |p: &Path| p.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match (path.is_dir(), path.parent()) {
        (true, Some(parent)) if path.file_name().is_some_and(|n| n.len() < 8) => {
            format!("{}/{}", name(parent), name(&path))
        }
        _ => name(&path),
    }
}
